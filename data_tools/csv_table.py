"""Columns of a market's text: every cell to the nearest float64, every row as wide as the first."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from data_tools.header import is_number
from data_tools.market_layout import Layout
from data_tools.market_text import MarketText
from gym_trade import MarketDataError

_BLOCK = 1 << 24  # bytes of text looked at together
_COMMA, _NEWLINE = 44, 10
_TIME = "the time cells"  # a name that no column has


def read_table(text: MarketText, layout: Layout) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Read the columns that a layout names.

    Returns:
        float64 columns under the layout's names, in its order, and the time cells as text.

    Raises:
        MarketDataError: A cell is no number, or a row has another count of cells than the first.
    """
    _check_widths(text, len(layout.header))
    if next(_data_rows(text, layout), None) is None:
        return pd.DataFrame(columns=list(layout.values.values())), pd.Series(dtype=str)
    try:
        frame = _parse(text, layout)
    except (ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _bad_cell(text, layout) or MarketDataError(
            f"{text.name} cannot be read as CSV: {reason}. Fix the file."
        ) from None
    frame.columns = [layout.values.get(int(position), _TIME) for position in frame.columns]
    times = frame.pop(_TIME)
    return frame, times


def _parse(text: MarketText, layout: Layout) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(
        io.BytesIO(text.data),
        header=None,
        skiprows=1 if layout.named else 0,
        names=list(range(len(layout.header))),
        usecols=sorted([layout.time, *layout.values]),
        dtype={**dict.fromkeys(layout.values, np.float64), layout.time: str},
        index_col=False,
        keep_default_na=False,
        na_values={position: ["", "nan", "NaN", "NAN"] for position in layout.values},
        skipinitialspace=True,
        float_precision="round_trip",
    )  # type: ignore[call-overload]
    return frame


def _check_widths(text: MarketText, width: int) -> None:
    """Refuse rows of another width, which pandas would cut or fill up without a word."""
    if _plainly_even(text.data, width):
        return
    for line, cells in text.rows():  # slower, but knows quotes and blank lines
        if len(cells) < width or any(cells[width:]):
            raise MarketDataError(
                f"{text.name} line {line} has {len(cells)} cells and the first line has {width}: "
                f"{','.join(cells)[:120]!r}. Expected one cell per column; fix the line."
            )


def _plainly_even(data: bytes, width: int) -> bool:
    """Whether there are no quotes and every line has `width` - 1 commas; False if in doubt."""
    if b'"' in data or data.count(b"\r") != data.count(b"\r\n"):
        return False
    start = 0
    while start < len(data):
        end = len(data)
        if end - start > _BLOCK:
            end = data.rfind(b"\n", start, start + _BLOCK) + 1 or end
        block = np.frombuffer(data, np.uint8, end - start, start)
        ends = np.flatnonzero(block == _NEWLINE)
        if block[-1] != _NEWLINE:
            ends = np.append(ends, len(block))
        commas = np.flatnonzero(block == _COMMA)
        if len(commas) != len(ends) * (width - 1):
            return False
        if width > 1:
            table = commas.reshape(len(ends), width - 1)
            if not (table[:, -1] < ends).all() or not (table[1:, 0] > ends[:-1]).all():
                return False
        start = end
    return True


def _data_rows(text: MarketText, layout: Layout) -> Any:
    rows = text.rows()
    if layout.named:
        next(rows)
    return rows


def _bad_cell(text: MarketText, layout: Layout) -> MarketDataError | None:
    """Find the first cell that is no number, reading slowly."""
    for line, cells in _data_rows(text, layout):
        for position, name in layout.values.items():
            cell = cells[position].strip()
            if cell and (not is_number(cell) or "_" in cell or not cell.isascii()):
                return MarketDataError(
                    f"{text.name} line {line}: {layout.header[position]} is {cell[:40]!r}. "
                    f"Expected a number for {name}; fix the cell, or leave it empty to mark it "
                    "missing."
                )
    return None


def place_of(text: MarketText, layout: Layout, row: int) -> str:
    """Name a data row (from 0) by its line."""
    for index, (line, _) in enumerate(_data_rows(text, layout)):
        if index == row:
            return f"line {line}"
    return f"row {row}"
