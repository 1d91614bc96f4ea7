"""What the columns of Tianshou's buffer layouts must be like before they are trusted."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import h5py
import numpy as np

from data_tools.column_rows import DatasetError
from data_tools.virtual import find_foreign_source

COLUMNS = ("obs", "act", "rew", "terminated", "truncated", "done", "obs_next")
FLAGS = ("terminated", "truncated", "done")
_PLAIN_TYPES = ("ndarray", "Tensor")


def refuse_pickles(
    file: Path, root: h5py.File, never_read: Collection[str] = ("_random_state",)
) -> None:
    """Refuse pickled parts.

    Args:
        file: For the message.
        root: The open file.
        never_read: What Tianshou pickles in every file, and is of no use to us.

    Raises:
        DatasetError: There are others.
    """
    pickled: list[str] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            kind = item.attrs.get("__data_type__")
            if kind not in _PLAIN_TYPES and name not in never_read:
                pickled.append(f"{name} ({kind or 'no __data_type__'})")

    root.visititems(visit)
    if pickled:
        raise DatasetError(
            f"{file} has pickled parts, which can run any code when read: {', '.join(pickled)}. "
            "Expected plain arrays only; if you trust its maker, make them so with: python -m "
            f"data_tools.convert {file} TARGET --trust"
        )


def integer_attribute(file: Path, root: h5py.File, name: str, low: int, high: int) -> int:
    """A root attribute that is a whole number from `low` to `high`.

    Raises:
        DatasetError: It is not.
    """
    value = root.attrs.get(name)
    if not isinstance(value, np.integer | int) or not low <= value <= high:
        raise DatasetError(
            f"{file}: attribute {name} is {value!r}. Expected a whole number in [{low}, {high}]."
        )
    return int(value)


def check_columns(file: Path, meta: h5py.Group, capacity: int, names: tuple[str, ...]) -> None:
    """Check that each column is there, is long enough and has a shape and dtype that fit."""
    for name in names:
        column = meta.get(name)
        if not isinstance(column, h5py.Dataset):
            raise lacks(file, meta, name)
        shape = column.shape
        flat = name in (*FLAGS, "rew")
        kinds = "b" if name in FLAGS else "f" if name == "rew" else "fiu"
        if (flat and len(shape) != 1) or column.dtype.kind not in kinds:
            raise DatasetError(
                f"{file}: _meta/{name} has shape {shape} and dtype {column.dtype}. Expected "
                f"{'one value' if flat else 'one entry'} a row, "
                f"{dict(b='bool', f='floating point').get(kinds, 'numbers')}."
            )
    _check_lengths(file, meta, capacity)
    first, second = meta["obs"], meta[names[-1]] if names == COLUMNS else meta["obs"]
    if first.shape != second.shape or first.dtype != second.dtype:
        raise DatasetError(
            f"{file}: obs is {first.dtype} {first.shape} and obs_next {second.dtype} "
            f"{second.shape}. Expected the same."
        )


def lacks(file: Path, meta: h5py.Group, name: str) -> DatasetError:
    """The error for a column that is not there."""
    hint = " A buffer made with ignore_obs_next lacks it." if name == "obs_next" else ""
    return DatasetError(f"{file} lacks _meta/{name}.{hint} Columns seen: {', '.join(meta)}.")


def is_here(dataset: h5py.Dataset) -> bool:
    """Whether a dataset is stored in its file."""
    return not (dataset.is_virtual or dataset.external)


def _check_lengths(file: Path, group: h5py.Group, capacity: int) -> None:
    """Check that a group holds plain numbers, one entry per row, in this file or its shards."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise DatasetError(f"{file}: {group.name}/{name} is a link. Expected the data itself.")
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_lengths(file, item, capacity)
        elif not item.shape or item.shape[0] != capacity or item.dtype.kind not in "fiub":
            raise DatasetError(
                f"{file}: {item.name} has shape {item.shape} and dtype {item.dtype}. Expected "
                f"numbers in {capacity} rows (maxsize)."
            )
        else:
            fault = find_foreign_source(file, item)
            if fault is not None:
                raise DatasetError(f"{file}: {item.name} {fault}.")
