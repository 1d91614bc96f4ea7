"""One dataset of many files, which join columns without copying them.

The file that joins them holds no transitions; the shards must lie where it says, relative to
itself. Whoever opens one of the flat ``ReplayBuffer`` layout sees virtual datasets of HDF5. Columns
of the indexed layout are mapped where they lie, which a virtual one does nowhere: there the
provenance lists the shards, and each is opened as a file of its own.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from data_tools.flat_skeleton import lay_out_scalars
from data_tools.indexed_format import LAYOUT, LAYOUT_VERSION

INDEX_ROWS = 2**20


def join_files(
    sources: Sequence[tuple[str, int]], folder: Path, provenance: dict[str, Any]
) -> bytes:
    """The file that joins others, made in memory: it is small.

    Args:
        sources: Path of each flat file, relative to `folder`, and its rows, in the order of the
            rows.
        folder: Where the file will lie.
        provenance: A JSON object with its "format_version".
    """
    rows = sum(count for _, count in sources)
    memory = io.BytesIO()
    with h5py.File(folder / sources[0][0], "r") as first, h5py.File(memory, "w") as root:
        meta = lay_out_scalars(root, rows, int(first.attrs["stack_num"]))
        for name, column in first["_meta"].items():
            if isinstance(column, h5py.Dataset):
                _join(meta, name, column, rows, sources)
        _write_indices(root, rows)
        root.attrs["provenance"] = json.dumps(provenance, allow_nan=False)
    return memory.getvalue()


def join_indexed(provenance: dict[str, Any]) -> bytes:
    """The file that joins others of the indexed layout, made in memory.

    Args:
        provenance: A JSON object with its "format_version" and its "shards".
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as root:
        root.attrs["layout"], root.attrs["layout_version"] = LAYOUT, LAYOUT_VERSION
        root.attrs["provenance"] = json.dumps(provenance, allow_nan=False)
    return memory.getvalue()


def _join(
    meta: h5py.Group, name: str, like: h5py.Dataset, rows: int, sources: Sequence[tuple[str, int]]
) -> None:
    """Add a virtual dataset of one column."""
    shape = (rows, *like.shape[1:])
    space = h5py.h5s.create_simple(shape)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    if like.dtype.kind == "f":  # what a lost shard reads as, where nobody looks for it
        properties.set_fill_value(np.array(np.nan, like.dtype))
    begin = 0
    for path, count in sources:
        inside = (count, *like.shape[1:])
        space.select_hyperslab((begin, *[0] * (len(shape) - 1)), inside)
        properties.set_virtual(
            space, path.encode(), f"/_meta/{name}".encode(), h5py.h5s.create_simple(inside)
        )
        begin += count
    space.select_all()
    made = h5py.h5d.create(meta.id, name.encode(), like.id.get_type(), space, properties)
    h5py.Dataset(made).attrs["__data_type__"] = "ndarray"


def _write_indices(root: h5py.File, rows: int) -> None:
    """Add ``_indices``, the only column that is stored here, compressed."""
    chunk = min(rows, INDEX_ROWS)
    indices = root.create_dataset(
        "_indices", (rows,), np.int64, chunks=(chunk,), compression="gzip", shuffle=True,
        track_times=False,
    )  # fmt: skip
    indices.attrs["__data_type__"] = "ndarray"
    for begin in range(0, rows, chunk):
        end = min(begin + chunk, rows)
        indices[begin:end] = np.arange(begin, end)


def find_foreign_source(file: Path, column: h5py.Dataset) -> str | None:
    """Say what is wrong with where a column's rows are stored, or None.

    A file from elsewhere could name any other file of this machine, and where a source is missing
    HDF5 reads fill values without a word. So every source must be a whole column of a file in the
    folder of `file` or below it, stored there itself, and the sources must be all rows in order.
    """
    if column.external:
        return "is stored outside the file"
    if not column.is_virtual:
        return None
    begin = 0
    for source in column.virtual_sources():
        try:
            begin += _source_rows(file, column, source, begin)
        except ValueError as fault:
            return f"is joined of other files, and {source.file_name} {fault}"
    return None if begin == column.shape[0] else f"is joined of files that hold {begin} rows"


def _source_rows(file: Path, column: h5py.Dataset, source: Any, begin: int) -> int:
    """How many rows a source adds from row `begin` on.

    Raises:
        ValueError: It is not what it should be; the message says how.
    """
    name = PurePosixPath(source.file_name)
    here = Path(os.path.realpath(file.parent))
    path = Path(os.path.realpath(here / name))
    if name.is_absolute() or not path.is_relative_to(here) or "%" in source.file_name:
        raise ValueError("is not in its folder")
    if not path.is_file():
        raise ValueError("is missing: keep the shards where they were beside it")
    try:
        root = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"cannot be opened as HDF5: {error}") from None
    with root:
        return _column_rows(root, column, source, begin)


def _column_rows(root: h5py.File, column: h5py.Dataset, source: Any, begin: int) -> int:
    inside: Any = root
    for part in PurePosixPath("/", source.dset_name).parts[1:]:
        link = inside.get(part, getlink=True) if isinstance(inside, h5py.Group) else None
        inside = inside[part] if isinstance(link, h5py.HardLink) else None
    if not isinstance(inside, h5py.Dataset) or inside.is_virtual or inside.external:
        raise ValueError(f"has no {source.dset_name} of its own")
    rows = inside.shape[0]
    place = (begin, *[0] * (column.ndim - 1))
    end = (begin + rows - 1, *[length - 1 for length in column.shape[1:]])
    fits = (
        inside.shape[1:] == column.shape[1:]
        and inside.dtype == column.dtype
        and source.src_space.get_select_type() == h5py.h5s.SEL_ALL
        and source.vspace.get_select_npoints() == inside.size
        and source.vspace.get_select_bounds() == (place, end)
    )
    if not fits:
        raise ValueError(f"has a {source.dset_name} of shape {inside.shape}, which does not fit")
    return rows  # type: ignore[no-any-return]
