"""Arrays begin at a cache line, and so do the rows that a step reads."""

from __future__ import annotations

import numpy as np
import pytest

from gym_trade import Market, SequentialEnv, VectorTradeEnv, aligned
from gym_trade.types import LANE_DTYPE
from tests import markets
from tests.rollouts import FRAMES, SMALL


def begins_at_a_line(array):
    return array.ctypes.data % aligned.CACHE_LINE == 0 and array.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64, LANE_DTYPE])
@pytest.mark.parametrize("shape", [0, 1, 7, (5, 3), (0, 4), (3, 0), (1000, 4)])
def test_zeros_are_zeros_at_a_line(shape, dtype):
    for _ in range(5):  # not by luck
        made = aligned.zeros(shape, dtype)
        assert made.size == 0 or begins_at_a_line(made)
        assert made.flags.writeable
        assert made.dtype == dtype and made.shape == np.zeros(shape).shape
        assert not made.view(np.uint8).any()


def test_columns_and_parts_are_joined_as_numpy_joins_them():
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 9, 11) for _ in range(3)]
    stacked = aligned.stack_columns(columns)
    np.testing.assert_array_equal(stacked, np.stack(columns, axis=1))
    parts = [rng.normal(size=(count, 4)) for count in (3, 0, 5)]
    joined = aligned.concatenate(parts)
    np.testing.assert_array_equal(joined, np.concatenate(parts))
    assert joined.dtype == np.float64 and begins_at_a_line(joined) and begins_at_a_line(stacked)


@pytest.mark.parametrize("df", [FRAMES["one"], FRAMES], ids=["one market", "two markets"])
def test_what_a_step_reads_begins_at_a_line(df):
    frames = {"time_frames": ["1min", "5min"], "window_sizes": [4, 3], "execute_on": "5min"}
    for env in (SequentialEnv(df=df, **frames), VectorTradeEnv(df=df, num_envs=3, **frames)):
        grid = env.engine.grid
        for array in (grid.bars, grid.bins, grid.starts, env.engine.lanes, env.engine.windows[0]):
            assert begins_at_a_line(array)


def test_one_market_is_not_copied():
    market = Market(markets.bars(300))
    left, right = SequentialEnv(df=market, **SMALL), SequentialEnv(df=market, **SMALL)
    assert left.engine.grid.starts is right.engine.grid.starts
    assert left.engine.grid.bins is right.engine.grid.bins
    assert np.shares_memory(left.engine.grid.bars, market.bars)
