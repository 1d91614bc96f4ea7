"""Writing a file of several lanes' transitions as they come, with bounded memory."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from data_tools.flat_layout import DatasetError
from data_tools.flat_skeleton import Columns, SparseMemory, add_provenance
from data_tools.target_file import TargetFile

Observations = npt.NDArray[Any]  # numbers or records: what a writer takes of an observation
Column = tuple[tuple[int, ...], np.dtype[Any]]  # shape and dtype of one row

BLOCK_BYTES = 32 * 2**20
_FIXED_BYTES = 2**16  # more than the headers and the provenance take


class LaneWriter(ABC):
    """Streams transitions of several lanes into one file; a subclass says which.

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
        columns: The file's columns with a row a transition.
        observed: What `add` takes of one observation.
        action: What it takes of one action.
        extra: What it takes beside: name -> shape and dtype of one row.
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
        columns: Columns,
        observed: Column,
        action: Column,
        extra: Columns | None = None,
        overwrite: bool = False,
        check_room: bool = True,
        block_bytes: int | None = None,
    ) -> None:
        if not 1 <= num_lanes <= size:
            raise DatasetError(
                f"{num_lanes} lanes for {size} transitions. Expected 1 to {size} lanes."
            )
        self.path = Path(path)
        self.size = size
        self.shares = size // num_lanes + (np.arange(num_lanes) < size % num_lanes)
        self._starts = np.concatenate([[0], np.cumsum(self.shares)[:-1]]).astype(np.int64)
        self._columns = columns
        self._skeleton = SparseMemory()
        self._target = TargetFile(self.path, size, self.expected_bytes, overwrite, check_room)
        length = max(1, (block_bytes or BLOCK_BYTES) // (num_lanes * row_bytes(*observed)))
        self._length = min(length, int(self.shares[0]))
        taken: Columns = {
            "act": action,
            "rew": ((), np.dtype(np.float64)),
            "terminated": ((), np.dtype(np.bool_)),
            "truncated": ((), np.dtype(np.bool_)),
            **(extra or {}),
        }
        self._blocks = {
            name: np.zeros((num_lanes, self._length, *shape), dtype)
            for name, (shape, dtype) in taken.items()
        }
        # Slot k is the observation before step k of the block and slot k + 1 the one after it.
        shape, dtype = observed
        self._observations = np.zeros((num_lanes, self._length + 1, *shape), dtype)
        self._finals: list[tuple[int, int, Observations]] = []
        self._filled = 0
        self._written = 0

    # --- what a layout decides ---------------------------------------------------------------

    @abstractmethod
    def _lay_out(self) -> dict[str, int]:
        """Write the skeleton; returns the byte offset of each column's first row."""

    @abstractmethod
    def _write_rows(self, used: int) -> None:
        """Write `used` steps of the block, calling `_put_finals` in between."""

    def _complete(self) -> None:  # noqa: B027 - nothing to add is legal
        """Write what is known once all rows are there."""

    # --- taking transitions ------------------------------------------------------------------

    @property
    def num_steps(self) -> int:
        """How often `add` must be called."""
        return int(self.shares[0])

    @property
    def expected_bytes(self) -> int:
        """The size of the finished file, rounded up."""
        row = sum(row_bytes(*column) for column in self._columns.values())
        return self.size * row + _FIXED_BYTES

    def __enter__(self) -> Self:
        """Create the temporary file."""
        self._offsets = self._lay_out()
        self._target.open(self._skeleton.length)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove what was not finished."""
        self._target.discard()

    def start(self, observation: Observations) -> None:
        """Take every lane's first observation, (num_lanes, ...)."""
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
            action: (num_lanes, ...).
            reward: float64 (num_lanes,).
            terminated: bool (num_lanes,).
            truncated: bool (num_lanes,).
            observation: (num_lanes, ...), what the next step acts on.
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

    def add_rows(self, rows: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the next rows of a single lane whole, in the place of `start` and `add`.

        Args:
            rows: Every column, (n, ...).

        Raises:
            DatasetError: The rows cannot be written.
        """
        assert len(self.shares) == 1
        try:
            for name, values in rows.items():
                self._write(name, values[None])
        except OSError as error:
            raise self._target.explain(error) from None
        self._written += len(next(iter(rows.values())))

    def finish(self, provenance: dict[str, Any] | None) -> Path:
        """Write what is left and the provenance, and rename the file to its target.

        Args:
            provenance: A JSON object with its "format_version"; None: there is none.

        Raises:
            DatasetError: Rows are missing, or the file cannot be written.
        """
        self._flush()
        if self._written != self.num_steps:
            raise DatasetError(
                f"{self.path}: {self._written} steps were added. Expected {self.num_steps}."
            )
        text = json.dumps(provenance, allow_nan=False)
        try:
            self._complete()
            if provenance is not None:
                add_provenance(self._skeleton, text)
            for offset, content in self._skeleton.segments:
                self._target.write_at(offset, np.frombuffer(content, np.uint8))
            self._target.publish(self._skeleton.length)
        except OSError as error:
            raise self._target.explain(error) from None
        return self.path

    def _flush(self) -> None:
        used = self._filled
        carried = self._observations[:, used].copy()
        try:
            self._write_rows(used)
        except OSError as error:
            raise self._target.explain(error) from None
        self._observations[:, 0] = carried
        self._finals.clear()
        self._written += used
        self._filled = 0

    def _put_finals(self) -> None:
        """Put the true last observations where those of the next episodes' beginnings stand."""
        for lane, step, row in self._finals:
            self._observations[lane, step + 1] = row

    def _write(self, name: str, block: npt.NDArray[Any]) -> None:
        """Write each lane's rows of (num_lanes, steps, ...) to its share."""
        shape, dtype = self._columns[name]
        length = row_bytes(shape, dtype)
        for lane, (start, count) in enumerate(self._places(block.shape[1])):
            rows = np.ascontiguousarray(block[lane, :count], dtype)
            self._target.write_at(self._offsets[name] + start * length, rows)

    def _places(self, steps: int) -> list[tuple[int, int]]:
        """Each lane's first row of the block, and how many of its steps are within its share."""
        counts = np.clip(self.shares - self._written, 0, steps)
        return list(zip((self._starts + self._written).tolist(), counts.tolist(), strict=True))


def row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes of one row of a column."""
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
