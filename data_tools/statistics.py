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
    """Mean and standard deviation of each observation column, float64 (D,)."""

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]

    @property
    def limit(self) -> npt.NDArray[np.float64]:
        """How large normalised values can be, (D,); no limit where a column is left alone."""
        alone = (self.mean == 0.0) & (self.std == 1.0)
        return np.where(alone, np.inf, LIMIT)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _accumulate(
    values: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    block_rows: int,
    mean: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> int:
    """Fill the moments of the columns; returns the position of a row that is not finite, or -1."""
    columns = values.shape[1]
    totals, block = np.empty(columns), np.empty(columns)
    for begin in range(0, len(rows), block_rows):
        chosen = rows[begin : begin + block_rows]
        totals[:] = 0.0
        for position in range(len(chosen)):
            row = values[chosen[position]]
            for column in range(columns):
                totals[column] += row[column]
        size, count = len(chosen), begin + len(chosen)
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
            squares[column] += block[column] + shift * shift * (begin * size / count)
            mean[column] += shift * (size / count)
    return -1


def column_statistics(values: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> Statistics:
    """Mean and standard deviation of every column over some rows.

    Blocks of rows are merged by the update of Chan, Golub and LeVeque (1983, "Algorithms for
    computing the sample variance"): a running variance of float32 columns at price level is off by
    orders of magnitude, and a copy in float64 would need twice the dataset's memory. Deviations
    have ``ddof=0``. A column that never changes is left alone: mean 0, standard deviation 1.

    Args:
        values: Float (n, D).
        rows: Which rows count, int64, at least one.

    Raises:
        ValueError: A value is not finite.
    """
    columns = values.shape[1]
    mean, squares = np.zeros(columns), np.zeros(columns)
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    bad = _accumulate(values, rows, BLOCK_ROWS, mean, squares, low, high)
    if bad >= 0:
        column = int(np.argmin(np.isfinite(values[rows[bad]])))
        raise ValueError(
            f"observation {values[rows[bad], column]} in row {rows[bad]}, column {column} of the "
            "dataset is not finite. Drop such transitions before training."
        )
    constant = low == high
    deviation = np.sqrt(squares / len(rows))
    return Statistics(np.where(constant, 0.0, mean), np.where(constant, 1.0, deviation))
