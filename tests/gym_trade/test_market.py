"""A market is one thing: never copied, read-only, known by its content hash."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, MarketDataError, SequentialConfig, VectorTradeEnv
from tests import markets
from tests.extended_market import TABLE_ARRAYS, WINDOWS, extended, tables_of

# --- identity ---------------------------------------------------------------------------


def test_a_copy_is_the_market_itself():
    market = Market(extended())
    assert copy.copy(market) is market
    assert copy.deepcopy(market) is market
    assert copy.deepcopy({"df": [market, market]}) == {"df": [market, market]}
    config = copy.deepcopy(SequentialConfig(df=market))
    assert config.df is market


def test_environments_share_one_market_and_its_tables():
    market = Market(extended())
    one, two = (
        VectorTradeEnv(df=market, num_envs=2, leverage=lever, **WINDOWS) for lever in (1, 3)
    )
    assert one.markets[0] is market
    assert one.tables[0] is two.tables[0]
    assert np.shares_memory(one.engine.grid.bars, market.bars)
    assert np.shares_memory(one.engine.grid.features, two.tables[0].features)


def test_tables_are_made_once_for_each_choice():
    market = Market(extended())
    assert tables_of(market) is tables_of(market)
    assert tables_of(market, "default") is not tables_of(market)
    assert tables_of(market, "default").widths == (5, 5, 5)
    assert tables_of(market).widths == (6, 6, 6)


def test_everything_is_read_only():
    market = Market(extended())
    tables = tables_of(market)
    arrays = [market.open_ns, market.open_times, market.bars, market.volume, market.open,
              market.high, market.low, market.close, *market.extras.values(),
              *(getattr(tables, name) for name in TABLE_ARRAYS), tables.window(50, 0)]  # fmt: skip
    for array in arrays:
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_what_a_market_says_of_itself():
    frame = extended()
    market = Market(frame)
    assert len(market) == len(frame)
    assert market.span == (
        pd.Timestamp("2023-01-02 21:00", tz="UTC"),
        frame.index[-1].tz_localize("UTC") + pd.Timedelta("1min"),
    )
    assert repr(market) == f"Market({len(frame)} 1min bars, 2023-01-02 to 2023-01-03)"
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(market, name), frame[name])
        assert getattr(market, name).dtype == np.float64
    assert market.bars.flags.c_contiguous
    np.testing.assert_array_equal(market.open_times, frame.index.to_numpy())
    pd.testing.assert_frame_equal(market.to_frame(), frame, check_freq=False)
    assert Market(market.to_frame()) == market
    assert set(market.extras) == {"feature_x", "funding_rate"}


def test_further_columns_are_kept_on_request():
    frame = extended().assign(Rate=2.0, other=3.0)
    assert set(Market(frame, columns=["Rate"]).extras) == {"feature_x", "funding_rate", "rate"}
    with pytest.raises(MarketDataError, match="column nope missing"):
        Market(frame, columns=["nope"])


def test_a_time_frame_off_the_base_interval_is_refused():
    market = Market(markets.bars(200, interval="2min"))
    for arguments in ({"time_frames": "5min"}, {"execute_on": "5min"}, {"time_frames": "1min"}):
        with pytest.raises(ValueError, match=r"[15]min is no multiple of the market's 2min bars"):
            VectorTradeEnv(df=market, window_sizes=3, **arguments)


# --- content hash -----------------------------------------------------------------------


def test_the_hash_is_of_the_content():
    market = Market(extended())
    digest = market.content_hash
    assert len(digest) == 64 and int(digest, 16) >= 0
    same = Market(extended())
    assert same is not market and same == market and hash(same) == hash(market)
    assert len({same, market}) == 1
    assert market != "market" and market != Market(extended(seed=1))


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume", "feature_x",
                                    "funding_rate"])  # fmt: skip
@pytest.mark.parametrize("row", [0, 200, -1])
def test_every_number_is_in_the_hash(column, row):
    frame = extended()
    position = frame.columns.get_loc(column)
    outward = -np.inf if column == "low" else np.inf
    if column in ("open", "close"):  # stay within the bar
        outward = (frame["low"].iloc[row] + frame["high"].iloc[row]) / 2
    frame.iloc[row, position] = np.nextafter(frame.iloc[row, position], outward)
    assert Market(frame).content_hash != Market(extended()).content_hash


def test_stamps_columns_and_grid_are_in_the_hash():
    frame = extended()
    variants = [
        frame,
        frame.iloc[1:],
        frame.iloc[:-1],
        frame.drop(index=frame.index[100]),
        frame.set_axis(frame.index + pd.Timedelta("1min")),
        frame.drop(columns="feature_x"),
        frame.rename(columns={"feature_x": "feature_y"}),
        frame.assign(feature_y=frame["feature_x"]),
    ]
    hashes = [Market(variant).content_hash for variant in variants]
    hashes.append(Market(frame, offset="3min").content_hash)
    assert len(set(hashes)) == len(variants) + 1


def test_what_no_environment_sees_is_not_in_the_hash():
    frame = extended()
    other = frame.rename(columns=str.upper).assign(Note="x").tz_localize("UTC")
    assert Market(other[other.columns[::-1]]) == Market(frame)
