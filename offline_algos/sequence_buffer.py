"""Windows of consecutive transitions, as the Decision Transformer reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tianshou.data import Batch

from data_tools.buffers import TensorReplayBuffer

# What is read of each transition: the last two are columns that this module adds.
COLUMNS = ("obs", "act", "returns", "timesteps")


class SequenceBuffer:
    """Draws contexts: a transition with those before it in its episode.

    The row at which a context ends is drawn uniformly from all rows, which draws an episode in
    proportion to its length, as Chen et al. 2021 do (arXiv:2106.01345). Where an episode has no
    `context_length` transitions up to that row, the context is padded on the left, never filled
    from the episode before.

    Episodes are what the buffer's ``done`` flags cut its rows into, oldest row first, so a ring
    buffer that has wrapped is read across its end. Its oldest episode may have lost its beginning:
    timesteps then count from what is left. An episode that is not finished is an episode; rewards
    that it did not live to see are not in its returns-to-go.

    Args:
        buffer: The dataset. Columns are added to it, and its batches hold `COLUMNS` afterwards.
        context_length: Timesteps in a context, at least 1.

    Raises:
        ValueError: `context_length` is below 1.

    Attributes:
        context_length: As given.
        longest: Timesteps of the longest episode.
        largest_return: The largest absolute return-to-go of any row.
    """

    def __init__(self, buffer: TensorReplayBuffer, context_length: int) -> None:
        if context_length < 1:
            raise ValueError(f"context_length={context_length}: expected at least 1.")
        self.context_length = context_length
        self._buffer = buffer
        rows = buffer.sample_indices(0)
        places = np.arange(len(rows))
        starts = np.concatenate(([True], np.asarray(buffer.done)[rows[:-1]]))
        # by place in time: the row there, and the place where its episode begins
        self._rows = rows
        self._first = np.maximum.accumulate(np.where(starts, places, 0))
        self._place = np.empty(len(rows), np.int64)
        self._place[rows] = places
        self._offsets = np.arange(1 - context_length, 1)

        timesteps = (places - self._first)[self._place]
        returns = buffer.returns_to_go(1.0)
        self.longest = int(timesteps.max()) + 1
        self.largest_return = float(np.abs(returns).max())
        buffer.add_column("returns", returns)
        buffer.add_column("timesteps", timesteps)
        buffer.keys = COLUMNS

    def __len__(self) -> int:
        """Contexts that can be drawn: one ends at each row."""
        return len(self._rows)

    @property
    def _random_state(self) -> np.random.RandomState:
        """What draws, under the name by which an interrupted run finds it in a Tianshou buffer."""
        state: np.random.RandomState = self._buffer._random_state
        return state

    def sample(self, batch_size: int | None) -> tuple[Any, npt.NDArray[np.int64]]:
        """Draw contexts.

        Args:
            batch_size: How many, with repetition; 0: all in order; None: all, shuffled.

        Returns:
            (batch, rows): see `windows`, and the row at which each context ends, int64 (B,).
        """
        rows = self._buffer.sample_indices(batch_size)
        return self.windows(rows), rows

    def windows(self, rows: npt.NDArray[np.int64]) -> Any:
        """The contexts that end at `rows`, int64 (B,).

        Returns:
            A batch of tensors: obs float32 (B, K, D); act int64 (B, K) or float32 (B, K, A);
            returns float32 (B, K), undiscounted rewards from there to the end of the episode, in
            the buffer's unit; timesteps int64 (B, K), since the episode's beginning; mask bool
            (B, K), False where padded. What stands in padding has no meaning.
        """
        places = self._place[rows][:, None] + self._offsets
        first = self._first[places[:, -1:]]
        mask = places >= first
        drawn = self._buffer.rows(self._rows[np.maximum(places, first)].ravel())
        batch = Batch()
        members = batch.__dict__  # what Batch(...) fills, after looking into every value
        for name in COLUMNS:
            members[name] = drawn.__dict__[name].unflatten(0, mask.shape)
        # through the buffer's own conversion, so that it lies where the rest does
        members["mask"] = self._buffer._tensor(mask)
        members["info"] = Batch()
        return batch
