"""Tianshou's HDF5 files: the flat ``ReplayBuffer`` layout, which is also written, and the vector one.

Nothing is unpickled unless it is asked for. A ``VectorReplayBuffer`` file holds its data twice, as
pickled sub-buffers and as the plain arrays of ``_meta``; only the latter are read.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_tools.flat_layout import COLUMNS, FLAGS, DatasetError, open_file, open_flat, read_rows
from data_tools.flat_skeleton import Columns, lay_out
from data_tools.formats.description import Description
from data_tools.formats.places import Spillway
from data_tools.formats.scalars import (
    decode_attribute,
    encode_attributes,
    leaves,
    plain,
    read_plain,
    read_text,
    same_attribute,
    write_text,
)
from data_tools.formats.trajectories import (
    SIDE,
    Array,
    Block,
    Source,
    Trajectories,
    block_rows,
    row_bytes,
    spans,
)

SOURCE = "source"
# Pickled by Tianshou in every file, and not needed: the state of the sampler, and a second copy.
UNNEEDED = ("_random_state", "buffers")
READ = ("_meta", "_indices", "last_index", "options", SOURCE)
VECTOR = ("_offset", "_lengths", "_extend_offset")


@contextmanager
def open_tianshou(path: Path, *, trust: bool) -> Iterator[Trajectories]:
    """Open a flat or vector buffer file.

    Args:
        path: The file.
        trust: Unpickle pickled columns, which can run any code.

    Raises:
        DatasetError: It is not one, it has pickled columns and is not trusted, or it is damaged.
    """
    with open_file(path) as root:
        vector = "buffer_num" in root.attrs
        pickled = _pickled(root)
        if not vector and not pickled:
            with open_flat(path):
                pass  # its structure is right
        needed = [name for name in pickled if name not in UNNEEDED]
        if needed and not trust:
            raise DatasetError(
                f"{path} has pickled parts, which can run any code when read: "
                f"{', '.join(needed)}. Pass --trust if you know who made it."
            )
        yield _vector(path, root, needed) if vector else _flat(path, root, needed)


def _pickled(root: h5py.File) -> list[str]:
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.attrs.get("__data_type__", "ndarray") not in ("ndarray", "Tensor"):
                found.append(name)

    root.visititems(visit)
    return found


def _unpickled(path: Path, item: h5py.Dataset, capacity: int) -> Array | None:
    """A pickled column, if it turns out to be numbers."""
    values = np.asarray(pickle.loads(item[()].tobytes()))
    if values.dtype == object:
        try:
            values = np.array(values.tolist())
        except ValueError:
            return None
    return values if values.dtype.kind in "fiub" and values.shape[:1] == (capacity,) else None


def _columns(
    path: Path, root: h5py.File, trusted: list[str]
) -> tuple[dict[str, Any], int, list[str]]:
    """The columns of ``_meta`` that are needed, the buffer's capacity, and notes."""
    meta, notes = root.get("_meta"), list[str]()
    if not isinstance(meta, h5py.Group):
        seen = ", ".join(list(root)[:16]) or "(none)"
        raise DatasetError(
            f"{path} is HDF5 of another layout. Keys seen: {seen}. Expected a buffer that Tianshou "
            "or data_tools wrote, with _meta."
        )
    capacity = root.attrs.get("maxsize")
    if not isinstance(capacity, np.integer | int) or capacity < 1:
        raise DatasetError(f"{path}: attribute maxsize is {capacity!r}. Expected a whole number.")
    found: dict[str, Any] = {}

    def visit(group: h5py.Group, prefix: str) -> None:
        for name in group:
            full = f"{prefix}{name}"
            if f"_meta/{full}" in trusted:
                values = _unpickled(path, plain(group, name), int(capacity))
                if values is None:
                    notes.append(f"left out: {full}, whose pickled objects are not numbers")
                else:
                    found[full] = values
            elif isinstance(group.get(name, getlink=True), h5py.HardLink) and isinstance(
                group[name], h5py.Group
            ):
                visit(group[name], f"{full}/")
            else:
                found[full] = plain(group, name)

    visit(meta, "")
    for name in COLUMNS:
        if name not in found:
            hint = " A buffer made with ignore_obs_next lacks it." if name == "obs_next" else ""
            raise DatasetError(
                f"{path} lacks _meta/{name}.{hint} Columns seen: {', '.join(found)}."
            )
    for name, item in found.items():
        flat = name in (*FLAGS, "rew")
        kinds = "b" if name in FLAGS else "f" if name == "rew" else "fiub"
        right = item.shape[:1] == (capacity,) and item.dtype.kind in kinds
        if not right or (flat and len(item.shape) > 1):
            raise DatasetError(
                f"{path}: _meta/{name} has shape {item.shape} and dtype {item.dtype}. Expected "
                f"{'one number' if flat else 'numbers'} in each of {capacity} rows (maxsize)."
            )
    if (found["obs"].shape, found["obs"].dtype) != (
        found["obs_next"].shape,
        found["obs_next"].dtype,
    ):
        raise DatasetError(f"{path}: obs and obs_next differ in shape or dtype.")
    return (
        {name: found[name] for name in (*COLUMNS, *(n for n in found if n not in COLUMNS))},
        int(capacity),
        notes,
    )


def _kinds(columns: dict[str, Any]) -> Columns:
    return {name: (tuple(item.shape[1:]), item.dtype) for name, item in columns.items()}


def _ring(start: int, capacity: int, size: int, last: int) -> list[tuple[int, int]]:
    """The ranges of rows, the oldest first, of a ring buffer that begins at `start`."""
    if size < capacity:
        return [(start, start + size)] if size else []
    oldest = start + (last - start + 1) % capacity
    ranges = [(oldest, start + capacity), (start, oldest)]
    return [(low, high) for low, high in ranges if low < high]


def _rows_of(
    path: Path, columns: dict[str, Any], ranges: list[tuple[int, int]], ends: set[int]
) -> Iterator[Block]:
    """The rows of these ranges; an episode that still runs at one of `ends` is truncated there."""
    step = block_rows(_kinds(columns))
    for low, high in ranges:
        for start in range(low, high, step):
            stop = min(start + step, high)
            block = {
                name: item[start:stop] if isinstance(item, np.ndarray)
                else read_rows(item, start, stop) for name, item in columns.items()
            }  # fmt: skip
            if (block["done"] != (block["terminated"] | block["truncated"])).any():
                raise DatasetError(
                    f"{path}: a row between {start} and {stop - 1} has done unlike terminated or "
                    "truncated. Expected done = terminated or truncated."
                )
            if stop in ends and not block["done"][-1]:
                block["truncated"][-1] = block["done"][-1] = True
            yield block


def _flat(path: Path, root: h5py.File, trusted: list[str]) -> Trajectories:
    columns, capacity, notes = _columns(path, root, trusted)
    size = int(root.attrs.get("_size", 0))
    last = plain(root, "last_index", ("i",))
    if not 1 <= size <= capacity or last.shape != (1,) or not 0 <= last[0] < size:
        raise DatasetError(
            f"{path} holds {size} of {capacity} transitions and last_index says {last[...]}. "
            "Expected at least one, and the two to agree."
        )
    ranges = _ring(0, capacity, size, int(last[0]))
    source = None
    if SOURCE in root:
        source, side = _read_source(root[SOURCE], size)
        columns |= {f"{SIDE}{name}": item for name, item in side.items()}
    pickled = [name for name in UNNEEDED if name in root]
    others = [name for name in root if name not in (*READ, *UNNEEDED)]
    if pickled or others:
        notes.append(f"left out: {', '.join(pickled + others)}, which the transitions do not need")
    from data_tools.flat_layout import read_provenance

    provenance = read_provenance(path)
    task = None if provenance is None else str(provenance["task"])
    layout = None if provenance is None else provenance["layout"]

    def read() -> Iterator[Block]:
        if not any(name.startswith(SIDE) for name in columns):
            yield from _rows_of(path, columns, ranges, set())
            return
        inside = {name: item for name, item in columns.items() if not name.startswith(SIDE)}
        row = 0
        for block in _rows_of(path, inside, ranges, set()):
            stop = row + len(block["rew"])
            side = {n: read_rows(i, row, stop) for n, i in columns.items() if n.startswith(SIDE)}
            yield block | side
            row = stop

    return Trajectories(
        format="tianshou", rows=size, columns=_kinds(columns), read=read, task=task, layout=layout,
        stack_num=int(root.attrs.get("stack_num", 1)), source=source, notes=notes,
        flat=describe_file(root, columns, capacity, ranges[0][0], int(last[0])),
        facts={"format": "tianshou", "buffer": "ReplayBuffer"},
    )  # fmt: skip


def _vector(path: Path, root: h5py.File, trusted: list[str]) -> Trajectories:
    columns, capacity, notes = _columns(path, root, trusted)
    offsets, lengths, _ = (read_plain(plain(root, name, ("i",))).ravel() for name in VECTOR)
    last = read_plain(plain(root, "last_index", ("i",))).ravel()
    number = int(root.attrs["buffer_num"])
    bounds = [*offsets.tolist(), capacity]
    fits = len(offsets) == len(lengths) == len(last) == number and bounds == sorted(bounds)
    if not fits or bounds[0] != 0:
        raise DatasetError(
            f"{path}: its {number} sub-buffers lie at {bounds}. Expected rising positions from 0."
        )
    ranges, ends = [], set()
    for start, stop, length, index in zip(
        bounds, bounds[1:], lengths.tolist(), last.tolist(), strict=False
    ):
        if not 0 <= length <= stop - start or not start <= index < stop:
            raise DatasetError(
                f"{path}: the sub-buffer at {start} has {length} rows and was last written at "
                f"{index}. Expected both inside its {stop - start} rows."
            )
        found = _ring(start, stop - start, length, index)
        ranges += found
        if found:
            ends.add(found[-1][1])
    size = sum(high - low for low, high in ranges)
    if size == 0:
        raise DatasetError(f"{path} is empty: it holds 0 transitions.")
    notes.append(f"{number} sub-buffers, flattened; an episode that was running at the end of one "
                 "is truncated there")  # fmt: skip
    return Trajectories(
        format="tianshou", rows=size, columns=_kinds(columns),
        read=lambda: _rows_of(path, columns, ranges, ends), notes=notes,
        stack_num=int(root.attrs.get("stack_num", 1)),
        facts={"format": "tianshou", "buffer": "VectorReplayBuffer", "sub_buffers": number},
    )  # fmt: skip


def describe_file(
    root: h5py.File, columns: dict[str, Any], capacity: int, first_row: int, last_index: int
) -> dict[str, Any]:
    """What rebuilding a flat file needs beyond its transitions, JSON-able."""
    groups = {"/": encode_attributes(root)}
    for name in ("options", "_meta"):
        groups[name] = encode_attributes(root[name]) if name in root else {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group):
            groups[f"_meta/{name}"] = encode_attributes(item)

    root["_meta"].visititems(visit)
    compressed = [
        name for name, item in columns.items()
        if isinstance(item, h5py.Dataset) and item.chunks is not None
    ]  # fmt: skip
    tensors = [
        name for name, item in columns.items()
        if isinstance(item, h5py.Dataset) and item.attrs.get("__data_type__") == "Tensor"
    ]  # fmt: skip
    return {
        "groups": groups, "capacity": capacity, "first_row": first_row, "last_index": last_index,
        "compressed": compressed, "tensors": tensors,
    }  # fmt: skip


def _read_source(group: Any, rows: int) -> tuple[Source, dict[str, h5py.Dataset]]:
    if not isinstance(group, h5py.Group):
        raise DatasetError(f"{group.file.filename}: source is no group.")
    arrays = leaves(group["arrays"]) if "arrays" in group else {}
    side = leaves(group["rows"]) if "rows" in group else {}
    for item in side.values():
        if item.shape[:1] != (rows,):
            raise DatasetError(
                f"{group.file.filename}: {item.name} has {len(item)} rows. Expected {rows}."
            )
    return Source(
        read_text(group, "json"), {name: read_plain(item) for name, item in arrays.items()}
    ), side


# --- writing ---------------------------------------------------------------------------------


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
