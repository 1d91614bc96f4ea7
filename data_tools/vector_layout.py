"""Tianshou's ``VectorReplayBuffer`` layout in HDF5, read as if it had been flattened.

A file holds its transitions twice: as pickled sub-buffers, which are never read, and as the plain
arrays of ``_meta``, in which each sub-buffer is a ring of its own. What is read are the rows of one
sub-buffer after the other, each from its oldest row on. An episode that was running at a
sub-buffer's end goes on nowhere: it is truncated there.
"""

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

from data_tools.column_rows import DatasetError, MadeColumn, read_rows
from data_tools.flat_checks import (
    COLUMNS,
    check_columns,
    integer_attribute,
    is_here,
    refuse_pickles,
)
from data_tools.flat_layout import FlatDataset, open_file

NEVER_READ = ("_random_state", "buffers")
_PLACES = ("_offset", "_lengths", "last_index")


@dataclass(frozen=True)
class Rings:
    """Where a vector buffer's rows are.

    Attributes:
        number: Sub-buffers.
        ranges: (first row, row behind the last) in ``_meta``, in the order of reading.
        ends: The rows behind which a sub-buffer's newest transition ends, as ranges have them.
    """

    number: int
    ranges: list[tuple[int, int]]
    ends: set[int]

    @property
    def size(self) -> int:
        """Transitions."""
        return sum(high - low for low, high in self.ranges)


def is_vector(root: h5py.File) -> bool:
    """Whether an open file has this layout."""
    return "buffer_num" in root.attrs or "buffers" in root


def ring(start: int, capacity: int, size: int, last: int) -> list[tuple[int, int]]:
    """The ranges of rows, the oldest first, of a ring buffer that begins at `start`."""
    if size < capacity:
        return [(start, start + size)] if size else []
    oldest = start + (last - start + 1) % capacity
    ranges = [(oldest, start + capacity), (start, oldest)]
    return [(low, high) for low, high in ranges if low < high]


def find_rings(path: Path, root: h5py.File, capacity: int) -> Rings:
    """Where the sub-buffers' rows are.

    Raises:
        DatasetError: Sub-buffers overlap or are not inside the file's rows, or all are empty.
    """
    number = integer_attribute(path, root, "buffer_num", 1, capacity)
    offsets, lengths, last = (_whole_numbers(path, root, name) for name in _PLACES)
    bounds = [*offsets, capacity]
    fits = len(offsets) == len(lengths) == len(last) == number and bounds == sorted(bounds)
    if not fits or bounds[0] != 0:
        raise DatasetError(
            f"{path}: its {number} sub-buffers lie at {bounds}. Expected rising positions from 0."
        )
    made = Rings(number, [], set())
    for start, stop, length, index in zip(bounds, bounds[1:], lengths, last, strict=False):
        if not 0 <= length <= stop - start or not start <= index < stop:
            raise DatasetError(
                f"{path}: the sub-buffer at {start} has {length} rows and was last written at "
                f"{index}. Expected both inside its {stop - start} rows."
            )
        found = ring(start, stop - start, length, index)
        made.ranges.extend(found)
        if found:
            made.ends.add(found[-1][1])
    if made.size == 0:
        raise DatasetError(f"{path} is empty: it holds 0 transitions. Collect some first.")
    return made


def _whole_numbers(path: Path, root: h5py.File, name: str) -> list[int]:
    column = root.get(name)
    inside = isinstance(root.get(name, getlink=True), h5py.HardLink)
    if (
        not inside
        or not isinstance(column, h5py.Dataset)
        or column.ndim != 1
        or column.dtype.kind not in "iu"
        or not is_here(column)
    ):
        raise DatasetError(f"{path}: {name} is not a dataset of whole numbers. Make it anew.")
    found: list[int] = column[()].tolist()
    return found


@contextmanager
def open_vector(path: str | os.PathLike[str]) -> Iterator[FlatDataset]:
    """Open a file for reading as a flat dataset, without unpickling.

    Raises:
        DatasetError: It is not this layout, has pickled columns, or its parts do not fit.
    """
    file = Path(path)
    with open_file(file) as root:
        refuse_pickles(file, root, NEVER_READ)
        meta = root.get("_meta")
        if not isinstance(meta, h5py.Group):
            raise DatasetError(f"{file} lacks _meta, which holds the transitions. Make it anew.")
        capacity = integer_attribute(file, root, "maxsize", 1, np.iinfo(np.int64).max)
        rings = find_rings(file, root, capacity)
        without_next = not root.attrs.get("_save_obs_next", True) and "obs_next" not in meta
        check_columns(file, meta, capacity, COLUMNS[:-1] if without_next else COLUMNS)
        yield FlatDataset(
            path=file, size=rings.size, insertion_index=0, last_index=rings.size - 1,
            stack_num=integer_attribute(file, root, "stack_num", 1, rings.size),
            meta=_flattened(meta, rings), has_next="obs_next" in meta, provenance=None,
            kind=f"Tianshou's VectorReplayBuffer layout, {rings.number} sub-buffers in their order",
        )  # fmt: skip


def _flattened(group: h5py.Group, rings: Rings, root: bool = True) -> dict[str, Any]:
    """A group's columns, each sub-buffer's rows in their order."""
    made: dict[str, Any] = {"info": {}} if root else {}
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            made[name] = _flattened(item, rings, root=False)
        else:
            ended = root and name in ("truncated", "done")
            make = _ended(group, name, rings) if ended else _reader(item, rings)
            shape = (rings.size, *item.shape[1:])
            made[name] = MadeColumn(f"_meta/{name}", shape, item.dtype, make)
    return made


def _reader(item: h5py.Dataset, rings: Rings) -> Callable[[int, int], npt.NDArray[Any]]:
    def make(start: int, stop: int) -> npt.NDArray[Any]:
        parts, begin = [], 0
        for low, high in rings.ranges:
            first, last = max(start, begin), min(stop, begin + high - low)
            if first < last:
                parts.append(read_rows(item, low + first - begin, low + last - begin))
            begin += high - low
        return np.concatenate(parts)

    return make


def _ended(
    group: h5py.Group, name: str, rings: Rings
) -> Callable[[int, int], npt.NDArray[np.bool_]]:
    """The flag `name`, which is also set in the last row of a sub-buffer whose episode ran on."""
    flag, done = _reader(group[name], rings), _reader(group["done"], rings)
    sizes = np.cumsum([high - low for low, high in rings.ranges])
    last = np.array(
        [size for size, (_, high) in zip(sizes.tolist(), rings.ranges, strict=True)
         if high in rings.ends]
    ) - 1  # fmt: skip

    def make(start: int, stop: int) -> npt.NDArray[np.bool_]:
        rows = flag(start, stop)
        ends = last[(last >= start) & (last < stop)] - start
        running = ends[~done(start, stop)[ends]]
        rows[running] = True
        return rows

    return make
