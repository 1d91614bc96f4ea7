"""Observations that are held once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.observations import ObservationTable, as_float32


def walk(lengths: list[int], width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """``obs`` and ``obs_next`` of episodes one behind the other."""
    rng = np.random.default_rng(0)
    seen = [rng.normal(size=(length + 1, width)).astype(np.float32) for length in lengths]
    return np.concatenate([x[:-1] for x in seen]), np.concatenate([x[1:] for x in seen])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=8), shift=st.integers(0, 40),
    part=st.integers(1, 9), spare=st.integers(0, 3),
)  # fmt: skip
def test_nothing_is_lost_and_little_is_added(lengths, shift, part, spare):
    # shifted rows are those of a ring buffer that has wrapped
    before, after = (np.roll(rows, shift, axis=0) for rows in walk(lengths))
    made = ObservationTable(len(before), before.shape[1:], np.float32, spare)
    made.before[:] = before
    for begin in range(0, len(before), part):
        made.add(begin, after[begin : begin + part])
    np.testing.assert_array_equal(made.table[: len(before)], before)
    np.testing.assert_array_equal(made.table[made.following], after)
    assert len(made.table) == len(before) + len(lengths)


def test_rows_in_any_order_keep_their_next_one():
    before, after = walk([200, 50])
    order = np.random.default_rng(1).permutation(len(before))
    made = ObservationTable.of(before[order], after[order])
    np.testing.assert_array_equal(made.before, before[order])
    np.testing.assert_array_equal(made.table[made.following], after[order])


def test_what_differs_in_a_sign_alone_is_not_the_same():
    before, after = np.array([[1.0], [0.0]], np.float32), np.array([[-0.0], [1.0]], np.float32)
    made = ObservationTable.of(before, after)
    np.testing.assert_array_equal(np.signbit(made.table[made.following]), np.signbit(after))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_observations_of_any_shape_and_type(dtype):
    frames = np.arange(6 * 4).reshape(6, 2, 2).astype(dtype)
    made = ObservationTable.of(frames[:-1], frames[1:], as_float32(np.dtype(dtype)))
    held = made.table[made.following]
    np.testing.assert_array_equal(held, frames[1:])
    assert held.dtype == (np.float32 if dtype == np.float64 else dtype)
