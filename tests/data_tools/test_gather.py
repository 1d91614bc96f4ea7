from __future__ import annotations

import numpy as np
import pytest

from data_tools.gather import Rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int16])
@pytest.mark.parametrize("shape", [(50, 1), (50, 3), (50, 266), (7, 4, 9), (3, 2, 5, 5), (5, 0)])
def test_it_gathers_as_numpy_indexes(shape, dtype):
    rng = np.random.default_rng(0)
    table = rng.integers(0, 100, shape).astype(dtype)
    gather = Rows(table)
    for count in (0, 1, 5, 200):
        rows = rng.integers(0, len(table), count)
        made = gather(rows)
        assert made.dtype == dtype and made.flags.c_contiguous
        np.testing.assert_array_equal(made, table[rows])
        assert not np.shares_memory(made, table)


def test_the_last_row_is_whole():
    table = np.arange(40, dtype=np.float32).reshape(4, 10)
    np.testing.assert_array_equal(Rows(table)(np.array([3, 3, 0])), table[[3, 3, 0]])
