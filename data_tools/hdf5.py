"""Datasets on disk: write them with bounded memory, load them as a Tianshou buffer, no pickle."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data_tools.flat_layout import (
    COLUMNS,
    FORMAT_VERSION,
    DatasetError,
    FlatDataset,
    open_flat,
    read_provenance,
    read_rows,
    row_chunks,
)

__all__ = ["FORMAT_VERSION", "DatasetError", "FlatBufferWriter", "load_buffer", "read_provenance"]

_BLOCK_BYTES = 32 * 2**20
_FIXED_BYTES = 2**16  # more than the headers and the provenance take


class FlatBufferWriter:
    """Streams transitions of several lanes into one flat ``ReplayBuffer`` file.

    Lane ``l`` owns a contiguous share of the rows, ``size // num_lanes`` of them and one more in
    the first ``size % num_lanes`` lanes, so that its episodes lie whole and in order. Every lane
    takes one step per `add`; at the last one, lanes whose share is full are left out.

    The file is laid out first, under a temporary name beside the target; rows then go straight to
    their place in it, and `finish` renames it. Leaving the ``with`` block without `finish` removes
    it, whatever the reason. No clock enters it: equal transitions make equal bytes.

    Args:
        path: The target.
        size: Transitions to be written, exactly.
        num_lanes: Lanes, at most `size`.
        observation_size: Length D of one flat observation.
        action_shape: Shape of one action: ``()`` for discrete.
        action_dtype: int64 for discrete, float32 for continuous.
        overwrite: Replace an existing target.
        block_bytes: Memory for observations before they are written.

    Raises:
        DatasetError: The target exists or cannot be written, or the disk is too small.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: int,
        num_lanes: int,
        observation_size: int,
        action_shape: tuple[int, ...] = (),
        action_dtype: npt.DTypeLike = np.int64,
        overwrite: bool = False,
        block_bytes: int = _BLOCK_BYTES,
    ) -> None:
        if not 1 <= num_lanes <= size:
            raise DatasetError(
                f"{num_lanes} lanes for {size} transitions. Expected 1 to {size} lanes."
            )
        self.path = Path(path)
        self.size = size
        self.shares = size // num_lanes + (np.arange(num_lanes) < size % num_lanes)
        self._starts = np.concatenate([[0], np.cumsum(self.shares)[:-1]])
        self._columns: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
            "obs": ((observation_size,), np.dtype(np.float32)),
            "act": (tuple(action_shape), np.dtype(action_dtype)),
            "rew": ((), np.dtype(np.float64)),
            "terminated": ((), np.dtype(np.bool_)),
            "truncated": ((), np.dtype(np.bool_)),
            "done": ((), np.dtype(np.bool_)),
            "obs_next": ((observation_size,), np.dtype(np.float32)),
        }
        self._check_target(overwrite)
        self._overwrite = overwrite
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        length = max(1, block_bytes // (4 * num_lanes * observation_size))
        self._length = min(length, int(self.shares[0]))
        self._blocks = {
            name: np.zeros((num_lanes, self._length, *shape), dtype)
            for name, (shape, dtype) in self._columns.items()
            if name not in ("obs", "obs_next")
        }
        # Slot k is the observation before step k of the block and slot k + 1 the one after it.
        self._observations = np.zeros((num_lanes, self._length + 1, observation_size), np.float32)
        self._finals: list[tuple[int, int, npt.NDArray[np.float32]]] = []
        self._filled = 0
        self._written = 0

    @property
    def num_steps(self) -> int:
        """How often `add` must be called."""
        return int(self.shares[0])

    @property
    def expected_bytes(self) -> int:
        """The size of the finished file, rounded up."""
        row = sum(_row_bytes(*column) for column in self._columns.values())
        return self.size * (row + 8) + _FIXED_BYTES

    def __enter__(self) -> FlatBufferWriter:
        """Lay out the file."""
        try:
            self._offsets = self._lay_out()
            self._file = open(self._temporary, "r+b", buffering=0)
        except BaseException as error:
            self._temporary.unlink(missing_ok=True)
            raise self._explain(error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove what was not finished."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def start(self, observation: npt.NDArray[np.float32]) -> None:
        """Take every lane's first observation, float32 (num_lanes, D)."""
        self._observations[:, 0] = observation

    def add(
        self,
        action: npt.NDArray[Any],
        reward: npt.NDArray[np.float64],
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
        observation: npt.NDArray[np.float32],
        final: tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]] | None = None,
    ) -> None:
        """Take one step of every lane; nothing that is passed is kept.

        Args:
            action: (num_lanes, *action_shape).
            reward: float64 (num_lanes,).
            terminated: bool (num_lanes,).
            truncated: bool (num_lanes,).
            observation: float32 (num_lanes, D), what the next step acts on.
            final: Where an episode ended and `observation` is the next one's first: a mask
                (num_lanes,) and rows (num_lanes, D) with the true last observation.

        Raises:
            DatasetError: The rows cannot be written.
        """
        step = self._filled
        self._blocks["act"][:, step] = action
        self._blocks["rew"][:, step] = reward
        self._blocks["terminated"][:, step] = terminated
        self._blocks["truncated"][:, step] = truncated
        self._observations[:, step + 1] = observation
        if final is not None:
            ended, rows = final
            for lane in np.flatnonzero(ended):
                self._finals.append((int(lane), step, rows[lane].copy()))
        self._filled += 1
        if self._filled == self._length:
            self._flush()

    def finish(self, provenance: dict[str, Any]) -> Path:
        """Write what is left and the provenance, and rename the file to its target.

        Args:
            provenance: A JSON object; "format_version" is added.

        Raises:
            DatasetError: Rows are missing, or the file cannot be written.
        """
        self._flush()
        if self._written != self.num_steps:
            raise DatasetError(
                f"{self.path}: {self._written} steps were added. Expected {self.num_steps}."
            )
        text = json.dumps({"format_version": FORMAT_VERSION, **provenance}, allow_nan=False)
        try:
            self._file.close()
            with h5py.File(self._temporary, "r+") as root:
                root.attrs["provenance"] = text
            if not self._overwrite and self.path.exists():
                raise DatasetError(f"{self.path} has appeared meanwhile. Choose another name.")
            os.replace(self._temporary, self.path)
        except (OSError, RuntimeError) as error:
            raise self._explain(error) from None
        return self.path

    def _check_target(self, overwrite: bool) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            raise DatasetError(f"{self.path}: there is no folder {folder}. Make it first.")
        if self.path.is_dir():
            raise DatasetError(f"{self.path} is a folder. Expected a file name.")
        if self.path.exists() and not overwrite:
            raise DatasetError(
                f"{self.path} exists. Choose another name, or pass --overwrite to replace it."
            )
        free = shutil.disk_usage(folder).free
        if self.expected_bytes > free:
            raise DatasetError(
                f"{self.path}: {self.size} transitions need {_mebibytes(self.expected_bytes)} and "
                f"{folder} has {_mebibytes(free)} free. Make room, or collect fewer."
            )

    def _lay_out(self) -> dict[str, int]:
        """Create the file with every dataset allocated, and return where each one's rows begin."""
        with h5py.File(self._temporary, "w") as root:
            for name, value in _root_attributes(self.size).items():
                root.attrs[name] = value
            options = root.create_group("options")
            for name, option in _OPTIONS.items():
                options.attrs[name] = option
            meta = root.create_group("_meta")
            meta.attrs["__data_type__"] = "Batch"
            meta.create_group("info")
            offsets = {
                name: _allocate(meta, name, (self.size, *shape), dtype)
                for name, (shape, dtype) in self._columns.items()
            }
            offsets["_indices"] = _allocate(root, "_indices", (self.size,), np.dtype(np.int64))
            last = root.create_dataset("last_index", data=[self.size - 1], track_times=False)
            last.attrs["__data_type__"] = "ndarray"
        return offsets

    def _flush(self) -> None:
        used = self._filled
        try:
            for name, block in self._blocks.items():
                if name == "done":
                    np.logical_or(
                        self._blocks["terminated"], self._blocks["truncated"], out=block
                    )
                self._write(name, block[:, :used])
            self._write("obs", self._observations[:, :used])
            carried = self._observations[:, used].copy()
            for lane, step, row in self._finals:
                self._observations[lane, step + 1] = row
            self._write("obs_next", self._observations[:, 1 : used + 1])
            self._write_indices(used)
        except OSError as error:
            raise self._explain(error) from None
        self._observations[:, 0] = carried
        self._finals.clear()
        self._written += used
        self._filled = 0

    def _write(self, name: str, block: npt.NDArray[Any]) -> None:
        """Write each lane's rows of (num_lanes, steps, ...) to its share."""
        row_bytes = _row_bytes(*self._columns[name])
        counts = np.clip(self.shares - self._written, 0, block.shape[1])
        for lane, (start, count) in enumerate(zip(self._starts, counts, strict=True)):
            offset = self._offsets[name] + (int(start) + self._written) * row_bytes
            self._write_at(offset, block[lane, :count])

    def _write_indices(self, used: int) -> None:
        """Write the part of ``_indices`` that matches the rows just written, lane by lane."""
        counts = np.clip(self.shares - self._written, 0, used)
        for start, count in zip(self._starts + self._written, counts, strict=True):
            rows = np.arange(start, start + count, dtype=np.int64)
            self._write_at(self._offsets["_indices"] + int(start) * 8, rows)

    def _write_at(self, offset: int, rows: npt.NDArray[Any]) -> None:
        if rows.nbytes == 0:
            return
        self._file.seek(offset)
        view = memoryview(rows).cast("B")
        while len(view):
            view = view[self._file.write(view) :]

    def _explain(self, error: BaseException) -> BaseException:
        """One clear error for what the operating system or HDF5 reports."""
        if not isinstance(error, OSError | RuntimeError):
            return error
        reason = getattr(error, "strerror", None) or str(error)
        return DatasetError(
            f"{self.path} cannot be written: {reason}. Nothing was left behind; make room (it "
            f"needs {_mebibytes(self.expected_bytes)}), or choose another folder."
        )


_OPTIONS: dict[str, Any] = {
    "ignore_obs_next": False,
    "sample_avail": False,
    "save_only_last_obs": False,
    "stack_num": 1,
}


def _root_attributes(size: int) -> dict[str, Any]:
    """The scalars of a full ``ReplayBuffer`` whose last episode has ended."""
    return {
        "_ep_len": 0,
        "_ep_return": 0.0,
        "_ep_start_idx": 0,
        "_insertion_idx": 0,
        "_sample_avail": False,
        "_save_obs_next": True,
        "_save_only_last_obs": False,
        "_size": size,
        "maxsize": size,
        "stack_num": 1,
    }


def _allocate(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Create a contiguous dataset with its place in the file fixed now, and return that place."""
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


def _row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
