"""Stacks of frames, gathered when a batch is drawn: a dataset of images holds each frame once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tianshou.data import ReplayBuffer

Rows = npt.NDArray[np.int64]


def stacked_rows(buffer: ReplayBuffer, rows: Rows) -> Rows:
    """Which rows the stacks of ``obs`` consist of, the oldest frame first.

    As in ``ReplayBuffer.get``, the first frame of an episode stands for those before it.

    Args:
        buffer: Has ``stack_num``.
        rows: Transitions, int64 (n,).

    Returns:
        int64 (n, stack_num).
    """
    stacks = np.empty((len(rows), buffer.stack_num), np.int64)
    for place in range(buffer.stack_num - 1, -1, -1):
        stacks[:, place] = rows
        rows = buffer.prev(rows)
    return stacks


def following_rows(buffer: ReplayBuffer, rows: Rows, newest: Rows) -> Rows:
    """Which rows the stacks of ``obs_next`` consist of.

    They are those of ``obs`` without the oldest frame, and the newest one: what an environment
    with stacked frames returns. ``ReplayBuffer.get`` stacks the ``obs_next`` of transitions
    instead, which in an episode's first steps lacks the frame that it began with.

    Args:
        buffer: Has ``stack_num``.
        rows: Transitions, int64 (n,).
        newest: Where the frame after each is, int64 (n,).

    Returns:
        int64 (n, stack_num).
    """
    return np.concatenate((stacked_rows(buffer, rows)[:, 1:], newest[:, None]), axis=1)
