"""The repairs of a market's frame: each returns a new frame and says what it changed."""

from __future__ import annotations

import zoneinfo

import numpy as np
import pandas as pd

from data_tools.grid import base_step, most_common
from data_tools.market_report import bad_bars
from gym_trade import MarketDataError
from gym_trade.validation import PRICES

SHOWN = 10  # rows named of each kind


def to_utc(frame: pd.DataFrame, zone: str, lines: list[str]) -> pd.DataFrame:
    """Turn local stamps into UTC; an hour that the clocks skip or repeat is refused."""
    try:
        place = zoneinfo.ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"zone {zone!r} is unknown. Expected a name as America/New_York."
        ) from None
    index = pd.DatetimeIndex(frame.index)
    local = index.tz_localize(place, ambiguous="NaT", nonexistent="NaT")
    missing = np.asarray(local.isna())
    if missing.any():
        row = int(missing.argmax())
        raise MarketDataError(
            f"row {row} ({index[row]}): this hour exists twice or not at all in {zone}, where the "
            "clocks change. Expected times that name one instant; the file may be in another zone."
        )
    lines.append(f"zone: {len(frame)} stamps moved from {zone} to UTC")
    return frame.set_axis(local.tz_convert("UTC").tz_localize(None).rename(frame.index.name))


def drop_bad_rows(frame: pd.DataFrame, lines: list[str]) -> pd.DataFrame:
    """Drop rows whose prices or volume no market can have."""
    reasons = dict(reversed(bad_bars(frame)))  # the first reason of a row
    rows = sorted(reasons)
    said = [f"row {row} ({frame.index[row]}): {reasons[row]}" for row in rows]
    return _dropped(frame, rows, "bad-rows", "that no market can have", said, lines)


def sort(frame: pd.DataFrame, lines: list[str]) -> pd.DataFrame:
    """Sort rows by time; rows of one stamp keep their order."""
    moved = int((np.diff(frame.index.to_numpy()) < np.timedelta64(0)).sum())
    if not moved:
        lines.append("sort: in order")
        return frame
    lines.append(f"sort: rows sorted by time; {moved} were older than the row before")
    return frame.sort_index(kind="stable")


def drop_duplicates(frame: pd.DataFrame, lines: list[str], keep: str | None) -> pd.DataFrame:
    """Drop rows equal to an earlier one, and contradicting ones by `keep`, or refuse them."""
    equal = frame.reset_index().duplicated().to_numpy()
    said = [str(stamp) for stamp in frame.index[equal]]
    frame = _dropped(frame, np.flatnonzero(equal).tolist(), "duplicates",
                     "equal to another of the same stamp", said, lines)  # fmt: skip
    repeated = frame.index.duplicated(keep=False)
    if not repeated.any():
        return frame
    stamp = frame.index[int(repeated.argmax())]
    if keep is None:
        rows = frame.loc[[stamp], list(PRICES)].to_numpy().tolist()
        count = frame.index[repeated].nunique()
        raise MarketDataError(
            f"{count} stamps have rows that contradict each other, the first {stamp}: open, high, "
            f"low, close are {rows[0]} and {rows[1]}. Pass --keep first or --keep last, or fix it."
        )
    other = frame.index.duplicated(keep="first" if keep == "first" else "last")
    said = [str(stamp) for stamp in frame.index[other]]
    reason = f"that contradict the {keep} one of their stamp"
    return _dropped(frame, np.flatnonzero(other).tolist(), "duplicates", reason, said, lines)


def drop_off_grid(frame: pd.DataFrame, lines: list[str]) -> pd.DataFrame:
    """Drop rows whose stamps are off the grid that most stand on."""
    stamps = frame.index.to_numpy().astype(np.int64)
    interval = base_step(stamps)
    phases = stamps % interval if interval else stamps * 0
    off = np.flatnonzero(phases != most_common(phases)).tolist()
    said = [str(frame.index[row]) for row in off]
    return _dropped(frame, off, "off-grid", "off the grid of the others", said, lines)


def _dropped(
    frame: pd.DataFrame, rows: list[int], name: str, why: str, said: list[str], lines: list[str]
) -> pd.DataFrame:
    if not rows:
        lines.append(f"{name}: none")
        return frame
    lines.append(f"{name}: dropped {len(rows)} rows {why}")
    lines += [f"  {what}" for what in said[:SHOWN]]
    if len(said) > SHOWN:
        lines.append(f"  and {len(said) - SHOWN} more")
    keep = np.ones(len(frame), np.bool_)
    keep[rows] = False
    return frame[keep]


def fill_gaps(frame: pd.DataFrame, lines: list[str], most: int) -> pd.DataFrame:
    """Put flat bars without volume where up to `most` bars are missing."""
    others = [name for name in frame.columns if name not in (*PRICES, "volume")]
    if others:
        raise MarketDataError(
            f"what {', '.join(others)} would be in a missing bar is not known. Leave out "
            "--fill-gaps, or drop these columns from the file."
        )
    stamps = frame.index.to_numpy().astype(np.int64)
    steps, interval = np.diff(stamps), base_step(stamps)
    if (steps <= 0).any():
        raise MarketDataError("gaps can be filled only between sorted stamps that do not repeat.")
    missing = (steps - 1) // max(interval, 1)
    filled = np.flatnonzero((missing > 0) & (missing <= most))
    counts = missing[filled]
    before = np.repeat(filled, counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    index = pd.DatetimeIndex((stamps[before] + within * interval).astype("datetime64[ns]"))
    close = frame["close"].to_numpy()[before]
    new = pd.DataFrame(dict.fromkeys(PRICES, close), index=index)
    if "volume" in frame:
        new["volume"] = 0.0
    longer = missing > most
    lines.append(f"fill-gaps: {len(new)} flat bars put into {len(filled)} gaps of up to {most}")
    if longer.any():
        row = int(missing.argmax())
        lines.append(
            f"  {int(longer.sum())} longer gaps left as they are, the longest of {missing[row]} "
            f"bars from {frame.index[row]} to {frame.index[row + 1]}"
        )
    joined = pd.concat([frame, new[list(frame.columns)]]) if len(new) else frame
    joined = joined.sort_index(kind="stable")
    joined.index.name = frame.index.name
    return joined
