"""Contexts drawn from a buffer, beside a slow reference that keeps a list of episodes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tianshou.data import Batch, ReplayBuffer

from data_tools.buffers import TensorReplayBuffer
from offline_algos.sequence_buffer import SequenceBuffer
from tests.offline_algos import batches

ENDS = ("", "terminated", "truncated")


def filled(ends, size, continuous=False):
    """A ring of `size` rows to which a transition was added for each of `ends`, and the list."""
    buffer, added = ReplayBuffer(size, random_seed=3), []
    for number, end in enumerate(ends):
        transition = {
            "obs": np.float32([number, -number]), "obs_next": np.float32([number + 1, 0.0]),
            "act": np.float32([number / 100]) if continuous else number % 7,
            "rew": 2.0 ** (number % 11), "terminated": end == "terminated",
            "truncated": end == "truncated", "done": end != "",
        }  # fmt: skip
        buffer.add(Batch(**transition, info={}))
        added.append(transition)
    return buffer, added[-size:]


def reference(kept, length):
    """For each transition that is kept, oldest first: its context, as a list without padding."""
    episodes = [[]]
    for transition in kept:
        episodes[-1].append(transition)
        if transition["done"]:
            episodes.append([])
    contexts = []
    for episode in episodes:
        for last in range(len(episode)):
            context = []
            for step in range(max(0, last - length + 1), last + 1):
                to_go = sum(later["rew"] for later in episode[step:])
                here = episode[step]
                context.append((here["obs"][0], here["act"], to_go, step))
            contexts.append(context)
    return contexts, max(map(len, episodes))


@given(
    ends=st.lists(st.sampled_from((*ENDS, "", "", "")), min_size=1, max_size=40),
    size=st.integers(1, 30),
    length=st.integers(1, 9),
    continuous=st.booleans(),
)
@example(["", "", "terminated", "", ""], 4, 3, False)  # wrapped inside an episode, unfinished
@example(["", "terminated"] * 3, 6, 3, True)  # full, not a row more
@settings(max_examples=80, deadline=None, derandomize=True)
def test_contexts_are_those_of_a_slow_reference(ends, size, length, continuous):
    buffer, kept = filled(ends, size, continuous)
    windows = SequenceBuffer(TensorReplayBuffer(buffer), length)
    expected, longest = reference(kept, length)
    drawn, rows = windows.sample(0)
    assert len(windows) == len(rows) == len(expected) == len(kept)
    assert windows.longest == longest
    assert windows.largest_return == max(context[-1][2] for context in expected)
    assert drawn.mask.dtype == torch.bool and drawn.timesteps.dtype == torch.int64
    assert drawn.obs.shape == (len(kept), length, 2)
    for number, context in enumerate(expected):
        missing = length - len(context)
        assert drawn.mask[number].tolist() == [False] * missing + [True] * len(context)
        for place, (obs, act, to_go, step) in enumerate(context, start=missing):
            assert drawn.obs[number, place].tolist() == [obs, -obs]
            assert drawn.act[number, place].reshape(-1).tolist() == [act]
            assert drawn.returns[number, place] == to_go
            assert drawn.timesteps[number, place] == step


def test_a_context_ends_at_any_row_alike():
    """Rows are drawn as Tianshou's buffer draws them: an episode in proportion to its length."""
    buffer, _ = filled([""] * 89 + ["terminated"] + ["", "truncated"] * 5, 100)
    windows = SequenceBuffer(TensorReplayBuffer(copy.deepcopy(buffer)), 4)
    drawn, rows = windows.sample(4000)
    np.testing.assert_array_equal(rows, buffer.sample_indices(4000))
    np.testing.assert_array_equal(drawn.obs[:, -1, 0], rows)
    assert abs((rows < 90).mean() - 0.9) < 0.02
    assert len(windows.sample(None)[1]) == 100


def test_a_time_limit_and_a_death_end_an_episode_alike():
    made = []
    for end in ENDS[1:]:
        buffer, _ = filled(["", end, "", "", end, ""], 6)
        made.append(SequenceBuffer(TensorReplayBuffer(buffer), 3).sample(0)[0])
    for name in ("obs", "act", "returns", "timesteps", "mask"):
        assert torch.equal(made[0][name], made[1][name]), name
    assert made[0].returns[:, -1].tolist() == [3.0, 2.0, 28.0, 24.0, 16.0, 32.0]


def test_drawing_goes_on_from_a_saved_state():
    first, second = (SequenceBuffer(TensorReplayBuffer(batches.dataset()), 5) for _ in range(2))
    first.sample(16)
    second._random_state.set_state(first._random_state.get_state())
    for _ in range(2):
        (one, rows), (other, others) = first.sample(16), second.sample(16)
        np.testing.assert_array_equal(rows, others)
        assert torch.equal(one.obs, other.obs)


def test_an_empty_context_is_refused():
    with pytest.raises(ValueError, match="context_length=0: expected at least 1"):
        SequenceBuffer(TensorReplayBuffer(batches.dataset()), 0)
