"""``start`` and ``end`` are decision instants: nothing is walked beyond, all before is history."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_trade import Market, SequentialEnv, VectorTradeEnv
from tests import markets, slow_market
from tests.rollouts import assert_same

FRAME = markets.bars(900, 12, missing=0.12)
MARKET = Market(FRAME)
NAMES, WINDOWS, EXECUTE_ON = ("1min", "7min", "15min"), (6, 4, 3), "5min"
ARGUMENTS = {"time_frames": NAMES, "window_sizes": WINDOWS, "execute_on": EXECUTE_ON}
BASE = slow_market.base_bars(FRAME, slow_market.length_of("1min"))
INSTANTS = slow_market.decision_instants(BASE, slow_market.length_of(EXECUTE_ON))
FIRST = slow_market.first_decision(
    INSTANTS,
    [slow_market.coarse_bars(BASE, slow_market.length_of(name)) for name in NAMES],
    WINDOWS,
    [max(1, window - 1) for window in WINDOWS],
)


def environment(source=MARKET, **arguments):
    return SequentialEnv(df=source, **({"random_start": False} | ARGUMENTS | arguments))


def walk(env, level=2):
    """Every (instant, observation, reward, price) of an episode, and the bars it filled at."""
    observation, info = env.reset(seed=1)
    rows, filled, over = [(info["timestamp"], observation, 0.0, info["price"])], [], False
    while not over:
        observation, reward, terminated, over, info = env.step(level * (len(rows) % 2))
        rows.append((info["timestamp"], observation, reward, info["price"]))
        filled += [int(bar) for bar in env.fills()["bar"]]
        assert not terminated
    return rows, filled


def stamps(rows):
    return [slow_market.nanoseconds(row[0]) for row in rows]


def usable(start=None, end=None):
    """The decision instants of a slice, as the contract has them."""
    begin = INSTANTS[FIRST] if start is None else max(INSTANTS[FIRST], start)
    return [t for t in INSTANTS if t >= begin and (end is None or t <= end)]


times = st.integers(BASE[0].begin // 10**9 - 4000, BASE[-1].end // 10**9 + 4000)


@settings(max_examples=40)
@given(start=st.none() | times, end=st.none() | times)
def test_any_slice(start, end):
    begin = None if start is None else start * 10**9
    finish = None if end is None else end * 10**9
    arguments = {
        "start": None if start is None else pd.Timestamp(begin),
        "end": None if end is None else pd.Timestamp(finish, tz="UTC"),
    }
    expected = usable(begin, finish)
    if len(expected) < 2:
        with pytest.raises(ValueError, match=r"has 0 steps between start=.* and end="):
            environment(**arguments)
        return
    rows, filled = walk(environment(**arguments))
    assert stamps(rows) == expected
    assert all(BASE[bar].begin >= expected[0] for bar in filled)
    assert all(BASE[bar].end <= expected[-1] for bar in filled)


@pytest.mark.parametrize("shift", [-1, 0, 1], ids=["before", "at", "after"])
def test_both_ends_are_inclusive_to_the_second(shift):
    begin, finish = INSTANTS[FIRST + 20], INSTANTS[FIRST + 50]
    step = shift * 10**9
    rows, _ = walk(environment(start=pd.Timestamp(begin + step), end=pd.Timestamp(finish + step)))
    walked = stamps(rows)
    assert walked[0] == (begin if shift <= 0 else INSTANTS[FIRST + 21])
    assert walked[-1] == (finish if shift >= 0 else INSTANTS[FIRST + 49])


def test_the_bars_before_the_start_serve_as_history():
    """A slice needs no warm-up of its own: it shows what the whole would show there."""
    whole, _ = walk(environment(), level=0)
    for begin in (FIRST, FIRST + 1, FIRST + 33, len(INSTANTS) - 2):
        part, _ = walk(environment(start=pd.Timestamp(INSTANTS[begin])), level=0)
        assert len(part) == len(INSTANTS) - begin
        for one, other in zip(part, whole[begin - FIRST :], strict=True):
            assert_same(one[0], other[0])
            assert_same(one[1], other[1])


def test_a_start_before_the_windows_are_full_begins_when_they_are():
    for start in (FRAME.index[0], "1999-01-01", pd.Timestamp(INSTANTS[FIRST] - 1)):
        assert stamps(walk(environment(start=start))[0])[0] == INSTANTS[FIRST]


def test_bars_beyond_the_end_have_no_part_in_it():
    """Cutting off or changing all that closes after the end changes nothing, to the bit."""
    finish = INSTANTS[FIRST + 60]
    end = pd.Timestamp(finish)
    later = FRAME.index + pd.Timedelta("1min") > end
    changed = FRAME.copy()
    changed.loc[later, ["open", "high", "low", "close"]] *= 3.0
    arguments = {"end": end, "slippage": 0.002, "slippage_model": "uniform", "random_start": True}
    expected = walk(environment(**arguments))
    assert stamps(expected[0])[-1] == finish
    for other in (changed, FRAME[~later]):
        got = walk(environment(other, **arguments))
        assert got[1] == expected[1]
        for one, two in zip(got[0], expected[0], strict=True):
            for left, right in zip(one, two, strict=True):
                assert_same(left, right)


def test_a_forming_decision_bin_beyond_the_end_is_not_walked():
    """An end inside a bin stops at the last instant before it."""
    finish = INSTANTS[FIRST + 10]
    rows, filled = walk(environment(end=pd.Timestamp(finish) + pd.Timedelta("4min59s")))
    assert stamps(rows)[-1] == finish
    assert max(BASE[bar].end for bar in filled) <= finish


@pytest.mark.parametrize("value", [
    "2023-01-03 01:00", "2023-01-03T01:00:00Z", "2023-01-03T02:00:00+01:00",
    pd.Timestamp("2023-01-03 01:00"), pd.Timestamp("2023-01-02 20:00", tz="America/New_York"),
    np.datetime64("2023-01-03T01:00"), pd.Timestamp("2023-01-03 01:00").to_pydatetime(),
], ids=str)  # fmt: skip
def test_times_are_utc_unless_they_say_otherwise(value):
    env = environment(start=value)
    assert env.config.start == "2023-01-03T01:00:00+00:00"
    _, info = env.reset(seed=0)
    assert info["timestamp"] == "2023-01-03T01:00:00+00:00"


def test_random_starts_leave_a_full_episode_inside_the_slice():
    start, end = pd.Timestamp(INSTANTS[FIRST + 5]), pd.Timestamp(INSTANTS[FIRST + 35])
    env = VectorTradeEnv(
        df=MARKET, num_envs=600, start=start, end=end, episode_steps=12,
        autoreset_mode="Disabled", **ARGUMENTS,
    )  # fmt: skip
    env.reset(seed=0)
    begun = env.decision_index.copy()
    assert set(begun.tolist()) == set(range(FIRST + 5, FIRST + 35 - 12 + 1))
    for step in range(12):
        _, _, terminated, truncated, _ = env.step(np.full(600, 2))
        assert not terminated.any() and truncated.all() == truncated.any() == (step == 11)
    np.testing.assert_array_equal(env.decision_index, begun + 12)
    assert env.decision_index.max() == env.decision_range[1] == FIRST + 35


def test_a_slice_must_hold_the_episode():
    arguments = {"start": pd.Timestamp(INSTANTS[FIRST]), "end": pd.Timestamp(INSTANTS[FIRST + 9])}
    assert len(walk(environment(**arguments, episode_steps=9))[0]) == 10
    with pytest.raises(ValueError) as caught:
        environment(**arguments, episode_steps=10)
    text = str(caught.value)
    assert "has 9 steps between start=2023-01-" in text
    assert "10 are needed (episode_steps=10)" in text
    assert f"Its windows are full from {pd.Timestamp(INSTANTS[FIRST])} on" in text


def test_an_end_before_the_start_is_refused():
    with pytest.raises(ValueError, match=r"start=2023-01-03T02.* and end=2023-01-03T01"):
        environment(start="2023-01-03 02:00", end="2023-01-03 01:00")


def test_a_slice_applies_to_each_of_several_markets():
    """Each market is sliced on its own instants; one that the slice misses is named."""
    other = markets.bars(1200, 13, missing=0.3, start="2023-01-02 20:00")
    start, end = "2023-01-03 01:02", "2023-01-03 03:03"
    env = VectorTradeEnv(
        df={"a": MARKET, "b": other}, num_envs=200, start=start, end=end, **ARGUMENTS
    )
    env.reset(seed=0)
    at = np.array([
        env.tables[market].instants[index]
        for market, index in zip(env.account()["market"], env.decision_index, strict=True)
    ])  # fmt: skip
    assert set(env.account()["market"]) == {0, 1}
    assert at.min() >= pd.Timestamp(start).value and at.max() <= pd.Timestamp(end).value
    late = markets.bars(900, 14, start="2024-01-01")
    with pytest.raises(ValueError, match="market late has 0 steps"):
        VectorTradeEnv(df={"a": MARKET, "late": late}, end=end, **ARGUMENTS)
