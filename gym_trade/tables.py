"""What time frames make of a market: coarse bars, features, decision instants, windows.

Nothing here looks ahead. Bins are anchored at the UTC epoch (plus the market's offset), a bin
without bars does not exist, and a window at instant t ends with the last bar whose *end* is <= t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gym_trade import aligned
from gym_trade.features import FeatureFunction, feature_matrix
from gym_trade.timeframe import TimeFrame
from gym_trade.types import CLOSE, HIGH, LOW, OPEN, Float32, Float64, Int64
from gym_trade.validation import MarketDataError, stamp_text

Features = FeatureFunction | str | None | Mapping[TimeFrame, FeatureFunction | str | None]


@dataclass(frozen=True, eq=False)
class Tables:
    """The arrays that an environment reads besides the base bars; all read-only.

    Attributes:
        time_frames: K frames.
        window_sizes: Bars in each frame's window.
        execute_on: The decision frame.
        instants: int64 (N,), the decision instants in UTC nanoseconds.
        bar_end: int64 (N,), index after the last base bar of each decision's bin.
        bins: float64 (N, 4), open, high, low and close of each decision's bin.
        starts: int64 (N, K), where each window begins in `features`.
        lengths: int64 (K,), elements in each window.
        features: float32, the feature rows of all frames, one frame behind the other.
        widths: Features per bar of each frame.
        first_decision: The first instant at which all windows are full and finite.
    """

    time_frames: tuple[TimeFrame, ...]
    window_sizes: tuple[int, ...]
    execute_on: TimeFrame
    instants: Int64
    bar_end: Int64
    bins: Float64
    starts: Int64
    lengths: Int64
    features: Float32
    widths: tuple[int, ...]
    first_decision: int

    def window(self, decision: int, frame: int) -> Float32:
        """The window of one frame at one decision: a view, float32 (window size, features)."""
        begin = int(self.starts[decision, frame])
        rows = self.features[begin : begin + int(self.lengths[frame])]
        return rows.reshape(self.window_sizes[frame], self.widths[frame])


def bin_edges(open_ns: Int64, interval_ns: int, offset_ns: int) -> tuple[Int64, Int64, Int64]:
    """The non-empty bins of an interval.

    Args:
        open_ns: Base bars' open times, int64 (n,), increasing.
        interval_ns: Bin length.
        offset_ns: Shift of the grid from the epoch.

    Returns:
        Bin open times, index of each bin's first base bar, index after its last: int64 (bins,).
    """
    bins = (open_ns - offset_ns) // interval_ns
    firsts = np.flatnonzero(np.concatenate(([True], bins[1:] != bins[:-1])))
    ends = np.concatenate((firsts[1:], [len(open_ns)]))
    return bins[firsts] * interval_ns + offset_ns, firsts, ends


def aggregate(bars: Float64, firsts: Int64, ends: Int64) -> Float64:
    """Open, high, low and close of bins of base bars, float64 (bins, 4).

    Args:
        bars: float64 (n, 4).
        firsts: Index of each bin's first bar.
        ends: Index after its last.
    """
    if len(firsts) == len(bars):
        return bars
    made = aligned.zeros((len(firsts), 4), np.float64)
    made[:, OPEN] = bars[firsts, OPEN]
    made[:, HIGH] = np.maximum.reduceat(bars[:, HIGH], firsts)
    made[:, LOW] = np.minimum.reduceat(bars[:, LOW], firsts)
    made[:, CLOSE] = bars[ends - 1, CLOSE]
    return made


def resample(
    open_ns: Int64,
    bars: Float64,
    volume: Float64,
    extras: Mapping[str, Float64],
    interval_ns: int,
    offset_ns: int,
) -> pd.DataFrame:
    """Aggregate base bars first/max/min/last/sum; further columns keep their last value.

    Returns:
        open, high, low, close, volume and the extras, indexed by the bins' open times (UTC,
        without a zone).
    """
    opens, firsts, ends = bin_edges(open_ns, interval_ns, offset_ns)
    made = aggregate(bars, firsts, ends)
    columns = {
        "open": made[:, OPEN],
        "high": made[:, HIGH],
        "low": made[:, LOW],
        "close": made[:, CLOSE],
        "volume": np.add.reduceat(volume, firsts),
    }
    columns.update({name: values[ends - 1] for name, values in extras.items()})
    index = pd.DatetimeIndex(opens.view("datetime64[ns]"), name="timestamp")
    return pd.DataFrame(columns, index=index, copy=False)


def build_tables(
    open_ns: Int64,
    bars: Float64,
    volume: Float64,
    extras: Mapping[str, Float64],
    offset_ns: int,
    time_frames: tuple[TimeFrame, ...],
    window_sizes: tuple[int, ...],
    execute_on: TimeFrame,
    features: Features,
) -> Tables:
    """Make the tables of one choice of time frames; see `Tables`.

    Raises:
        MarketDataError: The data is too short for its windows, or a feature is not finite.
    """
    opens, first_bars, bar_end = bin_edges(open_ns, execute_on.interval_ns, offset_ns)
    instants = opens + execute_on.interval_ns
    blocks, starts, widths = [], [], []
    complete = np.ones(len(instants), dtype=np.bool_)
    offset = 0
    for frame, window in zip(time_frames, window_sizes, strict=True):
        frame_bars = resample(open_ns, bars, volume, extras, frame.interval_ns, offset_ns)
        chosen = features.get(frame) if isinstance(features, Mapping) else features
        matrix = feature_matrix(frame_bars, window, chosen, f"the {frame} bars")
        finite = np.isfinite(matrix).all(axis=1)
        first_row = int(finite.argmax()) if finite.any() else len(matrix)
        frame_ends = frame_bars.index.to_numpy().astype(np.int64) + frame.interval_ns
        rows = np.searchsorted(frame_ends, instants, side="right")
        enough = rows >= first_row + window
        if not enough.any():
            needs = f"which needs {first_row + window}"
            if not finite.any():
                needs = "none of which has all its features yet"
            raise MarketDataError(
                f"the data ({len(open_ns)} base bars from {stamp_text(open_ns[0])}, "
                f"{len(matrix)} {frame} bars) is too short for a window of {window} {frame} bars, "
                f"{needs}. Give more data or a smaller window."
            )
        complete &= enough
        width = matrix.shape[1]
        starts.append(np.maximum(offset + (rows - window) * width, offset).astype(np.int64))
        blocks.append(matrix.ravel())
        widths.append(width)
        offset += matrix.size
    arrays: dict[str, Any] = {
        "instants": instants,
        "bar_end": bar_end.astype(np.int64),
        "bins": aggregate(bars, first_bars, bar_end),
        "starts": aligned.stack_columns(starts),
        "lengths": np.array(window_sizes, np.int64) * np.array(widths, np.int64),
        "features": np.concatenate(blocks) if len(blocks) > 1 else blocks[0],
    }
    for array in arrays.values():
        array.flags.writeable = False
    return Tables(
        time_frames=time_frames,
        window_sizes=window_sizes,
        execute_on=execute_on,
        widths=tuple(widths),
        first_decision=int(complete.argmax()),
        **arrays,
    )
