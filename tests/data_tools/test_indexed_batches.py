"""Batches of an indexed dataset: those of the full one, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tianshou.data import ReplayBuffer

from data_tools import indexed_observations
from data_tools.buffers import TensorReplayBuffer
from data_tools.hdf5 import DatasetError, load_buffer
from data_tools.indexed_observations import ResidentWindows
from tests.data_tools.collecting import COLUMNS
from tests.data_tools.indexed import WIDTH, Pair, bits


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("most_bytes", "way"), [(2**30, (1, 6)), (50_000, (2, 6)), (0, (2, WIDTH))]
)
def test_batches_are_the_same_bits(
    pair: Pair, mmap: bool, most_bytes: int, way: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw, and normalised: each decision's windows, each different window, or whenever drawn.

    `way` is how many pieces an observation's windows are in, and how many of its columns are
    normalised when it is drawn.
    """
    monkeypatch.setattr(indexed_observations, "NORMALISED_BYTES", most_bytes)
    full, _ = TensorReplayBuffer.load(pair.full)
    indexed, _ = TensorReplayBuffer.load(pair.indexed, mmap=mmap)
    assert indexed.observation_shape == full.observation_shape and not indexed.is_image

    def compare() -> None:
        for count in (256, 3, 0):
            (left, rows), (right, others) = full.sample(count), indexed.sample(count)
            np.testing.assert_array_equal(rows, others)
            for name in full.keys:
                assert bits(left[name]) == bits(right[name]), name
        for name in ("obs", "obs_next", "act", "rew", "done"):
            assert bits(full.column(name)) == bits(indexed.column(name)), name
        for index in (3, -1, slice(2, 9), np.array([5, 1]), [0, 699], full.done):
            for name in ("obs", "obs_next", "rew"):
                assert bits(full[index][name]) == bits(indexed[index][name]), (index, name)

    compare()
    statistics = full.statistics(), indexed.statistics()
    assert [bits(part) for part in statistics[0]] == [bits(part) for part in statistics[1]]
    for buffer in (full, indexed):
        buffer.normalise(statistics[0])
    (_, lengths, _), (mean, *_) = indexed._observations._gathered
    assert (len(lengths), len(mean)) == way
    compare()
    for buffer in (full, indexed):
        buffer.set_targets(0.9, 3)
    compare()
    assert bits(full.returns_to_go(0.9)) == bits(indexed.returns_to_go(0.9))


def test_statistics_have_the_same_bits_over_many_parts(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_observations, "ROWS_A_PASS", 256)
    full, indexed = (TensorReplayBuffer.load(path)[0] for path in (pair.full, pair.indexed))
    assert [bits(a) for a in full.statistics()] == [bits(b) for b in indexed.statistics()]


def test_normalising_twice_is_refused(pair: Pair) -> None:
    indexed, _ = TensorReplayBuffer.load(pair.indexed)
    statistics = indexed.statistics()
    indexed.normalise(statistics)
    with pytest.raises(ValueError, match="normalised once"):
        indexed.normalise(statistics)


def test_gathering_on_a_device_gives_the_same_bits(pair: Pair) -> None:
    """What a GPU computes, computed by torch on the CPU."""
    indexed, _ = TensorReplayBuffer.load(pair.indexed)
    source = indexed._observations
    resident = ResidentWindows(source._table, torch.device("cpu"))
    places = np.concatenate((np.arange(700), source.following(np.arange(700))))
    index = torch.from_numpy(places)
    assert bits(resident.draw(index)) == bits(source.draw(places))
    indexed.normalise(indexed.statistics())
    resident.set_moments(source._moments)
    assert bits(resident.draw(index)) == bits(source.draw(places))
    afterwards = ResidentWindows(source._table, torch.device("cpu"), source._moments)
    assert bits(afterwards.draw(index)) == bits(source.draw(places))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("early", [False, True])
def test_the_same_batches_on_a_gpu(pair: Pair, early: bool) -> None:
    full, indexed = (TensorReplayBuffer.load(path)[0] for path in (pair.full, pair.indexed))
    statistics = full.statistics()
    full.normalise(statistics)
    for step in ("move", "normalise") if early else ("normalise", "move"):
        _ = indexed.to("cuda") if step == "move" else indexed.normalise(statistics)
    left, right = full.sample(300)[0], indexed.sample(300)[0]
    for name in full.keys:
        assert right[name].device.type == "cuda"
        assert bits(left[name]) == bits(right[name].cpu()), name


def test_a_mapped_file_is_not_read_into_memory(pair: Pair) -> None:
    mapped, held = (TensorReplayBuffer.load(pair.indexed, mmap=m)[0] for m in (True, False))
    for name in ("decisions", "accounts"):
        assert not getattr(mapped._observations._table, name).flags.owndata
        assert getattr(held._observations._table, name).flags.owndata
    with pytest.raises(DatasetError, match="whole observations, which are not mapped"):
        TensorReplayBuffer.load(pair.full, mmap=True)


def test_tianshou_opens_what_the_buffer_saves(pair: Pair, tmp_path: Path) -> None:
    indexed, _ = TensorReplayBuffer.load(pair.indexed)
    indexed.save_hdf5(str(tmp_path / "a.hdf5"))
    again, wanted = ReplayBuffer.load_hdf5(str(tmp_path / "a.hdf5")), load_buffer(pair.full)[0]
    for name in COLUMNS:
        assert bits(getattr(again, name)) == bits(getattr(wanted, name)), name


def test_loading_the_stock_buffer_says_what_it_takes(pair: Pair) -> None:
    said: list[str] = []
    load_buffer(pair.indexed, echo=said.append)
    assert len(said) == 1 and "TensorReplayBuffer.load gathers them" in said[0]
    load_buffer(pair.full, echo=said.append)
    assert len(said) == 1
