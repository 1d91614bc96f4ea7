"""Batches that a thread draws ahead are those that would be drawn without it."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch

from data_tools.buffers import TensorReplayBuffer
from offline_algos.prefetch import BatchesAhead, MovedBatches
from offline_algos.transfer import Transfer
from tests.offline_algos import batches


def buffers(**options):
    """The same buffer twice, in the same random state."""
    data = batches.dataset(**options)
    return TensorReplayBuffer(copy.deepcopy(data)), TensorReplayBuffer(data)


def drawing():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def ends():
    """No test leaves a thread behind."""
    yield
    assert not drawing()


def same(one, other):
    (left, rows), (right, others) = one, other
    np.testing.assert_array_equal(rows, others)
    assert all(torch.equal(left[name], right[name]) for name in ("obs", "act", "rew", "obs_next"))


@pytest.mark.parametrize("count", [1, 3])
def test_the_same_batches_in_the_same_order(count):
    plain, source = buffers()
    ahead = BatchesAhead(source, count)
    for size in (8, 8, 8, 5, 5, 8):  # another size forgets what is ready
        same(ahead.sample(size), plain.sample(size))
    assert len(ahead) == len(plain)
    ahead.close()
    same(source.sample(8), plain.sample(8))  # as if only those had been drawn
    same(ahead.sample(8), plain.sample(8))  # and it can go on
    ahead.close()


def test_the_random_state_is_that_of_what_was_handed_out():
    plain, source = buffers()
    ahead = BatchesAhead(source, 4)
    for _ in range(3):
        same(ahead.sample(8), plain.sample(8))
    state, expected = ahead._random_state.get_state(), plain._random_state.get_state(legacy=True)
    np.testing.assert_array_equal(state[1], expected[1])
    assert state[2] == expected[2]
    later = [plain.sample(8) for _ in range(2)]
    for _ in range(2):
        ahead.sample(8)
    ahead._random_state.set_state(state)
    for batch in later:
        same(ahead.sample(8), batch)
    ahead.close()


class Failing(TensorReplayBuffer):
    """Cannot be read from the third batch on."""

    asked = 0

    def rows(self, indices):
        self.asked += 1
        if self.asked > 2:
            raise OSError("the disk is gone")
        return super().rows(indices)


def test_what_fails_while_drawing_is_raised_where_batches_are_used():
    ahead = BatchesAhead(Failing(batches.dataset()), 2)
    ahead.sample(8)
    ahead.sample(8)
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.sample(8)
    assert not drawing()


class Halting(TensorReplayBuffer):
    """The first batch is drawn when it is let go."""

    def __init__(self, data):
        super().__init__(data)
        self.let_go = threading.Event()

    def rows(self, indices):
        assert self.let_go.wait(30)
        return super().rows(indices)


def test_an_end_before_the_first_batch():
    """As after Ctrl-C while one is waited for: only the batch that is being drawn is."""
    plain, _ = buffers()
    source = Halting(batches.dataset())
    ahead = BatchesAhead(source, 5)
    timer = threading.Timer(0.05, source.let_go.set)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def interrupt(*arguments):
            raise KeyboardInterrupt

        # the batch is asked for, and the wait for it is cut short
        patch.setattr("offline_algos.prefetch._Drawing.start", started(interrupt))
        ahead.sample(8)
    timer.start()
    ahead.close()
    timer.join()
    same(source.sample(8), plain.sample(8))


def started(then):
    start = threading.Thread.start

    def run(thread):
        start(thread)
        then()

    return run


def test_no_batch_ahead_is_refused():
    with pytest.raises(ValueError, match="count=0"):
        BatchesAhead(TensorReplayBuffer(batches.dataset()), 0)


def test_batches_are_moved():
    """To torch's meta device: it has shapes and no numbers."""
    plain, source = buffers()
    moved = MovedBatches(source, Transfer("meta"))
    ahead = BatchesAhead(buffers()[0], 2, Transfer("meta"))
    for _ in range(3):
        (batch, rows), (other, others) = moved.sample(8), ahead.sample(8)
        expected, wanted = plain.sample(8)
        for made in (batch, other):
            for name in plain.keys:
                assert made[name].device.type == "meta", name
                assert made[name].shape == expected[name].shape
                assert made[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(rows, wanted)
        np.testing.assert_array_equal(others, wanted)
    assert len(moved) == len(source) and moved._random_state is source._random_state
    assert moved.priorities is None
    ahead.close()
