"""A dataset in shards: the same bytes however it came about, and nothing foreign in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from tianshou.data import ReplayBuffer

from data_tools.buffers import TensorReplayBuffer
from data_tools.convert import main as convert_main
from data_tools.hdf5 import DatasetError, load_buffer, read_provenance
from data_tools.shards import shard_seed
from tests.data_tools.collecting import COLUMNS, quiet
from tests.data_tools.killing import content
from tests.data_tools.sharding import SHARDS, interrupt_at, shard_files, sharded


def test_a_sharded_dataset_is_a_dataset(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For stock Tianshou, from anywhere, and for our loaders: the shards' rows in their order."""
    monkeypatch.chdir("/")
    stock = ReplayBuffer.load_hdf5(str(whole / "a.hdf5"))
    ours, provenance = load_buffer(whole / "a.hdf5")
    tensors, _ = TensorReplayBuffer.load(whole / "a.hdf5")
    parts = [load_buffer(path)[0] for path in shard_files(whole)]
    assert [len(part) for part in parts] == [125] * SHARDS and len(stock) == len(ours) == 500
    for name in (*COLUMNS, "policy_logp"):
        joined = np.concatenate([part._meta[name] for part in parts])
        np.testing.assert_array_equal(stock._meta[name], joined)
        np.testing.assert_array_equal(ours._meta[name], joined)
        if name != "policy_logp":
            np.testing.assert_array_equal(tensors.get(np.arange(500), name), joined)
    ends = np.flatnonzero(stock.done)
    np.testing.assert_array_equal(stock.next(ends), ends)
    np.testing.assert_array_equal(stock.sample_indices(0), np.arange(500))
    assert provenance["shards"]["files"][1]["rows"] == 125
    # no shard repeats another
    assert len({part.obs.tobytes() for part in parts}) == SHARDS


def test_statistics_are_those_of_all_shards(tmp_path: Path, market_file: str) -> None:
    sharded(tmp_path, market_file, episode_steps=8, buffer_size=503)
    buffer, provenance = load_buffer(tmp_path / "a.hdf5")
    ends = np.flatnonzero(buffer.done)
    returns = np.add.reduceat(buffer.rew, np.concatenate([[0], ends[:-1] + 1]))
    lengths = np.diff(np.concatenate([[-1], ends]))
    complete = lengths == 8
    found = provenance["reference"]
    assert found["complete_episodes"] == complete.sum() > 0
    assert found["complete_episodes"] + found["cut_episodes"] == len(ends)
    assert found["behavior_return"] == pytest.approx(returns[complete].mean())
    assert found["behavior_return_std"] == pytest.approx(returns[complete].std())
    assert found["behavior_return_min"] == pytest.approx(returns[complete].min())
    assert set(found["returns"]) == {"random", "flat", "buy-and-hold"}


def test_a_shard_is_what_its_own_seed_gives(whole: Path, market_file: str, tmp_path: Path) -> None:
    """Independent of the others and of their order: collected by itself it has the same rows."""
    number = 2
    seed = shard_seed(0, number)
    alone = quiet(
        tmp_path / "alone.hdf5", market_file, buffer_size=125, seed=seed, epsilon=0.1,
        policy="ma-cross:fast=3,slow=9+random",
    )  # fmt: skip
    one, other = load_buffer(alone.path)[0], load_buffer(shard_files(whole)[number])[0]
    for name in COLUMNS:
        np.testing.assert_array_equal(one._meta[name], other._meta[name])
    seeds = [shard_seed(s, n) for s in range(3) for n in range(50)]
    assert len({seed // 1000 for seed in seeds}) == 150 and max(seeds) < 2**53


def test_the_manifest_says_what_belongs_there(whole: Path) -> None:
    (folder,) = whole.glob("a.hdf5.shards-*")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["dataset"] == "a.hdf5" and manifest["format_version"] == 1
    assert [shard["rows"] for shard in manifest["shards"]] == [125] * 4
    assert sorted(path.name for path in folder.iterdir()) == [
        *(shard["file"] for shard in manifest["shards"]), "manifest.json",
    ]  # fmt: skip
    shard = read_provenance(folder / "00003.hdf5") or {}
    assert shard["shard"] == {"number": 3, "of": 4, "plan": manifest["plan"]}
    assert shard["seed"] == manifest["shards"][3]["seed"] == shard_seed(0, 3)
    assert (read_provenance(whole / "a.hdf5") or {})["seed"] == 0


def test_other_flags_are_another_collection(tmp_path: Path, market_file: str, whole: Path) -> None:
    """They go on with nothing of the first one, which is still there for its own command."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, 25)
        with pytest.raises(KeyboardInterrupt):
            sharded(tmp_path, market_file)
    (first,) = tmp_path.iterdir()
    sharded(tmp_path, market_file, seed=1)
    assert first.is_dir() and len(shard_files(tmp_path)) == 5
    with pytest.raises(DatasetError, match="exists"):
        sharded(tmp_path, market_file)
    sharded(tmp_path, market_file, overwrite=True)
    # the replaced dataset's shards are gone with it
    assert content(tmp_path) == content(whole)


def test_a_damaged_shard_is_made_again(tmp_path: Path, market_file: str, whole: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, 45)
        with pytest.raises(KeyboardInterrupt):
            sharded(tmp_path, market_file)
    first, second = shard_files(tmp_path)
    first.write_bytes(first.read_bytes()[:2000])
    sharded(tmp_path, market_file)
    assert content(tmp_path) == content(whole) and second.exists()


def test_two_at_once_are_kept_apart(tmp_path: Path, market_file: str, whole: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "a.hdf5").unlink()
    shard_files(tmp_path)[0].unlink()
    before = content(tmp_path)
    (folder,) = tmp_path.iterdir()
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="another process is writing"):
            sharded(tmp_path, market_file)
    (folder / "lock").unlink(missing_ok=True)
    assert content(tmp_path) == before


def test_a_small_dataset_is_one_plain_file(tmp_path: Path, market_file: str) -> None:
    quiet(tmp_path / "a.hdf5", market_file)
    assert [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]
    with h5py.File(tmp_path / "a.hdf5") as root:
        assert not root["_meta/obs"].is_virtual
    one = (tmp_path / "a.hdf5").read_bytes()
    quiet(tmp_path / "a.hdf5", market_file, shards=1, overwrite=True)
    assert (tmp_path / "a.hdf5").read_bytes() == one


def test_a_large_one_is_sharded_by_itself(
    tmp_path: Path, market_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_tools.recording.LARGEST_FILE", 100_000)
    monkeypatch.setattr("data_tools.recording.SHARD_BYTES", 70_000)
    quiet(tmp_path / "a.hdf5", market_file)  # 500 rows of some 330 bytes, and 64 KiB
    assert len(shard_files(tmp_path)) == 4
    assert len(ReplayBuffer.load_hdf5(str(tmp_path / "a.hdf5"))) == 500


@pytest.mark.parametrize("count", [0, 501])
def test_a_number_of_shards_that_cannot_be(tmp_path: Path, market_file: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"--shards {count}: expected"):
        sharded(tmp_path, market_file, shards=count)
    assert list(tmp_path.iterdir()) == []


def test_an_odd_name(tmp_path: Path, market_file: str) -> None:
    """HDF5 gives a meaning to % in the names of files."""
    made = quiet(tmp_path / "100% of it.hdf5", market_file, shards=2)
    assert len(load_buffer(made.path)[0]) == 500


def test_it_is_converted_as_a_plain_one_is(tmp_path: Path, whole: Path) -> None:
    """With the further columns, there and back."""
    assert convert_main([str(whole / "a.hdf5"), str(tmp_path / "m-v0"), "--to", "minari"]) == 0
    assert convert_main([str(tmp_path / "m-v0"), str(tmp_path / "b.hdf5")]) == 0
    (one, _), (other, _) = load_buffer(whole / "a.hdf5"), load_buffer(tmp_path / "b.hdf5")
    for name in (*COLUMNS, "policy_logp"):
        np.testing.assert_array_equal(one._meta[name], other._meta[name])


@pytest.mark.parametrize("layout", ["full", "indexed"])
def test_what_replaces_it_takes_its_shards_away(
    tmp_path: Path, market_file: str, layout: str
) -> None:
    """A plain file in its place, and a sharded one of other rows."""
    sharded(tmp_path, market_file, layout=layout, env={"window_sizes": 4})
    assert len(shard_files(tmp_path)) == SHARDS
    sharded(tmp_path, market_file, layout=layout, env={"window_sizes": 4}, seed=7, overwrite=True)
    assert len(shard_files(tmp_path)) == SHARDS
    quiet(tmp_path / "a.hdf5", market_file, env={"window_sizes": 4}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]
    assert len(load_buffer(tmp_path / "a.hdf5")[0]) == 500


def test_a_conversion_in_its_place_does_so_too(tmp_path: Path, market_file: str) -> None:
    sharded(tmp_path, market_file)
    quiet(tmp_path / "plain.hdf5", market_file)
    convert_main([str(tmp_path / "plain.hdf5"), str(tmp_path / "a.hdf5"), "--overwrite"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdf5", "plain.hdf5"]
