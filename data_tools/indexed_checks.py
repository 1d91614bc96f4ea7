"""What an indexed file must be like before it is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data_tools.flat_layout import COLUMNS, DatasetError
from data_tools.indexed_format import (
    ALL_FLAGS,
    APART,
    BITS,
    CONSTANTS,
    EXTRA,
    LAST,
    LAYOUT,
    LAYOUT_VERSION,
    READABLE_VERSIONS,
    ROWS,
    TERMINATED,
    TRUNCATED,
)
from data_tools.market_windows import MarketWindows
from gym_trade.types import ACCOUNT_STATE_WIDTH

_ACTION_TYPES = (
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    "float32",
    "float64",
)


def check_version(file: Path, root: h5py.File) -> None:
    """Refuse a layout that this version does not read."""
    layout, version = root.attrs["layout"], root.attrs.get("layout_version")
    if not isinstance(layout, str) or layout != LAYOUT or version not in READABLE_VERSIONS:
        raise DatasetError(
            f"{file} has layout {layout!r} of version {version}. Expected {LAYOUT!r} of version "
            f"{LAYOUT_VERSION}; another version of this package wrote it."
        )


def check_columns(file: Path, root: h5py.File) -> int:
    """Check that each column is there, in this very file, and fits; returns the rows."""
    for name in (*ROWS, *LAST):
        column = root.get(name)
        if name == "last_account_state":
            varying = int(np.isnan(read_constants(file, root)).sum())
            if not varying and name not in root:
                continue
        if not isinstance(root.get(name, getlink=True), h5py.HardLink) or not isinstance(
            column, h5py.Dataset
        ):
            raise DatasetError(f"{file} lacks {name}. Columns seen: {', '.join(root)}.")
        rows = root["last_decision" if name in LAST else "decision"].shape[:1]
        shapes = [rows] if name != "act" else [rows, (*rows, *column.shape[1:2])]
        if name.endswith("account_state"):
            shapes = [(*rows, varying if name in LAST else ACCOUNT_STATE_WIDTH)]
        types = {"rew": "f4 f8", "flags": "u1", "act": "u1 u2 u4 u8 i1 i2 i4 i8 f4 f8"}
        types |= dict.fromkeys(("decision", "last_decision"), "i4 i8")
        wanted = types.get(name, "f4").split()
        # what is stored elsewhere, in pieces or by a filter has no offset
        if (
            column.shape not in shapes
            or column.dtype.str[1:] not in wanted
            or not column.dtype.isnative
            or not rows[0]
            or column.id.get_offset() is None
        ):
            raise DatasetError(
                f"{file}: {name} has shape {column.shape} and dtype {column.dtype}. Expected "
                f"{' or '.join(map(str, shapes))}, one of {', '.join(wanted)}, contiguous."
            )
    size = int(root["decision"].shape[0])
    _check_extra(file, root, size)
    read_as = root["act"].attrs.get("read_as")
    if read_as not in _ACTION_TYPES:
        raise DatasetError(
            f"{file}: act is to be read as {read_as!r}. Expected one of {', '.join(_ACTION_TYPES)}."
        )
    return size


def _check_extra(file: Path, root: h5py.File, size: int) -> None:
    """Check that further columns are plain numbers, one entry a row, in this very file."""
    if EXTRA not in root:
        return
    group = root[EXTRA]
    if not isinstance(group, h5py.Group):
        raise DatasetError(f"{file}: {EXTRA} is no group of columns. Make the dataset anew.")
    for name in group:
        item: Any = group.get(name)
        link = group.get(name, getlink=True)
        inside = isinstance(link, h5py.HardLink) and isinstance(item, h5py.Dataset)
        bits = item.attrs.get(BITS) if inside else None
        packed = bits is None or (
            isinstance(bits, np.integer)
            and item.dtype == np.uint8
            and item.ndim == 2
            and 1 < bits <= item.shape[1] * 8 < bits + 8
        )
        if (
            not inside
            or not packed
            or item.shape[:1] != (size,)
            or item.dtype.kind not in "fiub"
            or item.id.get_offset() is None
            or name in COLUMNS
        ):
            raise DatasetError(
                f"{file}: {EXTRA}/{name} is not {size} rows of plain numbers in this file."
            )


def read_constants(file: Path, root: h5py.File) -> npt.NDArray[np.float32]:
    """What is the same in all accounts that stand apart, float32 (6,), NaN where they differ.

    Raises:
        DatasetError: It is not that.
    """
    column = root.get(LAST[0])
    found = column.attrs.get(CONSTANTS) if isinstance(column, h5py.Dataset) else None
    if found is None:  # a file of version 1
        return np.full(ACCOUNT_STATE_WIDTH, np.nan, np.float32)
    constants = np.asarray(found)
    if (
        constants.dtype != np.float32
        or constants.shape != (ACCOUNT_STATE_WIDTH,)
        or np.isinf(constants).any()
    ):
        raise DatasetError(
            f"{file}: {CONSTANTS} is {found!r}. Expected {ACCOUNT_STATE_WIDTH} float32 numbers, "
            "finite or NaN; make the dataset anew."
        )
    return constants


def read_flags(file: Path, column: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The flags of every row, uint8 (size,), in memory.

    Raises:
        DatasetError: They contradict each other.
    """
    flags = np.array(column)
    ends = (flags & (TERMINATED | TRUNCATED)) != 0
    ends[-1] = True  # nothing follows
    wrong = (flags > ALL_FLAGS) | (ends & ((flags & APART) == 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(
            f"{file}: flags of transition {row} are {flags[row]}. Expected sums of {TERMINATED} "
            f"(terminated), {TRUNCATED} (truncated) and {APART} (its next observation stands "
            "apart), the last one with either of the others and in the last row."
        )
    return flags


def check_shown(
    file: Path,
    windows: MarketWindows,
    shown: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    begin: int,
    noun: str,
) -> None:
    """Refuse decisions that the market does not have, and accounts that are not finite.

    Args:
        file: For the message.
        windows: The market's.
        shown: (decisions, accounts) of some rows.
        begin: The first of them.
        noun: What they are.
    """
    decisions, accounts = shown
    wrong = (decisions < windows.first) | (decisions >= windows.decisions)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(
            f"{file}: decision of {noun} {begin + row} is {decisions[row]}. Expected "
            f"{windows.first} to {windows.decisions - 1}, as its market has them; make it anew."
        )
    finite = np.isfinite(accounts)
    if not finite.all():
        place = np.unravel_index(int(np.argmin(finite)), accounts.shape)
        row = begin + int(place[0])
        raise DatasetError(
            f"{file}: account_state of {noun} {row} is {accounts[place]}. Expected "
            "finite numbers; make the dataset anew."
        )
