"""A dataset in shards from elsewhere: what is missing, foreign or stored outside is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from tianshou.data import ReplayBuffer

from data_tools.hdf5 import DatasetError, load_buffer
from tests.data_tools.collecting import quiet
from tests.data_tools.sharding import shard_files


@pytest.fixture
def copied(tmp_path: Path, whole: Path) -> Path:
    """A copy of the dataset in a folder of its own, below which is another one."""
    return Path(shutil.copytree(whole, tmp_path / "copy")) / "a.hdf5"


def refused(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        load_buffer(path)
    return str(caught.value)


def test_it_can_be_moved_with_its_shards_only(copied: Path) -> None:
    moved = copied.parent.with_name("moved")
    copied.parent.rename(moved)
    assert len(load_buffer(moved / "a.hdf5")[0]) == 500
    (moved / "a.hdf5").rename(moved.parent / "a.hdf5")
    assert "is missing: keep the shards" in refused(moved.parent / "a.hdf5")
    # stock Tianshou reads on without a word: what is lost has no numbers at least
    assert np.isnan(ReplayBuffer.load_hdf5(str(moved.parent / "a.hdf5")).obs).all()


def test_a_missing_or_foreign_shard(copied: Path) -> None:
    first = shard_files(copied.parent)[0]
    kept = first.read_bytes()
    outside = copied.parent.parent / "outside.hdf5"
    outside.write_bytes(kept)
    first.unlink()
    assert "00000.hdf5 is missing" in refused(copied)
    first.symlink_to(outside)
    assert "00000.hdf5 is not in its folder" in refused(copied)
    first.unlink()
    first.write_bytes(b"nothing")
    assert "cannot be opened as HDF5" in refused(copied)
    shutil.copy(copied, first)  # a shard that is joined of others itself
    assert "of its own" in refused(copied)
    first.write_bytes(kept)
    assert len(load_buffer(copied)[0]) == 500


def test_a_shorter_shard(copied: Path, market_file: str) -> None:
    first = shard_files(copied.parent)[0]
    first.unlink()
    quiet(first, market_file, buffer_size=124)
    assert "which does not fit" in refused(copied)


def test_a_shard_in_another_one_s_place(copied: Path) -> None:
    first, second, *_ = shard_files(copied.parent)
    shutil.copy(second, first)
    assert "00000.hdf5 is not shard 0 of 4, of 125 transitions, which was joined" in refused(copied)


def test_a_list_of_other_shards(copied: Path, market_file: str) -> None:
    quiet(copied.parent / "other.hdf5", market_file, layout="indexed")
    with h5py.File(copied, "r+") as root:
        told = json.loads(root.attrs["provenance"])
        told["shards"] |= {"folder": ".", "files": [{"file": "other.hdf5", "rows": 500}]}
        root.attrs["provenance"] = json.dumps(told)
    assert "other.hdf5 is not shard 0 of 1" in refused(copied)


def point(path: Path, source: str, rows: int = 500) -> None:
    """Let the rewards of a dataset be read from another file."""
    layout = h5py.VirtualLayout((500,), np.float64)
    layout[:rows] = h5py.VirtualSource(source, "_meta/rew", (rows,), np.float64)
    with h5py.File(path, "r+") as root:
        del root["_meta/rew"]
        made = root["_meta"].create_virtual_dataset("rew", layout)
        made.attrs["__data_type__"] = "ndarray"


@pytest.mark.parametrize("source", ["{folder}/other.hdf5", "../other.hdf5", "."])
def test_rows_of_a_file_elsewhere(copied: Path, market_file: str, source: str) -> None:
    other = copied.parent.parent / "other.hdf5"
    quiet(other, market_file)
    point(copied, source.format(folder=other.parent))
    assert "_meta/rew is joined of other files" in refused(copied)


def test_rows_that_nothing_fills(copied: Path, market_file: str) -> None:
    quiet(copied.parent / "other.hdf5", market_file, buffer_size=400)
    point(copied, "other.hdf5", rows=400)
    assert "files that hold 400 rows" in refused(copied)


def test_rows_stored_outside_the_file(copied: Path) -> None:
    secret = copied.parent.parent / "secret"
    secret.write_bytes(os.urandom(4000))
    with h5py.File(copied, "r+") as root:
        del root["_meta/rew"]
        made = root["_meta"].create_dataset(
            "rew", (500,), np.float64, external=[(str(secret), 0, 4000)]
        )
        made.attrs["__data_type__"] = "ndarray"
    assert "is stored outside the file" in refused(copied)
