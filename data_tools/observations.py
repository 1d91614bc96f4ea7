"""A dataset's observations, each held once.

The observation after a transition is nearly always the one before the next transition. So one table
holds every ``obs`` and, behind them, those ``obs_next`` that stand nowhere else (the last ones of
episodes); an index says where each transition's is. That is half the memory, and the two
observations of a transition mostly lie side by side. Nothing is assumed of the rows' order: they
are compared, byte for byte.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from data_tools.gather import as_bytes

Array = npt.NDArray[Any]
ROWS_A_PASS = 4096


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _elsewhere(
    table: npt.NDArray[np.uint8], part: npt.NDArray[np.uint8], begin: int, rows: int
) -> npt.NDArray[np.bool_]:
    """Whether each row of `part`, which follows row `begin` on, differs from the table's next."""
    differs = np.zeros(part.shape[0], np.bool_)
    for place in range(part.shape[0]):
        following = (begin + place + 1) % rows
        difference = np.uint8(0)
        for byte in range(part.shape[1]):  # without a way out, so that it is vectorised
            difference |= part[place, byte] ^ table[following, byte]
        differs[place] = difference != 0
    return differs


def as_float32(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that observations of `dtype` are held in: float32 for float64, else the same."""
    return np.dtype(np.float32) if dtype == np.float64 else dtype


def is_image(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Whether observations of this type and shape are pixels: uint8 with two axes or more."""
    return dtype == np.uint8 and len(shape) > 1


def held_as(dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.dtype[Any]:
    """The type that observations are trained on in: pixels as they are, else floating point."""
    if is_image(dtype, shape):
        return dtype
    return as_float32(dtype) if dtype.kind == "f" else np.dtype(np.float32)


class ObservationTable:
    """Every observation of a dataset, and where the one after each transition is.

    Fill ``before`` with ``obs``, then hand ``obs_next`` over, in order, in parts of any size.

    Args:
        rows: Transitions.
        shape: Of one observation.
        dtype: Of the numbers in it.
        spare: How many ``obs_next`` are expected to stand nowhere else; more are taken as well,
            at the price of a copy.

    Attributes:
        following: The row of ``table`` with each transition's ``obs_next``, int64 (rows,).
        left_out: How many transitions `infer` left out.
    """

    left_out = 0

    def __init__(self, rows: int, shape: tuple[int, ...], dtype: Any, spare: int) -> None:
        self._storage: Array = np.empty((rows + spare, *shape), dtype)
        self._rows, self._others = rows, 0
        self.following: npt.NDArray[np.int64] = (np.arange(rows) + 1) % max(rows, 1)

    @classmethod
    def of(cls, before: Array, after: Array, dtype: Any = None) -> ObservationTable:
        """The table of two arrays, (rows, ...) each, as numbers of `dtype`."""
        rows = len(before)
        made = cls(rows, before.shape[1:], dtype or before.dtype, spare=max(8, rows // 64))
        made.before[:] = before
        made.add(0, after)
        return made

    @property
    def before(self) -> Array:
        """``obs``, to be filled."""
        return self._storage[: self._rows]

    @property
    def table(self) -> Array:
        """All observations, (rows + others, *shape): first ``before``, then the others."""
        return self._storage[: self._rows + self._others]

    def add(self, begin: int, part: Array) -> None:
        """Take ``obs_next`` of the transitions from `begin` on, once ``before`` is filled."""
        part = np.ascontiguousarray(part, self._storage.dtype)
        differs = _elsewhere(as_bytes(self.before), as_bytes(part), begin, self._rows)
        places = np.flatnonzero(differs)
        first = self._rows + self._others
        self._make_room(first + len(places))
        self._storage[first : first + len(places)] = part[places]
        self.following[begin + places] = first + np.arange(len(places))
        self._others += len(places)

    def infer(self, lost: npt.NDArray[np.bool_], final: npt.NDArray[np.bool_]) -> None:
        """Take each transition's next observation from the row after it, and leave some rows out.

        Those observations stay: the transitions before them led there. To be called once, in the
        place of `add`.

        Args:
            lost: Transitions to leave out, since nothing says what they led to, bool (rows,).
            final: Transitions from which nothing follows, bool (rows,): what stands as their next
                observation is their own.
        """
        rows = self._rows
        kept, others = np.flatnonzero(~lost), np.flatnonzero(lost)
        place = np.empty(rows, np.int64)
        place[kept], place[others] = np.arange(len(kept)), len(kept) + np.arange(len(others))
        self.following = np.where(final, place, place[(np.arange(rows) + 1) % rows])[kept]
        aside = self._storage[others]
        for start in range(0, len(kept) if len(others) else 0, ROWS_A_PASS):
            part = kept[start : start + ROWS_A_PASS]
            self._storage[start : start + len(part)] = self._storage[part]
        self._storage[len(kept) : rows] = aside
        self._rows, self._others = len(kept), len(others)
        self.left_out = len(others)

    def _make_room(self, rows: int) -> None:
        have = len(self._storage)
        if rows > have:
            # at most every obs_next stands for itself
            larger = min(max(rows, have + self._rows // 4), 2 * self._rows)
            storage = np.empty((larger, *self._storage.shape[1:]), self._storage.dtype)
            storage[:have] = self._storage
            self._storage = storage
