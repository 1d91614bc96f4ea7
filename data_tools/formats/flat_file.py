"""Tianshou's HDF5 files: the flat ``ReplayBuffer`` layout and the vector one.

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

from data_tools.content import check_shards
from data_tools.flat_layout import (
    COLUMNS,
    FLAGS,
    DatasetError,
    open_file,
    open_flat,
    read_provenance,
    read_rows,
)
from data_tools.flat_skeleton import Columns
from data_tools.formats.flat_record import describe_file, read_source
from data_tools.formats.scalars import plain
from data_tools.formats.trajectories import (
    SIDE,
    Array,
    Block,
    Trajectories,
    block_rows,
)
from data_tools.vector_layout import find_rings, ring

SOURCE = "source"
# Pickled by Tianshou in every file, and not needed: the state of the sampler, and a second copy.
UNNEEDED = ("_random_state", "buffers")
READ = ("_meta", "_indices", "last_index", "options", SOURCE)


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
            check_shards(path)
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
    _check_columns(path, found, int(capacity))
    names = (*COLUMNS, *(name for name in found if name not in COLUMNS))
    return {name: found[name] for name in names}, int(capacity), notes


def _check_columns(path: Path, found: dict[str, Any], capacity: int) -> None:
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
    first, second = found["obs"], found["obs_next"]
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        raise DatasetError(f"{path}: obs and obs_next differ in shape or dtype.")


def _kinds(columns: dict[str, Any]) -> Columns:
    return {name: (tuple(item.shape[1:]), item.dtype) for name, item in columns.items()}


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
    ranges = ring(0, capacity, size, int(last[0]))
    source = None
    if SOURCE in root:
        source, side = read_source(root[SOURCE], size)
        columns |= {f"{SIDE}{name}": item for name, item in side.items()}
    pickled = [name for name in UNNEEDED if name in root]
    others = [name for name in root if name not in (*READ, *UNNEEDED)]
    if pickled or others:
        notes.append(f"left out: {', '.join(pickled + others)}, which the transitions do not need")
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
    rings = find_rings(path, root, capacity)
    notes.append(
        f"{rings.number} sub-buffers, flattened; an episode that was running at the end of one is "
        "truncated there"
    )
    return Trajectories(
        format="tianshou", rows=rings.size, columns=_kinds(columns),
        read=lambda: _rows_of(path, columns, rings.ranges, rings.ends), notes=notes,
        stack_num=int(root.attrs.get("stack_num", 1)),
        facts={"format": "tianshou", "buffer": "VectorReplayBuffer", "sub_buffers": rings.number},
    )  # fmt: skip
