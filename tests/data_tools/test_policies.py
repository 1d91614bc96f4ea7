"""Scripted policies: what they do, that they look at nothing ahead, and their seeds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_tools.policies import RULES, PolicyError, make_policy
from data_tools.signals import moving_average_levels
from gym_trade import Market, VectorTradeEnv
from tests import markets


def frame(count: int = 300, seed: int = 0) -> pd.DataFrame:
    return markets.hourly(count, seed, move=0.02, gap=0.01)


def make(lanes: int = 5, *, df: Any = None, **arguments: Any) -> VectorTradeEnv:
    venv = VectorTradeEnv(
        df=Market(frame()) if df is None else df, num_envs=lanes, observation="flat",
        autoreset_mode="SameStep", window_sizes=4, episode_steps=20, **arguments,
    )  # fmt: skip
    venv.reset(seed=3)
    return venv


def run(venv: VectorTradeEnv, policy: Any, steps: int) -> np.ndarray:
    """Actions over time, (steps, lanes, ...)."""
    policy.begin(np.ones(venv.num_envs, bool))
    taken = []
    for _ in range(steps):
        taken.append(policy.act())
        _, _, terminated, truncated, info = venv.step(taken[-1])
        if info:
            policy.begin(terminated | truncated)
    return np.stack(taken)


ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "spot": {},
    "futures": {"leverage": 3},
    "unordered": {"action_levels": (1.0, -0.3, 0.1), "leverage": 2},
    "continuous": {"action_type": "continuous"},
    "continuous futures": {"action_type": "continuous", "leverage": 2},
}


@pytest.mark.parametrize("kind", ENVIRONMENTS)
@pytest.mark.parametrize("name", [*RULES, "+".join(RULES)])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_every_policy_acts_within_every_action_space(kind: str, name: str, epsilon: float) -> None:
    venv = make(**ENVIRONMENTS[kind])
    policy = make_policy(name, venv, epsilon=epsilon)
    for _ in range(3):
        actions = policy.act()
        assert actions.dtype == (np.float32 if "continuous" in kind else np.int64)
        assert actions.shape == ((5, 1) if "continuous" in kind else (5,))
        assert all(venv.single_action_space.contains(action) for action in actions)
    json.dumps(policy.describe(), allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "flat", "highest"),
    [
        ("spot", 0, 2), ("futures", 2, 4), ("unordered", 2, 0), ("continuous", 0.0, 1.0),
        ("continuous futures", 0.0, 1.0),
    ],
)  # fmt: skip
def test_flat_and_buy_and_hold(kind: str, flat: float, highest: float) -> None:
    venv = make(**ENVIRONMENTS[kind])
    assert np.unique(run(venv, make_policy("flat", venv), 30)).tolist() == [flat]
    assert np.unique(run(venv, make_policy("buy-and-hold", venv), 25)).tolist() == [highest]
    assert (venv.account()["position"] > 0).all()


def test_random_is_uniform_and_of_its_own_generator() -> None:
    venv = make(lanes=2000, leverage=2)
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    drawn = make_policy("random", venv, seed=1).act()
    assert (np.random.get_state()[1] == before).all()
    counts = np.bincount(drawn, minlength=5)
    assert counts.min() > 300
    assert (drawn == make_policy("random", venv, seed=1).act()).all()
    assert (drawn != make_policy("random", venv, seed=2).act()).any()
    continuous = make(lanes=2000, action_type="continuous", leverage=2)
    levels = make_policy("random", continuous).act()
    assert levels.min() < -0.99
    assert levels.max() > 0.99
    assert abs(levels.mean()) < 0.05


@pytest.mark.parametrize("kind", ["spot", "futures", "continuous futures"])
def test_ma_cross_equals_averages_computed_the_slow_way(kind: str) -> None:
    venv = make(**ENVIRONMENTS[kind])
    policy = make_policy("ma-cross:fast=3,slow=7", venv)
    closes = venv.decision_closes
    seen = set()
    for _ in range(60):
        actions = policy.act()
        for lane, index in enumerate(venv.decision_index):
            visible = closes[: index + 1]
            level = 0.0
            if len(visible) >= 7:
                above = visible[-3:].mean() > visible[-7:].mean()
                level = 1.0 if above else (0.0 if kind == "spot" else -1.0)
            taken = actions[lane]
            assert (taken[0] if "cont" in kind else venv.action_levels[taken]) == level
            seen.add(level)
        venv.step(actions)
    assert len(seen) == 2


def test_ma_cross_looks_at_nothing_ahead() -> None:
    original = frame()
    for cut in (20, 150, 280):
        altered = original.copy()
        later = altered.index >= altered.index[cut]
        altered.loc[later, ["open", "high", "low", "close"]] *= 7.5
        actions = []
        for df in (original, altered):
            venv = make(df=Market(df))
            policy = make_policy("ma-cross:fast=2,slow=5", venv)
            instants = venv.decision_times <= np.datetime64(original.index[cut])
            actions.append((policy._plan[instants], policy._plan[~instants]))
        assert len(actions[0][0]) == cut
        np.testing.assert_array_equal(actions[0][0], actions[1][0])
        assert len(actions[0][1]) == 300 - cut
    assert (actions[0][1] != actions[1][1]).any()


def test_ma_cross_looks_at_nothing_ahead_even_in_its_rounding() -> None:
    """Both averages are equal throughout, so that only rounding decides; later closes must not."""
    closes = np.tile([0.1, 0.2, 0.7], 400)
    ahead = closes.copy()
    ahead[600:] += 1 / 3
    first, second = (moving_average_levels(c, 3, 6, 1.0, -1.0) for c in (closes, ahead))
    np.testing.assert_array_equal(first[:600], second[:600])


def test_ma_cross_is_flat_until_full_and_undecided_on_a_constant_price() -> None:
    closes = np.full(50, 0.1)
    assert moving_average_levels(closes, 3, 7, 1.0, 0.0).tolist() == [0.0] * 50
    rising = moving_average_levels(np.arange(1.0, 11.0), 2, 4, 1.0, -1.0)
    assert rising.tolist() == [0.0] * 3 + [1.0] * 7
    assert moving_average_levels(np.arange(1.0, 4.0), 2, 4, 1.0, -1.0).tolist() == [0.0] * 3


def test_a_mixture_draws_one_rule_for_each_lanes_each_episode() -> None:
    venv = make(lanes=40)
    taken = run(venv, make_policy("flat+buy-and-hold", venv, seed=5), 100)  # 5 episodes of 20
    episodes = taken.reshape(5, 20, 40)
    assert (episodes == episodes[:, :1]).all()  # one rule through an episode
    chosen = episodes[:, 0]
    assert set(np.unique(chosen)) == {0, 2}
    assert (chosen.mean(axis=0) % 2 != 0).any()  # another rule in another episode
    assert 60 < (chosen == 2).sum() < 140
    again = run(make(lanes=40), make_policy("flat+buy-and-hold", make(lanes=40), seed=5), 100)
    np.testing.assert_array_equal(taken, again)


def test_a_new_episode_on_one_lane_leaves_the_others() -> None:
    venv = make(lanes=60)
    policy = make_policy("flat+buy-and-hold", venv)
    policy.begin(np.ones(60, bool))
    before = policy.act()
    mask = np.arange(60) < 30
    policy.begin(mask)
    assert (policy.act()[~mask] == before[~mask]).all()
    assert (policy.act()[mask] != before[mask]).any()


def test_epsilon_replaces_that_share_and_leaves_the_rest() -> None:
    venv = make(lanes=4000)
    taken = make_policy("buy-and-hold", venv, epsilon=0.3).act()
    # a third of the random actions are the highest level as well
    assert abs((taken != 2).mean() - 0.2) < 0.03
    clean = make_policy("random", venv, seed=9).act()
    noisy = make_policy("random", venv, seed=9, epsilon=0.25).act()
    assert 0.1 < (clean != noisy).mean() < 0.25
    spread = make(lanes=4000, action_type="continuous")
    levels = make_policy("buy-and-hold", spread, epsilon=0.3).act()
    assert abs((levels != 1.0).mean() - 0.3) < 0.03


def test_descriptions_hold_what_makes_the_policy_again() -> None:
    venv = make()
    assert make_policy("random", venv).describe() == {"name": "random"}
    assert make_policy("ma-cross:slow=30+flat", venv, epsilon=0.1).describe() == {
        "name": "ma-cross+flat",
        "drawn": "each lane's each episode",
        "members": [{"name": "ma-cross", "fast": 12, "slow": 30}, {"name": "flat"}],
        "epsilon": 0.1,
    }


@pytest.mark.parametrize(
    ("name", "epsilon", "parts"),
    [
        ("rnadom", 0.0, ["'rnadom' is unknown", "random, flat, buy-and-hold, ma-cross"]),
        ("random+", 0.0, ["'' is unknown"]),
        ("", 0.0, ["'' is unknown"]),
        ("flat:fast=3", 0.0, ["unknown parameter 'fast=3'", "Known: none"]),
        ("ma-cross:medium=3", 0.0, ["unknown parameter", "fast=12, slow=48"]),
        ("ma-cross:fast=x", 0.0, ["fast is 'x'", "whole number"]),
        ("ma-cross:fast", 0.0, ["fast is ''"]),
        ("ma-cross:fast=9,slow=9", 0.0, ["fast=9, slow=9", "1 <= fast < slow"]),
        ("ma-cross:fast=0", 0.0, ["1 <= fast < slow"]),
        ("random", 1.5, ["epsilon=1.5", "0 to 1"]),
        ("random", float("nan"), ["epsilon=nan"]),
    ],
)
def test_refusals(name: str, epsilon: float, parts: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        make_policy(name, make(), epsilon=epsilon)
    for part in parts:
        assert part in str(caught.value)


def test_ma_cross_refuses_several_markets() -> None:
    several = make(df=[Market(frame(seed=1)), Market(frame(seed=2))])
    assert make_policy("random", several).act().shape == (5,)
    with pytest.raises(PolicyError, match="single market"):
        make_policy("ma-cross", several)
