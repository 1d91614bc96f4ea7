"""Rows drawn from a table that is larger than any cache.

Each row waits for memory unless it is asked for some rows ahead. NumPy and torch copy one row after
the other; asking ahead takes half their time.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gym_trade.prefetch import copy_block, prefetch

AHEAD = 8  # rows
LINE = 64  # bytes


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _gather(
    source: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], out: npt.NDArray[np.uint8]
) -> None:
    count, width = rows.shape[0], source.shape[1]
    for position in range(count + AHEAD):
        if position < count:
            begin = rows[position] * width
            for offset in range(0, width + LINE - 1, LINE):
                prefetch(source, begin + offset)
        copied = position - AHEAD
        if copied >= 0:
            copy_block(source, rows[copied] * width, out, copied * width, width)


def as_bytes(table: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bytes of each row, uint8 (n, bytes), of a C-contiguous table (n, ...); no copy."""
    return table.reshape(len(table), -1).view(np.uint8)


class Rows:
    """Gathers rows of one table: ``Rows(table)(rows)`` is ``table[rows]``.

    Args:
        table: (n, ...), C-contiguous, of two or more dimensions.
    """

    def __init__(self, table: npt.NDArray[Any]) -> None:
        self._bytes = as_bytes(table)
        self._dtype, self._shape = table.dtype, table.shape[1:]

    def __call__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The rows at `rows`, int64 (k,), each 0 to n - 1: they are not checked.

        Returns:
            (k, ...), newly made.
        """
        out = np.empty((len(rows), *self._shape), self._dtype)
        _gather(self._bytes, rows, out.reshape(-1).view(np.uint8))
        return out
