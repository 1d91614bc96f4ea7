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
from data_tools.indexed_checks import (
    check_columns,
    check_shown,
    check_version,
    mapped,
    read_flags,
)
from data_tools.indexed_format import APART, EXTRA, LAST, ROWS, TERMINATED, TRUNCATED
from data_tools.indexed_table import IndexedTable
from data_tools.market_windows import open_windows
from gym_trade import Market

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
        check_shown(self.path, self.table.windows, part, start, "transition")
        return part

    def check_rows(self) -> None:
        """Check every decision and account, reading them once.

        Raises:
            DatasetError: As `checked_shown` does.
        """
        for start, stop in row_chunks(self.table.accounts, self.size):
            self.checked_shown(start, stop)


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
        check_version(file, root)
        size = check_columns(file, root)
        provenance = parse_provenance(file, root)
        windows = open_windows(file, provenance, market=market, features=features, echo=echo)
        flags = read_flags(file, root["flags"], size)
        parts = {name: mapped(file, root[name]) for name in (*ROWS[:2], *LAST)}
        apart = (flags & APART) != 0
        marked = int(np.count_nonzero(apart))
        if marked != len(parts["last_decision"]):
            raise DatasetError(
                f"{file}: {marked} transitions lead to observations that stand apart, and it holds "
                f"{len(parts['last_decision'])} of them. Make the dataset anew."
            )
        last = np.array(parts["last_decision"]), np.array(parts["last_account_state"])
        table = IndexedTable(windows, parts["decision"], parts["account_state"], *last, apart=apart)
        check_shown(file, windows, last, 0, "last observation")
        made = IndexedDataset(
            path=file, size=size, insertion_index=0, last_index=size - 1, stack_num=1, meta={},
            has_next=True, provenance=provenance, table=table,
            kind="indexed layout, windows gathered from its market",
        )  # fmt: skip
        made.meta.update(_columns(made, root, flags))
        yield made


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
    read_as = np.dtype(act.attrs["read_as"])

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
    made |= dict(root.get(EXTRA, {}))
    return made
