"""One hash for all files of a dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from data_tools.content import content_hash
from data_tools.convert import convert
from data_tools.files import sha256
from data_tools.hdf5 import DatasetError, load_buffer, read_provenance
from data_tools.layouts import to_full, to_indexed
from data_tools.merge import merge
from data_tools.relabel import relabel
from data_tools.subset import subset
from tests.data_tools.collecting import quiet
from tests.data_tools.sharding import shard_files, sharded


@pytest.fixture(params=["full", "indexed"])
def made(request: pytest.FixtureRequest, tmp_path: Path, market_file: str) -> Path:
    """A small dataset in shards."""
    sharded(tmp_path / "made", market_file, layout=request.param, buffer_size=120)
    return tmp_path / "made" / "a.hdf5"


def alter(shard: Path, row: int = 3) -> None:
    """Another reward that is as good a number."""
    with h5py.File(shard, "r+") as file:
        name = "rew" if "rew" in file else "_meta/rew"
        file[name][row] += 1.0


def test_a_single_file_s_is_that_of_the_file(tmp_path: Path, market_file: str) -> None:
    path = quiet(tmp_path / "a.hdf5", market_file, buffer_size=30).path
    assert content_hash(path) == sha256(path)
    (tmp_path / "b.txt").write_text("no HDF5")
    assert content_hash(tmp_path / "b.txt") == sha256(tmp_path / "b.txt")
    with pytest.raises(DatasetError, match=r"none\.hdf5: No such file"):
        content_hash(tmp_path / "none.hdf5")


def test_the_dataset_lists_its_shards_hashes(made: Path) -> None:
    listed = (read_provenance(made) or {})["shards"]["files"]
    found = [sha256(path) for path in shard_files(made.parent)]
    assert [shard["sha256"] for shard in listed] == found and len(set(found)) == 4
    assert content_hash(made) == sha256(made)


def test_a_shard_that_has_changed_is_refused(made: Path) -> None:
    first, second, *_ = shard_files(made.parent)
    kept, times = first.read_bytes(), first.stat()
    alter(first)
    assert first.stat().st_size == times.st_size and len(load_buffer(made, echo=None)[0]) == 120
    with pytest.raises(DatasetError, match=r"00000\.hdf5 has changed since: its SHA-256 is") as no:
        content_hash(made)
    assert "\n" not in str(no.value)
    first.write_bytes(second.read_bytes())
    with pytest.raises(DatasetError, match=r"00000\.hdf5 has changed since"):
        content_hash(made)
    # in another shard's place it is not even read
    with pytest.raises(DatasetError, match="is not shard 0 of 4, of 30 transitions"):
        load_buffer(made, echo=None)
    first.write_bytes(kept)
    assert content_hash(made) == sha256(made)
    first.unlink()
    with pytest.raises(DatasetError, match=r"00000\.hdf5"):
        content_hash(made)


def test_no_other_dataset_is_made_of_changed_shards(made: Path, tmp_path: Path) -> None:
    """The new file would have a hash of its own, and nobody would know any more."""
    target, plain = tmp_path / "b.hdf5", tmp_path / "plain.hdf5"
    full = "_meta" in h5py.File(made)
    relaid = to_indexed if full else to_full
    writers: list[Callable[[], object]] = [
        lambda: subset(made, target, fraction=0.5),
        lambda: merge([made, plain], target),
        lambda: relabel(made, target, reward="pnl"),
        lambda: relaid(made, target),
    ]
    if full:
        writers.append(lambda: convert(made, target, target_format="d4rl"))
    subset(made, plain, fraction=0.3)
    alter(shard_files(made.parent)[0])
    for write in writers:
        with pytest.raises(DatasetError, match=r"00000\.hdf5 has changed since"):
            write()
    assert not target.exists()


def test_without_listed_hashes_it_changes_with_the_shards(made: Path) -> None:
    """Of a dataset that was joined before they were listed."""
    with h5py.File(made, "r+") as file:
        told = json.loads(file.attrs["provenance"])
        for shard in told["shards"]["files"]:
            del shard["sha256"]
        file.attrs["provenance"] = json.dumps(told)
    moved = Path(shutil.copytree(made.parent, made.parent.with_name("moved"))) / "a.hdf5"
    before = content_hash(made)
    assert before == content_hash(moved) != sha256(made)
    alter(shard_files(made.parent)[2])
    assert content_hash(made) != before
