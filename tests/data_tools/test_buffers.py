"""The torch-backed buffer, beside Tianshou's own."""

from __future__ import annotations

import copy

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tianshou.data import Batch, ReplayBuffer, to_torch

from data_tools.buffers import TensorReplayBuffer

GAMMA = 0.9


def transitions(
    ends: str, size: int | None = None, seed: int = 0, continuous: bool = False
) -> ReplayBuffer:
    """A buffer of Tianshou's: a letter a step, T terminates, t truncates, anything else goes on."""
    rng = np.random.default_rng(seed)
    made = ReplayBuffer(size or len(ends), random_seed=seed)
    for end in ends:
        action = rng.uniform(-1, 1, 2).astype(np.float32) if continuous else rng.integers(3)
        made.add(
            Batch(
                obs=rng.normal(size=20).astype(np.float32), act=action, rew=float(rng.normal()),
                obs_next=rng.normal(size=20).astype(np.float32), terminated=end == "T",
                truncated=end == "t", done=end in "Tt", info={},
            )
        )  # fmt: skip
    return made


ENDS = "...T..t....TT.t..."


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("size", [None, 30, 11])
def test_batches_are_tianshou_s_as_tensors(size, continuous):
    stock = transitions(ENDS, size, continuous=continuous)
    ours = TensorReplayBuffer(copy.deepcopy(stock))
    for count in (64, 7):
        batch, indices = ours.sample(count)
        wanted, wanted_indices = stock.sample(count)
        np.testing.assert_array_equal(indices, wanted_indices)
        wanted = to_torch(wanted, dtype=torch.float32)
        for name in ("obs", "obs_next", "act", "rew", "terminated", "truncated", "done"):
            assert isinstance(batch[name], torch.Tensor), name
            assert torch.equal(batch[name].to(torch.float32), wanted[name].to(torch.float32)), name
    assert batch.act.dtype == (torch.float32 if continuous else torch.int64)
    assert batch.done.dtype == torch.bool and batch.rew.dtype == torch.float32
    np.testing.assert_array_equal(ours.sample_indices(0), stock.sample_indices(0))
    assert len(ours.sample(0)[0].rew) == len(stock)


def test_what_is_tianshou_s_stays():
    stock = transitions(ENDS)
    ours = TensorReplayBuffer(copy.deepcopy(stock))
    rows = np.arange(len(stock))
    for method in ("prev", "next"):
        np.testing.assert_array_equal(getattr(ours, method)(rows), getattr(stock, method)(rows))
    np.testing.assert_array_equal(ours[rows].obs, stock[rows].obs)
    assert len(ours) == len(stock) and ours.maxsize == stock.maxsize


def test_columns_and_observations_share_one_memory():
    ours = TensorReplayBuffer(transitions(ENDS))
    assert np.shares_memory(ours.column("obs").numpy(), ours.obs)


def test_a_file_loads_as_the_same_buffer(tmp_path):
    stock = transitions(ENDS, 11)
    stock.save_hdf5(str(tmp_path / "a.hdf5"))
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        del file["_random_state"]  # pickled
    ours, provenance = TensorReplayBuffer.load(tmp_path / "a.hdf5")
    assert provenance is None and ours.stack_num == 1
    rows = np.arange(len(stock))
    for name in ("obs", "act", "rew", "obs_next", "terminated", "truncated", "done"):
        np.testing.assert_array_equal(ours[rows][name], stock[rows][name])
    np.testing.assert_array_equal(ours.sample_indices(0), stock.sample_indices(0))
    np.testing.assert_array_equal(ours.column("obs_next").numpy(), stock.obs_next)


def slow_target(buffer: ReplayBuffer, row: int, gamma: float, n_step: int):
    """(sum of rewards, discount, the row whose obs_next is bootstrapped), step by step."""
    total, power = 0.0, 1.0
    for _ in range(n_step):
        total += power * buffer.rew[row]
        power *= gamma
        last = row
        if buffer.done[row] or buffer.next(row) == row:
            break
        row = int(buffer.next(row))
    return total, 0.0 if buffer.terminated[last] else power, last


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    ends=st.text("...Tt", min_size=1, max_size=25), size=st.integers(3, 30),
    n_step=st.integers(1, 6), gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
)  # fmt: skip
def test_targets_equal_a_slow_walk(ends, size, n_step, gamma):
    stock = transitions(ends, size)
    ours = TensorReplayBuffer(copy.deepcopy(stock))
    ours.set_targets(gamma, n_step)
    rows = np.arange(len(stock))
    batch = ours.rows(rows)
    for row in rows.tolist():
        total, discount, last = slow_target(stock, row, gamma, n_step)
        assert batch.rew[row].item() == pytest.approx(total, rel=1e-6, abs=1e-6)
        assert batch.discount[row].item() == pytest.approx(discount, rel=1e-6)
        np.testing.assert_array_equal(batch.obs_next[row].numpy(), stock.obs_next[last])


def test_a_time_limit_is_no_death():
    ours = TensorReplayBuffer(transitions(".T.t."))
    ours.set_targets(GAMMA)
    expected = torch.tensor([GAMMA, 0.0, GAMMA, GAMMA, GAMMA])
    torch.testing.assert_close(ours.sample(0)[0].discount, expected)


@pytest.mark.parametrize("size", [None, 7])
def test_returns_to_go(size):
    stock = transitions("..T..t.", size)
    ours = TensorReplayBuffer(copy.deepcopy(stock))
    made = ours.returns_to_go(GAMMA)
    for row in range(len(stock)):
        expected, power, at = 0.0, 1.0, row
        while True:
            expected += power * stock.rew[at]
            power *= GAMMA
            if stock.done[at] or stock.next(at) == at:
                break
            at = int(stock.next(at))
        assert made[row] == pytest.approx(expected, rel=1e-12)


def test_normalising_changes_both_observations_in_place():
    stock = transitions(ENDS)
    obs, following = stock.obs.copy(), stock.obs_next.copy()
    ours = TensorReplayBuffer(stock)
    made = ours.statistics()
    np.testing.assert_allclose(made.mean, obs.astype(np.float64).mean(0), rtol=1e-9)
    ours.normalise(made)
    for name, before in (("obs", obs), ("obs_next", following)):
        expected = ((before.astype(np.float64) - made.mean) / made.std).astype(np.float32)
        np.testing.assert_array_equal(ours.column(name).numpy(), expected)


def test_another_column_comes_with_every_batch():
    ours = TensorReplayBuffer(transitions(ENDS))
    ours.add_column("weight", np.arange(len(ours)))
    batch, indices = ours.sample(9)
    np.testing.assert_array_equal(batch.weight.numpy(), indices)
    with pytest.raises(ValueError, match=f"weight: 3 values for {len(ENDS)} transitions"):
        ours.add_column("weight", np.zeros(3))


def test_a_finished_dataset_refuses_changes():
    ours = TensorReplayBuffer(transitions(ENDS))
    for change in (ours.reset, lambda: ours.add(Batch()), lambda: ours.update(ours),
                   lambda: ours.set_array_at_key(np.zeros(3), "rew")):  # fmt: skip
        with pytest.raises(TypeError, match="finished dataset"):
            change()


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(ValueError, match="no transitions"):
        TensorReplayBuffer(ReplayBuffer(3))
    forgetful = ReplayBuffer(3, ignore_obs_next=True)
    forgetful.add(Batch(obs=np.zeros(2), act=0, rew=0.0, terminated=False, truncated=True,
                        done=True, info={}))  # fmt: skip
    with pytest.raises(ValueError, match="stores no obs_next"):
        TensorReplayBuffer(forgetful)
    images = transitions("..T")
    images._meta.obs = images._meta.obs_next = np.zeros((3, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="flat observations"):
        TensorReplayBuffer(images).statistics()


def test_tianshou_reads_what_it_saves(tmp_path):
    stock = transitions(ENDS)
    ours = TensorReplayBuffer(copy.deepcopy(stock))
    ours.set_targets(GAMMA, 3)
    ours.save_hdf5(str(tmp_path / "a.hdf5"))
    again = ReplayBuffer.load_hdf5(str(tmp_path / "a.hdf5"))
    rows = np.arange(len(stock))
    for name in ("obs", "act", "rew", "obs_next", "done"):
        np.testing.assert_array_equal(again[rows][name], stock[rows][name])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_batches_on_a_gpu():
    here, there = (TensorReplayBuffer(transitions(ENDS), device) for device in ("cpu", "cuda"))
    for buffer in (here, there):
        buffer.normalise(buffer.statistics())
        buffer.set_targets(GAMMA, 2)
    left, right = here.sample(40)[0], there.sample(40)[0]
    for name in here.keys:
        assert right[name].device.type == "cuda"
        torch.testing.assert_close(left[name], right[name].cpu())
