"""Tianshou's flat ``ReplayBuffer`` layout in HDF5: its parts, and the checks before it is trusted.

A file has scalars as root attributes, the datasets ``_indices`` and ``last_index``, a group
``options`` and a group ``_meta`` that holds one row per transition. Nothing here unpickles, and a
file with pickled parts is refused: loading it with Tianshou would run whatever code is inside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_tools.column_rows import DatasetError, read_into, read_rows, row_chunks
from data_tools.flat_checks import (
    COLUMNS,
    FLAGS,
    check_columns,
    integer_attribute,
    is_here,
    lacks,
    refuse_pickles,
)
from data_tools.provenance_schema import FORMAT_VERSION, find_fault
from data_tools.shard_files import list_shards

__all__ = [
    "COLUMNS", "FLAGS", "DatasetError", "FlatDataset", "lacks", "open_file", "open_flat",
    "parse_provenance", "read_into", "read_provenance", "read_rows", "row_chunks",
]  # fmt: skip

_ROOT_ATTRIBUTES = ("maxsize", "_size", "_insertion_idx", "stack_num")
_HOW_TO_MAKE = (
    "python -m data_tools.collect --policy random --buffer-size 100000 --save-buffer-name"
)


@dataclass(frozen=True)
class FlatDataset:
    """An open, structurally checked file.

    Attributes:
        path: The file.
        size: Transitions in it; rows at and beyond `size` are unused.
        insertion_index: Where Tianshou would write next; 0 in a full buffer.
        last_index: The row written last.
        stack_num: Frames stacked when sampling; 1 unless an image task was stored.
        meta: The columns by name: the open group ``_meta``, or what makes them as they are read.
        has_next: Whether ``obs_next`` is stored; a buffer made with ``ignore_obs_next`` lacks it.
        provenance: What `data_tools.collect` says about the file; None in a foreign one.
        kind: The layout's name.
    """

    path: Path
    size: int
    insertion_index: int
    last_index: int
    stack_num: int
    meta: Any
    has_next: bool
    provenance: dict[str, Any] | None
    kind: str = "Tianshou's flat ReplayBuffer layout"

    def column(self, name: str) -> Any:
        """One of `COLUMNS`, with at least `size` rows."""
        return self.meta[name]


@contextmanager
def open_flat(path: str | os.PathLike[str]) -> Iterator[FlatDataset]:
    """Open a dataset for reading and check its layout, not its numbers.

    Raises:
        DatasetError: There is no such file, it is not HDF5, not this layout, has pickled parts, or
            its parts do not fit each other.
    """
    file = Path(path)
    with open_file(file) as root:
        _refuse_foreign(file, root)
        refuse_pickles(file, root)
        meta = root["_meta"]
        capacity = integer_attribute(file, root, "maxsize", 0, np.iinfo(np.int64).max)
        size = integer_attribute(file, root, "_size", 0, capacity)
        if size == 0:
            raise DatasetError(f"{file} is empty: it holds 0 transitions. Collect some first.")
        without_next = not root.attrs.get("_save_obs_next", True) and "obs_next" not in meta
        check_columns(file, meta, capacity, COLUMNS[:-1] if without_next else COLUMNS)
        insertion = integer_attribute(file, root, "_insertion_idx", 0, capacity - 1)
        if size < capacity and insertion != size:
            raise DatasetError(
                f"{file}: {size} of {capacity} rows are filled but _insertion_idx is {insertion}. "
                "Expected the two to agree; make the dataset anew."
            )
        last_index = root.get("last_index")
        if (
            not isinstance(last_index, h5py.Dataset)
            or last_index.shape != (1,)
            or not is_here(last_index)
        ):
            raise DatasetError(f"{file}: last_index is not a dataset of one number. Make it anew.")
        last = int(last_index[0])
        if not 0 <= last < size:
            raise DatasetError(f"{file}: last_index is {last}, outside its {size} rows.")
        provenance = parse_provenance(file, root)
        if meta["obs"].is_virtual and "shards" in (provenance or {}):
            _check_shards(file, provenance)
        width = int(np.prod(meta["obs"].shape[1:], dtype=np.int64))
        if provenance is not None and provenance["layout"][-1]["stop"] != width:
            raise DatasetError(
                f"{file}: its provenance lays out {provenance['layout'][-1]['stop']} columns of "
                f"the observation, which has {width}. Make the dataset anew."
            )
        yield FlatDataset(
            path=file,
            size=size,
            insertion_index=insertion,
            last_index=last,
            stack_num=integer_attribute(file, root, "stack_num", 1, size),
            meta=meta,
            has_next="obs_next" in meta,
            provenance=provenance,
        )


def _check_shards(file: Path, provenance: dict[str, Any] | None) -> None:
    """Refuse shards that are others than those that were joined."""
    for shard in list_shards(file, provenance):
        with open_file(shard.path) as root:
            obs = root.get("_meta/obs")
            rows = len(obs) if isinstance(obs, h5py.Dataset) else 0
            shard.check(file, parse_provenance(shard.path, root), rows)


def refuse_unreadable(file: Path) -> None:
    """Refuse a file that is there and may not be read, of which HDF5 would say a line of its own.

    Raises:
        DatasetError: It is.
    """
    if file.exists() and not os.access(file, os.R_OK):
        raise DatasetError(f"{file} cannot be read: permission denied. Change its permissions.")


@contextmanager
def open_file(file: Path) -> Iterator[h5py.File]:
    """Open any HDF5 file for reading.

    Raises:
        DatasetError: There is no such file, it is not HDF5, or it is damaged.
    """
    if not file.exists():
        raise DatasetError(f"{file} does not exist. Make a dataset with: {_HOW_TO_MAKE} {file}")
    if not file.is_file():
        raise DatasetError(f"{file} is not a file. Expected an HDF5 dataset.")
    refuse_unreadable(file)
    try:
        if not h5py.is_hdf5(file):
            raise DatasetError(
                f"{file} is not an HDF5 file. Expected a dataset as data_tools.collect writes it."
            )
        opened = h5py.File(file, "r")
    except OSError as error:
        raise DatasetError(
            f"{file} cannot be opened as HDF5: {error}. It may be cut short; make it anew."
        ) from None
    with opened as root:
        yield root


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read what a dataset says about itself.

    Returns:
        The provenance, or None where the file has none.

    Raises:
        DatasetError: The file or its provenance cannot be read.
    """
    file = Path(path)
    with open_file(file) as root:
        return parse_provenance(file, root)


def _refuse_foreign(file: Path, root: h5py.File) -> None:
    keys, attributes = list(root.keys()), list(root.attrs.keys())
    if "buffers" in keys or "buffer_num" in attributes:
        raise DatasetError(
            f"{file} has Tianshou's VectorReplayBuffer layout. Expected the flat one: "
            f"python -m data_tools.convert {file} TARGET writes it, without unpickling."
        )
    if "layout" in attributes:
        raise DatasetError(
            f"{file} has the indexed layout, without observations. Expected the full one: "
            f"python -m data_tools.relayout {file} TARGET --layout full"
        )
    missing = [name for name in _ROOT_ATTRIBUTES if name not in attributes]
    if missing or not isinstance(root.get("_meta"), h5py.Group):
        seen = ", ".join(keys[:16]) + (", ..." if len(keys) > 16 else "")
        raise DatasetError(
            f"{file} is HDF5 of another layout. Keys seen: {seen or '(none)'}. Expected "
            f"Tianshou's flat ReplayBuffer layout, with _meta; {_HOW_TO_MAKE} writes it."
        )


def parse_provenance(file: Path, root: h5py.File) -> dict[str, Any] | None:
    """What an open file says about itself, checked; None where it says nothing.

    Raises:
        DatasetError: It is not what `data_tools.collect` writes.
    """
    if "provenance" not in root.attrs:
        return None
    text = root.attrs["provenance"]
    try:
        provenance = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        provenance = None
    if not isinstance(provenance, dict) or "format_version" not in provenance:
        raise DatasetError(
            f"{file}: its provenance is not the JSON object that data_tools.collect writes."
        )
    version = provenance["format_version"]
    if type(version) is not int or version != FORMAT_VERSION:
        raise DatasetError(
            f"{file} has provenance of format_version {version!r}. Expected {FORMAT_VERSION}; a "
            "newer version of this package wrote it."
        )
    fault = find_fault(provenance)
    if fault is not None:
        raise DatasetError(
            f"{file}: its provenance is not what data_tools.collect writes: {fault}. Make the "
            "dataset anew."
        )
    return provenance
