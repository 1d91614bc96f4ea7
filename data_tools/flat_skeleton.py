"""An HDF5 file in Tianshou's flat ``ReplayBuffer`` layout, complete but for the rows."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from typing import Any

import h5py
import numpy as np

Columns = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]  # name -> shape and dtype of one row

_CHUNK_BYTES = 2**18


class SparseMemory(io.RawIOBase):
    """A file in memory that holds only what was written to it.

    HDF5 lays the skeleton out here and the caller copies it to disk, for two reasons: space for
    the rows costs nothing here, and a disk that is full is then never HDF5's to handle, which it
    does by crashing the process at exit.

    Attributes:
        segments: (offset, bytes) in the order of writing; later ones lie over earlier ones.
        length: The file's length in bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.segments: list[tuple[int, bytes]] = []
        self.length = 0
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The current position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}
        self._position = base[whence] + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the length; HDF5 never cuts off what it still needs."""
        self.length = self._position if size is None else size
        return self.length

    def write(self, content: Any) -> int:
        """Keep a copy of what is written."""
        taken = bytes(content)
        self.segments.append((self._position, taken))
        self._position += len(taken)
        self.length = max(self.length, self._position)
        return len(taken)

    def readinto(self, target: Any) -> int:
        """Fill the target; what was never written reads as zeros."""
        count = max(0, min(len(target), self.length - self._position))
        start, stop = self._position, self._position + count
        found = bytearray(count)
        for offset, content in self.segments:
            low, high = max(start, offset), min(stop, offset + len(content))
            if low < high:
                found[low - start : high - start] = content[low - offset : high - offset]
        target[:count] = found
        self._position = stop
        return count


def lay_out(
    memory: io.RawIOBase,
    *,
    size: int,
    columns: Columns,
    stack_num: int = 1,
    compressed: Collection[str] = (),
) -> dict[str, int]:
    """Write the skeleton of a full buffer whose last episode has ended.

    Rows are contiguous and their place is fixed at once, so that they can be written straight to
    it. ``_random_state`` is left out: Tianshou pickles it, and seeds one anew where it is missing.

    Args:
        memory: Receives the skeleton; its length is that of the whole file.
        size: Transitions.
        columns: The datasets of ``_meta``; "info/x" is one in a group.
        stack_num: Frames that a reader stacks to one observation.
        compressed: Columns that HDF5 is to compress when it writes their rows: they have no place.

    Returns:
        Byte offset of each other column's first row, and that of ``_indices``.
    """
    with h5py.File(memory, "w") as root:
        for name, value in _root_attributes(size, stack_num).items():
            root.attrs[name] = value
        options = root.create_group("options")
        for name, option in _options(stack_num).items():
            options.attrs[name] = option
        meta = root.create_group("_meta")
        meta.attrs["__data_type__"] = "Batch"
        meta.create_group("info")
        offsets = {}
        for name, (shape, dtype) in columns.items():
            if name in compressed:
                _compress(meta, name, (size, *shape), dtype)
            else:
                offsets[name] = _allocate(meta, name, (size, *shape), dtype)
        offsets["_indices"] = _allocate(root, "_indices", (size,), np.dtype(np.int64))
        last = root.create_dataset("last_index", data=[size - 1], track_times=False)
        last.attrs["__data_type__"] = "ndarray"
    return offsets


def add_provenance(memory: SparseMemory, text: str) -> None:
    """Add the root attribute ``provenance`` to a skeleton."""
    with h5py.File(memory, "r+") as root:
        root.attrs["provenance"] = text


def _options(stack_num: int) -> Mapping[str, Any]:
    return {
        "ignore_obs_next": False,
        "sample_avail": False,
        "save_only_last_obs": stack_num > 1,
        "stack_num": stack_num,
    }


def _root_attributes(size: int, stack_num: int) -> dict[str, Any]:
    return {
        "_ep_len": 0,
        "_ep_return": 0.0,
        "_ep_start_idx": 0,
        "_insertion_idx": 0,
        "_sample_avail": False,
        "_save_obs_next": True,
        "_save_only_last_obs": stack_num > 1,
        "_size": size,
        "maxsize": size,
        "stack_num": stack_num,
    }


def _allocate(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Create a contiguous dataset with its place in the file fixed now, and return that place."""
    folder, _, name = name.rpartition("/")
    group = group.require_group(folder) if folder else group
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    kind = h5py.h5t.py_create(dtype, logical=True)
    space = h5py.h5s.create_simple(shape)
    identifier = h5py.h5d.create(group.id, name.encode(), kind, space, properties)
    h5py.Dataset(identifier).attrs["__data_type__"] = "ndarray"
    return int(identifier.get_offset())


def _compress(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Create a dataset whose rows are compressed a few at a time, as samples are read."""
    row_bytes = max(1, int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize)
    rows = max(1, min(shape[0], _CHUNK_BYTES // row_bytes))
    item = group.create_dataset(
        name, shape, dtype, chunks=(rows, *shape[1:]), compression="gzip", compression_opts=1,
        track_times=False,
    )  # fmt: skip
    item.attrs["__data_type__"] = "ndarray"
