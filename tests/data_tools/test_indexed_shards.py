"""Indexed files in shards: the transitions of the full layout's shards, and nothing foreign."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from data_tools.buffers import TensorReplayBuffer
from data_tools.collect import main as collect
from data_tools.content import content_hash
from data_tools.convert import main as convert
from data_tools.describe import main as describe
from data_tools.hdf5 import DatasetError, load_buffer, read_provenance
from data_tools.indexed_observations import ResidentWindows
from data_tools.pieces import Pieces, ScatteredRows
from data_tools.relayout import main as relayout
from tests.data_tools.collecting import COLUMNS, REPOSITORY, quiet
from tests.data_tools.killing import content
from tests.data_tools.sharding import KILL, SHARDS, command, shard_files, sharded


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory, market_file: str) -> Path:
    """The folder of an uninterrupted collection."""
    folder = tmp_path_factory.mktemp("indexed")
    sharded(folder, market_file, layout="indexed")
    return folder


@pytest.fixture
def copied(tmp_path: Path, indexed: Path) -> Path:
    return Path(shutil.copytree(indexed, tmp_path / "copy")) / "a.hdf5"


def bits(values: Any) -> tuple[Any, ...]:
    array = np.asarray(values)
    return array.dtype, array.shape, array.tobytes()


# --- what it holds


def test_it_holds_the_transitions_of_the_full_layout(whole: Path, indexed: Path) -> None:
    full, _ = load_buffer(whole / "a.hdf5")
    made, provenance = load_buffer(indexed / "a.hdf5", echo=None)
    assert set(made._meta.get_keys()) == set(full._meta.get_keys())
    for name in (*COLUMNS, "policy_logp"):
        assert bits(made._meta[name]) == bits(full._meta[name]), name
    listed = (provenance or {})["shards"]["files"]
    assert [file["rows"] for file in listed] == [125] * SHARDS
    # it joins without a copy
    assert (
        (indexed / "a.hdf5").stat().st_size
        < 20_000
        < sum(path.stat().st_size for path in shard_files(indexed))
    )


@pytest.mark.parametrize("mmap", [False, True])
def test_batches_are_the_same_bits(whole: Path, indexed: Path, mmap: bool) -> None:
    full, _ = TensorReplayBuffer.load(whole / "a.hdf5")
    made, _ = TensorReplayBuffer.load(indexed / "a.hdf5", mmap=mmap)
    table = made._observations._table
    assert isinstance(table.decisions, Pieces) == isinstance(table.accounts, Pieces) == mmap

    def compare() -> None:
        for count in (256, 1, 0):
            (left, rows), (right, others) = full.sample(count), made.sample(count)
            np.testing.assert_array_equal(rows, others)
            for name in full.keys:
                assert bits(left[name]) == bits(right[name]), name
        for name in ("obs", "obs_next"):
            assert bits(full.column(name)) == bits(made.column(name)), name

    compare()
    statistics = full.statistics()
    assert [bits(a) for a in statistics] == [bits(b) for b in made.statistics()]
    source = made._observations
    places = np.concatenate((np.arange(500), source.following(np.arange(500))))
    resident = ResidentWindows(table, torch.device("cpu"))  # what a GPU computes
    assert bits(resident.draw(torch.from_numpy(places))) == bits(source.draw(places))
    for buffer in (full, made):
        buffer.normalise(statistics)
        buffer.set_targets(0.9, 3)
    compare()


@pytest.mark.parametrize("lengths", [[3, 3, 2, 2], [1], [1, 9, 4], [50, 1, 1]])
@pytest.mark.parametrize("compiled", [False, True])
def test_scattered_rows(
    lengths: list[int], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of parts of any sizes, wherever they lie in memory; also as Numba leaves them uncompiled."""
    if not compiled:
        monkeypatch.setattr("data_tools.pieces.numba_config.DISABLE_JIT", True)
    rng = np.random.default_rng(1)
    numbers = Pieces([rng.integers(0, 99, n).astype(np.int32) for n in lengths])
    wide = Pieces([rng.random((n, 6)).astype(np.float32) for n in lengths])
    rows = rng.integers(0, sum(lengths), 200)
    left, right = ScatteredRows((numbers, wide))(rows)
    np.testing.assert_array_equal(left, np.asarray(numbers)[rows])
    np.testing.assert_array_equal(right, np.asarray(wide)[rows])
    assert len(ScatteredRows((numbers, wide))(rows[:0])[0]) == 0


@pytest.mark.parametrize("lengths", [[3, 2, 4], [9]])
def test_pieces_are_sliced_as_one_array(lengths: list[int]) -> None:
    parts = np.split(np.arange(18).reshape(9, 2), np.cumsum(lengths)[:-1])
    pieces, joined = Pieces(parts), np.concatenate(parts)
    assert (len(pieces), pieces.shape, pieces.min(), pieces.max()) == (9, (9, 2), 0, 17)
    for start in range(10):
        for stop in range(start, 12):
            np.testing.assert_array_equal(pieces[start:stop], joined[start:stop])


# --- every command opens it


def test_other_commands_open_it(
    tmp_path: Path, indexed: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = indexed / "a.hdf5"
    assert describe([str(path)]) == 0
    text = capsys.readouterr().out
    assert f"market, in {SHARDS} shards" in text.splitlines()[0]
    assert f"sha256       {content_hash(path)}" in text
    for source, target, layout in (
        (path, "full.hdf5", "full"),
        (path, "moved.hdf5", "full"),
        (tmp_path / "full.hdf5", "one.hdf5", "indexed"),
        (whole / "a.hdf5", "other.hdf5", "indexed"),
    ):
        assert relayout([str(source), str(tmp_path / target), "--layout", layout]) == 0
    assert (tmp_path / "one.hdf5").read_bytes() == (tmp_path / "other.hdf5").read_bytes()
    assert "shards" not in (read_provenance(tmp_path / "one.hdf5") or {})
    wanted, _ = load_buffer(whole / "a.hdf5")
    for name in ("full.hdf5", "one.hdf5"):
        found, _ = load_buffer(tmp_path / name, echo=None)
        for column in (*COLUMNS, "policy_logp"):
            assert bits(found._meta[column]) == bits(wanted._meta[column]), (name, column)
    capsys.readouterr()
    assert convert([str(path), str(tmp_path / "m-v0"), "--to", "minari"]) == 2
    assert "relayout" in capsys.readouterr().err


def test_after_a_kill_the_same_command_goes_on(
    tmp_path: Path, market_file: str, indexed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*command(tmp_path, market_file), "--layout", "indexed"]
    done = subprocess.run(
        [sys.executable, "-c", KILL, *flags], cwd=REPOSITORY, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL and not (tmp_path / "a.hdf5").exists()
    assert len(shard_files(tmp_path)) == 2
    assert collect(flags) == 0
    assert "2 of 4 shards are whole: going on with the others" in capsys.readouterr().out
    assert content(tmp_path) == content(indexed)


def test_processes_make_the_same_bytes(tmp_path: Path, market_file: str, indexed: Path) -> None:
    flags = [*command(tmp_path, market_file), "--layout", "indexed", "--jobs", "2"]
    assert collect(flags) == 0
    assert content(tmp_path) == content(indexed)


def test_layouts_share_no_folder(tmp_path: Path, market_file: str, whole: Path) -> None:
    """Shards that a kill has left in one layout are nothing to a collection in the other."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "a.hdf5").unlink()
    sharded(tmp_path, market_file, layout="indexed")
    assert len({path.parent for path in shard_files(tmp_path)}) == 2
    assert len(TensorReplayBuffer.load(tmp_path / "a.hdf5")[0]) == 500


# --- what is refused


def refused(path: Path) -> str:
    for mmap in (False, True):
        with pytest.raises(DatasetError) as caught:
            TensorReplayBuffer.load(path, mmap=mmap)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_can_be_moved_with_its_shards_only(copied: Path) -> None:
    moved = copied.parent.with_name("moved")
    copied.parent.rename(moved)
    assert len(TensorReplayBuffer.load(moved / "a.hdf5")[0]) == 500
    (moved / "a.hdf5").rename(moved.parent / "a.hdf5")
    assert "is missing: keep the shards" in refused(moved.parent / "a.hdf5")


def test_a_missing_or_foreign_shard(copied: Path, market_file: str) -> None:
    first, second, *_ = shard_files(copied.parent)
    kept = first.read_bytes()
    outside = copied.parent.parent / "outside.hdf5"
    outside.write_bytes(kept)
    first.unlink()
    assert "00000.hdf5 is missing" in refused(copied)
    first.symlink_to(outside)
    assert "00000.hdf5 is not in its folder" in refused(copied)
    first.unlink()
    first.write_bytes(b"nothing")
    assert "00000.hdf5 is not an HDF5 file" in refused(copied)
    first.write_bytes(kept[:3000])
    assert "00000.hdf5 cannot be opened as HDF5" in refused(copied)
    shutil.copy(copied, first)  # a shard that is joined of others itself
    assert "00000.hdf5 lacks decision" in refused(copied)
    shutil.copy(second, first)
    assert "00000.hdf5 is not shard 0 of 4, of 125 transitions" in refused(copied)
    first.unlink()
    quiet(first, market_file, layout="indexed", buffer_size=125)  # another collection's
    assert "00000.hdf5 is not shard 0 of 4, of 125 transitions" in refused(copied)
    first.write_bytes(kept)
    assert len(TensorReplayBuffer.load(copied)[0]) == 500


def change(name: str, place: Any, value: Any) -> Callable[[h5py.File], None]:
    def do(file: h5py.File) -> None:
        file[name][place] = value

    return do


def retype(file: h5py.File) -> None:
    rows = file["act"][:]
    del file["act"]
    file.create_dataset("act", data=rows.astype(np.uint16)).attrs["read_as"] = "int64"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (change("decision", 20, 10**6), r"decision of transition 270 is 1000000"),
        (change("last_decision", 0, -1), r"00002\.hdf5: decision of last observation 0 is -1"),
        (change("flags", 7, 8), r"00002\.hdf5: flags of transition 7 are 8"),
        (change("rew", 9, np.nan), r"rew of transition 259 is nan"),
        (retype, r"00002\.hdf5 has columns of other types than"),
    ],
)
def test_a_damaged_shard(copied: Path, fault: Any, message: str) -> None:
    with h5py.File(shard_files(copied.parent)[2], "r+") as file:
        fault(file)
    with pytest.raises(DatasetError, match=message):
        TensorReplayBuffer.load(copied, mmap=True)


@pytest.mark.parametrize("facts", [
    {}, {"folder": "x", "plan": "y", "files": []},
    {"folder": "x", "plan": "y", "files": [{"file": "z"}]},
    {"folder": "x", "plan": "y", "files": [{"file": 1, "rows": 1}]},
])  # fmt: skip
def test_a_list_that_is_none(copied: Path, facts: Any) -> None:
    with h5py.File(copied, "r+") as file:
        told = json.loads(file.attrs["provenance"])
        file.attrs["provenance"] = json.dumps(told | {"shards": facts})
    assert "its provenance lists no shards" in refused(copied)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../outside.hdf5"])
def test_a_file_elsewhere(copied: Path, name: str) -> None:
    with h5py.File(copied, "r+") as file:
        told = json.loads(file.attrs["provenance"])
        told["shards"]["files"][1]["file"] = name
        file.attrs["provenance"] = json.dumps(told)
    message = refused(copied)
    assert "is not in its folder" in message or "is missing" in message
