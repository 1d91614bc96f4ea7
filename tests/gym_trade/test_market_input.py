"""The forms that a frame may come in: stamps, zones, units, columns; it is read, never changed."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, MarketDataError, SequentialEnv
from tests import markets
from tests.refusals import refusal
from tests.rollouts import SMALL

ROW = 17
PRICES = ("open", "high", "low", "close")


def gapless(count=60, **arguments):
    return markets.bars(count, missing=0.0, **arguments)


# --- where stamps are, and in which zone ------------------------------------------------


NAMES = ["timestamp", "date", "datetime", "open_time", "time", "Date", "TIMESTAMP", " Open_Time "]


@pytest.mark.parametrize("name", NAMES)
def test_a_time_column(name):
    frame = gapless()
    other = frame.reset_index().rename(columns={"timestamp": name})
    assert Market(other) == Market(frame)


def test_text_stamps_and_their_zone():
    frame = gapless()
    expected = Market(frame)
    for shift, suffix in (("0h", ""), ("0h", "Z"), ("0h", "+00:00"), ("2h", "+02:00")):
        stamps = (frame.index + pd.Timedelta(shift)).strftime("%Y-%m-%dT%H:%M:%S") + suffix
        assert Market(frame.reset_index(drop=True).assign(date=stamps)) == expected


@pytest.mark.parametrize("kind", [np.int64, np.float64, "Int64", np.uint64])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_epoch_numbers_of_any_unit(unit, kind):
    frame = gapless()
    numbers = frame.index.to_numpy().astype(f"datetime64[{unit}]").astype(np.int64)
    other = frame.reset_index(drop=True).assign(open_time=pd.Series(numbers).astype(kind))
    assert Market(other) == Market(frame)


@pytest.mark.parametrize("first", [0, 1000, -5 * 10**9, 10**10, 20_230_101])
def test_numbers_that_are_no_epoch_are_refused(first):
    frame = gapless().reset_index(drop=True).assign(date=first + 60 * np.arange(60))
    text = refusal(frame)
    assert f"numeric time stamps from {first} to {first + 60 * 59}" in text
    assert "pandas.to_datetime" in text


def test_unreadable_text_stamps():
    frame = gapless().reset_index()
    frame["timestamp"] = frame["timestamp"].astype(str)
    frame.loc[ROW, "timestamp"] = "yesterday-ish"
    text = refusal(frame)
    assert "column 'timestamp' cannot be read as time stamps" in text
    assert "yesterday-ish" in text


def test_zones_are_converted():
    frame = gapless(2000, interval="1h", start="2023-03-20")  # over a change to summer time
    expected = Market(frame)
    for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata"):
        assert Market(frame.tz_localize("UTC").tz_convert(zone)) == expected
        column = frame.tz_localize("UTC").tz_convert(zone).reset_index()
        assert Market(column) == expected


def test_coarse_stamp_resolutions_are_read_and_far_dates_refused():
    frame = gapless(interval="1D", start="2023-01-02")
    expected = Market(frame)
    frame.index = frame.index.as_unit("s")
    assert Market(frame) == expected
    frame.index = pd.date_range("3000-01-01", periods=60, freq="1D", unit="s")
    assert "nanoseconds" in refusal(frame)


def test_closing_stamps():
    frame = gapless()
    shifted = frame.set_axis(frame.index + pd.Timedelta("1min"))
    assert Market(shifted, stamp="close") == Market(frame)
    assert Market(shifted) != Market(frame)
    with pytest.raises(ValueError, match="stamp='end': expected 'open' or 'close'"):
        Market(frame, stamp="end")


def test_closing_stamps_of_sessions_over_gaps():
    frame = markets.bars(200, missing=0.3)
    shifted = frame.set_axis(frame.index + pd.Timedelta("1min"))
    np.testing.assert_array_equal(Market(shifted, stamp="close").open_ns, Market(frame).open_ns)


# --- columns ----------------------------------------------------------------------------


def test_letter_case_order_and_further_columns_do_not_matter():
    frame = gapless()
    other = frame.rename(columns=str.upper)[["VOLUME", "CLOSE", "LOW", "HIGH", "OPEN"]]
    other = other.assign(**{"Adj Close": -1.0, "Symbol": "X", "ignored": np.nan})
    assert Market(other) == Market(frame)
    assert Market(frame.rename(columns=lambda name: f" {name.title()} ")) == Market(frame)


@pytest.mark.parametrize("missing", [["open"], ["close"], ["high", "low"]], ids=str)
def test_a_missing_price_column(missing):
    text = refusal(gapless().drop(columns=missing))
    assert ", ".join(missing) + " missing" in text


def test_columns_that_differ_only_in_case():
    assert "'close' and 'CLOSE' differ only" in refusal(gapless().assign(CLOSE=1.0))


def test_no_stamps_at_all():
    text = refusal(gapless().reset_index(drop=True))
    assert "neither a DatetimeIndex nor a column named one of timestamp, date" in text
    assert "['open', 'high', 'low', 'close', 'volume']" in text


@pytest.mark.parametrize("value", [None, [1.0], {"open": [1.0]}, np.ones((3, 5)), "bars.csv"])
def test_no_frame_at_all(value):
    with pytest.raises(MarketDataError, match=r"pandas DataFrame.*data_tools.load"):
        Market(value)


def test_a_missing_volume_counts_as_zero_and_is_said_once():
    frame = markets.bars(200).drop(columns="volume")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        market = Market(frame)
        envs = [SequentialEnv(df=market, **SMALL) for _ in range(3)]
    assert [str(w.message) for w in said] == ["market 0 has no volume column: it counts as 0."]
    assert not market.volume.any()
    observation, _ = envs[0].reset(seed=0)
    np.testing.assert_array_equal(observation["market_data_1Minute"][:, 4], 0.0)


def test_a_volume_of_zeros_is_no_missing_one():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SequentialEnv(df=markets.bars(200).assign(volume=0), **SMALL)


# --- the caller's frame -----------------------------------------------------------------


def test_the_frame_and_the_market_are_apart():
    frame = gapless(100).assign(feature_x=1.0, funding_rate=0.001, Note="n")
    before = frame.copy(deep=True)
    market = Market(frame)
    bars, digest = market.bars.copy(), market.content_hash
    env = SequentialEnv(df=frame, **SMALL)
    env.reset(seed=0)
    env.step(2)
    pd.testing.assert_frame_equal(frame, before)
    frame[[*PRICES, "volume", "feature_x", "funding_rate"]] = 7.0
    frame.index = frame.index + pd.Timedelta("1D")
    np.testing.assert_array_equal(market.bars, bars)
    assert market.extras["feature_x"][0] == 1.0
    assert market.content_hash == digest == Market(before).content_hash


def test_the_memory_behind_the_frame_is_not_kept():
    names = [*PRICES, "volume", "feature_x", "funding_rate"]
    block = np.full((100, 7), 100.0)
    index = pd.date_range("2023-01-02", periods=100, freq="1min")
    frame = pd.DataFrame(block, index=index, columns=names, copy=False)
    market = Market(frame)
    digest = market.to_frame()
    block[:] = 2.0  # still writeable by its owner
    for array in (market.bars, market.volume, *market.extras.values()):
        assert not np.shares_memory(array, block)
        assert (array == 100.0).all()
    pd.testing.assert_frame_equal(market.to_frame(), digest)
