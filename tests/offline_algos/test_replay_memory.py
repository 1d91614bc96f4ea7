"""The ring of transitions beside a list of what was added, and beside Tianshou's targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tianshou.algorithm.algorithm_base import Algorithm
from tianshou.data import Batch, VectorReplayBuffer

from offline_algos.replay_memory import ReplayMemory

LANES, COLUMNS, GAMMA = 3, 2, 0.9


def filled(steps, capacity=30, *, n_step=1, action_width=None, seed=0):
    """A memory after so many steps, and Tianshou's buffer of the same transitions."""
    rng = np.random.default_rng(0)
    memory = ReplayMemory(
        capacity, LANES, COLUMNS, action_width, seed=seed, gamma=GAMMA, n_step=n_step
    )
    plain = VectorReplayBuffer(memory.capacity, LANES)
    for _ in range(steps):
        obs, obs_next = rng.normal(size=(2, LANES, COLUMNS)).astype(np.float32)
        act = rng.integers(4, size=LANES)
        if action_width:
            act = rng.uniform(-1, 1, (LANES, action_width)).astype(np.float32)
        rew, kind = rng.normal(size=LANES), rng.random(LANES)
        terminated, truncated = kind < 0.2, kind > 0.8
        memory.add(
            torch.from_numpy(obs), act, rew, terminated, truncated, torch.from_numpy(obs_next)
        )
        plain.add(
            Batch(obs=obs, act=act, rew=rew, terminated=terminated, truncated=truncated,
                  obs_next=obs_next, done=terminated | truncated, info=[{}] * LANES)
        )  # fmt: skip
    return memory, plain


def same_rows(memory, plain):
    """Tianshou's row of each of ours: it keeps a lane's rows together."""
    number = np.arange(len(memory))
    return number % LANES * (memory.capacity // LANES) + number // LANES


@pytest.mark.parametrize("n_step", [1, 2, 4])
@pytest.mark.parametrize("steps", [1, 7, 10, 17, 30])
def test_targets_are_tianshou_s(n_step, steps):
    """Part-filled, just full and wrapped: terminated rows are masked, truncated ones are not."""
    memory, plain = filled(steps, n_step=n_step)
    theirs = same_rows(memory, plain)
    batch = memory.rows(np.arange(len(memory)))
    expected = Algorithm.compute_nstep_return(
        plain[theirs], plain, theirs,
        lambda buffer, rows: torch.from_numpy(buffer.obs_next[rows].sum(1)),
        gamma=GAMMA, n_step=n_step,
    ).returns.flatten()  # fmt: skip
    made = batch.rew + batch.discount * batch.obs_next.sum(1)
    torch.testing.assert_close(made, expected.to(torch.float32), rtol=1e-5, atol=1e-6)
    assert torch.equal(batch.obs, torch.from_numpy(plain.obs[theirs]))
    assert torch.equal(batch.act, torch.from_numpy(plain.act[theirs]))


def test_only_termination_has_no_future():
    memory, plain = filled(30)
    rows = same_rows(memory, plain)
    batch = memory.rows(np.arange(len(memory)))
    ended = plain.terminated[rows]
    assert ended.any() and plain.truncated[rows].any()
    assert (batch.discount.numpy() == 0).tolist() == ended.tolist()
    assert set(batch.discount[~torch.from_numpy(ended)].tolist()) == {np.float32(GAMMA)}


def test_targets_stop_where_lanes_are_reset():
    memory, _ = filled(5, n_step=3)
    before = memory.rows(np.arange(len(memory)))
    memory.end_episodes()
    one = torch.ones(LANES, COLUMNS)
    never = np.zeros(LANES, bool)
    for _ in range(3):
        memory.add(one, np.zeros(LANES, int), np.full(LANES, 1e6), never, never, one)
    after = memory.rows(np.arange(15))
    assert torch.equal(before.rew, after.rew) and torch.equal(before.obs_next, after.obs_next)


def test_sampling_is_even_and_from_what_is_filled():
    memory, _ = filled(4, capacity=300, action_width=2, seed=1)
    batch, rows = memory.sample(6000)
    assert batch.act.shape == (6000, 2) and batch.act.dtype == torch.float32
    counts = np.bincount(rows, minlength=12)
    assert len(counts) == 12 and counts.min() > 400 and counts.max() < 600
    again = filled(4, capacity=300, action_width=2, seed=1)[0].sample(6000)[1]
    np.testing.assert_array_equal(rows, again)


@pytest.mark.parametrize("steps", [4, 23])
def test_a_restored_memory_goes_on_as_the_saved_one(steps, tmp_path):
    memory, _ = filled(steps, n_step=3)
    torch.save(memory.state(), tmp_path / "state.pth")
    assert (tmp_path / "state.pth").stat().st_size < 8000
    other = ReplayMemory(30, LANES, COLUMNS, None, seed=0, gamma=GAMMA, n_step=3)
    other.restore(torch.load(tmp_path / "state.pth", weights_only=True))
    for _ in range(2):
        left, right = (x.rows(np.arange(len(x))) for x in (memory, other))
        for name in ("obs", "act", "rew", "discount", "obs_next"):
            assert torch.equal(left[name], right[name]), name
        never, one = np.zeros(LANES, bool), torch.ones(LANES, COLUMNS)
        for each in (memory, other):
            each.add(one, np.ones(LANES, int), np.ones(LANES), never, never, one)


def test_normalised_like_a_network_s_observations():
    memory, _ = filled(8)
    raw = memory.rows(np.arange(24))
    statistics = memory.statistics()
    np.testing.assert_allclose(statistics.mean, raw.obs.double().mean(0), rtol=1e-12)
    memory.normalise(statistics)
    made = memory.rows(np.arange(24))
    for name in ("obs", "obs_next"):
        wanted = (raw[name].double().numpy() - statistics.mean) / statistics.std
        np.testing.assert_array_equal(made[name].numpy(), wanted.astype(np.float32))
    scale = memory.reward_deviation()
    memory.scale_rewards(scale)
    assert memory.reward_deviation() == pytest.approx(1.0)


def test_rewards_that_never_change_are_left_alone():
    memory = ReplayMemory(4, 1, 1, None, seed=0, gamma=GAMMA)
    for _ in range(4):
        memory.add(torch.zeros(1, 1), np.zeros(1, int), np.ones(1), np.zeros(1, bool),
                   np.zeros(1, bool), torch.zeros(1, 1))  # fmt: skip
    assert memory.reward_deviation() == 1.0


@pytest.mark.parametrize("where", ["rew", "obs_next"])
def test_what_is_not_finite_is_refused(where):
    memory = ReplayMemory(4, 1, 1, None, seed=0, gamma=GAMMA)
    rew = np.array([np.nan if where == "rew" else 0.0])
    obs_next = torch.full((1, 1), np.inf if where == "obs_next" else 0.0)
    with pytest.raises(ValueError, match="not finite"):
        memory.add(
            torch.zeros(1, 1), np.zeros(1, int), rew, np.zeros(1, bool), np.zeros(1, bool), obs_next
        )
