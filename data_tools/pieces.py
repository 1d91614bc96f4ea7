"""Rows of several tables, one behind the other, where they lie: nothing is joined in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from data_tools.gather import AHEAD, as_bytes
from gym_trade.prefetch import copy_block, prefetch
from gym_trade.types import Int64

UInt8 = npt.NDArray[np.uint8]


class Pieces:
    """A column in several arrays of one type: ``pieces[start:stop]`` are rows of them all.

    Args:
        parts: C-contiguous, (n, ...); at least one.

    Attributes:
        parts: The same.
        begins: The first row of each, and the rows of all, int64 (parts + 1,).
    """

    def __init__(self, parts: Sequence[npt.NDArray[Any]]) -> None:
        self.parts = list(parts)
        lengths = [len(part) for part in self.parts]
        self.begins = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.dtype, self.shape = self.parts[0].dtype, (sum(lengths), *self.parts[0].shape[1:])

    def __len__(self) -> int:
        """Rows."""
        return self.shape[0]

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """Neighbouring rows, a view where they are of one part."""
        start, stop, _ = rows.indices(len(self))
        found = [
            part[max(start - begin, 0) : stop - begin]
            for part, begin in zip(self.parts, self.begins.tolist(), strict=False)
            if begin < stop and start < begin + len(part)
        ]
        return found[0] if len(found) == 1 else np.concatenate([self.parts[0][:0], *found])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All rows, copied."""
        return np.concatenate(self.parts, dtype=dtype)

    def min(self) -> Any:
        """The lowest number."""
        return min(part.min() for part in self.parts if len(part))

    def max(self) -> Any:
        """The highest number."""
        return max(part.max() for part in self.parts if len(part))


def parts_of(column: npt.NDArray[Any] | Pieces) -> list[npt.NDArray[Any]]:
    """The arrays that hold a column."""
    return column.parts if isinstance(column, Pieces) else [column]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _collect(
    rows: Int64, begins: Int64, base: UInt8, offsets: Int64, width: int, out: UInt8
) -> None:
    """Copy rows of `width` bytes: part k lies `offsets[k]` bytes behind `base`, or before it."""
    count = rows.shape[0]
    places = np.empty(count, np.int64)
    for position in range(count + AHEAD):
        if position < count:
            row = rows[position]
            low, high = 0, offsets.shape[0]
            while high - low > 1:  # the last that does not begin behind `row`
                middle = (low + high) // 2
                if begins[middle] <= row:
                    low = middle
                else:
                    high = middle
            places[position] = offsets[low] + (row - begins[low]) * width
            prefetch(base, places[position])
            prefetch(base, places[position] + width - 1)
        copied = position - AHEAD
        if copied >= 0:
            copy_block(base, places[copied], out, copied * width, width)


class ScatteredRows:
    """Gathers single rows of pieces; it costs little more than gathering those of one array.

    Args:
        pieces: Each part C-contiguous.
    """

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces  # keeps the memory
        self._base = as_bytes(pieces.parts[0]).reshape(-1)
        at = [part.__array_interface__["data"][0] for part in pieces.parts]
        self._offsets = np.array([place - at[0] for place in at], np.int64)
        self._width = self._base.size // max(1, len(pieces.parts[0]))

    def __call__(self, rows: Int64) -> npt.NDArray[Any]:
        """The rows at `rows`, int64 (k,), which are not checked: (k, ...), newly made."""
        pieces = self._pieces
        out = np.empty((len(rows), *pieces.shape[1:]), pieces.dtype)
        if numba.config.DISABLE_JIT:  # then an array ends where it ends
            which = np.searchsorted(pieces.begins[1:-1], rows, side="right")
            for number in np.unique(which).tolist():
                chosen = which == number
                out[chosen] = pieces.parts[number][rows[chosen] - pieces.begins[number]]
            return out
        _collect(
            rows, pieces.begins, self._base, self._offsets, self._width,
            out.reshape(-1).view(np.uint8),
        )  # fmt: skip
        return out
