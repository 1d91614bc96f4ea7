"""Short episodes on real bars, where they are at hand: holes, sessions, zero volumes and all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_tools.load import load
from gym_trade import Market, SequentialEnv, VectorTradeEnv, parse_time_frame
from tests import slow_market
from tests.real_data import BITCOIN, EURO, GOOGLE, euro_bids, needs


@pytest.fixture(scope="module")
def bitcoin():
    return Market(load(BITCOIN, echo=None))


def windows_end_right(env, frame, interval, names, decisions):
    """Whether the named windows end, in every decision given, with the bar that they should."""
    base = slow_market.base_bars(frame, interval)
    tables = env.engine.tables
    for number, name in enumerate(names):
        length = slow_market.length_of(name)
        bars = slow_market.coarse_bars(base, length)
        position = tables.time_frames.index(parse_time_frame(name))
        window = tables.window_sizes[position]
        for decision in decisions:
            end = slow_market.ended(bars, int(tables.instants[decision]))
            rows = [slow_market.default_features(bars, end - window + k, window)
                    for k in range(window)]  # fmt: skip
            np.testing.assert_allclose(
                tables.window(decision, position), rows, rtol=1e-5, atol=1e-7,
                err_msg=f"{name} {number} {decision}",
            )  # fmt: skip


@needs(BITCOIN)
def test_a_year_of_minutes_with_a_hole(bitcoin):
    """2023 lacks 80 minutes on 24 March, after 72 minutes without volume."""
    env = VectorTradeEnv(df=bitcoin, num_envs=64, leverage=5, episode_steps=50, slippage=1e-4)
    times = env.decision_times
    steps = np.diff(times)
    hole = int(steps.argmax())
    assert steps[hole] == np.timedelta64(80, "m") + np.timedelta64(5, "m")
    assert (np.delete(steps, hole) == np.timedelta64(5, "m")).all()
    assert str(times[hole])[:10] == "2023-03-24"
    observation, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(120):
        observation, rewards, *_ = env.step(rng.integers(0, 5, 64))
        assert np.isfinite(rewards).all() and np.abs(rewards).max() < 0.5
        assert all(np.isfinite(value).all() for value in observation.values())


@needs(BITCOIN)
def test_windows_around_the_hole(bitcoin):
    frame = bitcoin.to_frame().loc["2023-03-22":"2023-03-25"]
    env = SequentialEnv(df=frame, start="2023-03-24 11:00", random_start=False)
    times = env.engine.tables.instants.view("datetime64[ns]")
    hole = int(np.diff(times).argmax())
    names = ("1min", "5min", "15min", "1hour")
    windows_end_right(env, frame, 60 * 10**9, names, [hole - 3, hole, hole + 1, hole + 2, hole + 9])
    silent = frame["volume"].loc[: times[hole]].tail(60)
    assert (silent == 0.0).all()
    at_hole = env.engine.tables.window(hole, 0)
    np.testing.assert_array_equal(at_hole[:, 4], 0.0)  # no volume throughout: exactly 0


@needs(BITCOIN)
def test_a_position_over_the_hole_is_filled_and_marked_after_it(bitcoin):
    frame = bitcoin.to_frame()
    env = SequentialEnv(
        df=frame.loc["2023-03-22":"2023-03-25"], start="2023-03-24 12:25", random_start=False,
        transaction_fee=0.0,
    )  # fmt: skip
    _, info = env.reset(seed=0)
    while True:
        before, level = info["timestamp"], 0
        after = frame.index[frame.index >= pd.Timestamp(before[:19])][0]
        if after - pd.Timestamp(before[:19]) >= pd.Timedelta("1h"):
            level = 2
        _, _, _, _, info = env.step(level)
        if level:
            break
    fill = env.fills().iloc[0]
    assert fill["reference_price"] == frame["open"].loc[after]
    assert fill["bar"] == env.markets[0].to_frame().index.get_loc(after)
    expected = 10_000.0 * info["price"] / frame["open"].loc[after]
    assert info["portfolio_value"] == pytest.approx(expected, rel=1e-12)


@needs(BITCOIN)
def test_buy_and_hold_of_a_month_is_the_markets_return(bitcoin):
    start, end = "2023-02-01", "2023-03-01"
    env = SequentialEnv(
        df=bitcoin, start=start, end=end, execute_on="1hour", random_start=False,
        transaction_fee=0.0,
    )  # fmt: skip
    _, info = env.reset(seed=0)
    rewards, over = [], False
    while not over:
        _, reward, _, over, info = env.step(2)
        rewards.append(reward)
    frame = bitcoin.to_frame()
    growth = frame["close"].loc["2023-02-28 23:59"] / frame["open"].loc["2023-02-01 00:00"]
    assert len(rewards) == 28 * 24
    assert info["timestamp"] == "2023-03-01T00:00:00+00:00"
    assert info["portfolio_value"] == pytest.approx(10_000.0 * growth, rel=1e-12)
    assert sum(rewards) == pytest.approx(np.log(growth), rel=1e-9)


@needs(GOOGLE)
def test_daily_stock_bars_from_first_to_last():
    frame = load(GOOGLE, echo=None)
    raw = pd.read_csv(GOOGLE)
    market = Market(raw)  # as it is: title case, a further column, a date column
    assert market == Market(frame)
    env = SequentialEnv(df=raw, transaction_fee=0.0, random_start=False)
    assert env.config.df == market
    observation, info = env.reset(seed=0)
    assert observation["market_data_1Day"].shape == (32, 5)
    first = 31 + 32 - 1  # the mean volume of 32 days is known from day 31 on; 32 such are shown
    day = pd.Timestamp(raw["Date"][first]) + pd.Timedelta("1D")
    assert pd.Timestamp(info["timestamp"][:19]) == day
    steps, over = 0, False
    while not over:
        _, _, _, over, info = env.step(2)
        steps += 1
    assert steps == len(raw) - 1 - first
    growth = raw["Close"].iloc[-1] / raw["Open"].iloc[first + 1]
    assert info["portfolio_value"] == pytest.approx(10_000.0 * growth, rel=1e-12)
    assert info["metrics"]["total_return"] == pytest.approx(growth - 1.0, rel=1e-9)
    decisions = [first, first + 1, 300, 1000, len(raw) - 1]
    windows_end_right(env, frame, 86400 * 10**9, ("1day",), decisions)


@needs(EURO)
def test_hourly_currency_with_closed_weekends():
    rows = euro_bids()
    with pytest.warns(UserWarning, match="no volume column: it counts as 0"):
        env = SequentialEnv(
            df=rows, time_frames=["1hour", "4hour", "1day"], window_sizes=[8, 6, 5],
            execute_on="4hour", random_start=False, leverage=10,
        )  # fmt: skip
    frame = rows.set_index("date").assign(volume=0.0)
    base = slow_market.base_bars(frame, 3600 * 10**9)
    instants = slow_market.decision_instants(base, slow_market.length_of("4hour"))
    tables = env.engine.tables
    assert tables.instants.tolist() == instants
    gaps = np.diff(tables.instants) // (3600 * 10**9)
    assert gaps.min() == 4 and 44 <= gaps.max() <= 100  # weekends are never traded
    decisions = range(tables.first_decision, len(instants), 97)
    windows_end_right(env, frame, 3600 * 10**9, ("1hour", "4hour", "1day"), decisions)
    _, info = env.reset(seed=0)
    rng, over = np.random.default_rng(0), False
    while not over:
        before = info["timestamp"]
        _, reward, terminated, truncated, info = env.step(int(rng.integers(0, 5)))
        over = terminated or truncated
        assert info["timestamp"] > before and np.isfinite(reward)
