"""Datasets written anew in the other layout."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from tianshou.data import Batch, VectorReplayBuffer

from data_tools.buffers import TensorReplayBuffer
from data_tools.hdf5 import DatasetError, load_buffer
from data_tools.layouts import to_full, to_indexed
from data_tools.relayout import main
from tests.data_tools.collecting import COLUMNS
from tests.data_tools.editing import push
from tests.data_tools.indexed import WILD, Pair, collect_pair
from tests.data_tools.transitions import Transitions


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return collect_pair(tmp_path_factory.mktemp("pair"))


@pytest.mark.parametrize("continuous", [False, True])
def test_each_layout_gives_the_other_byte_by_byte(
    tmp_path: Path, continuous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "continuous" if continuous else "discrete"
    pair = collect_pair(tmp_path, env=WILD["env"] | {"action_type": kind})
    for size in (16 * 2**20, 7 * 4 * 51):  # in one chunk; in many
        monkeypatch.setattr("data_tools.column_rows._CHUNK_BYTES", size)
        made = to_indexed(pair.full, tmp_path / "a", overwrite=True)
        assert made.read_bytes() == pair.indexed.read_bytes()
        made = to_full(pair.indexed, tmp_path / "b", overwrite=True)
        assert made.read_bytes() == pair.full.read_bytes()


def change(path: Path, name: str, row: int, value: object) -> None:
    with h5py.File(path, "r+") as file:
        file["_meta"][name][row] = value


def test_what_does_not_follow_from_the_rows_is_kept_apart(pair: Pair, tmp_path: Path) -> None:
    """As of a state from which another action was tried."""
    path = tmp_path / "a.hdf5"
    path.write_bytes(pair.full.read_bytes())
    buffer, _ = load_buffer(path)
    row = int(np.flatnonzero(~buffer.done)[10])
    change(path, "obs_next", row, buffer.obs_next[(row + 77) % len(buffer)])
    made = to_indexed(path, tmp_path / "b.hdf5")
    with h5py.File(made) as file, h5py.File(pair.indexed) as other:
        assert len(file["last_decision"]) == len(other["last_decision"]) + 1
    wanted, found = load_buffer(path)[0], load_buffer(made, echo=None)[0]
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert to_full(made, tmp_path / "c.hdf5").read_bytes() == path.read_bytes()


def test_further_columns_stay(pair: Pair, tmp_path: Path) -> None:
    path, weight = tmp_path / "a.hdf5", np.random.default_rng(0).normal(size=(500, 2))
    path.write_bytes(pair.full.read_bytes())
    with h5py.File(path, "r+") as file:
        column = file["_meta"].create_dataset("weight", data=weight)
        column.attrs["__data_type__"] = "ndarray"
    made = to_indexed(path, tmp_path / "b.hdf5")
    for held in (load_buffer(made, echo=None)[0], TensorReplayBuffer.load(made)[0]):
        np.testing.assert_array_equal(held[:].weight, weight)
    again = load_buffer(to_full(made, tmp_path / "c.hdf5"))[0]
    np.testing.assert_array_equal(again.weight, weight)


def test_other_windows_than_the_market_s_are_refused(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    for name in ("obs", "obs_next"):
        path.write_bytes(pair.full.read_bytes())
        with h5py.File(path) as file:
            row = file["_meta"][name][321]
        row[4] = np.nextafter(row[4], np.float32(9))
        change(path, name, 321, row)
        with pytest.raises(DatasetError, match="transition 321 shows windows that its market does"):
            to_indexed(path, tmp_path / "b.hdf5")
    assert [item.name for item in tmp_path.iterdir()] == ["a.hdf5"]


def test_what_there_is_no_room_for_is_refused(pair: Pair, tmp_path: Path) -> None:
    path, target = tmp_path / "a.hdf5", tmp_path / "b.hdf5"
    path.write_bytes(pair.full.read_bytes())
    with h5py.File(path, "r+") as file:
        column = file["_meta"]["info"].create_dataset("weight", data=np.zeros(500))
        column.attrs["__data_type__"] = "ndarray"
    with pytest.raises(DatasetError, match="has columns in groups: info/weight: the indexed"):
        to_indexed(path, target)
    path.write_bytes(pair.full.read_bytes())
    with h5py.File(path, "r+") as file:
        del file.attrs["provenance"]
    with pytest.raises(DatasetError, match=r"names no market.*keep the full one\."):
        to_indexed(path, target)
    made_up = Transitions(20, 2).write(tmp_path / "c.hdf5")
    with pytest.raises(DatasetError, match="has changed: its content hash is"):
        to_indexed(made_up, target)
    with pytest.raises(DatasetError, match=r"the indexed layout already.*--layout full stores"):
        to_indexed(pair.indexed, target)
    with pytest.raises(DatasetError, match=r"the full layout already.*--layout indexed leaves"):
        to_full(pair.full, target)
    with pytest.raises(DatasetError, match="is the dataset itself"):
        to_full(pair.indexed, pair.indexed, overwrite=True)
    assert not target.exists()


def write_vector(path: Path) -> None:
    buffer = VectorReplayBuffer(40, 4)
    for step in range(10):
        buffer.add(Batch(
            obs=np.full((4, 3), step, np.float32), act=np.zeros(4, np.int64), rew=np.ones(4),
            terminated=np.full(4, step == 9), truncated=np.zeros(4, bool),
            obs_next=np.full((4, 3), step + 1, np.float32), info=Batch(),
        ))  # fmt: skip
    buffer.save_hdf5(str(path))


BOTH = ("full", "indexed")
REFUSED = {  # a source: by the layout asked for, what is said
    "full.hdf5": {"full": "has the full layout already: there is nothing to do"},
    "indexed.hdf5": {"indexed": "has the indexed layout already: there is nothing to do"},
    "vector.hdf5": {"full": "python -m data_tools.convert", "indexed": "names no market"},
    "lost.hdf5": dict.fromkeys(BOTH, "its provenance is gone"),
    "cart.hdf5": {"full": "the full layout already", "indexed": "keep the full one"},
    "text.hdf5": dict.fromkeys(BOTH, "text.hdf5 is not an HDF5 file. Expected"),
    "empty.hdf5": dict.fromkeys(BOTH, "empty.hdf5 is not an HDF5 file. Expected"),
    "short.hdf5": dict.fromkeys(BOTH, "It may be cut short; make it anew"),
    "other.hdf5": dict.fromkeys(BOTH, "HDF5 of another layout. Keys seen: x"),
    "missing.hdf5": dict.fromkeys(BOTH, "does not exist. Make a dataset with"),
    "folder": dict.fromkeys(BOTH, "is not a file"),
}


@pytest.fixture(scope="module")
def inputs(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of all kinds."""
    folder = tmp_path_factory.mktemp("inputs")
    full = pair.full.read_bytes()
    for name, content in (
        ("full", full), ("indexed", pair.indexed.read_bytes()), ("lost", pair.indexed.read_bytes()),
        ("short", full[: len(full) // 2]), ("text", b"hello"), ("empty", b""),
    ):  # fmt: skip
        (folder / f"{name}.hdf5").write_bytes(content)
    with h5py.File(folder / "lost.hdf5", "r+") as file:
        del file.attrs["provenance"]
    with h5py.File(folder / "other.hdf5", "w") as file:
        file["x"] = [1]
    write_vector(folder / "vector.hdf5")
    push(folder, "cart.hdf5", 1)
    (folder / "folder").mkdir()
    return folder


@pytest.mark.parametrize(("name", "layout"), [(n, x) for n in REFUSED for x in REFUSED[n]])
def test_what_cannot_be_done_is_one_line(
    name: str, layout: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(inputs / name), str(tmp_path / "a.hdf5"), "--layout", layout]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert REFUSED[name][layout] in error and name in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", BOTH)
def test_where_nothing_can_be_written_is_one_line(
    layout: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    source = inputs / ("indexed.hdf5" if layout == "full" else "full.hdf5")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "locked").mkdir()
    may = os.access  # of root, who runs many a test, no file's permissions take anything away
    monkeypatch.setattr(
        os, "access", lambda path, mode: "locked" not in str(path) and may(path, mode)
    )
    before = sorted(tmp_path.rglob("*"))
    for target, message in (
        ("pipe", "is no regular file"), ("folder", "is a folder. Expected a file name"),
        ("none/a.hdf5", "there is no folder"), ("locked/a.hdf5", "is read-only. Choose another"),
    ):  # fmt: skip
        arguments = [str(source), str(tmp_path / target), "--layout", layout, "--overwrite"]
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main([str(source), str(tmp_path / "a.hdf5"), "--layout", layout]) == 2
    assert "cannot be read: permission denied" in capsys.readouterr().err


def test_an_interrupt_leaves_nothing(pair: Pair, tmp_path: Path) -> None:
    def interrupt() -> None:
        assert len(list(tmp_path.iterdir())) == 1
        raise KeyboardInterrupt

    for change, source in ((to_full, pair.indexed), (to_indexed, pair.full)):
        with pytest.raises(KeyboardInterrupt):
            change(source, tmp_path / "a.hdf5", check=interrupt)
        assert list(tmp_path.iterdir()) == []


def test_the_command(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.hdf5"
    flags = [str(pair.full), str(target), "--layout", "indexed"]
    assert main(flags) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(target)
    assert target.read_bytes() == pair.indexed.read_bytes()
    assert main(flags) == 2
    assert "exists. Choose another name, or pass --overwrite" in capsys.readouterr().err
    moved = pair.market.rename(tmp_path / "moved.csv")
    assert main([str(target), str(tmp_path / "b.hdf5"), "--layout", "full"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    rest = ["--layout", "full", "--market", str(moved)]
    assert main([str(target), str(tmp_path / "b.hdf5"), *rest]) == 0
    moved.rename(pair.market)
    assert (tmp_path / "b.hdf5").read_bytes() == pair.full.read_bytes()
    assert main([*flags[:2], "--layout", "indexed", "--env", "leverage=3", "--overwrite"]) == 2
    assert "only features can be given here" in capsys.readouterr().err
