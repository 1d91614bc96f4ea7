"""Mean and deviation of a dataset's observation columns, in float64 and in one pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

# Rows whose block of a few hundred columns stays in the second cache while it is read twice.
BLOCK_ROWS = 256


# Normalised observations end here, as in Andrychowicz et al. 2017 (arXiv:1707.01495, appendix A).
# A count of steps that a policy has held, in a test longer than any episode of its data, would
# else stand hundreds of deviations from all that it was trained on, and drown what it has learned.
LIMIT = 5.0


class Statistics(NamedTuple):
    """Mean and standard deviation of each observation column, float64 (D,).

    ``bound`` is how many deviations normalised values can reach.
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    bound: float = LIMIT

    @property
    def limit(self) -> npt.NDArray[np.float64]:
        """How large normalised values can be, (D,); no limit where a column is left alone."""
        alone = (self.mean == 0.0) & (self.std == 1.0)
        return np.where(alone, np.inf, self.bound)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _accumulate(
    values: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    block_rows: int,
    seen: int,
    mean: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> int:
    """Merge rows into the moments of `seen` others; returns a place that is not finite, or -1."""
    columns = values.shape[1]
    totals, block = np.empty(columns), np.empty(columns)
    for begin in range(0, len(rows), block_rows):
        chosen = rows[begin : begin + block_rows]
        totals[:] = 0.0
        for position in range(len(chosen)):
            row = values[chosen[position]]
            for column in range(columns):
                totals[column] += row[column]
        before = seen + begin
        size, count = len(chosen), before + len(chosen)
        block[:] = 0.0
        for position in range(size):
            row = values[chosen[position]]
            for column in range(columns):
                value = np.float64(row[column])
                if not np.isfinite(value):
                    return begin + position
                low[column] = min(low[column], value)
                high[column] = max(high[column], value)
                block[column] += (value - totals[column] / size) ** 2
        for column in range(columns):
            shift = totals[column] / size - mean[column]
            squares[column] += block[column] + shift * shift * (before * size / count)
            mean[column] += shift * (size / count)
    return -1


class RunningMoments:
    """Mean and deviation of columns whose rows come in parts.

    Blocks of rows are merged by the update of Chan, Golub and LeVeque (1983, "Algorithms for
    computing the sample variance"): a running variance of float32 columns at price level is off by
    orders of magnitude, and a copy in float64 would need twice the dataset's memory. Deviations
    have ``ddof=0``. A column that never changes is left alone: mean 0, standard deviation 1.

    Parts of whole blocks (`BLOCK_ROWS`, but for the last) give the same bits as a single part.

    Args:
        columns: How many.
    """

    def __init__(self, columns: int) -> None:
        self._mean, self._squares = np.zeros(columns), np.zeros(columns)
        self._low, self._high = np.full(columns, np.inf), np.full(columns, -np.inf)
        self._seen = 0

    def add(self, values: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> None:
        """See more rows.

        Args:
            values: Float (n, D).
            rows: Which of them count, int64.

        Raises:
            ValueError: A value is not finite.
        """
        bad = _accumulate(
            values, rows, BLOCK_ROWS, self._seen, self._mean, self._squares, self._low, self._high
        )
        if bad >= 0:
            column = int(np.argmin(np.isfinite(values[rows[bad]])))
            raise ValueError(
                f"observation {values[rows[bad], column]} in row {self._seen + rows[bad]}, column "
                f"{column} of the dataset is not finite. Drop such transitions before training."
            )
        self._seen += len(rows)

    def statistics(self) -> Statistics:
        """Of all rows seen, at least one."""
        constant = self._low == self._high
        deviation = np.sqrt(self._squares / self._seen)
        return Statistics(np.where(constant, 0.0, self._mean), np.where(constant, 1.0, deviation))


def column_statistics(values: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> Statistics:
    """Mean and standard deviation of every column over some rows; see `RunningMoments`.

    Args:
        values: Float (n, D).
        rows: Which rows count, int64, at least one.

    Raises:
        ValueError: A value is not finite.
    """
    moments = RunningMoments(values.shape[1])
    moments.add(values, rows)
    return moments.statistics()
