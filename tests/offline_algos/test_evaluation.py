from __future__ import annotations

import numpy as np
import pytest

from data_tools.policies import PolicyError, make_policy
from gym_trade import VectorTradeEnv
from offline_algos.evaluation import behaviour_rules, evaluate, evaluate_rule
from tests.offline_algos import samples

START, END = "2020-01-03", "2020-01-04"


def test_a_pass_is_what_the_environment_says():
    config = samples.config(slippage=0.001, slippage_model="uniform")
    rng = np.random.default_rng(0)
    taken = rng.integers(0, 3, 288)
    feed = iter(taken)
    seen = []

    def act(observations):
        seen.append(observations.copy())
        return np.array([next(feed)])

    outcome = evaluate(act, config, START, END)
    assert outcome["steps"] == 288 and not outcome["terminated"]
    assert outcome["times"][0] == np.datetime64(START) and outcome["times"][-1] == np.datetime64(
        END
    )
    env = VectorTradeEnv(
        config.replace(start=START, end=END, random_start=False), num_envs=1,
        autoreset_mode="Disabled",
    )  # fmt: skip
    observation, _ = env.reset(seed=0)
    rewards = []
    for step, action in enumerate(taken):
        np.testing.assert_array_equal(seen[step], observation)
        assert outcome["equity"][step] == env.portfolio_value[0]
        observation, reward, _, truncated, info = env.step(np.array([action]))
        rewards.append(reward[0])
    assert truncated[0] and outcome["return"] == pytest.approx(sum(rewards), abs=1e-15)
    assert outcome["equity"][-1] == env.portfolio_value[0]
    assert outcome["metrics"] == {name: values[0] for name, values in info["metrics"].items()}


def test_a_pass_ignores_episode_length_and_random_starts_and_repeats_itself():
    config = samples.config(episode_steps=7, slippage=0.001, slippage_model="uniform")
    first = evaluate_rule("random", config, START, END, seed=4)
    again = evaluate_rule("random", config, START, END, seed=4)
    assert first["steps"] == 288 and first["return"] == again["return"]
    assert first["return"] != evaluate_rule("random", config, START, END, seed=5)["return"]


def test_rules():
    config = samples.config()
    flat = evaluate_rule("flat", config, START, END)
    assert flat["return"] == 0.0 and set(flat["equity"]) == {10_000.0}
    held = evaluate_rule("buy-and-hold", config, START, END)["metrics"]
    assert held["total_return"] == pytest.approx(held["buy_and_hold_return"], abs=2e-3)
    with pytest.raises(PolicyError, match="unknown"):
        evaluate_rule("clairvoyance", config, START, END)


def test_bankruptcy_ends_the_pass():
    config = samples.config(transaction_fee=0.05)
    outcome = evaluate_rule("random", config, START, END)
    assert outcome["terminated"] and outcome["steps"] < 288
    assert len(outcome["equity"]) == len(outcome["times"]) == outcome["steps"] + 1


@pytest.mark.parametrize(
    ("spec", "rules"),
    [
        ("random", ["random"]),
        ("ma-cross:fast=3,slow=9", ["ma-cross:fast=3,slow=9"]),
        ("ma-cross+flat", ["ma-cross:fast=12,slow=48", "flat"]),
    ],
)
@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_a_behaviour_policy_is_rebuilt_from_its_description(spec, rules, epsilon):
    description = make_policy(spec, samples.lanes(1), epsilon=epsilon).describe()
    assert behaviour_rules(description) == rules
    assert description.get("epsilon", 0.0) == epsilon
