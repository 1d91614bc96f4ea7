"""The tree of sums beside cumulative sums."""

from __future__ import annotations

import numpy as np
import pytest

from data_tools.sum_tree import SumTree


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 100])
def test_rows_are_those_of_cumulative_sums(rows):
    """Eighths have exact sums, so that both ways must agree on the edges as well."""
    rng = np.random.default_rng(rows)
    tree, plain = SumTree(rows), np.zeros(rows)
    for _ in range(20):
        count = int(rng.integers(1, 9))
        changed = rng.integers(0, rows, count)
        values = rng.integers(0, 40, count) / 8.0
        tree.assign(changed, values)
        for row, value in zip(changed, values, strict=True):  # the later one of a row stays
            plain[row] = value
        np.testing.assert_array_equal(tree.values, plain)
        assert tree.total == plain.sum()
        if tree.total > 0.0:
            shares = np.concatenate(
                [rng.random(50) * tree.total, np.cumsum(plain)[:-1], np.zeros(1)]
            )
            shares = shares[shares < tree.total]
            expected = np.searchsorted(np.cumsum(plain), shares, side="right")
            np.testing.assert_array_equal(tree.find(shares), expected)


def test_however_it_was_filled_it_is_the_same_tree():
    """To the bit, also with numbers whose sums are rounded: nothing drifts."""
    rng = np.random.default_rng(0)
    changed, filled = SumTree(37), SumTree(37)
    for _ in range(300):
        changed.assign(rng.integers(0, 37, 8), rng.random(8) ** 9)
    filled.fill(changed.values.copy())
    assert changed.total == filled.total
    shares = rng.random(2000) * changed.total
    np.testing.assert_array_equal(changed.find(shares), filled.find(shares))


def test_what_is_zero_is_never_found():
    tree = SumTree(6)
    tree.fill(np.array([0.0, 0.1, 0.0, 0.2, 0.0, 0.0]))
    beyond = np.array([0.0, 0.1, tree.total, np.nextafter(tree.total, 9.0), 5.0])
    assert set(tree.find(beyond)) == {1, 3}
    with pytest.raises(ValueError, match="every number in the tree is 0"):
        SumTree(3).find(np.zeros(1))
