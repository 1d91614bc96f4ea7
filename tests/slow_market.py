"""A market read slowly: one bar at a time, whole numbers of nanoseconds, no array arithmetic.

An independent reading of the contract for the tests; it shares nothing with ``gym_trade``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

SECOND = 10**9
UNITS = {"sec": SECOND, "min": 60 * SECOND, "hour": 3600 * SECOND, "day": 86400 * SECOND}


class Bar(NamedTuple):
    begin: int
    end: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def length_of(name):
    """Nanoseconds of a spelling such as "15min"."""
    digits = "".join(c for c in name if c.isdigit())
    return int(digits) * UNITS[name[len(digits) :]]


def nanoseconds(stamp):
    return pd.Timestamp(stamp).value


def base_bars(frame, interval):
    """The rows of a frame whose naive index names each bar's open."""
    rows = frame[["open", "high", "low", "close", "volume"]].itertuples()
    return [Bar(row[0].value, row[0].value + interval, *map(float, row[1:])) for row in rows]


def coarse_bars(base, length, offset=0):
    """Aggregate by bins [offset + k length, offset + (k + 1) length); no bars, no bin."""
    bins = {}
    for bar in base:
        bins.setdefault((bar.begin - offset) // length, []).append(bar)
    return [
        Bar(
            offset + number * length,
            offset + (number + 1) * length,
            inside[0].open,
            max(bar.high for bar in inside),
            min(bar.low for bar in inside),
            inside[-1].close,
            math.fsum(bar.volume for bar in inside),
        )
        for number, inside in bins.items()
    ]


def decision_instants(base, length, offset=0):
    return [bar.end for bar in coarse_bars(base, length, offset)]


def ended(bars, instant):
    """How many bars have ended at an instant; a bar that ends exactly then has."""
    return sum(bar.end <= instant for bar in bars)


def default_features(bars, position, window):
    """The five default features of one bar; None before they exist."""
    if position < 1 or position < window - 1:
        return None
    bar, previous = bars[position], bars[position - 1].close
    recent = [math.log1p(b.volume) for b in bars[position - window + 1 : position + 1]]
    return (
        math.log(bar.open / previous),
        math.log(bar.high / bar.close),
        math.log(bar.low / bar.close),
        math.log(bar.close / previous),
        math.log1p(bar.volume) - math.fsum(recent) / window,
    )


def first_decision(instants, frames, windows, warm_up):
    """The first instant at which every window is full of bars that have features.

    frames: each frame's bars; warm_up: each frame's number of bars without features.
    """
    for number, instant in enumerate(instants):
        counts = [ended(bars, instant) for bars in frames]
        needed = [window + lead for window, lead in zip(windows, warm_up, strict=True)]
        if all(count >= need for count, need in zip(counts, needed, strict=True)):
            return number
    return None


def raw_features(bars):
    """A feature function that shows the bars themselves, and when each of them begins.

    The begin is split into days and seconds, so that float32 holds it exactly.
    """
    seconds = bars.index.to_numpy("datetime64[s]").astype(np.int64)
    table = bars[["open", "high", "low", "close", "volume"]].copy()
    return table.assign(day=seconds // 86400, second=seconds % 86400).astype(np.float64)


def raw_row(bar):
    """What `raw_features` says of one bar."""
    seconds = bar.begin // SECOND
    return (*bar[2:], seconds // 86400, seconds % 86400)


def gain(previous_equity, equity):
    """A reward that a configuration can name in JSON."""
    return equity - previous_equity


def unusable_reward(equity, tomorrow):
    """A reward that asks for what there is not."""
    return tomorrow - equity
