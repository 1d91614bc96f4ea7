"""Sums of nonnegative numbers in a binary tree: changing one, and finding one by its share, takes
a step for each level.
"""  # noqa: D205

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


class SumTree:
    """Numbers, float64 (rows,), all 0 in the beginning, with the sums of their halves.

    Every node is the sum of its two children, added anew whenever one changes: nothing drifts, and
    the same numbers make the same tree however they came there.

    Args:
        rows: How many numbers, at least 1.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._leaves = 1 << max(rows - 1, 0).bit_length()  # node 1 is the root, 2k and 2k + 1 below
        self._tree = np.zeros(2 * self._leaves)

    @property
    def total(self) -> float:
        """The sum of all numbers."""
        return float(self._tree[1])

    @property
    def values(self) -> Float64:
        """The numbers, float64 (rows,): a view, to be read only."""
        return self._tree[self._leaves : self._leaves + self.rows]

    def assign(self, rows: Int64, values: Float64) -> None:
        """Set the numbers at `rows`, int64 (n,), to `values`, finite and at least 0.

        Where a row is named twice the later value stays.
        """
        _assign(self._tree, self._leaves, rows, values)

    def fill(self, values: Float64) -> None:
        """Set all numbers, float64 (rows,)."""
        self._tree[self._leaves : self._leaves + self.rows] = values
        _sum_up(self._tree, self._leaves)

    def find(self, shares: Float64) -> Int64:
        """The rows in which cumulative sums pass `shares`, float64 (n,), each in [0, total).

        A number of 0 is never found: rounding that leads to one ends at a neighbour.

        Raises:
            ValueError: All numbers are 0.
        """
        if not self.total > 0.0:
            raise ValueError("every number in the tree is 0: there is nothing to find.")
        rows = np.empty(len(shares), np.int64)
        _find(self._tree, self._leaves, shares, rows)
        return rows


# Level by level over all rows: their loads wait for memory together, where one row's path after the
# other's would wait at every level of each.


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _assign(tree: Float64, leaves: int, rows: Int64, values: Float64) -> None:
    nodes = rows + leaves
    for place in range(rows.shape[0]):
        tree[nodes[place]] = values[place]
    level = leaves
    while level > 1:
        level >>= 1
        for place in range(rows.shape[0]):
            node = nodes[place] >> 1
            nodes[place] = node
            tree[node] = tree[2 * node] + tree[2 * node + 1]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum_up(tree: Float64, leaves: int) -> None:
    for node in range(leaves - 1, 0, -1):
        tree[node] = tree[2 * node] + tree[2 * node + 1]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _find(tree: Float64, leaves: int, shares: Float64, rows: Int64) -> None:
    rest = shares.copy()
    rows[:] = 1
    level = leaves
    while level > 1:
        level >>= 1
        for place in range(rows.shape[0]):
            node = 2 * rows[place]
            left = tree[node]
            # no branch: it could not be predicted
            above = np.int64((rest[place] >= left) & (tree[node + 1] > 0.0))
            rest[place] -= above * left
            rows[place] = node + above
    for place in range(rows.shape[0]):
        rows[place] -= leaves
