"""The built-in rewards against formulas in numpy, and custom ones."""

from __future__ import annotations

import numpy as np
import pytest

from gym_trade.rewards import INPUTS
from gym_trade.types import REWARDS
from tests import markets
from tests.rollouts import flat_then, scalar, vector

ACTIONS = np.random.default_rng(0).integers(0, 5, 100)


def differential_sharpe(returns, eta=0.01):
    """Moody and Saffell (1998), equation for D_t, from the exponential moving moments A and B."""
    mean, square, rewards = 0.0, 0.0, []
    for value in returns:
        delta_a, delta_b = value - mean, value**2 - square
        spread = square - mean**2
        rewards.append(
            (square * delta_a - mean * delta_b / 2) / spread**1.5 if spread > 1e-18 else 0.0
        )
        mean, square = mean + eta * delta_a, square + eta * delta_b
    return np.array(rewards)


def drawdown_penalty(equity):
    drawdown = 1.0 - equity / np.maximum.accumulate(equity)
    return np.diff(np.log(equity)) - 5.0 * np.maximum(drawdown[1:] - 0.1, 0.0)


FORMULAS = {
    "log_return": lambda e: np.log(e[1:] / e[:-1]),
    "simple_return": lambda e: e[1:] / e[:-1] - 1.0,
    "pnl": lambda e: (e[1:] - e[:-1]) / e[0],
    "differential_sharpe": lambda e: differential_sharpe(e[1:] / e[:-1] - 1.0),
    "drawdown_penalty": drawdown_penalty,
}


def rollout(env, seed=0):
    equity, rewards = [env.reset(seed=seed)[1]["portfolio_value"]], []
    for action in ACTIONS:
        _, reward, terminated, truncated, info = env.step(int(action))
        equity.append(info["portfolio_value"])
        rewards.append(reward)
        assert type(reward) is float
        if terminated or truncated:
            break
    return np.array(equity), np.array(rewards)


@pytest.mark.parametrize("name", REWARDS)
def test_built_in_rewards(name):
    assert FORMULAS.keys() == set(REWARDS)
    env = scalar(markets.bars(700, volatility=0.003), reward=name, leverage=3, random_start=False,
                 initial_cash=777.0)  # fmt: skip
    equity, rewards = rollout(env)
    assert len(rewards) == 100 and equity.min() > 100.0
    expected = FORMULAS[name](equity)
    np.testing.assert_allclose(rewards, expected, rtol=1e-9, atol=1e-12)
    if name == "drawdown_penalty":
        assert (rewards < FORMULAS["log_return"](equity) - 0.01).any()
    # the moments of one episode do not reach the next
    again, rewards_again = rollout(env)
    np.testing.assert_array_equal(rewards, rewards_again)
    np.testing.assert_array_equal(equity, again)


def test_log_returns_add_up_to_the_profit():
    equity, rewards = rollout(scalar(leverage=2))
    assert np.exp(rewards.sum()) == pytest.approx(equity[-1] / equity[0], rel=1e-12)


@pytest.mark.parametrize("name", REWARDS)
@pytest.mark.parametrize("margin_mode", ["cross", "isolated"])
def test_a_wipe_out_is_finite_and_strongly_negative(name, margin_mode):
    frame = flat_then(80, 0.5, at=47)
    env = scalar(frame, reward=name, leverage=20, margin_mode=margin_mode, random_start=False,
                 start="2023-01-02 00:30", bankrupt_threshold=0.0, transaction_fee=0.0)  # fmt: skip
    env.reset(seed=0)
    for _ in range(3):
        _, reward, *_ = env.step(4)
    _, reward, terminated, _, info = env.step(4)
    assert terminated and info["portfolio_value"] == 0.0
    assert np.isfinite(reward)
    floor = np.log(1e-6)
    expected = {"log_return": floor, "simple_return": -1.0, "pnl": -1.0,
                "drawdown_penalty": floor - 5 * 0.9}  # fmt: skip
    if name == "differential_sharpe":
        assert reward <= 0.0  # a first loss has no variance behind it: see the reward's docstring
    else:
        assert reward == pytest.approx(expected[name], rel=1e-5)


def test_the_differential_sharpe_ratio_is_as_published_even_where_it_is_not_monotone():
    """Its mean is below 0 after some losses; the square of a huge loss then counts as a gain.

    The formula says so, and so does the documentation of `reward_of`: it is no reward to learn risk
    limits from.
    """
    frame = flat_then(80, 0.5, at=57)
    frame.iloc[36:57, :4] = np.linspace(99.9, 98.0, 21)[:, None]
    env = scalar(frame, reward="differential_sharpe", leverage=20, random_start=False,
                 start="2023-01-02 00:30", bankrupt_threshold=0.0)  # fmt: skip
    env.reset(seed=0)
    terminated = False
    while not terminated:
        _, reward, terminated, _, info = env.step(3)
    assert info["portfolio_value"] == 0.0
    assert reward > 0.0


def test_the_floor_is_relative_to_the_initial_cash():
    """An equity below a millionth of it counts as a millionth; one above as it is."""
    for left, cash, expected in ((1e-7, 1e6, 1e-6), (1e-5, 1e6, 1e-5), (1e-7, 3.0, 1e-6)):
        env = scalar(flat_then(60, 100.0 * left, at=37), random_start=False, initial_cash=cash,
                     start="2023-01-02 00:30", transaction_fee=0.0)  # fmt: skip
        env.reset(seed=0)
        env.step(2)
        assert env.step(2)[1] == pytest.approx(np.log(expected), rel=1e-9)


# --- custom -----------------------------------------------------------------------------


def test_a_custom_reward_gets_the_arrays_it_names():
    seen = []

    def reward(
        previous_equity, equity, initial_cash, exposure, position, price, fees_paid, turnover,
        drawdown, terminated, truncated,
    ):  # fmt: skip
        seen.append(dict(zip(INPUTS, (previous_equity, equity, initial_cash, exposure, position,
                                      price, fees_paid, turnover, drawdown, terminated, truncated),
                             strict=True)))  # fmt: skip
        return np.log(equity / previous_equity)

    arguments = {"leverage": 3, "initial_cash": (1e3, 1e4), "episode_steps": 12}
    frame = markets.bars(600)
    custom = vector(frame, reward=reward, num_envs=5, **arguments)
    plain = vector(frame, num_envs=5, **arguments)
    custom.reset(seed=0), plain.reset(seed=0)
    peak = plain.portfolio_value
    rng = np.random.default_rng(0)
    for _ in range(30):
        before = plain.account()
        actions = rng.integers(0, 5, 5)
        _, ours, terminated, truncated, _ = custom.step(actions)
        _, theirs, *_ = plain.step(actions)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
        assert ours.dtype == np.float64
        given, after = seen[-1], plain.account()
        if (after["steps"] == 0).any():  # reset by NEXT_STEP: earns nothing
            assert (after["steps"] == 0).all() and (ours == 0.0).all()
            peak = after["portfolio_value"]
            continue
        peak = np.maximum(peak, after["portfolio_value"])
        np.testing.assert_array_equal(given["previous_equity"], before["portfolio_value"])
        for name, key in (
            ("equity", "portfolio_value"), ("exposure", "exposure"), ("position", "position"),
            ("price", "price"), ("fees_paid", "fees_paid"), ("turnover", "turnover"),
        ):  # fmt: skip
            np.testing.assert_array_equal(given[name], after[key])
        np.testing.assert_allclose(given["drawdown"], 1.0 - after["portfolio_value"] / peak,
                                   atol=1e-12)  # fmt: skip
        np.testing.assert_array_equal(given["terminated"], terminated)
        np.testing.assert_array_equal(given["truncated"], truncated)
    assert all(array.shape == (5,) for inputs in seen for array in inputs.values())
    assert len(set(seen[0]["initial_cash"])) == 5


def doubled(equity, previous_equity, weight=2.0):
    """Parameters in any order; one with a default is the caller's own."""
    return weight * (equity - previous_equity)


def test_a_custom_reward_in_the_scalar_environment():
    custom, plain = scalar(reward=doubled), scalar(reward="pnl")
    custom.reset(seed=3), plain.reset(seed=3)
    for action in (2, 0, 1, 1):
        ours, theirs = custom.step(action)[1], plain.step(action)[1]
        assert ours == pytest.approx(2.0 * 10_000.0 * theirs, rel=1e-9)
        assert type(ours) is float


def test_a_custom_reward_cannot_reach_the_account():
    def vandal(equity, position):
        equity[:], position[:] = 1e9, 1e9
        return np.zeros_like(equity)

    spoiled, plain = scalar(reward=vandal), scalar()
    spoiled.reset(seed=0), plain.reset(seed=0)
    for action in (2, 1, 0):
        assert spoiled.step(action)[4] == plain.step(action)[4]


@pytest.mark.parametrize(("reward", "message"), [
    (lambda equity: equity[:1] * np.nan, "not finite"),
    (lambda equity: np.zeros(len(equity) + 1), "shape"),
    (lambda equity: 0.0, "shape"),
])  # fmt: skip
def test_bad_custom_results(reward, message):
    env = scalar(reward=reward)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(0)


def test_bad_custom_signatures():
    with pytest.raises(ValueError, match="profit"):
        scalar(reward=lambda equity, profit: equity)
    with pytest.raises(ValueError, match="log_return"):
        scalar(reward="sharpe")
    with pytest.raises(ValueError, match="reward"):
        scalar(reward=3)


def everything(**arrays):
    """Takes whatever there is."""
    assert set(arrays) == set(INPUTS)
    return arrays["equity"] - arrays["previous_equity"]


def test_a_custom_reward_may_take_everything():
    env = scalar(reward=everything)
    env.reset(seed=0)
    env.step(2)
