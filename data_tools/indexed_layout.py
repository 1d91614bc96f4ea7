"""Reading the indexed layout: its checks, and the columns of the full layout made from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.column_rows import MadeColumn
from data_tools.flat_layout import (
    DatasetError,
    FlatDataset,
    open_file,
    open_flat,
    parse_provenance,
    row_chunks,
)
from data_tools.indexed_checks import check_shown, check_version
from data_tools.indexed_file import IndexedFile, joins_shards, read_indexed
from data_tools.indexed_format import APART, EXTRA, TERMINATED, TRUNCATED, unpack_bits
from data_tools.indexed_table import IndexedTable
from data_tools.market_windows import open_windows
from data_tools.pieces import Pieces
from data_tools.shard_files import list_shards
from data_tools.vector_layout import is_vector, open_vector
from gym_trade import Market

_FLAG_BITS = {"terminated": TERMINATED, "truncated": TRUNCATED, "done": TERMINATED | TRUNCATED}


@dataclass(frozen=True, kw_only=True)
class IndexedDataset(FlatDataset):
    """An open file of the indexed layout, whose `meta` makes the columns of the full one.

    Attributes:
        table: Decisions and accounts, mapped where they lie in the file.
        stored_action: The type that the file holds actions in.
    """

    table: IndexedTable
    stored_action: np.dtype[Any]

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
    """Open a dataset of any layout; see `flat_layout.open_flat`.

    Args:
        path: The file.
        market: Of an indexed file, as for `market_windows.open_windows`; a full one needs none.
        features: As for `market_windows.open_windows`.
        echo: As for `market_windows.open_windows`.

    Raises:
        DatasetError: The file or its market cannot be used.
    """
    with open_file(Path(path)) as root:
        vector = is_vector(root)
    if is_indexed(path):
        with _open_indexed(Path(path), market, features, echo) as indexed:
            yield indexed
    else:
        with open_vector(path) if vector else open_flat(path) as dataset:
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
        provenance = parse_provenance(file, root)
        joined = joins_shards(root)
    parts = read_shards(file, provenance) if joined else [read_indexed(file)]
    windows = open_windows(file, provenance, market=market, features=features, echo=echo)
    for part in parts:
        last = part.last_decisions, part.last_accounts
        check_shown(part.path, windows, last, 0, "last observation")
    flags = np.concatenate([part.flags for part in parts])
    table = IndexedTable(
        windows,
        _joined([part.columns["decision"] for part in parts]),
        _joined([part.columns["account_state"] for part in parts]),
        np.concatenate([part.last_decisions for part in parts]),
        np.concatenate([part.last_accounts for part in parts]),
        apart=(flags & APART) != 0,
    )
    size = len(flags)
    shards = f", in {len(parts)} shards" if joined else ""
    made = IndexedDataset(
        path=file, size=size, insertion_index=0, last_index=size - 1, stack_num=1, meta={},
        has_next=True, provenance=provenance, table=table,
        stored_action=parts[0].columns["act"].dtype,
        kind=f"indexed layout, windows gathered from its market{shards}",
    )  # fmt: skip
    made.meta.update(_columns(made, parts, flags))
    yield made


def read_shards(file: Path, provenance: dict[str, Any] | None) -> list[IndexedFile]:
    """The files that one of the indexed layout joins, in the order of their rows.

    Raises:
        DatasetError: One is missing, damaged or foreign.
    """
    parts: list[IndexedFile] = []
    for shard in list_shards(file, provenance):
        part = read_indexed(shard.path)
        shard.check(file, part.provenance, part.size)
        if parts and part.kinds != parts[0].kinds:
            raise DatasetError(
                f"{file} is joined of other files, and {part.path} has columns of other types than "
                f"{parts[0].path}. Make the dataset anew."
            )
        parts.append(part)
    return parts


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any] | Pieces:
    """A column where it lies."""
    return parts[0] if len(parts) == 1 else Pieces(parts)


def _columns(
    dataset: IndexedDataset, parts: list[IndexedFile], flags: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    """The columns of the full layout, by name."""
    size, table, first = dataset.size, dataset.table, parts[0]
    stored = {name: Pieces([part.columns[name] for part in parts]) for name in first.columns}

    def obs(start: int, stop: int) -> npt.NDArray[Any]:
        return table.windows.observations(*dataset.checked_shown(start, stop))

    def obs_next(start: int, stop: int) -> npt.NDArray[Any]:
        dataset.checked_shown(start, min(stop + 1, size))
        return table.observations(table.following(np.arange(start, stop)))

    def add(name: str, shape: tuple[int, ...], dtype: Any, make: Any) -> None:
        made[name] = MadeColumn(name, (size, *shape), np.dtype(dtype), make)

    def add_stored(name: str, dtype: Any = None) -> None:
        column = stored[name]
        kept = column.dtype if dtype is None else dtype
        add(name.removeprefix(f"{EXTRA}/"), column.shape[1:], kept, lambda a, b: column[a:b])

    def add_packed(name: str, bits: int) -> None:
        def unpacked(start: int, stop: int) -> npt.NDArray[Any]:
            return unpack_bits(stored[name][start:stop], bits)

        add(name.removeprefix(f"{EXTRA}/"), (bits,), np.bool_, unpacked)

    made: dict[str, Any] = {"info": {}}
    width = (table.windows.width,)
    add("obs", width, np.float32, obs)
    add_stored("act", first.read_as)
    add_stored("rew")
    for name, bits in _FLAG_BITS.items():
        add(name, (), np.bool_, lambda a, b, bits=bits: (flags[a:b] & bits) != 0)
    add("obs_next", width, np.float32, obs_next)
    for name in stored:
        if name in first.bits:
            add_packed(name, first.bits[name])
        elif name.startswith(f"{EXTRA}/"):
            add_stored(name)
    return made
