"""Writing Tianshou's flat ``ReplayBuffer`` layout as the transitions come, with bounded memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.flat_skeleton import Columns, lay_out
from data_tools.lane_writer import LaneWriter


class FlatBufferWriter(LaneWriter):
    """Streams transitions of several lanes into one flat ``ReplayBuffer`` file.

    Args:
        path: The target.
        size: Transitions to be written, exactly.
        num_lanes: Lanes, at most `size`.
        observation_size: Length D of one flat observation, or the shape of one frame.
        action_shape: Shape of one action: ``()`` for discrete.
        action_dtype: int64 for discrete, float32 for continuous.
        reward_dtype: float64, but for rewards that were rounded already.
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
        reward_dtype: npt.DTypeLike = np.float64,
        observation_dtype: npt.DTypeLike = np.float32,
        stack_num: int = 1,
        extra: Columns | None = None,
        overwrite: bool = False,
        check_room: bool = True,
        block_bytes: int | None = None,
    ) -> None:
        extra = dict(sorted((extra or {}).items()))  # as every reader will list them
        shape = (observation_size,) if isinstance(observation_size, int) else observation_size
        observed = shape, np.dtype(observation_dtype)
        action = tuple(action_shape), np.dtype(action_dtype)
        columns: Columns = {
            "obs": observed,
            "act": action,
            "rew": ((), np.dtype(reward_dtype)),
            "terminated": ((), np.dtype(np.bool_)),
            "truncated": ((), np.dtype(np.bool_)),
            "done": ((), np.dtype(np.bool_)),
            "obs_next": observed,
            **extra,
            "_indices": ((), np.dtype(np.int64)),
        }
        self._stack_num = stack_num
        super().__init__(
            path, size=size, num_lanes=num_lanes, columns=columns, observed=observed,
            action=action, extra=extra, overwrite=overwrite, check_room=check_room,
            block_bytes=block_bytes,
        )  # fmt: skip

    def _lay_out(self) -> dict[str, int]:
        stored = {name: column for name, column in self._columns.items() if name != "_indices"}
        return lay_out(self._skeleton, size=self.size, columns=stored, stack_num=self._stack_num)

    def _write_rows(self, used: int) -> None:
        for name, block in self._blocks.items():
            self._write(name, block[:, :used])
        self._write("done", (self._blocks["terminated"] | self._blocks["truncated"])[:, :used])
        self._write("obs", self._observations[:, :used])
        self._put_finals()
        self._write("obs_next", self._observations[:, 1 : used + 1])
        # the part of _indices that matches the rows just written
        begins = np.array([begin for begin, _ in self._places(used)], np.int64)
        self._write("_indices", begins[:, None] + np.arange(used))

    def add_rows(self, rows: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the next rows of a single lane; see `LaneWriter.add_rows`."""
        count = len(rows["obs"])
        super().add_rows({**rows, "_indices": np.arange(self._written, self._written + count)})
