"""Rollouts one after the other on the same account, and what the batch says of masks."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from gym_trade import VectorOneStepEnv, VectorSLTPEnv, VectorTradeEnv
from tests import markets

SMALL = {"window_sizes": 4, "observation": "flat", "leverage": 2, "rollout_steps": 5}


def make(lanes: int = 3, **arguments: object) -> VectorOneStepEnv:
    frame = markets.hourly(200, 1, move=0.02, gap=0.01)
    return VectorOneStepEnv(
        df=frame, num_envs=lanes, **({"autoreset_mode": "Disabled"} | SMALL | arguments)
    )


def test_the_account_and_its_metrics_go_on() -> None:
    env = make(random_start=False, initial_cash=500.0)
    env.reset(seed=0)
    equity, decisions, fees = np.full(3, 500.0), env.decision_index, np.zeros(3)
    for step in range(6):
        actions = np.array([1 + step % 4, 5, 0])
        observation, reward, terminated, _, info = env.step(actions)
        assert terminated.all() and not any(x.any() for x in env.go_on())
        np.testing.assert_allclose(env.portfolio_value, equity * np.exp(reward))
        np.testing.assert_allclose(info["metrics"]["total_return"], env.portfolio_value / 500 - 1)
        assert (env.decision_index > decisions).all() and (env.account()["steps"] == 0).all()
        assert (info["metrics"]["fees_paid"] >= fees).all()
        np.testing.assert_array_equal(observation[:, -5], 0.0)  # flat again
        equity, decisions = env.portfolio_value, env.decision_index
        fees = info["metrics"]["fees_paid"]
    assert decisions[2] == decisions.min() and fees[0] > 0.0 == fees[2]


def test_it_stops_at_the_end_and_when_bankrupt() -> None:
    env = make(random_start=False, transaction_fee=0.4, start=None)
    env.reset(seed=0)
    ended = np.zeros((2, 3), bool)
    while not ended.any(axis=0).all():
        running = np.flatnonzero(~ended.any(axis=0))
        env.step_lanes(running, np.array([1, 5, 0])[running])
        ended |= np.stack(env.go_on())
    assert ended.tolist() == [[True, True, False], [False, False, True]]
    assert env.decision_index[2] == env.decision_range[1]
    assert (env.portfolio_value[:2] < 1_000).all()
    with pytest.raises(RuntimeError, match="has ended"):
        env.step(np.zeros(3, np.int64))


def test_draws_differ_from_rollout_to_rollout() -> None:
    env = make(random_start=False, slippage=0.01, slippage_model="uniform")
    env.reset(seed=0)
    slips = []
    for _ in range(5):
        before = env.account()["slippage_cost"]
        env.step(np.full(3, 1))
        slips.append((env.account()["slippage_cost"] - before) / env.portfolio_value)
        env.go_on()
    assert len(np.unique(np.round(slips, 6))) == 15


def test_it_needs_autoreset_to_be_off() -> None:
    env = make(autoreset_mode="SameStep")
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="Disabled"):
        env.go_on()


@pytest.mark.parametrize("more", [{}, {"lock_until_exit": True}, {"include_close_action": True}])
def test_masks_by_direction_are_those_of_info(more: dict[str, object]) -> None:
    frame = markets.hourly(200, 1, move=0.02, gap=0.01)
    env = VectorSLTPEnv(df=frame, num_envs=8, leverage=2, window_sizes=4, **more)
    _, info = env.reset(seed=0)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(60):
        np.testing.assert_array_equal(env.direction_masks[env.directions], info["action_mask"])
        np.testing.assert_array_equal(env.directions, np.sign(env.account()["position"]))
        seen |= set(env.directions.tolist())
        *_, info = env.step(rng.integers(0, env.single_action_space.n, 8))
    assert seen == {-1, 0, 1}


def test_levels_have_no_masks() -> None:
    env = gymnasium.make_vec("Trade-Sequential-v0", num_envs=2).unwrapped
    assert isinstance(env, VectorTradeEnv) and env.direction_masks is None
