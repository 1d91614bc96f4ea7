"""Writing Tianshou's flat ``ReplayBuffer`` layout as the transitions come, with bounded memory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.flat_layout import DatasetError
from data_tools.flat_skeleton import Columns, SparseMemory, add_provenance, lay_out

Observations = npt.NDArray[Any]  # float32, or uint8 for frames

_BLOCK_BYTES = 32 * 2**20
_FIXED_BYTES = 2**16  # more than the headers and the provenance take


class FlatBufferWriter:
    """Streams transitions of several lanes into one flat ``ReplayBuffer`` file.

    Lane ``l`` owns a contiguous share of the rows, ``size // num_lanes`` of them and one more in
    the first ``size % num_lanes`` lanes, so that its episodes lie whole and in order. Every lane
    takes one step per `add`; at the last one, lanes whose share is full are left out.

    Rows go straight to their place in a temporary file beside the target; `finish` adds what makes
    it HDF5 and renames it. Leaving the ``with`` block without `finish` removes it, whatever the
    reason. No clock enters the file: equal transitions make equal bytes.

    Args:
        path: The target.
        size: Transitions to be written, exactly.
        num_lanes: Lanes, at most `size`.
        observation_size: Length D of one flat observation, or the shape of one frame.
        action_shape: Shape of one action: ``()`` for discrete.
        action_dtype: int64 for discrete, float32 for continuous.
        observation_dtype: float32, or uint8 for frames.
        stack_num: Frames that a reader stacks to one observation.
        extra: Further columns of ``_meta``: name -> shape and dtype of one row.
        overwrite: Replace an existing target.
        check_room: Refuse at once what the disk has no room for.
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
        observation_size: int | tuple[int, ...],
        action_shape: tuple[int, ...] = (),
        action_dtype: npt.DTypeLike = np.int64,
        observation_dtype: npt.DTypeLike = np.float32,
        stack_num: int = 1,
        extra: Columns | None = None,
        overwrite: bool = False,
        check_room: bool = True,
        block_bytes: int = _BLOCK_BYTES,
    ) -> None:
        if not 1 <= num_lanes <= size:
            raise DatasetError(
                f"{num_lanes} lanes for {size} transitions. Expected 1 to {size} lanes."
            )
        self.path = Path(path)
        self.size = size
        self.shares = size // num_lanes + (np.arange(num_lanes) < size % num_lanes)
        self._starts = np.concatenate([[0], np.cumsum(self.shares)[:-1]]).astype(np.int64)
        shape = (observation_size,) if isinstance(observation_size, int) else observation_size
        observed = shape, np.dtype(observation_dtype)
        self._columns: Columns = {
            "obs": observed,
            "act": (tuple(action_shape), np.dtype(action_dtype)),
            "rew": ((), np.dtype(np.float64)),
            "terminated": ((), np.dtype(np.bool_)),
            "truncated": ((), np.dtype(np.bool_)),
            "done": ((), np.dtype(np.bool_)),
            "obs_next": observed,
            **(extra or {}),
        }
        self._skeleton, self._stack_num = SparseMemory(), stack_num
        self._file: Any = None  # io.FileIO once entered
        self._check_target(overwrite)
        if check_room:
            require_room(self.path, size, self.expected_bytes)
        self._overwrite = overwrite
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        length = max(1, block_bytes // (num_lanes * _row_bytes(*observed)))
        self._length = min(length, int(self.shares[0]))
        self._blocks = {
            name: np.zeros((num_lanes, self._length, *shape), dtype)
            for name, (shape, dtype) in self._columns.items()
            if name not in ("obs", "obs_next")
        }
        # Slot k is the observation before step k of the block and slot k + 1 the one after it.
        self._observations = np.zeros((num_lanes, self._length + 1, *shape), observed[1])
        self._finals: list[tuple[int, int, Observations]] = []
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
        """Create the temporary file."""
        self._offsets = lay_out(
            self._skeleton, size=self.size, columns=self._columns, stack_num=self._stack_num
        )
        try:
            self._file = open(self._temporary, "w+b", buffering=0)
            self._file.truncate(self._skeleton.length)
        except BaseException as error:  # an interrupt, too, must not leave the file
            self.__exit__(None, None, None)
            raise self._explain(error) if isinstance(error, OSError) else error from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove what was not finished."""
        if self._file is not None:
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def start(self, observation: Observations) -> None:
        """Take every lane's first observation, (num_lanes, D) or (num_lanes, *shape)."""
        self._observations[:, 0] = observation

    def add(
        self,
        action: npt.NDArray[Any],
        reward: npt.NDArray[np.float64],
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
        observation: Observations,
        finals: Mapping[int, Observations] | None = None,
        extra: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        """Take one step of every lane; nothing that is passed is kept.

        Args:
            action: (num_lanes, *action_shape).
            reward: float64 (num_lanes,).
            terminated: bool (num_lanes,).
            truncated: bool (num_lanes,).
            observation: (num_lanes, D) or (num_lanes, *shape), what the next step acts on.
            finals: For lanes whose `observation` is already the next episode's first: lane ->
                the true last observation.
            extra: The further columns, (num_lanes, ...) each.

        Raises:
            DatasetError: The rows cannot be written.
        """
        step = self._filled
        self._blocks["act"][:, step] = action
        self._blocks["rew"][:, step] = reward
        self._blocks["terminated"][:, step] = terminated
        self._blocks["truncated"][:, step] = truncated
        for name, values in (extra or {}).items():
            self._blocks[name][:, step] = values
        self._observations[:, step + 1] = observation
        for lane, row in (finals or {}).items():
            self._finals.append((lane, step, row.copy()))
        self._filled += 1
        if self._filled == self._length:
            self._flush()

    def finish(self, provenance: dict[str, Any]) -> Path:
        """Write what is left and the provenance, and rename the file to its target.

        Args:
            provenance: A JSON object with its "format_version".

        Raises:
            DatasetError: Rows are missing, or the file cannot be written.
        """
        self._flush()
        if self._written != self.num_steps:
            raise DatasetError(
                f"{self.path}: {self._written} steps were added. Expected {self.num_steps}."
            )
        text = json.dumps(provenance, allow_nan=False)
        add_provenance(self._skeleton, text)
        try:
            for offset, content in self._skeleton.segments:
                self._write_at(offset, np.frombuffer(content, np.uint8))
            self._file.truncate(self._skeleton.length)
            self._file.close()
            if not self._overwrite and self.path.exists():
                raise DatasetError(f"{self.path} has appeared meanwhile. Choose another name.")
            os.replace(self._temporary, self.path)
        except OSError as error:
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

    def _flush(self) -> None:
        used = self._filled
        try:
            for name, block in self._blocks.items():
                if name == "done":
                    np.logical_or(self._blocks["terminated"], self._blocks["truncated"], out=block)
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
        view = rows.data.cast("B")
        while len(view):
            view = view[self._file.write(view) :]

    def _explain(self, error: OSError) -> DatasetError:
        """One clear error for what the operating system reports."""
        return DatasetError(
            f"{self.path} cannot be written: {error.strerror or error}. Nothing was left behind; "
            f"make room (it needs {_mebibytes(self.expected_bytes)}), or choose another folder."
        )


def require_room(path: Path, rows: int, needed: int) -> None:
    """Refuse what the disk has no room for.

    Raises:
        DatasetError: `rows` transitions need `needed` bytes, and fewer are free.
    """
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise DatasetError(
            f"{path}: {rows} transitions need {_mebibytes(needed)} and {path.parent} has "
            f"{_mebibytes(free)} free. Make room, or collect fewer."
        )


def _row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
