"""The header of a market file: which of its columns are read."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gym_trade import MarketDataError
from gym_trade.validation import PRICES, TIME_COLUMNS


@dataclass(frozen=True)
class Layout:
    """Which columns of a file are read, by their position in the header."""

    time: int
    values: dict[int, str]  # position -> lower-case name
    ignored: tuple[str, ...]  # as the file spells them
    header: tuple[str, ...]


def open_text(file: Path) -> IO[str]:
    """Open a file as text, decompressing it by its suffix; a byte order mark is skipped."""
    if file.name.lower().endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return open(file, encoding="utf-8-sig", newline="")


def read_header(file: Path) -> Layout:
    """Read the first line and decide which columns are used.

    Raises:
        MarketDataError: There is no header, or it lacks a column, names one twice, or has several
            time columns.
    """
    with open_text(file) as stream:
        header = [cell.strip() for cell in next(csv.reader(stream), [])]
    names = [cell.lower() for cell in header]
    seen = ", ".join(repr(cell) for cell in header)
    known = {*TIME_COLUMNS, *PRICES, "volume"}
    if not known.intersection(names) and any(is_number(cell) for cell in header):
        raise MarketDataError(
            f"{file} has no header: its first line is {seen}. Expected a first line that names the "
            "columns; add one, such as open_time,open,high,low,close,volume."
        )
    times = [index for index, name in enumerate(names) if name in TIME_COLUMNS]
    missing = [name for name in PRICES if name not in names]
    if missing or not times:
        needed = ([] if times else [f"a time column ({', '.join(TIME_COLUMNS)})"]) + missing
        raise MarketDataError(
            f"{file} lacks {', '.join(needed)}. Columns seen: {seen}. "
            f"{_column_hint(header)}Rename the columns in its first line."
        )
    if len(times) > 1:
        named = ", ".join(header[index] for index in times)
        raise MarketDataError(
            f"{file} has {len(times)} time columns: {named}. Expected one; rename or drop the "
            "others."
        )
    wanted = {
        index: name
        for index, name in enumerate(names)
        if name in {*PRICES, "volume", "funding_rate"} or name.startswith("feature_")
    }
    repeated = sorted({name for name in wanted.values() if names.count(name) > 1})
    if repeated:
        raise MarketDataError(
            f"{file} names a column more than once: {', '.join(repeated)} (in any letter case). "
            f"Columns seen: {seen}. Rename or drop one."
        )
    ignored = [header[i] for i in range(len(header)) if i not in wanted and i != times[0]]
    return Layout(times[0], wanted, tuple(ignored), tuple(header))


def _column_hint(header: list[str]) -> str:
    if len(header) == 1:
        for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in header[0]:
                return f"It seems to be separated by {name}; only commas are read. "
    if header and header[0] == "":
        return "Its first column has no name; if it holds the time, name it timestamp. "
    return ""


def is_number(cell: str) -> bool:
    """Whether a cell reads as a float."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
