"""Writing Tianshou's flat ``ReplayBuffer`` layout, as new or as it once was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_tools.flat_layout import COLUMNS, DatasetError
from data_tools.flat_skeleton import lay_out
from data_tools.formats.description import Description
from data_tools.formats.flat_file import SOURCE
from data_tools.formats.places import Spillway
from data_tools.formats.scalars import (
    decode_attribute,
    same_attribute,
    write_text,
)
from data_tools.formats.trajectories import (
    SIDE,
    Block,
    Source,
    Trajectories,
    row_bytes,
    spans,
)


def write_tianshou(given: Trajectories, path: Path, blocks: Iterator[Block]) -> None:
    """Write the flat layout, straight to `path`, which is a temporary file's.

    What once was a flat file becomes, attribute by attribute, that file again. The target is never
    HDF5's to write to, so that a full disk is an error like any other.

    Raises:
        DatasetError: The rows are not as many as were announced, or not finite.
        OSError: The file cannot be written.
    """
    record = given.flat or {}
    inside = {n: column for n, column in given.columns.items() if not n.startswith(SIDE)}
    images = [n for n, (shape, dtype) in inside.items() if dtype == np.uint8 and len(shape) > 1]
    try:
        capacity = int(record.get("capacity", given.rows))
        first = int(record.get("first_row", 0))
        compressed = [str(n) for n in record.get("compressed", images)]
        tensors = [str(n) for n in record.get("tensors", [])]
        last = int(record.get("last_index", given.rows - 1))
        if not (given.rows <= capacity <= 2**48 and 0 <= first < capacity and last < given.rows):
            raise ValueError(f"{capacity} rows from {first}")
        if first and capacity != given.rows:
            raise ValueError("a buffer that is not full begins at row 0")
    except (TypeError, ValueError) as error:
        raise DatasetError(f"what was recorded of the file is damaged: {error}.") from None
    place = Spillway(path)
    try:
        lay_out(place, size=capacity, columns=inside, compressed=compressed)
        place.check()
        with h5py.File(place, "r+") as root:
            provenance = _write_rows(place, root, given, blocks, capacity, first)
            if record:
                _restore(root, record, tensors, last, capacity)
            elif given.stack_num != 1:
                root.attrs["stack_num"] = given.stack_num
                root["options"].attrs["stack_num"] = given.stack_num
            if provenance is not None and not record:
                root.attrs["provenance"] = provenance
            if given.source is not None:
                _write_source(root.require_group(SOURCE), given.source)
        place.check()
    finally:
        place.close()


def _write_rows(
    place: Spillway,
    root: h5py.File,
    given: Trajectories,
    blocks: Iterator[Block],
    capacity: int,
    first: int,
) -> str | None:
    """Write the rows and return the provenance, if the task is known."""
    items = {}
    for name, (shape, dtype) in given.columns.items():
        if name.startswith(SIDE):
            item = root.create_dataset(
                name, (given.rows, *shape), dtype, chunks=True, compression="gzip",
                track_times=False,
            )  # fmt: skip
            item.attrs["__data_type__"] = "ndarray"
            items[name] = item
        else:
            items[name] = root["_meta"][name]
    row, facts = 0, Description(given)
    for block in blocks:
        count = len(block["rew"])
        if row + count > given.rows:
            raise DatasetError(f"more than the announced {given.rows} transitions were found.")
        _check_finite(block, row)
        for name, values in block.items():
            if name.startswith(SIDE):
                items[name][row : row + count] = values
                continue
            low = (first + row) % capacity
            fitting = min(count, capacity - low)
            items[name][low : low + fitting] = values[:fitting]
            if fitting < count:
                items[name][: count - fitting] = values[fitting:]
        facts.add(block)
        row += count
        place.check()
    if row != given.rows:
        raise DatasetError(f"{row} transitions were found. Expected {given.rows}.")
    for start, stop in spans(capacity, {"_indices": ((), np.dtype(np.int64))}):
        root["_indices"][start:stop] = np.arange(start, stop)
    return facts.provenance()


def _check_finite(block: Block, row: int) -> None:
    for name in COLUMNS:
        values = block[name]
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            place = np.unravel_index(int(np.argmin(np.isfinite(values))), values.shape)
            raise DatasetError(
                f"{name} of transition {row + int(place[0])} is {values[place]}. Expected finite "
                "numbers; cut such rows out first."
            )


def _restore(
    root: h5py.File, record: dict[str, Any], tensors: list[str], last: int, capacity: int
) -> None:
    """Make attributes and buffer state what they were."""
    where = "the recorded file"
    for path, attributes in record.get("groups", {}).items():
        if path != "/" and path.split("/")[0] not in ("_meta", "options"):
            raise DatasetError(f"{where}: a group {path!r} that no buffer has.")
        group = root if path == "/" else root.require_group(path)
        wanted = {name: decode_attribute(value, where) for name, value in attributes.items()}
        for name in [name for name in group.attrs if name not in wanted]:
            del group.attrs[name]
        for name, value in wanted.items():
            if name not in group.attrs or not same_attribute(group.attrs[name], value):
                group.attrs[name] = value
    for name in tensors:
        root["_meta"][name].attrs["__data_type__"] = "Tensor"
    if last != capacity - 1:
        root["last_index"][...] = [last]


def _write_source(group: h5py.Group, source: Source) -> None:
    write_text(group, "json", source.document)
    for name, values in source.arrays.items():
        item = group.create_dataset(f"arrays/{name}", data=values, track_times=False)
        item.attrs["__data_type__"] = "ndarray"


def expected_bytes(given: Trajectories) -> int:
    """About how large the flat file gets; compressed columns count for nothing."""
    images = [n for n, (s, d) in given.columns.items() if d == np.uint8 and len(s) > 1]
    columns = {n: c for n, c in given.columns.items() if n not in images and not n.startswith(SIDE)}
    return given.rows * (sum(row_bytes(*column) for column in columns.values()) + 8)
