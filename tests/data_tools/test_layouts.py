"""Datasets written anew in the other layout."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from data_tools.buffers import TensorReplayBuffer
from data_tools.hdf5 import DatasetError, load_buffer
from data_tools.layouts import to_full, to_indexed
from data_tools.relayout import main
from tests.data_tools.collecting import COLUMNS
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
    with pytest.raises(DatasetError, match="has no provenance"):
        to_indexed(path, target)
    made_up = Transitions(20, 2).write(tmp_path / "c.hdf5")
    with pytest.raises(DatasetError, match="has changed: its content hash is"):
        to_indexed(made_up, target)
    with pytest.raises(DatasetError, match="the indexed layout already"):
        to_indexed(pair.indexed, target)
    with pytest.raises(DatasetError, match="the full layout already"):
        to_full(pair.full, target)
    with pytest.raises(DatasetError, match="is the dataset itself"):
        to_full(pair.indexed, pair.indexed, overwrite=True)
    assert not target.exists()


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
