"""Episodes: where they start, when and how they end, that they share nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gym_trade import types
from tests import markets
from tests.rollouts import CRASH, assert_same, flat_then, play, scalar, vector

# --- how episodes begin -----------------------------------------------------------------


def test_random_start_is_uniform_over_all_starts_that_leave_a_full_episode():
    """First and last included, over lanes and over the episodes of one lane."""
    lanes, steps = 6000, 20
    env = vector(markets.bars(200, missing=0.0), num_envs=lanes, episode_steps=steps)
    first, last = env.decision_range
    count = last - steps - first + 1
    env.reset(seed=1)
    starts = np.bincount(env.decision_index - first, minlength=count)
    assert len(starts) == count > 10
    expected = lanes / count
    spread = float(((starts - expected) ** 2 / expected).sum())
    assert spread < count + 5.0 * np.sqrt(2.0 * count)  # chi squared, five sigma
    assert (starts > 0).all()

    one = vector(markets.bars(200, missing=0.0), num_envs=1, episode_steps=steps)
    one.reset(seed=3)
    seen = [int(one.reset()[0] is not None) * int(one.decision_index[0]) for _ in range(400)]
    assert (min(seen), max(seen)) == (first, last - steps)
    assert len(set(seen)) == count


def test_without_a_length_every_instant_with_a_step_left_is_a_start():
    env = vector(markets.bars(60, missing=0.0), num_envs=500)
    first, last = env.decision_range
    env.reset(seed=0)
    assert set(env.decision_index) == set(range(first, last))


def test_fixed_start_and_time_range():
    """The first usable instant at or after start; the last mark at or before end."""
    env = scalar(
        markets.bars(600, missing=0.0), random_start=False, start="2023-01-02 22:02",
        end="2023-01-02 23:04",
    )  # fmt: skip
    infos, _, flags = play(env, [1] * 100)
    assert infos[0]["timestamp"] == "2023-01-02T22:05:00+00:00"
    assert infos[-1]["timestamp"] == "2023-01-02T23:00:00+00:00"
    assert flags == (False, True)


def test_initial_cash_range():
    """Uniform, its own draw, and the base of everything that is relative to it."""
    env = vector(num_envs=4000, initial_cash=(5_000.0, 20_000.0))
    env.reset(seed=0)
    cash = env.portfolio_value
    assert 5_000.0 <= cash.min() < 5_050.0 < 19_950.0 < cash.max() <= 20_000.0
    assert cash.mean() == pytest.approx(12_500.0, abs=300.0)
    assert abs(np.corrcoef(cash, env.decision_index)[0, 1]) < 0.06
    one = scalar(initial_cash=(5_000.0, 20_000.0), reward="pnl")
    infos, rewards, _ = play(one, [2, 1, 0], seed=17)
    assert infos[0]["portfolio_value"] == cash[17]
    assert infos[0]["cash"] == cash[17]
    change = infos[1]["portfolio_value"] - cash[17]
    assert rewards[0] == pytest.approx(change / cash[17], rel=1e-12)


# --- how they end -----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_an_episode_has_exactly_episode_steps_steps(steps):
    env = scalar(episode_steps=steps)
    for seed in range(5):
        infos, rewards, flags = play(env, [1, 2, 0] * 100, seed)
        assert len(rewards) == steps
        assert flags == (False, True)
        assert infos[-1]["metrics"].keys() and "metrics" not in infos[-2]


def test_an_episode_without_length_ends_with_the_data():
    frame = markets.bars(600)
    env = scalar(frame)
    infos, _, flags = play(env, [1] * 1000, seed=5)
    assert flags == (False, True)
    # the last bin of five minutes that holds a bar, and its last close
    last = frame.index[-1].floor("5min").tz_localize("UTC") + np.timedelta64(5, "m")
    assert infos[-1]["timestamp"] == last.isoformat()
    assert infos[-1]["price"] == frame["close"].iloc[-1]


def test_an_open_position_is_marked_at_truncation_not_closed():
    env = scalar(flat_then(60, 110.0, at=45), episode_steps=8, random_start=False,
                 start="2023-01-02 00:10", transaction_fee=0.0)  # fmt: skip
    infos, _, flags = play(env, [2] * 8)
    assert flags == (False, True)
    assert infos[-1]["position"] == 100.0
    assert infos[-1]["portfolio_value"] == pytest.approx(11_000.0)
    assert infos[-1]["n_trades"] == 0


@pytest.mark.parametrize(("price", "threshold", "dead"), [
    (10.0, 0.1, False), (9.99, 0.1, True), (0.001, 0.0, False), (50.0, 0.5, False),
    (49.0, 0.5, True),
])  # fmt: skip
def test_bankruptcy_is_equity_below_its_threshold(price, threshold, dead):
    env = scalar(flat_then(60, price, at=37), bankrupt_threshold=threshold, **CRASH)
    infos, _, flags = play(env, [2, 2])
    assert flags == (dead, False)
    assert infos[-1]["portfolio_value"] == pytest.approx(100.0 * price)


@pytest.mark.parametrize("steps", [2, None])
def test_bankrupt_and_over_at_once_is_terminated_only(steps):
    """At the last step of the episode and at the last bar of the data."""
    env = scalar(flat_then(40, 1.0, at=37), episode_steps=steps, **CRASH)
    infos, rewards, flags = play(env, [2, 2])
    assert len(rewards) == 2
    assert flags == (True, False)
    assert "metrics" in infos[-1]


def test_equity_of_nothing_terminates_whatever_the_threshold():
    env = scalar(flat_then(60, 1.0, at=37), leverage=10, bankrupt_threshold=0.0, **CRASH)
    infos, rewards, flags = play(env, [4, 4])
    assert flags == (True, False)
    assert infos[-1]["portfolio_value"] == 0.0
    assert infos[-1]["exit_reason"] == "liquidation"
    assert rewards[-1] == pytest.approx(np.log(1e-6), rel=1e-12)


# --- one episode after another ----------------------------------------------------------


def test_nothing_of_an_episode_is_visible_in_the_next():
    """Whatever was done before, the next episode of a seed is the same to the last field."""
    arguments = {
        "leverage": 20, "episode_steps": 30, "slippage": 0.002, "slippage_model": "uniform",
        "initial_cash": (1e3, 1e4), "reward": "differential_sharpe",
    }  # fmt: skip
    frame = markets.bars(600, volatility=0.004)
    states = []
    for actions in ([], [4, 0] * 15, [0] * 10):
        env = scalar(frame, **arguments)
        play(env, actions, seed=9)
        observation, info = env.reset()
        lane = {name: env.engine.lanes[name].item() for name in types.LANE_DTYPE.names}
        # the last fill is scratch space that a step without fills does not read
        lane = {name: value for name, value in lane.items() if not name.startswith("fill_")}
        steps = [env.step(action) for action in [4, 4, 0, 1, 3, 0, 4]]
        states.append((observation, info, lane, steps))
    for observation, info, lane, steps in states[1:]:
        assert_same(observation, states[0][0])
        assert (info, lane) == states[0][1:3]
        for ours, first in zip(steps, states[0][3], strict=True):
            assert_same(ours[0], first[0])
            assert ours[1:4] == first[1:4]
            assert_same(ours[4], first[4])


def test_same_seed_same_trajectory_whatever_numpy_does():
    runs = []
    for salt in range(2):
        np.random.seed(salt)
        env = scalar(slippage=0.01, slippage_model="uniform", initial_cash=(1e3, 1e4))
        runs.append(play(env, [2, 0, 1, 2] * 5, seed=4))
        np.random.rand()
    assert runs[0][0] == runs[1][0]
    assert_same(runs[0][1], runs[1][1])
    other = play(scalar(slippage=0.01, slippage_model="uniform"), [2, 0, 1, 2] * 5, seed=5)
    assert other[0][0]["timestamp"] != runs[0][0][0]["timestamp"]


def test_slippage_does_not_depend_on_what_was_done_before():
    """A draw is keyed by step and fill: two policies that trade at a step pay the same rate."""
    rates = []
    for actions in ([2, 0, 1, 1, 2], [0, 1, 1, 1, 2]):
        env = scalar(slippage=0.01, slippage_model="uniform")
        env.reset(seed=0)
        for action in actions:
            env.step(action)
        (filled,) = env.fills().itertuples()
        rates.append(filled.price / filled.reference_price - 1.0)
    assert rates[0] == pytest.approx(rates[1], rel=1e-9)
    assert 0.0 < rates[0] < 0.01
