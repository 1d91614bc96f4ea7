"""What a market's door refuses, and what it says: the first bad row, its value, the remedy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, MarketDataError, SequentialEnv
from tests import markets
from tests.refusals import refusal

ROW = 17
PRICES = ("open", "high", "low", "close")


def gapless(count=60, **arguments):
    return markets.bars(count, missing=0.0, **arguments)


def with_cell(column, value, row=ROW, frame=None):
    frame = gapless() if frame is None else frame.copy()
    frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


def with_stamp(value, row=ROW):
    frame = gapless()
    stamps = list(frame.index)
    stamps[row] = value
    frame.index = pd.DatetimeIndex(stamps, name="timestamp")
    return frame


def stamp_of(row):
    return f"row {row} ({gapless().index[row]:%Y-%m-%d %H:%M:%S})"


# --- prices and volumes -----------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -0.0, -1.5, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", PRICES)
def test_a_price_must_be_finite_and_positive(column, value):
    text = refusal(with_cell(column, value))
    assert f"{stamp_of(ROW)}: {column} is {value};" in text
    assert "finite and positive. Fix or drop that row." in text


@pytest.mark.parametrize("edge, other, factor, word", [
    ("high", "open", 0.999, "below"), ("high", "close", 0.999, "below"),
    ("low", "open", 1.001, "above"), ("low", "close", 1.001, "above"),
])  # fmt: skip
def test_high_and_low_enclose_open_and_close(edge, other, factor, word):
    frame = gapless()
    rest = "close" if other == "open" else "open"
    frame.iloc[ROW, :4] = 100.0
    frame.loc[frame.index[ROW], [edge, rest, *(["high"] if edge == "low" else [])]] = 100.0 * factor
    text = refusal(frame)
    assert f"{stamp_of(ROW)}: {edge} {100.0 * factor} is {word} {other} 100.0." in text
    assert "Fix or drop that row." in text


def test_a_high_below_its_close_by_the_last_bit_is_still_wrong():
    frame = gapless()
    frame.iloc[ROW, :4] = 100.0
    frame.loc[frame.index[ROW], "high"] = np.nextafter(100.0, 0.0)
    assert "high 99.99999999999999 is below" in refusal(frame)
    frame.loc[frame.index[ROW], "high"] = 100.0
    assert len(Market(frame)) == 60


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf, -np.inf])
def test_volume_must_be_finite_and_not_negative(value):
    text = refusal(with_cell("volume", value))
    assert f"{stamp_of(ROW)}: volume is {value};" in text
    assert "leave the column out if volume is unknown" in text


@pytest.mark.parametrize("column", [*PRICES, "volume"])
@pytest.mark.parametrize("row", [0, 1, 59])
def test_every_row_is_looked_at(row, column):
    assert f"{stamp_of(row)}: {column} is -1.0" in refusal(with_cell(column, -1.0, row))


FAULTS = {"close": (-1.0, "close is -1.0"),
          "volume": (-2.0, "volume is -2.0"),
          "high": (1e-3, "high 0.001 is below"),
          "low": (1e6, "low 1000000.0 is above")}  # fmt: skip


@pytest.mark.parametrize("later", FAULTS)
@pytest.mark.parametrize("earlier", FAULTS)
def test_the_first_of_several_bad_rows_is_named(earlier, later):
    frame = with_cell(earlier, FAULTS[earlier][0], 9)
    frame = with_cell(later, FAULTS[later][0], 31, frame)
    assert f"{stamp_of(9)}: {FAULTS[earlier][1]}" in refusal(frame)


@pytest.mark.parametrize("value", ["n/a", "1,5", "12.5 USD", "", object()])
def test_a_cell_that_is_no_number(value):
    frame = with_cell("close", value, frame=gapless().astype(object))
    assert refusal(frame) == f"{stamp_of(ROW)}: close is {value!r}, not a number. Fix that row."


@pytest.mark.parametrize("value", [None, pd.NA, float("nan")])
def test_a_missing_cell(value):
    text = refusal(with_cell("close", value, frame=gapless().astype(object)))
    assert f"{stamp_of(ROW)}: close is nan" in text


def test_numbers_in_other_clothes_are_read():
    plain = Market(gapless())
    for frame in (gapless().astype(str), gapless().astype("Float64"), gapless().astype(object)):
        np.testing.assert_array_equal(Market(frame).bars, plain.bars)


# --- stamps -----------------------------------------------------------------------------


def test_a_missing_stamp():
    text = refusal(with_stamp(pd.NaT))
    assert text == f"row {ROW}: the time stamp is missing (NaT). Drop or fix that row."


def test_a_duplicate_stamp():
    text = refusal(with_stamp(gapless().index[ROW - 1]))
    assert f"row {ROW} (2023-01-02 21:16:00) duplicates the stamp of the row before it" in text
    assert "Drop one of the two." in text


def test_an_older_stamp():
    text = refusal(with_stamp(gapless().index[3]))
    assert f"row {ROW} (2023-01-02 21:03:00) is older than the row before it" in text
    assert "Sort the frame by time." in text


def test_a_newest_first_frame_is_told_apart_from_a_shuffled_one():
    text = refusal(gapless().iloc[::-1])
    assert "row 1 (2023-01-02 21:58:00)" in text
    assert "newest first: reverse it" in text
    assert "Sort the frame" in refusal(gapless().sample(frac=1.0, random_state=1))


@pytest.mark.parametrize("shift", ["1s", "30s", "59s", "-10s"])
def test_a_single_stamp_off_the_grid(shift):
    wrong = gapless().index[ROW] + pd.Timedelta(shift)
    text = refusal(with_stamp(wrong))
    assert f"row {ROW} ({wrong:%Y-%m-%d %H:%M:%S}) is off the grid of 60 s bars" in text
    assert "Drop or re-stamp that row." in text


@pytest.mark.parametrize("row", [0, 1, 59])
def test_the_grid_is_the_epoch_s_not_the_first_row_s(row):
    wrong = gapless().index[row] + pd.Timedelta("20s")
    assert f"row {row} ({wrong:%Y-%m-%d %H:%M:%S}) is off the grid" in refusal(
        with_stamp(wrong, row)
    )


def test_hourly_bars_from_half_past_need_an_offset():
    frame = gapless(interval="1h", start="2023-01-02 09:30")
    text = refusal(frame)
    assert "row 0 (2023-01-02 09:30:00) is off the grid of 3600 s bars" in text
    assert "offset='30min'" in text
    market = Market(frame, offset="30min")
    assert market.offset_ns == 1800 * 10**9
    np.testing.assert_array_equal(market.open_times, frame.index.to_numpy())


def test_the_suggested_offset_is_accepted():
    for start, interval in (("2023-01-02 22:00", "1D"), ("2023-01-02 00:00:07", "1min")):
        frame = gapless(interval=interval, start=start)
        suggested = refusal(frame).split("offset='")[1].split("'")[0]
        assert len(Market(frame, offset=suggested)) == 60


def test_a_wrong_offset_is_refused_with_the_right_one():
    frame = gapless(interval="1h", start="2023-01-02 09:30")
    assert "offset='30min'" in refusal(frame, offset="20min")
    assert "Leave offset out." in refusal(gapless(), offset="30sec")


def test_bars_of_a_fraction_of_a_second_are_refused():
    frame = gapless()
    frame.index = pd.date_range("2023-01-02", periods=60, freq="500ms")
    assert "500000000 ns; whole seconds are supported. Resample" in refusal(frame)


def test_missing_bars_do_not_hide_the_base_interval():
    frame = gapless(300).iloc[np.r_[0:3, 50:53, 60:62, 70, 80:300]]
    market = Market(frame)
    assert market.interval_ns == 60 * 10**9
    assert len(market) == len(frame)  # nothing is invented


def test_too_few_rows():
    assert "no rows" in refusal(gapless().iloc[:0])
    assert refusal(gapless().iloc[:1]).startswith("1 rows: at least two bars")
    assert len(Market(gapless().iloc[:2])) == 2


def test_too_short_for_its_windows():
    with pytest.raises(MarketDataError) as caught:
        SequentialEnv(df=gapless(60), time_frames="5min", window_sizes=8)
    text = str(caught.value)
    assert "60 base bars from 2023-01-02 21:00:00, 12 5min bars" in text
    assert "too short for a window of 8 5min bars, which needs 15" in text
    assert "Give more data or a smaller window." in text
