"""Time stamps as files spell them: ISO 8601 text or integers since 1970."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

# Integers are recognised by magnitude. In seconds the window is 1973 to 2100; the windows of the
# four units do not overlap, and a compact date such as 20220101 is in none of them.
_FIRST_SECOND, _LAST_SECOND = 100_000_000, 4_102_444_800
_NANOSECONDS = {"seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}

_ZERO = ord("0")
_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")
_ISO = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
    r"|[0-9]{8}T[0-9]{4}(?:[0-9]{2})?) ?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_TEXT_EXPECTED = (
    "Expected ISO 8601 text, such as 2022-01-31 23:59:00, or integer s, ms, us or ns since 1970; "
    "fix the cell, and spell the whole column one way."
)


class BadStampError(ValueError):
    """A cell that is no time stamp.

    Attributes:
        row: Its 0-based row. The message starts with the cell's value and what is wrong with it.
    """

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


def parse_stamps(cells: pd.Series[Any]) -> tuple[np.ndarray[Any, Any], str]:
    """Read a column of time stamps; the first cell decides between text and integers.

    Args:
        cells: At least one cell, int64 or text.

    Returns:
        UTC stamps, datetime64[ns] of the column's length, and words that name the spelling.

    Raises:
        BadStampError: The first cell that cannot be read.
    """
    if cells.dtype == np.int64:
        return _count(cells.to_numpy())
    if _INTEGER.fullmatch(str(cells.iloc[0]).strip(" ")):
        return _parse_integers(cells)
    return _parse_text(cells), "ISO 8601 text"


def _parse_text(cells: pd.Series[str]) -> np.ndarray[Any, Any]:
    _check_spelling(cells)
    try:
        parsed = pd.to_datetime(cells, format="ISO8601", utc=True, errors="raise")
    except (ValueError, OverflowError) as error:
        for row, cell in enumerate(cells):
            if pd.isna(pd.to_datetime(cell, format="ISO8601", utc=True, errors="coerce")):
                raise BadStampError(row, f"{_shown(cell)}. {_TEXT_EXPECTED}") from None
        raise BadStampError(0, f"unreadable ({error}). {_TEXT_EXPECTED}") from None
    return parsed.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")


def _check_spelling(cells: pd.Series[str]) -> None:
    """Refuse what pandas would read although it is no ISO 8601, such as "00:00:0."."""
    letters = _letters(cells)
    if letters is not None and _ISO.fullmatch(str(cells.iloc[0]).strip(" ")):
        digits = (letters >= _ZERO) & (letters <= _ZERO + 9)
        if np.where(digits[0], digits, letters == letters[0]).all():
            return  # every cell is as the first, but for other digits
    for row, cell in enumerate(cells):
        if not _ISO.fullmatch(str(cell).strip(" ")):
            raise BadStampError(row, f"{_shown(cell)}. {_TEXT_EXPECTED}")


def _letters(cells: pd.Series[str]) -> np.ndarray[Any, Any] | None:
    """The cells as ASCII codes, uint8 (rows, width); None if they differ in width or are long."""
    values = cells.to_numpy(dtype=object)
    width = len(values[0])
    if not 0 < width <= 40 or any(len(value) != width for value in values):
        return None
    try:
        text = "".join(values).encode("ascii")
    except UnicodeEncodeError:
        return None
    return np.frombuffer(text, np.uint8).reshape(-1, width)


def _shown(cell: object) -> str:
    return repr(str(cell)[:60])


def _parse_integers(cells: pd.Series[str]) -> tuple[np.ndarray[Any, Any], str]:
    return _count(read_integers(cells, _TEXT_EXPECTED))


def read_integers(cells: pd.Series[str], expected: str) -> np.ndarray[Any, Any]:
    """Read cells that must all be integers.

    Args:
        cells: At least one cell, as text.
        expected: What to say of one that is none.

    Returns:
        int64 of the column's length.

    Raises:
        BadStampError: The first cell that is no integer, or beyond 64 bits.
    """
    letters = _letters(cells)
    if letters is not None and letters.shape[1] <= 18:  # below 2**63 whatever the digits
        digits = letters - np.uint8(_ZERO)
        if (digits <= 9).all():
            counts = np.zeros(len(cells), np.int64)
            for column in digits.T:
                counts = counts * 10 + column
            return counts
    counts = np.empty(len(cells), np.int64)
    for row, cell in enumerate(cells):
        word = str(cell).strip(" ")
        if not _INTEGER.fullmatch(word) or not -(2**63) <= int(word) < 2**63:
            raise BadStampError(row, f"{_shown(cell)}. {expected}")
        counts[row] = int(word)
    return counts


def _count(counts: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], str]:
    """Tell the unit of integers from the first one, and make them stamps."""
    inside = {unit: _in_window(counts, scale) for unit, scale in _NANOSECONDS.items()}
    unit = next((unit for unit, mask in inside.items() if mask[0]), None)
    if unit is None:
        raise BadStampError(
            0,
            f"{counts[0]}, an integer that is no date from 1973 to 2100 in any unit. "
            "Expected s, ms, us or ns since 1970; write ISO 8601 text, such as 2022-01-31.",
        )
    if not inside[unit].all():
        row = int(np.argmin(inside[unit]))
        other = next((name for name, mask in inside.items() if mask[row]), "no known unit")
        raise BadStampError(
            row,
            f"{counts[row]}, in {other}, while the first row is in {unit}. Expected one unit "
            "throughout; convert the others, or write ISO 8601 text.",
        )
    return (counts * _NANOSECONDS[unit]).astype("datetime64[ns]"), f"integer {unit} since 1970"


def _in_window(counts: np.ndarray[Any, Any], nanoseconds: int) -> np.ndarray[Any, Any]:
    per_second = 10**9 // nanoseconds
    return np.asarray((counts >= _FIRST_SECOND * per_second) & (counts < _LAST_SECOND * per_second))


def read_time(text: str) -> pd.Timestamp | None:
    """A time as a flag names it, in UTC, as it is where it has no zone; None if it is none."""
    try:
        time = pd.Timestamp(text)
    except ValueError:
        return None
    if pd.isna(time):
        return None
    return time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")
