"""Time frames: every spelling of one length is one frame with one key; the rest is refused."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from gym_trade import SequentialConfig, TimeFrame, parse_time_frame

MINUTE = 60 * 10**9
SPELLINGS = {
    ("30sec", "market_data_30Second", MINUTE // 2): [
        "30s", "30S", "30 seconds", "30Secs", (30, "second"), np.timedelta64(30, "s"),
        datetime.timedelta(seconds=30),
    ],
    ("90sec", "market_data_90Second", 3 * MINUTE // 2): ["90sec", (90, "s")],
    ("1min", "market_data_1Minute", MINUTE): [
        "1min", "min", "1m", "1T", "60s", "1 Minute", " 1 MIN ", (1, "Minute"), [1, "min"],
        pd.Timedelta("1min"), np.timedelta64(60_000, "ms"), np.str_("1min"),
    ],
    ("5min", "market_data_5Minute", 5 * MINUTE): [
        "5min", "5m", "300sec", (5, "Minute"), (5, "minutes"), (np.int64(5), "min"), "05min",
        np.timedelta64(5, "m"), datetime.timedelta(minutes=5),
    ],
    ("15min", "market_data_15Minute", 15 * MINUTE): ["15min", "900s"],
    ("1hour", "market_data_1Hour", 60 * MINUTE): [
        "1hour", "60min", "1h", "1H", "h", "3600s", "1hr", "1 hours", (60, "min"), (1, "Hour"),
    ],
    ("90min", "market_data_90Minute", 90 * MINUTE): ["90min", (90, "m")],
    ("1day", "market_data_1Day", 1440 * MINUTE): [
        "1day", "24h", "1440min", "1d", "1D", "day", (1, "Day"), pd.Timedelta(days=1),
    ],
    ("7day", "market_data_7Day", 7 * 1440 * MINUTE): ["1week", "1w", "7d", (1, "W"), "168h"],
}  # fmt: skip
CASES = [(key, spelling) for key, group in SPELLINGS.items() for spelling in group]


@pytest.mark.parametrize("expected, spelling", CASES, ids=str)
def test_every_spelling_is_one_frame(expected, spelling):
    frame = parse_time_frame(spelling)
    assert (frame.name, frame.key, frame.interval_ns) == expected
    assert frame == TimeFrame(expected[2])
    assert hash(frame) == hash(TimeFrame(expected[2]))
    assert str(frame) == expected[0]


@pytest.mark.parametrize("name", [key[0] for key in SPELLINGS])
def test_the_canonical_name_reads_back(name):
    assert parse_time_frame(name).name == name
    assert parse_time_frame(parse_time_frame(name)) == parse_time_frame(name)


@pytest.mark.parametrize("count", [1, 2, 3, 59, 60, 61, 119, 120, 1439, 1440, 1441, 10_080])
def test_names_of_any_number_of_minutes_read_back(count):
    frame = parse_time_frame((count, "min"))
    assert frame.interval_ns == count * MINUTE
    assert parse_time_frame(frame.name) == frame


REFUSED = [
    "", "5", "0min", "-5min", "5.5min", "1e3s", "five min", "min5", "5 M", "1M", "M", "1mo",
    "1month", "1y", "1Q", "500ms", "1500ms", "1us", "1ns", "5min 3sec", "5minn", b"5min", 5, 5.0,
    300, True, None, (5,), (5, "min", 1), ("5", "min"), (0, "min"), (-1, "min"), (5.0, "min"),
    (True, "min"), (5, 5), (5, None), (5, "M"), {"min": 5}, np.timedelta64("NaT"), pd.NaT,
    np.timedelta64(1, "M"), np.timedelta64(1, "Y"), np.timedelta64(0, "s"),
    np.timedelta64(-1, "m"), np.timedelta64(1500, "ms"), datetime.timedelta(microseconds=1),
    float("nan"), float("inf"), object, "99999999999day",
]  # fmt: skip


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_what_is_no_time_frame_is_refused_by_name_and_value(value):
    with pytest.raises(ValueError) as caught:
        parse_time_frame(value, "execute_on")
    text = str(caught.value)
    assert text.startswith(f"execute_on={value!r} is not a time frame")
    assert '"5min"' in text


def test_frames_order_by_length():
    names = ["1day", "30sec", "60min", "7min"]
    assert [f.name for f in sorted(map(parse_time_frame, names))] == [
        "30sec", "7min", "1hour", "1day",
    ]  # fmt: skip


@pytest.mark.parametrize("value, names", [
    ("60min", ("1hour",)),
    ((5, "Minute"), ("5min",)),
    ([(5, "Minute"), (1, "day")], ("5min", "1day")),
    (["1min", "60min"], ("1min", "1hour")),
    (("5min", "hour"), ("5min", "1hour")),
    (pd.Timedelta("5min"), ("5min",)),
    ([pd.Timedelta("5min"), "1h"], ("5min", "1hour")),
], ids=str)  # fmt: skip
def test_one_frame_and_several(value, names):
    assert SequentialConfig(time_frames=value).time_frames == names


@pytest.mark.parametrize("value", [[], ["1hour", "60min"], [(5, "Minute"), "300s"]], ids=str)
def test_no_frame_and_one_frame_twice_are_refused(value):
    with pytest.raises(ValueError, match=r"time_frames=.*at least one time frame, none of them tw"):
        SequentialConfig(time_frames=value)
