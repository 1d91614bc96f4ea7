"""Lanes begun where one wants them, and put back where they were."""

from __future__ import annotations

import numpy as np
import pytest

from gym_trade.places import begin_at, keep, put_back
from tests.rollouts import CONFIGURATIONS, FRAMES, configured, draw

ONE_MARKET = [name for name, made in CONFIGURATIONS.items() if made.get("df") is not FRAMES]


def indexed(name: str, lanes: int):
    """Without autoreset, showing account and decision."""
    return configured(name, num_envs=lanes, observation="index", autoreset_mode="Disabled")


@pytest.mark.parametrize("name", ONE_MARKET)
def test_an_episode_begun_again_is_the_same_episode(name):
    env, again = indexed(name, 3), indexed(name, 3)
    env.reset(seed=5)
    for _ in range(2):  # each lane's third episode
        env.reset(seed=None)
    again.reset(seed=77)
    lanes, keys = np.array([2, 0]), (np.array([7, 5]), np.array([2, 2]))
    wanted = env.engine.lanes[lanes]
    for decisions in (None, wanted["decision"].copy()):
        accounts = begin_at(again.engine, lanes, *keys, decisions)
        assert accounts.shape == (2, 6) and np.array_equal(again.engine.lanes[lanes], wanted)
        assert np.array_equal(again.decision_index[lanes], env.decision_index[lanes])


def test_elsewhere_only_the_market_differs():
    env = indexed("spot", 2)
    env.reset(seed=1)
    other = env.engine.lanes[1].copy()
    decision = int(env.decision_range[0]) + 3
    begin_at(env.engine, np.array([0]), np.array([1]), np.array([0]), np.array([decision]))
    lane = env.engine.lanes[0]
    assert env.decision_index[0] == lane.decision == decision
    assert lane.price == lane.initial_price == env.decision_closes[decision]
    assert env.engine.lanes[1] == other
    shown, *_ = env.step_lanes(np.array([0]), np.array([1]))
    assert shown["decision_index"].tolist() == [decision + 1]


@pytest.mark.parametrize("name", ONE_MARKET)
def test_what_was_tried_leaves_no_trace(name):
    env, other = indexed(name, 4), indexed(name, 4)
    rng = np.random.default_rng(0)
    for each in (env, other):
        each.reset(seed=3)
    lanes = np.array([3, 1])
    logged, tried = draw(env, rng), draw(env, rng)
    kept = keep(env.engine, lanes)
    env.step_lanes(lanes, tried[lanes])
    put_back(env.engine, lanes, kept)
    assert np.array_equal(env.decision_index, other.decision_index)
    for one, two in zip(env.step(logged)[1:4], other.step(logged)[1:4], strict=True):
        assert np.array_equal(one, two)
    assert np.array_equal(env.engine.lanes, other.engine.lanes)
