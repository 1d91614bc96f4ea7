"""The rule that acts on a filtered deviation."""

from __future__ import annotations

import numpy as np
import pytest

from data_tools.policies import PolicyError, make_policy
from data_tools.signals import beliefs
from gym_trade import Market, VectorTradeEnv
from gym_trade.reversion import DEVIATION_COLUMN, MODELS, simulate

BARS = 400
SHOWN = Market(simulate(MODELS["reversion_easy"], BARS, 1).frame)
HIDDEN = Market(simulate(MODELS["reversion_medium"], BARS, 1).frame)
FILTER = {"gain": 0.5, "memory": 0.9, "drift": -1e-5}


def env_of(df, lanes=1, **arguments):
    chosen = {"action_levels": [0, 1], "random_start": False} | arguments
    return VectorTradeEnv(df=df, num_envs=lanes, autoreset_mode="Disabled", **chosen)


def walk(env, spec, steps, seed=0):
    """The levels held after each step, (steps, lanes), and the instants of the decisions."""
    policy = make_policy(spec, env)
    env.reset(seed=seed)
    policy.begin(np.ones(env.num_envs, np.bool_))
    held, places = [], []
    for _ in range(steps):
        places.append(env.decision_index)
        env.step(policy.act())
        held.append(env.held_levels)
    return np.array(held), np.array(places)


def expected_levels(belief, enter, leave):
    level, levels = 0.0, []
    for value in belief:
        level = 1.0 if value < enter else 0.0 if value > leave else level
        levels.append(level)
    return np.array(levels)


def test_between_the_thresholds_it_stays_where_it_is():
    env = env_of(SHOWN)
    held, places = walk(env, "filtered-reversion:enter=-0.004,leave=0.003,gain=0", 300)
    shown = SHOWN.extras[DEVIATION_COLUMN][places[:, 0]]
    np.testing.assert_array_equal(held[:, 0], expected_levels(shown, -0.004, 0.003))
    assert 0.2 < held.mean() < 0.8


def test_a_hidden_deviation_is_filtered_from_the_bars_seen():
    spec = "filtered-reversion:enter=-0.002,leave=0.001,gain=0.5,memory=0.9,drift=-1e-5"
    held, places = walk(env_of(HIDDEN), spec, 300)
    moves = np.log(HIDDEN.close / HIDDEN.open)
    belief, filtered = 0.0, []
    for move in moves:
        belief = 0.9 * belief + 0.5 * (move + 1e-5)
        filtered.append(belief)
    levels = expected_levels(np.array(filtered)[places[:, 0]], -0.002, 0.001)
    np.testing.assert_array_equal(held[:, 0], levels)


def test_no_later_bar_has_a_part_in_a_belief():
    shorter = Market(HIDDEN.to_frame().iloc[:300])
    np.testing.assert_array_equal(beliefs(HIDDEN, **FILTER)[:300], beliefs(shorter, **FILTER))


def test_each_lane_acts_on_its_own_market():
    frames = [simulate(MODELS["reversion_easy"], BARS, seed).frame for seed in (1, 2, 3)]
    env = env_of(frames, lanes=8)
    held, places = walk(env, "filtered-reversion:enter=-0.004,leave=0.003,gain=0", 200)
    numbers = env.account()["market"]
    assert len(set(numbers.tolist())) == 3
    for lane, number in enumerate(numbers):
        shown = frames[number][DEVIATION_COLUMN].to_numpy()[places[:, lane]]
        np.testing.assert_array_equal(held[:, lane], expected_levels(shown, -0.004, 0.003))


def test_continuous_exposure_is_all_or_nothing():
    spec = "filtered-reversion:enter=-0.004,leave=0.003,gain=0"
    discrete, _ = walk(env_of(SHOWN), spec, 200)
    continuous, _ = walk(env_of(SHOWN, action_levels=None, action_type="continuous"), spec, 200)
    np.testing.assert_array_equal(discrete, continuous)


@pytest.mark.parametrize("spec, message", [
    ("filtered-reversion:enter=0.1,leave=0.0", "expected enter <= leave"),
    ("filtered-reversion:gain=0", "feature_deviation, which the market does not have"),
    ("filtered-reversion:window=3", "unknown parameter"),
])  # fmt: skip
def test_what_cannot_be_followed_is_refused(spec, message):
    with pytest.raises(PolicyError, match=message):
        make_policy(spec, env_of(HIDDEN))
