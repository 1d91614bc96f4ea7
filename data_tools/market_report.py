"""What a market file holds, and which of its rows no market can have; nothing is repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_tools.grid import grid_offset, most_common
from data_tools.load import read
from gym_trade import Market, MarketDataError, TimeFrame
from gym_trade.validation import PRICES, bar_faults

SHOWN_ROWS = 20


@dataclass(frozen=True)
class MarketReport:
    """A market file, described.

    Attributes:
        frame: Its rows, in the file's order, or reversed if they are newest first.
        recognised: The line that says how it was read.
        newest_first: Whether the file's rows are newest first.
        interval: The most common difference between neighbouring stamps; None for a single row.
        gaps: Places where at least one bar is missing between neighbouring stamps.
        missing_bars: Bars missing in all of them.
        longest_gap: The stamps around the longest one; None without gaps.
        zero_volume: Bars without volume.
        bad_rows: (row from 0, reason) in order of rows; a row may be there more than once.
        offset: The `offset` that `gym_trade.Market` needs for these bars; None for most.
        content_hash: The market's content hash, with that offset; None if it is not accepted.
        refusal: Why `gym_trade.Market` refuses it; None if it is accepted.
    """

    frame: pd.DataFrame
    recognised: str
    newest_first: bool
    interval: pd.Timedelta | None
    gaps: int
    missing_bars: int
    longest_gap: tuple[pd.Timestamp, pd.Timestamp] | None
    zero_volume: int
    bad_rows: list[tuple[int, str]]
    offset: str | None
    content_hash: str | None
    refusal: str | None


def report_market(path: Path) -> MarketReport:
    """Describe a market file, also one that `gym_trade.Market` refuses.

    Raises:
        MarketDataError: The file cannot be read as a market file at all.
    """
    frame, recognised, newest_first = read(path)
    stamps = np.unique(frame.index.to_numpy().astype(np.int64))
    steps = np.diff(stamps)
    interval = most_common(steps) if len(steps) else 0
    wide = np.flatnonzero(steps > interval)
    around = None
    if len(wide):
        longest = int(wide[np.argmax(steps[wide])])
        around = pd.Timestamp(int(stamps[longest])), pd.Timestamp(int(stamps[longest + 1]))
    content_hash, refusal = None, None
    offset = grid_offset(stamps)
    try:
        content_hash = Market(frame, offset=offset).content_hash
    except MarketDataError as error:
        refusal = str(error)
    return MarketReport(
        frame=frame,
        recognised=recognised,
        newest_first=newest_first,
        interval=pd.Timedelta(interval, "ns") if interval else None,
        gaps=len(wide),
        missing_bars=int(((steps[wide] - 1) // max(interval, 1)).sum()),
        longest_gap=around,
        zero_volume=int((frame["volume"] == 0).sum()) if "volume" in frame else 0,
        bad_rows=find_bad_rows(frame, interval),
        offset=offset,
        content_hash=content_hash,
        refusal=refusal,
    )


def find_bad_rows(frame: pd.DataFrame, interval: int) -> list[tuple[int, str]]:
    """List every row that breaks a rule of `gym_trade.Market`, with the reason.

    Args:
        frame: As `load.read` returns it.
        interval: The base interval in nanoseconds; 0 if unknown.

    Returns:
        (row from 0, reason), by row.
    """
    found = bad_bars(frame)
    _note_stamps(frame.index.to_numpy().astype(np.int64), interval, _noter(frame, found))
    return sorted(found, key=lambda item: item[0])


def bad_bars(frame: pd.DataFrame) -> list[tuple[int, str]]:
    """List every row whose prices or volume no market can have, with the reason.

    Args:
        frame: As `load.load` returns it.

    Returns:
        (row from 0, reason), by reason.
    """
    found: list[tuple[int, str]] = []
    note = _noter(frame, found)
    volume = frame["volume"].to_numpy() if "volume" in frame else np.zeros(len(frame))
    faults = bar_faults(frame[list(PRICES)].to_numpy(), volume)
    for name in PRICES:
        price, bad = frame[name].to_numpy(), faults[name, "price"]
        note(bad & np.isnan(price), f"{name} is missing")
        note(bad & np.isinf(price), f"{name} is not finite", name)
        note(bad & np.isfinite(price), f"{name} is not positive", name)
    for name, side in (("high", "below"), ("low", "above")):
        bad = faults[name, "open"] | faults[name, "close"]
        note(bad, f"{name} is {side} open or close", name, "open", "close")
    bad = faults["volume", "volume"]
    note(bad & np.isnan(volume), "volume is missing")
    note(bad & ~np.isnan(volume), "volume is negative or not finite", "volume")
    return found


def _noter(frame: pd.DataFrame, found: list[tuple[int, str]]) -> Callable[..., None]:
    def note(mask: npt.NDArray[np.bool_], reason: str, *columns: str) -> None:
        for row in np.flatnonzero(mask).tolist():
            values = ", ".join(f"{name} {frame[name].iloc[row]}" for name in columns)
            found.append((row, reason + (f" ({values})" if values else "")))

    return note


def _note_stamps(stamps: npt.NDArray[np.int64], interval: int, note: Callable[..., None]) -> None:
    order = np.zeros(len(stamps), np.bool_)
    order[1:] = np.diff(stamps) < 0
    note(order, "stamp is older than that of the row before")
    note(pd.Series(stamps).duplicated().to_numpy(), "stamp repeats an earlier one")
    if interval:
        phases = stamps % interval
        note(phases != most_common(phases), "stamp is off the grid of the other rows")


def market_lines(report: MarketReport) -> list[str]:
    """The report as lines of text."""
    frame = report.frame
    lines = [
        report.recognised,
        f"rows      {len(frame)}",
        f"span      {frame.index.min()} to {frame.index.max()} UTC (stamps)",
        f"interval  {_interval_text(report.interval)}",
        f"prices    open {frame['open'].iloc[0]:g}, close {frame['close'].iloc[-1]:g}, lowest low "
        f"{frame['low'].min():g}, highest high {frame['high'].max():g}",
    ]
    gaps = f"gaps      {report.gaps}"
    if report.longest_gap:
        before, after = report.longest_gap
        gaps += f", {report.missing_bars} bars missing; longest from {before} to {after}"
    lines.append(gaps)
    if "volume" in frame:
        lines.append(f"volume    {report.zero_volume} bars without any")
    else:
        lines.append("volume    no such column: it will count as 0")
    if report.newest_first:
        lines.append("order     newest first in the file; read reversed, as everywhere")
    lines += _bad_row_lines(report)
    if report.refusal is None:
        asked = f" with offset='{report.offset}'" if report.offset else ""
        lines.append(f"accepted by gym_trade.Market{asked}; content hash {report.content_hash}")
    else:
        lines.append(f"refused by gym_trade.Market: {report.refusal}")
    return lines


def _interval_text(interval: pd.Timedelta | None) -> str:
    if interval is None:
        return "unknown: all rows have one stamp"
    whole = interval.value % 1_000_000_000 == 0
    return TimeFrame(interval.value).name if whole else str(interval)


def _bad_row_lines(report: MarketReport) -> list[str]:
    bad = report.bad_rows
    lines = [f"bad rows  {len({row for row, _ in bad})}"]
    for row, reason in bad[:SHOWN_ROWS]:
        lines.append(f"  row {row} ({report.frame.index[row]}): {reason}")
    if len(bad) > SHOWN_ROWS:
        lines.append(f"  and {len(bad) - SHOWN_ROWS} more")
    return lines
