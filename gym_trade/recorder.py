"""The journal of one lane: the arrays that the kernel writes its fills and marks into."""

from __future__ import annotations

from typing import Any

import numpy as np

from gym_trade import types
from gym_trade.rules import plain

FIRST_CAPACITY = 256


def _records(count: int, dtype: Any) -> types.Record:
    return np.zeros(count, dtype).view(np.recarray)


def _enlarged(records: types.Record, written: int, needed: int) -> types.Record:
    """The same records with room for `needed`, of which the first `written` are kept."""
    if len(records) >= needed:
        return records
    larger = np.zeros(max(needed, 2 * len(records)), records.dtype).view(np.recarray)
    larger[:written] = records[:written]
    return larger


def empty_journal() -> types.Journal:
    """A journal that nothing is written into."""
    fills, marks = _records(0, types.FILL_DTYPE), _records(0, types.MARK_DTYPE)
    return plain(fills, types.FILL_DTYPE), plain(marks, types.MARK_DTYPE)


class Recorder:
    """Room for the present episode of one lane; it grows by doubling.

    Args:
        lane: Which lane.
        span: Decision steps that one environment step takes at most.

    Attributes:
        fills: `types.FILL_DTYPE`, its first ``lanes.n_fills[lane]`` rows are written.
        marks: `types.MARK_DTYPE`, its first ``lanes.steps[lane] + 1`` rows are written.
    """

    def __init__(self, lane: int, span: int) -> None:
        self.lane, self.span = lane, span
        self.fills = _records(FIRST_CAPACITY, types.FILL_DTYPE)
        self.marks = _records(FIRST_CAPACITY, types.MARK_DTYPE)
        self._share()
        self._left = 0

    def _share(self) -> None:
        self.journal = (plain(self.fills, types.FILL_DTYPE), plain(self.marks, types.MARK_DTYPE))

    def make_room(self, lanes: types.Record) -> None:
        """Called before each environment step: ensure that whatever it writes has its place."""
        self._left -= 1
        if self._left >= 0:
            return
        # Looked up once in a while only: in between, no step can have written more than this.
        n_marks, n_fills = int(lanes["steps"][self.lane]) + 1, int(lanes["n_fills"][self.lane])
        fills_a_step = types.FILL_SLOTS * self.span
        self.marks = _enlarged(self.marks, n_marks, n_marks + self.span)
        self.fills = _enlarged(self.fills, n_fills, n_fills + fills_a_step)
        self._share()
        free = (len(self.marks) - n_marks) // self.span, (len(self.fills) - n_fills) // fills_a_step
        self._left = min(free) - 1

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "journal"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.marks = np.asarray(self.marks).view(np.recarray)
        self.fills = np.asarray(self.fills).view(np.recarray)
        self._share()
