"""Market files in the formats that people have, recognised and read as they are.

`load` reads what a file says and nothing more: no row is dropped, filled or rounded, and none is
moved but where all are newest first. Whether the bars make sense (``high < low``, gaps) is for
`gym_trade.Market` to judge; `data_tools.repair` changes what it is asked to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_tools.arrow_table import ARROW_SUFFIXES, read_arrow
from data_tools.csv_table import place_of, read_table
from data_tools.grid import grid_note
from data_tools.market_folder import files_of_market
from data_tools.market_layout import Layout
from data_tools.market_text import MarketText, read_texts
from data_tools.recognise import recognise
from data_tools.stamps import BadStampError
from gym_trade import MarketDataError

TEXT_SUFFIXES = (".csv", ".csv.gz", ".zip")
SUFFIXES = (*TEXT_SUFFIXES, *ARROW_SUFFIXES)
_SUPPORTED = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"


class MarketFile(NamedTuple):
    """A market file as read.

    Attributes:
        frame: As `load` returns it.
        recognised: One line that says what was recognised and what was done.
        newest_first: Whether the file's rows were newest first and have been reversed.
    """

    frame: pd.DataFrame
    recognised: str
    newest_first: bool


def load(
    path: str | os.PathLike[str], *, echo: Callable[[str], object] | None = print
) -> pd.DataFrame:
    """Read a market file.

    Recognised are: tables with named columns, as text, Parquet or Feather (freqtrade's among them);
    klines of Binance's public archive, with a header or without; QuantConnect LEAN's bars of
    trades or of bid and ask, whose mid prices are taken. Of named columns are needed a time column
    (``timestamp``, ``date``, ``datetime``, ``open_time`` or ``time``) and open, high, low, close;
    ``volume``, ``funding_rate`` and ``feature_*`` are read if present and others are ignored, all
    in any letter case. Stamps are ISO 8601 text or integers since 1970 in s, ms, us or ns; a stamp
    without a zone is UTC. An empty cell is NaN. Rows that are all newest first are reversed.

    Args:
        path: A ``.csv``, ``.csv.gz``, ``.zip``, ``.parquet`` or ``.feather`` file; the last two
            need pyarrow (the extra ``parquet``). A zip may hold one market as a file per date, and
            so may a folder: one of LEAN's, or of the exchange's monthly or daily archives. Where a
            folder of LEAN's has trades and quotes, trades are read.
        echo: Receives one line saying what was recognised; None for silence.

    Returns:
        float64 columns with lower-case names, in the file's row order, under a
        ``datetime64[ns]`` index named "timestamp", in UTC without a zone.

    Raises:
        MarketDataError: The file cannot be read as such; the message names the columns seen or the
            line.
    """
    market = read(path)
    if echo is not None:
        echo(market.recognised)
    return market.frame


def read(path: str | os.PathLike[str]) -> MarketFile:
    """Read a market file and say what it was.

    Args:
        path: As for `load`.

    Raises:
        MarketDataError: The file cannot be read as a market file.
    """
    file = Path(path)
    if file.is_dir():
        return _read_folder(file)
    frame, layout, spelling, notes, newest_first = _read_file(file)
    return MarketFile(frame, _recognised(file, frame, layout, spelling, notes), newest_first)


class _Part(NamedTuple):
    """One file as read: see `MarketFile`."""

    frame: pd.DataFrame
    layout: Layout
    spelling: str
    notes: list[str]
    newest_first: bool


def _read_file(file: Path) -> _Part:
    _check_file(file)
    if file.name.lower().endswith(ARROW_SUFFIXES):
        frame, layout, spelling, note = read_arrow(file)
        notes = [note]
    else:
        frame, layout, spelling, notes = _read_text(file)
    stamps = frame.index.to_numpy()
    newest_first = len(stamps) > 1 and bool(np.all(stamps[1:] < stamps[:-1]))
    if newest_first:
        frame = frame.iloc[::-1]
        notes.append("newest first in the file: rows reversed")
    return _Part(frame, layout, spelling, [note for note in notes if note], newest_first)


def _read_folder(folder: Path) -> MarketFile:
    """Read the files of one market, and join them in the order of their stamps."""
    files, note = files_of_market(folder, SUFFIXES)
    read_files = [(file, _read_file(file)) for file in files]
    read_files.sort(key=lambda item: item[1].frame.index.min())
    first, parts = read_files[0][1], [part for _, part in read_files]
    for (before, left), (after, right) in pairwise(read_files):
        _check_same(str(after), right.layout, str(before), left.layout)
        if right.frame.index.min() <= left.frame.index.max():
            raise MarketDataError(
                f"{after} begins at {right.frame.index.min()} UTC, and {before} ends at "
                f"{left.frame.index.max()} UTC. Expected files that follow each other; remove one."
            )
    notes = [f"{len(files)} files of the folder joined by date", note]
    notes += dict.fromkeys(note for part in parts for note in part.notes)
    spelling = first.spelling
    spelling += ", and others" if len({part.spelling for part in parts}) > 1 else ""
    frame = pd.concat([part.frame for part in parts])
    said = _recognised(folder, frame, first.layout, spelling, [note for note in notes if note])
    return MarketFile(frame, said, any(part.newest_first for part in parts))


def _check_same(name: str, layout: Layout, other_name: str, other: Layout) -> None:
    """Refuse to join files of two formats; that one has a header makes no difference."""
    if _format(layout) != _format(other):
        raise MarketDataError(
            f"{name} holds {layout.family} and {other_name} {other.family}. Expected one format "
            "and the same columns; take the ones that you want apart."
        )


def _format(layout: Layout) -> tuple[str, list[str]]:
    family = layout.family.removesuffix(" with a header").removesuffix(" without a header")
    return family, sorted(layout.values.values())


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
        raise MarketDataError(f"{file} is empty. Expected one row per bar.")


def _read_text(file: Path) -> tuple[pd.DataFrame, Layout, str, list[str]]:
    """Read every part of a text file, and join them in the order of their dates."""
    texts = read_texts(file)
    parts = [_read_part(text) for text in texts]
    frames, layouts, spellings, notes = (list(column) for column in zip(*parts, strict=True))
    layout, spelling = layouts[0], spellings[0]
    if len(parts) == 1:
        return frames[0], layout, spelling, notes
    for text, other in zip(texts, layouts, strict=True):
        _check_same(text.name, other, texts[0].name, layout)
    spelling += ", and others" if len(set(spellings)) > 1 else ""
    said = f"{len(parts)} files of the zip joined by date"
    return pd.concat(frames), layout, spelling, [said, *dict.fromkeys(notes)]


def _read_part(text: MarketText) -> tuple[pd.DataFrame, Layout, str, str]:
    layout = recognise(text)
    frame, times = read_table(text, layout)
    if frame.empty:
        raise MarketDataError(f"{text.name} has a header and no rows. Expected at least one bar.")
    try:
        stamps, spelling = layout.read_times(times)
    except BadStampError as error:
        place = place_of(text, layout, error.row)
        raise MarketDataError(
            f"{text.name} {place}: {layout.header[layout.time]} is {error}"
        ) from None
    frame, note = layout.finish(frame)
    frame.index = pd.DatetimeIndex(stamps, name="timestamp")
    return frame, layout, spelling, note


def _recognised(
    file: Path, frame: pd.DataFrame, layout: Layout, spelling: str, notes: list[str]
) -> str:
    low, high = frame.index.min(), frame.index.max()
    note = grid_note(frame.index.to_numpy().astype(np.int64))
    no_volume = "" if "volume" in frame else " (no volume)"
    ignored = ", ".join(layout.ignored) if layout.ignored else "none"
    parts = [
        f"{file.name}: {layout.family}, {len(frame)} rows, {low} to {high} UTC",
        f"time column {layout.header[layout.time]} ({spelling}), columns used: "
        f"{', '.join(frame.columns)}{no_volume}",
        f"ignored: {ignored}",
        *notes,
        *([note] if note else []),
    ]
    return "; ".join(parts)
