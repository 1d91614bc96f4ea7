"""Arrays that begin at a cache line.

A row that the kernel asks for ahead is one cache line, or half of one, only where the array begins
at a line: from NumPy's own, which begin at any 16 bytes, half of the rows lie across two lines, of
which one was not asked for. On five million bars that made a step half as long again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

CACHE_LINE = 64  # bytes


def zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """As ``np.zeros``: large arrays take memory as they are written."""
    kind, sizes = np.dtype(dtype), (shape,) if isinstance(shape, int) else shape
    count = int(np.prod(sizes, dtype=np.int64)) * kind.itemsize
    memory = np.zeros(count + CACHE_LINE, np.uint8)
    skipped = -memory.ctypes.data % CACHE_LINE
    return memory[skipped : skipped + count].view(kind).reshape(sizes)


def stack_columns(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Columns of equal length and dtype beside one another, (n, columns)."""
    made = zeros((len(columns[0]), len(columns)), columns[0].dtype)
    for number, column in enumerate(columns):
        made[:, number] = column
    return made


def concatenate(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """As ``np.concatenate`` along the first axis, of parts of one dtype."""
    rows = sum(len(part) for part in parts)
    made = zeros((rows, *parts[0].shape[1:]), parts[0].dtype)
    return np.concatenate(parts, out=made)
