"""What a recogniser says about a market table: which columns to read, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from data_tools.stamps import parse_stamps

Stamps = tuple[np.ndarray[Any, Any], str]


def as_they_are(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The columns as read, and nothing to add."""
    return frame, ""


@dataclass(frozen=True)
class Layout:
    """Which columns of a table are read, by position, and what becomes of them.

    Attributes:
        family: Words for the recognised format.
        time: Position of the time column.
        values: Position -> name under which a column is read.
        ignored: Names of the other columns, as the file spells them.
        header: Names of all columns; the format's own where the file has none.
        named: Whether the first line is a header.
        read_times: Time cells -> UTC stamps, datetime64[ns], and words that name the spelling.
        finish: Columns as read -> the market's columns, and what was done to them.
    """

    family: str
    time: int
    values: dict[int, str]
    ignored: tuple[str, ...]
    header: tuple[str, ...]
    named: bool = True
    read_times: Callable[[pd.Series[Any]], Stamps] = parse_stamps
    finish: Callable[[pd.DataFrame], tuple[pd.DataFrame, str]] = as_they_are
