"""Reading the indexed layout: its checks, and the columns of the full layout made from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data_tools.flat_layout import (
    DatasetError,
    FlatDataset,
    open_file,
    open_flat,
    parse_provenance,
    read_rows,
    row_chunks,
)
from data_tools.indexed_format import (
    ALL_FLAGS,
    APART,
    LAST,
    LAYOUT,
    LAYOUT_VERSION,
    ROWS,
    TERMINATED,
    TRUNCATED,
)
from data_tools.indexed_table import IndexedTable
from data_tools.market_windows import open_windows
from gym_trade import Market
from gym_trade.types import ACCOUNT_STATE_WIDTH

_FLAG_BITS = {"terminated": TERMINATED, "truncated": TRUNCATED, "done": TERMINATED | TRUNCATED}


@dataclass(frozen=True)
class MadeColumn:
    """A column of the full layout, made as it is read: stands for an ``h5py.Dataset``."""

    file: h5py.File
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[int, int], npt.NDArray[Any]]

    def read_direct(self, rows: npt.NDArray[Any], selection: slice) -> None:
        """Fill `rows` with those of a slice."""
        rows[:] = self.make(selection.start, selection.stop)

    def __getitem__(self, selection: slice) -> npt.NDArray[Any]:
        return self.make(*selection.indices(self.shape[0])[:2])


@dataclass(frozen=True, kw_only=True)
class IndexedDataset(FlatDataset):
    """An open file of the indexed layout, whose `meta` makes the columns of the full one.

    Attributes:
        table: Decisions and accounts, mapped where they lie in the file.
    """

    table: IndexedTable

    def checked_shown(self, start: int, stop: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Decisions and accounts of rows, from the file.

        Raises:
            DatasetError: A decision is none of the market's, or an account is not finite.
        """
        decisions, accounts = self.table.decisions, self.table.accounts
        part = np.array(decisions[start:stop]), np.array(accounts[start:stop])
        _check_shown(self.path, self.table, part, start, "transition")
        return part


@contextmanager
def open_dataset(
    path: str | os.PathLike[str],
    *,
    market: Market | str | None = None,
    features: Any = None,
    echo: Callable[[str], object] | None = None,
) -> Iterator[FlatDataset]:
    """Open a dataset of either layout; see `flat_layout.open_flat`.

    Args:
        path: The file.
        market: Of an indexed file, as for `market_windows.open_windows`; a full one needs none.
        features: As for `market_windows.open_windows`.
        echo: As for `market_windows.open_windows`.

    Raises:
        DatasetError: The file or its market cannot be used.
    """
    if is_indexed(path):
        with _open_indexed(Path(path), market, features, echo) as indexed:
            yield indexed
    else:
        with open_flat(path) as dataset:
            yield dataset


def is_indexed(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that its layout is the indexed one.

    Raises:
        DatasetError: There is no such file, or it is not HDF5.
    """
    with open_file(Path(path)) as root:
        return "layout" in root.attrs


@contextmanager
def _open_indexed(
    file: Path,
    market: Market | str | None,
    features: Any,
    echo: Callable[[str], object] | None,
) -> Iterator[IndexedDataset]:
    with open_file(file) as root:
        _check_version(file, root)
        size = _check_columns(file, root)
        provenance = parse_provenance(file, root)
        windows = open_windows(file, provenance, market=market, features=features, echo=echo)
        flags = _read_flags(file, root["flags"], size)
        mapped = {name: _mapped(file, root[name]) for name in (*ROWS[:2], *LAST)}
        apart = (flags & APART) != 0
        marked = int(np.count_nonzero(apart))
        if marked != len(mapped["last_decision"]):
            raise DatasetError(
                f"{file}: {marked} transitions lead to observations that stand apart, and it holds "
                f"{len(mapped['last_decision'])} of them. Make the dataset anew."
            )
        last = np.array(mapped["last_decision"]), np.array(mapped["last_account_state"])
        table = IndexedTable(
            windows, mapped["decision"], mapped["account_state"], *last, apart=apart
        )
        _check_shown(file, table, last, 0, "last observation")
        made = IndexedDataset(
            path=file, size=size, insertion_index=0, last_index=size - 1, stack_num=1, meta={},
            has_next=True, provenance=provenance, kind="indexed layout", table=table,
        )  # fmt: skip
        made.meta.update(_columns(made, root, flags))
        yield made


def _check_version(file: Path, root: h5py.File) -> None:
    layout, version = root.attrs["layout"], root.attrs.get("layout_version")
    if not isinstance(layout, str) or layout != LAYOUT or version != LAYOUT_VERSION:
        raise DatasetError(
            f"{file} has layout {layout!r} of version {version}. Expected {LAYOUT!r} of version "
            f"{LAYOUT_VERSION}; another version of this package wrote it."
        )


def _check_columns(file: Path, root: h5py.File) -> int:
    """Check that each column is there, in this very file, and fits; returns the rows."""
    for name in (*ROWS, *LAST):
        column = root.get(name)
        if not isinstance(root.get(name, getlink=True), h5py.HardLink) or not isinstance(
            column, h5py.Dataset
        ):
            raise DatasetError(f"{file} lacks {name}. Columns seen: {', '.join(root)}.")
        rows = root["last_decision" if name in LAST else "decision"].shape[:1]
        shapes = [rows] if name != "act" else [rows, (*rows, *column.shape[1:2])]
        if name.endswith("account_state"):
            shapes = [(*rows, ACCOUNT_STATE_WIDTH)]
        types = {"rew": "f4 f8", "flags": "u1", "act": "u1 u2 u4 u8 i1 i2 i4 i8 f4 f8"}
        types |= dict.fromkeys(("decision", "last_decision"), "i4 i8")
        wanted = types.get(name, "f4").split()
        # what is stored elsewhere, in pieces or by a filter has no offset
        if (
            column.shape not in shapes
            or column.dtype.str[1:] not in wanted
            or not rows[0]
            or column.id.get_offset() is None
        ):
            raise DatasetError(
                f"{file}: {name} has shape {column.shape} and dtype {column.dtype}. Expected "
                f"{' or '.join(map(str, shapes))}, one of {', '.join(wanted)}, contiguous."
            )
    return int(root["decision"].shape[0])


def _read_flags(file: Path, column: h5py.Dataset, size: int) -> npt.NDArray[np.uint8]:
    flags = read_rows(column, 0, size)
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


def _mapped(file: Path, column: h5py.Dataset) -> npt.NDArray[Any]:
    """A column where it lies in the file, without reading it."""
    offset = column.id.get_offset()
    if offset + column.dtype.itemsize * column.size > os.path.getsize(file):
        raise DatasetError(f"{file}: {column.name} reaches beyond its end. It was cut short.")
    mapped = np.memmap(file, column.dtype, "r", offset, column.shape)
    return mapped.view(np.ndarray)


def _check_shown(
    file: Path,
    table: IndexedTable,
    shown: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    begin: int,
    noun: str,
) -> None:
    decisions, accounts = shown
    windows = table.windows
    wrong = (decisions < windows.first) | (decisions >= windows.decisions)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(
            f"{file}: decision of {noun} {begin + row} is {decisions[row]}. Expected "
            f"{windows.first} to {windows.decisions - 1}, as its market has them; make it anew."
        )
    finite = np.isfinite(accounts)
    if not finite.all():
        row, column = np.unravel_index(int(np.argmin(finite)), accounts.shape)
        raise DatasetError(
            f"{file}: account_state of {noun} {begin + row} is {accounts[row, column]}. Expected "
            "finite numbers; make the dataset anew."
        )


def _columns(
    dataset: IndexedDataset, root: h5py.File, flags: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    """The columns of the full layout, by name."""
    size, table = dataset.size, dataset.table

    def obs(start: int, stop: int) -> npt.NDArray[Any]:
        return table.windows.observations(*dataset.checked_shown(start, stop))

    def obs_next(start: int, stop: int) -> npt.NDArray[Any]:
        dataset.checked_shown(start, min(stop + 1, size))
        return table.observations(table.following(np.arange(start, stop)))

    act = root["act"]
    read_as = np.dtype(str(act.attrs.get("read_as", act.dtype.name)))

    def add(name: str, shape: tuple[int, ...], dtype: Any, make: Any) -> None:
        made[name] = MadeColumn(root, name, (size, *shape), np.dtype(dtype), make)

    made: dict[str, Any] = {"info": {}}
    width = (table.windows.width,)
    add("obs", width, np.float32, obs)
    add("act", act.shape[1:], read_as, lambda a, b: read_rows(act, a, b).astype(read_as))
    made["rew"] = root["rew"]
    for name, bits in _FLAG_BITS.items():
        add(name, (), np.bool_, lambda a, b, bits=bits: (flags[a:b] & bits) != 0)
    add("obs_next", width, np.float32, obs_next)
    return made


def check_rows(dataset: IndexedDataset) -> None:
    """Check every decision and account, reading them once.

    Raises:
        DatasetError: A decision is none of the market's, or an account is not finite.
    """
    for start, stop in row_chunks(dataset.table.accounts, dataset.size):
        dataset.checked_shown(start, stop)
