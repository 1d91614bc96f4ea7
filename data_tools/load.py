"""Market files: plain OHLCV text with a header, as is or gzipped.

`load` reads what a file says and nothing more: no row is dropped, moved, filled or rounded. Whether
the bars make sense (order, ``high < low``, gaps) is for `gym_trade.Market` to judge.
"""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_tools.header import Layout, is_number, open_text, read_header
from data_tools.stamps import BadStampError, parse_stamps
from gym_trade import MarketDataError

SUFFIXES = (".csv", ".csv.gz")
_SUPPORTED = "CSV text with a header, as .csv or .csv.gz"


def load(
    path: str | os.PathLike[str], *, echo: Callable[[str], object] | None = print
) -> pd.DataFrame:
    """Read a market file.

    Needed are a time column (``timestamp``, ``date``, ``datetime``, ``open_time`` or ``time``) and
    open, high, low, close; ``volume``, ``funding_rate`` and ``feature_*`` are read if present and
    other columns are ignored, all in any letter case. Stamps are ISO 8601 text or integers since
    1970 in s, ms, us or ns; a stamp without a zone is UTC. An empty cell is NaN.

    Args:
        path: A ``.csv`` or ``.csv.gz`` file.
        echo: Receives one line saying what was recognised; None for silence.

    Returns:
        float64 columns with lower-case names, in the file's row order, under a
        ``datetime64[ns]`` index named "timestamp", in UTC without a zone.

    Raises:
        MarketDataError: The file cannot be read as such, or is newest-first.
    """
    frame, recognised = read(path)
    stamps = frame.index.to_numpy()
    if len(stamps) > 1 and bool(np.all(stamps[1:] < stamps[:-1])):
        raise MarketDataError(
            f"{path} is newest-first: its first row is {frame.index[0]}, its last "
            f"{frame.index[-1]}. Expected oldest first; reverse the rows, keeping the header: "
            "(head -n 1 FILE; tail -n +2 FILE | tac) > REVERSED"
        )
    if echo is not None:
        echo(recognised)
    return frame


def read(path: str | os.PathLike[str]) -> tuple[pd.DataFrame, str]:
    """Read a market file in whatever order its rows are.

    Args:
        path: A ``.csv`` or ``.csv.gz`` file.

    Returns:
        The frame, as `load` returns it, and the line that says what was recognised.

    Raises:
        MarketDataError: The file cannot be read as a market file.
    """
    file = Path(path)
    _check_file(file)
    with _refusals(file):
        layout = read_header(file)
        frame, times = _read_columns(file, layout)
    if frame.empty:
        raise MarketDataError(f"{file} has a header and no rows. Expected at least one bar.")
    try:
        stamps, kind = parse_stamps(times)
    except BadStampError as error:
        raise MarketDataError(
            f"{file} {_line_of(file, error.row)}: {layout.header[layout.time]} is {error}"
        ) from None
    frame.index = pd.DatetimeIndex(stamps, name="timestamp")
    low, high = frame.index.min(), frame.index.max()
    used = ", ".join(frame.columns)
    ignored = ", ".join(layout.ignored) if layout.ignored else "none"
    no_volume = "" if "volume" in frame else " (no volume)"
    recognised = (
        f"{file.name}: OHLCV text with a header, {len(frame)} rows, {low} to {high} UTC; "
        f"time column {layout.header[layout.time]} ({kind}), columns used: {used}{no_volume}; "
        f"ignored: {ignored}"
    )
    return frame, recognised


def _check_file(file: Path) -> None:
    name = file.name.lower()
    if not file.exists():
        raise MarketDataError(f"{file} does not exist. Expected a market file ({_SUPPORTED}).")
    if not file.is_file():
        raise MarketDataError(f"{file} is not a file. Expected a market file ({_SUPPORTED}).")
    if not name.endswith(SUFFIXES):
        raise MarketDataError(
            f"{file} has the suffix {''.join(file.suffixes[-2:]) or '(none)'}. Supported are "
            f"{_SUPPORTED}; convert it, for example with pandas: frame.to_csv(...)."
        )
    if file.stat().st_size == 0:
        raise MarketDataError(f"{file} is empty. Expected a header line and one row per bar.")


@contextmanager
def _refusals(file: Path) -> Iterator[None]:
    """Turn what can go wrong inside readers into one clear error."""
    try:
        yield
    except EOFError:
        raise MarketDataError(
            f"{file} is a truncated gzip file: its end is missing. Fetch or write it again."
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise MarketDataError(
            f"{file} is not a valid gzip file ({error}). Fetch or write it again, or name it .csv "
            "if it is not compressed."
        ) from None
    except (UnicodeDecodeError, csv.Error):
        raise MarketDataError(
            f"{file} is not UTF-8 text. Expected {_SUPPORTED}; it may be another format under "
            "this name."
        ) from None
    except OSError as error:
        raise MarketDataError(f"{file} cannot be read: {error.strerror or error}.") from None


def _read_columns(file: Path, layout: Layout) -> tuple[pd.DataFrame, pd.Series[str]]:
    """Read the used columns; prices are parsed to the nearest float64."""
    positions = sorted([layout.time, *layout.values])
    types: dict[int, Any] = dict.fromkeys(layout.values, np.float64)
    try:
        with open_text(file) as stream:
            frame = pd.read_csv(
                stream,
                header=None,
                skiprows=1,
                names=list(range(len(layout.header))),
                usecols=positions,
                dtype={**types, layout.time: str},
                index_col=False,
                keep_default_na=False,
                na_values={position: ["", "nan", "NaN", "NAN"] for position in layout.values},
                skipinitialspace=True,
                float_precision="round_trip",
            )  # type: ignore[call-overload]
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=list(layout.values.values())), pd.Series(dtype=str)
    except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error):
        raise
    except ValueError as error:
        raise _bad_cell(file, layout, str(error)) from None
    _check_widths(file, len(layout.header))
    times = frame.pop(layout.time)
    return frame.rename(columns=layout.values), times


def _check_widths(file: Path, width: int) -> None:
    """Refuse rows that are longer than the header, which pandas would cut without a word."""
    with open_text(file) as stream:
        if not any(line.count(",") >= width for line in stream):
            return
    for line, cells in _lines(file):  # slower, but knows commas inside quotes
        if any(cells[width:]):
            raise MarketDataError(
                f"{file} line {line} has {len(cells)} cells and the header has {width}: "
                f"{','.join(cells)[:120]!r}. Expected one cell per column; fix the line."
            )


def _bad_cell(file: Path, layout: Layout, error: str) -> MarketDataError:
    """Find the first line that pandas stumbled over, reading slowly."""
    for line, cells in _lines(file):
        for position, name in layout.values.items():
            cell = cells[position].strip() if position < len(cells) else ""
            if cell and (not is_number(cell) or "_" in cell):
                return MarketDataError(
                    f"{file} line {line}: {layout.header[position]} is {cell!r}. Expected a "
                    f"number for {name}; fix the cell, or leave it empty to mark it missing."
                )
    return MarketDataError(f"{file} cannot be read as CSV: {error}. Fix the file.")


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The file's rows after its header with their line numbers, blank lines left out."""
    with open_text(file) as stream:
        reader = csv.reader(stream)
        next(reader)
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def _line_of(file: Path, row: int) -> str:
    """Name a data row by its line in the file."""
    for index, (line, _) in enumerate(_lines(file)):
        if index == row:
            return f"line {line}"
    return f"row {row + 1}"
