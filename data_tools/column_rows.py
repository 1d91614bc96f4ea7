"""Reading a column of a dataset file, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_CHUNK_BYTES = 16 * 2**20


class DatasetError(ValueError):
    """A dataset file that cannot be read or written; the message says what to do."""


def read_into(dataset: Any, rows: np.ndarray[Any, Any], start: int) -> None:
    """Read one column's rows from `start` on into `rows`, which must be contiguous.

    Raises:
        DatasetError: The file is damaged there.
    """
    stop = start + len(rows)
    try:
        dataset.read_direct(rows, np.s_[start:stop])
    except (OSError, RuntimeError) as error:
        raise DatasetError(
            f"{dataset.file.filename}: rows {start} to {stop - 1} of {dataset.name} cannot be "
            f"read: {error}. The file is damaged; make it anew."
        ) from None


def read_rows(dataset: Any, start: int, stop: int) -> np.ndarray[Any, Any]:
    """The rows [start, stop) of one column, as `read_into` reads them."""
    rows = np.empty((stop - start, *dataset.shape[1:]), dataset.dtype)
    read_into(dataset, rows, start)
    return rows


def row_chunks(dataset: Any, size: int) -> Iterator[tuple[int, int]]:
    """Cut the rows [0, size) into ranges of at most 16 MiB each."""
    row_bytes = max(1, int(np.prod(dataset.shape[1:], dtype=np.int64)) * dataset.dtype.itemsize)
    step = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, size, step):
        yield start, min(start + step, size)


@dataclass(frozen=True)
class MadeColumn:
    """A column that is made as it is read: stands for an ``h5py.Dataset``."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[int, int], npt.NDArray[Any]]

    def read_direct(self, rows: npt.NDArray[Any], selection: slice) -> None:
        """Fill `rows` with those of a slice."""
        rows[:] = self.make(selection.start, selection.stop)
