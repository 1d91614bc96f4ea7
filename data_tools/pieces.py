"""Rows of several tables, one behind the other, where they lie: nothing is joined in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from data_tools.gather import AHEAD, as_bytes
from gym_trade.jit import numba_config
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
        return int(self.shape[0])

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
    rows: Int64,
    begins: Int64,
    bases: tuple[UInt8, UInt8],
    offsets: Int64,
    widths: tuple[int, int],
    outs: tuple[UInt8, UInt8],
) -> None:
    """Copy rows of two columns.

    Args:
        rows: int64 (n,), not checked.
        begins: The first row of each part, and the rows of all, int64 (parts + 1,).
        bases: The first part of each column, as bytes.
        offsets: How many bytes behind that each part lies, or before it, int64 (2, parts).
        widths: Bytes of a row of each.
        outs: As bytes, written.
    """
    count, parts = rows.shape[0], offsets.shape[1]
    (left, right), (left_out, right_out), (left_width, right_width) = bases, outs, widths
    left_places, right_places = np.empty(count, np.int64), np.empty(count, np.int64)
    for position in range(count + AHEAD):
        if position < count:
            row = rows[position]
            part = min(row // begins[1], parts - 1)  # shards are of one size, but for one row
            while begins[part] > row:
                part -= 1
            while begins[part + 1] <= row:
                part += 1
            inside = row - begins[part]
            place = offsets[0, part] + inside * left_width
            left_places[position] = place
            prefetch(left, place)
            place = offsets[1, part] + inside * right_width
            right_places[position] = place
            prefetch(right, place)
            prefetch(right, place + right_width - 1)
        copied = position - AHEAD
        if copied >= 0:
            copy_block(left, left_places[copied], left_out, copied * left_width, left_width)
            copy_block(right, right_places[copied], right_out, copied * right_width, right_width)


class ScatteredRows:
    """Gathers single rows of two columns; it costs little more than from two arrays.

    Args:
        columns: Of the same lengths, each part C-contiguous.
    """

    def __init__(self, columns: tuple[Pieces, Pieces]) -> None:
        self._columns = columns  # keeps the memory
        self._begins = columns[0].begins
        first, second = (as_bytes(column.parts[0]).reshape(-1) for column in columns)
        self._bases = first, second
        at = [[part.__array_interface__["data"][0] for part in c.parts] for c in columns]
        self._offsets = np.array([[place - row[0] for place in row] for row in at], np.int64)
        rows = int(self._begins[1])
        self._widths = first.size // rows, second.size // rows

    def __call__(self, rows: Int64) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Both columns' rows at `rows`, int64 (k,), which are not checked: newly made."""
        first, second = (
            np.empty((len(rows), *column.shape[1:]), column.dtype) for column in self._columns
        )
        if numba_config.DISABLE_JIT:  # then an array ends where it ends
            which = np.searchsorted(self._begins[1:-1], rows, side="right")
            for number in np.unique(which).tolist():
                chosen = which == number
                for column, out in zip(self._columns, (first, second), strict=True):
                    out[chosen] = column.parts[number][rows[chosen] - self._begins[number]]
            return first, second
        outs = first.view(np.uint8).reshape(-1), second.view(np.uint8).reshape(-1)
        _collect(rows, self._begins, self._bases, self._offsets, self._widths, outs)
        return first, second
