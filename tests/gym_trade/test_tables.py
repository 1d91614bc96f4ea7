"""Coarse bars, decision instants and windows against a slow reading of the same contract."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_trade import Market, MarketDataError, SequentialEnv, VectorTradeEnv, parse_time_frame
from gym_trade.tables import resample
from tests import markets, slow_market


def sessions(days=60, opening=14, closing=21, seed=0, minutes=0):
    """Hourly bars of weekday sessions: nights and weekends are closed."""
    frame = markets.bars(24 * days, seed, interval="1h", start="2023-01-02", missing=0.02)
    inside = (frame.index.hour >= opening) & (frame.index.hour < closing)
    frame = frame[inside & (frame.index.dayofweek < 5)]
    return frame.set_axis(frame.index + pd.Timedelta(minutes=minutes))


def business_days(count=500, start="2019-01-01"):
    frame = markets.bars(count, 4, interval="1D", start=start, missing=0.02)
    return frame[frame.index.dayofweek < 5]


def holed(frame, *spans):
    """Without the bars of some positions."""
    keep = np.ones(len(frame), bool)
    for begin, end in spans:
        keep[begin:end] = False
    return frame[keep]


# frame, base interval, time frames, windows, execute_on, offset
CASES = {
    "minutes with gaps": (
        markets.bars(700, 1, missing=0.15), "1min", ("1min", "5min", "15min", "1hour"),
        (12, 8, 8, 3), "5min", None,
    ),
    "long holes": (
        holed(markets.bars(1500, 2), (300, 417), (500, 560), (561, 800), (1200, 1201)), "1min",
        ("1min", "5min", "15min"), (5, 4, 6), "5min", None,
    ),
    "7min beside 15min": (
        markets.bars(900, 3, missing=0.1), "1min", ("7min", "15min"), (6, 5), "5min", None,
    ),
    "decisions every 7min": (
        markets.bars(900, 4), "1min", ("5min", "1min", "15min"), (3, 1, 4), "7min", None,
    ),
    "decisions longer than the frames": (
        markets.bars(900, 5), "1min", ("1min", "3min"), (7, 2), "15min", None,
    ),
    "seconds": (
        markets.bars(900, 6, interval="10s", start="2023-01-02 23:58:20"), "10sec",
        ("10sec", "30sec", "90sec", "1min"), (4, 4, 3, 5), "20sec", None,
    ),
    "business days": (business_days(), "1day", ("1day", "7day"), (10, 4), "1day", None),
    "before 1970": (business_days(300, "1968-11-04"), "1day", ("1day", "3day"), (5, 5), "2day",
                    None),
    "sessions": (sessions(), "1hour", ("1hour", "4hour", "1day"), (9, 5, 3), "1hour", None),
    "sessions by day": (sessions(), "1hour", ("1hour", "4hour"), (9, 5), "1day", None),
    "half past": (sessions(minutes=30), "1hour", ("1hour", "2hour", "1day"), (4, 4, 3), "1hour",
                  "30min"),
    "half past in six hours": (sessions(minutes=30), "1hour", ("6hour",), (4,), "3hour", "90min"),
    "minutes on a shifted grid": (markets.bars(700, 7), "1min", ("5min", "15min"), (4, 4),
                                  "5min", "3min"),
}  # fmt: skip


class Slow:
    """A case as the slow reading has it."""

    def __init__(self, frame, interval, names, windows, execute_on, offset):
        shift = slow_market.length_of(offset) if offset else 0
        self.base = slow_market.base_bars(frame, slow_market.length_of(interval))
        self.frames = [
            slow_market.coarse_bars(self.base, slow_market.length_of(n), shift) for n in names
        ]
        self.windows = windows
        step = slow_market.length_of(execute_on)
        self.instants = slow_market.decision_instants(self.base, step, shift)

    def first(self, warm_up):
        return slow_market.first_decision(self.instants, self.frames, self.windows, warm_up)

    def window_end(self, frame, decision):
        """How many bars of a frame have ended at a decision."""
        return slow_market.ended(self.frames[frame], self.instants[decision])


def environment(case, cls=SequentialEnv, **arguments):
    frame, _, names, windows, execute_on, offset = case
    arguments = {"features": slow_market.raw_features, "random_start": False} | arguments
    return cls(
        df=frame, time_frames=names, window_sizes=windows, execute_on=execute_on, offset=offset,
        **arguments,
    )  # fmt: skip


@pytest.fixture(params=CASES)
def case(request):
    frame, *rest = CASES[request.param]
    return (frame.assign(volume=np.floor(frame["volume"])), *rest)  # sums without rounding


# --- bars and instants ------------------------------------------------------------------


def test_coarse_bars(case):
    market = Market(case[0], offset=case[5])
    slow = Slow(*case)
    for name, bars in zip(case[2], slow.frames, strict=True):
        made = resample(
            market.open_ns, market.bars, market.volume, market.extras,
            parse_time_frame(name).interval_ns, market.offset_ns,
        )  # fmt: skip
        assert made.index.to_numpy("datetime64[ns]").astype(np.int64).tolist() == [
            bar.begin for bar in bars
        ]
        np.testing.assert_array_equal(made.to_numpy(), [bar[2:] for bar in bars])


def test_decision_instants_and_the_bars_between_them(case):
    env = environment(case, VectorTradeEnv)
    slow = Slow(*case)
    tables = env.tables[0]
    assert tables.instants.tolist() == slow.instants
    assert env.decision_times.astype(np.int64).tolist() == slow.instants
    # up to bar_end: all that has ended by the instant; from bar_end: all that opens at or after it
    assert tables.bar_end.tolist() == [slow_market.ended(slow.base, t) for t in slow.instants]
    for instant, end in zip(slow.instants, tables.bar_end.tolist(), strict=True):
        assert end == len(slow.base) or slow.base[end].begin >= instant
        assert slow.base[end - 1].end <= instant
    closes = [slow.base[end - 1].close for end in tables.bar_end.tolist()]
    np.testing.assert_array_equal(env.decision_closes, closes)


# --- windows ----------------------------------------------------------------------------


def test_every_window_ends_with_the_last_bar_that_has_ended(case):
    """All windows of all decisions hold exactly the bars that they should, to the bit."""
    tables = environment(case).engine.tables
    slow = Slow(*case)
    assert tables.first_decision == slow.first([0] * len(case[2]))
    rows = [np.array([slow_market.raw_row(b) for b in bars], np.float32) for bars in slow.frames]
    for decision in range(tables.first_decision, len(slow.instants)):
        for frame, window in enumerate(slow.windows):
            end = slow.window_end(frame, decision)
            expected = rows[frame][end - window : end]
            np.testing.assert_array_equal(tables.window(decision, frame), expected)


def test_a_bar_that_completes_at_the_instant_is_shown_at_that_instant():
    """Where frame and decision share their ends, the window ends exactly at the instant."""
    case = CASES["minutes with gaps"]
    tables = environment(case).engine.tables
    for decision in range(tables.first_decision, len(tables.instants)):
        day, second = tables.window(decision, 1)[-1, 5:].astype(np.int64).tolist()
        end = (day * 86400 + second) * 10**9 + slow_market.length_of("5min")
        assert end == tables.instants[decision]


def test_the_walk_shows_what_the_tables_hold(case):
    env = environment(case, transaction_fee=0.0)
    slow = Slow(*case)
    rows = [np.array([slow_market.raw_row(b) for b in bars], np.float32) for bars in slow.frames]
    observation, info = env.reset(seed=0)
    decision, over = slow.first([0] * len(case[2])), False
    while True:
        assert slow_market.nanoseconds(info["timestamp"]) == slow.instants[decision]
        for frame, (name, window) in enumerate(zip(case[2], slow.windows, strict=True)):
            end = slow.window_end(frame, decision)
            shown = observation[parse_time_frame(name).key]
            np.testing.assert_array_equal(shown, rows[frame][end - window : end])
        visible = slow_market.ended(slow.base, slow.instants[decision])
        assert info["price"] == slow.base[visible - 1].close
        if over:
            break
        observation, _, terminated, over, info = env.step(decision % 2)
        for fill in env.fills().itertuples():  # at the first base bar from the instant on
            assert (fill.bar, fill.reference_price) == (visible, slow.base[visible].open)
        assert not terminated
        decision += 1
    assert decision == len(slow.instants) - 1


def test_default_features_in_every_window(case):
    env = environment(case, features=None)
    tables, slow = env.engine.tables, Slow(*case)
    rows = []
    for bars, window in zip(slow.frames, slow.windows, strict=True):
        made = [slow_market.default_features(bars, k, window) for k in range(len(bars))]
        rows.append(np.array([[np.nan] * 5 if row is None else row for row in made]))
    assert tables.first_decision == slow.first([max(1, w - 1) for w in slow.windows])
    for decision in range(tables.first_decision, len(slow.instants)):
        for frame, window in enumerate(slow.windows):
            end = slow.window_end(frame, decision)
            shown = tables.window(decision, frame)
            assert np.isfinite(shown).all()
            np.testing.assert_allclose(
                shown, rows[frame][end - window : end], rtol=1e-6, atol=1e-12
            )


def test_the_first_decision_waits_for_the_slowest_frame():
    frame = markets.bars(3000, 9, missing=0.0, start="2023-01-02 00:00")
    env = VectorTradeEnv(df=frame, num_envs=1, random_start=False)
    env.reset(seed=0)
    # 24 hourly bars with features, the first of which needs 24 bars for its mean volume
    assert env.decision_times[env.decision_index[0]] == np.datetime64("2023-01-03T23:00")
    assert env.decision_range == (env.decision_index[0], 599)
    assert sum(part.stop - part.start for part in env.layout) == 266


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6), keep=st.sampled_from([0.45, 0.7, 0.95, 1.0]),
    count=st.integers(60, 260), frame=st.integers(1, 17), other=st.integers(1, 17),
    step=st.integers(1, 13), window=st.integers(1, 4),
    minute=st.integers(0, 1500), shift=st.integers(0, 20),
)  # fmt: skip
def test_any_gaps_any_frames(seed, keep, count, frame, other, step, window, minute, shift):
    start = pd.Timestamp("1969-12-31 12:00") + pd.Timedelta(minutes=minute)
    bars = markets.bars(count, seed, missing=1.0 - keep, start=str(start))
    if Market(bars).interval_ns != 60 * 10**9:
        return  # too few bars left to see that they are minutes
    names = (f"{frame}min", f"{other}min") if frame != other else (f"{frame}min",)
    offset = f"{shift}min" if shift else None
    chosen = (bars, "1min", names, (window,) * len(names), f"{step}min", offset)
    slow = Slow(*chosen)
    expected = slow.first([0] * len(names))
    if expected is None or expected >= len(slow.instants) - 1:
        with pytest.raises(ValueError, match=r"too short|has 0 steps"):
            environment(chosen)
        return
    tables = environment(chosen).engine.tables
    assert tables.instants.tolist() == slow.instants
    assert tables.first_decision == expected
    for decision in range(expected, len(slow.instants)):
        for number, bars_of_frame in enumerate(slow.frames):
            end = slow.window_end(number, decision)
            last = np.array(slow_market.raw_row(bars_of_frame[end - 1]), np.float32)[[0, 3, 5, 6]]
            np.testing.assert_array_equal(tables.window(decision, number)[-1, [0, 3, 5, 6]], last)


# --- defaults, and markets that do not fit ----------------------------------------------


@pytest.mark.parametrize("interval, key, window", [
    ("1h", "market_data_1Hour", 32), ("1D", "market_data_1Day", 32),
    ("5min", "market_data_5Minute", 32), ("10s", "market_data_10Second", 32),
])  # fmt: skip
def test_defaults_beside_minute_data(interval, key, window):
    frame = markets.bars(200, interval=interval, start="2023-01-01", missing=0.0)
    env = SequentialEnv(df=frame, random_start=False)
    observation, info = env.reset(seed=0)
    assert set(observation) == {key, "account_state"}
    assert observation[key].shape == (window, 5)
    _, _, _, _, after = env.step(0)
    stepped = pd.Timestamp(after["timestamp"]) - pd.Timestamp(info["timestamp"])
    assert stepped == pd.Timedelta(interval)


def test_defaults_of_minute_data():
    env = SequentialEnv(df=markets.bars(4000))
    shapes = {key: space.shape for key, space in env.observation_space.items()}
    assert shapes == {
        "market_data_1Minute": (12, 5), "market_data_5Minute": (8, 5),
        "market_data_15Minute": (8, 5), "market_data_1Hour": (24, 5), "account_state": (6,),
    }  # fmt: skip


def test_markets_of_different_intervals_do_not_mix():
    frames = {"a": markets.bars(300), "b": markets.bars(300, interval="5min")}
    with pytest.raises(ValueError, match="different base intervals: a 1min, b 5min"):
        SequentialEnv(df=frames, time_frames="5min", window_sizes=3)


def test_the_data_may_be_too_short():
    with pytest.raises(MarketDataError, match="too short for a window of 24 1hour bars, none of"):
        SequentialEnv(df=markets.bars(400))
    with pytest.raises(MarketDataError, match="too short for a window of 9 5min bars, which need"):
        SequentialEnv(df=markets.bars(60), time_frames="5min", window_sizes=9)
