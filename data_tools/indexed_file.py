"""One file of the indexed layout, checked, its columns mapped where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data_tools.flat_layout import DatasetError, open_file, parse_provenance
from data_tools.indexed_checks import check_columns, check_version, read_constants, read_flags
from data_tools.indexed_format import APART, BITS, EXTRA, LAST, ROWS, join_accounts

Column = npt.NDArray[Any]


@dataclass(frozen=True)
class IndexedFile:
    """One file's transitions; the HDF5 file is closed again, and must not change.

    Attributes:
        path: The file.
        size: Transitions.
        provenance: What it says about itself.
        read_as: The type of actions in memory.
        columns: Those with a row a transition, mapped; further ones as "extra/name".
        bits: How many flags a row of a further column packs.
        flags: The column ``flags`` in memory, uint8 (size,).
        last_decisions: Of the observations that stand apart, in memory.
        last_accounts: The accounts there, float32.
    """

    path: Path
    size: int
    provenance: dict[str, Any] | None
    read_as: np.dtype[Any]
    columns: dict[str, Column]
    bits: dict[str, int]
    flags: npt.NDArray[np.uint8]
    last_decisions: Column
    last_accounts: npt.NDArray[np.float32]

    @property
    def kinds(self) -> dict[str, Any]:
        """What must be the same in files that are joined: shapes, types, how rows are read."""
        made: dict[str, Any] = {
            name: (column.shape[1:], column.dtype.name) for name, column in self.columns.items()
        }
        return made | {"read_as": self.read_as.name, "bits": self.bits}


def joins_shards(root: h5py.File) -> bool:
    """Whether an open file of the indexed layout holds no transitions but joins files that do."""
    return "layout" in root.attrs and ROWS[0] not in root


def read_indexed(path: Path) -> IndexedFile:
    """Open a file that holds transitions, check it, and map its columns.

    Raises:
        DatasetError: It cannot be used.
    """
    with open_file(path) as root:
        check_version(path, root)
        size = check_columns(path, root)
        whole = _whole(path)
        extra = [f"{EXTRA}/{name}" for name in root.get(EXTRA, {})]
        columns = {name: _part(path, whole, root[name]) for name in (*ROWS, *extra)}
        flags = read_flags(path, columns["flags"])
        last = {name: _part(path, whole, root[name]) for name in LAST if name in root}
        marked, found = int(np.count_nonzero(flags & APART)), len(last["last_decision"])
        if marked != found:
            raise DatasetError(
                f"{path}: {marked} transitions lead to observations that stand apart, and it holds "
                f"{found} of them. Make the dataset anew."
            )
        constants = read_constants(path, root)
        return IndexedFile(
            path=path, size=size, provenance=parse_provenance(path, root),
            read_as=np.dtype(root["act"].attrs["read_as"]), columns=columns,
            bits={name: int(root[name].attrs[BITS]) for name in extra if BITS in root[name].attrs},
            flags=flags, last_decisions=np.array(last["last_decision"]),
            last_accounts=join_accounts(constants, last.get("last_account_state"), found),
        )  # fmt: skip


def _whole(path: Path) -> npt.NDArray[np.uint8]:
    """A file's bytes, mapped once for all columns: each mapping keeps a file open."""
    try:
        return np.memmap(path, np.uint8, "r").view(np.ndarray)
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be mapped into memory: {error.strerror or error}. If too many files "
            "are open, allow more (ulimit -n), or write fewer shards."
        ) from None


def _part(path: Path, whole: npt.NDArray[np.uint8], column: h5py.Dataset) -> Column:
    """A column where it lies in the file, without reading it."""
    offset, length = column.id.get_offset(), column.dtype.itemsize * column.size
    if offset + length > len(whole):
        raise DatasetError(f"{path}: {column.name} reaches beyond its end. It was cut short.")
    made: Column = whole[offset : offset + length].view(column.dtype).reshape(column.shape)
    return made
