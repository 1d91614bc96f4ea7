"""Files of Tianshou's ``VectorReplayBuffer``, as its own class writes them, through one loader."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tianshou.data import Batch, ReplayBuffer, ReplayBufferManager, VectorReplayBuffer

from data_tools.buffers import TensorReplayBuffer
from data_tools.describe import main as describe
from data_tools.hdf5 import DatasetError, load_buffer, read_provenance
from offline_algos.datasets import load_dataset
from tests.data_tools.collecting import COLUMNS
from tests.data_tools.formats.comparing import drive, stock_vector


def wanted(buffer: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Every column by Tianshou's own account: sub-buffers in order, each from its oldest row."""
    parts = [part.sample_indices(0) for part in buffer.buffers]
    rows = np.concatenate(
        [start + part for start, part in zip(buffer._offset, parts, strict=True)]
    ).astype(int)
    made = {name: np.array(buffer._meta[name][rows]) for name in COLUMNS}
    for end in np.cumsum([len(part) for part in parts if len(part)]) - 1:
        if not made["done"][end]:
            made["truncated"][end] = made["done"][end] = True
    return made | {"logp": buffer._meta.policy.logp[rows], "step": buffer._meta.info.step[rows]}


def same(found: Any, expected: dict[str, np.ndarray[Any, Any]]) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(found._meta[name], expected[name], name)
        assert found._meta[name].dtype == expected[name].dtype
    np.testing.assert_array_equal(found._meta.policy.logp, expected["logp"])
    np.testing.assert_array_equal(found._meta.info.step, expected["step"])


@pytest.mark.parametrize("steps", [1, 9, 10, 14, 37])
@pytest.mark.parametrize("ended", [True, False])
def test_it_is_read_in_its_order_without_unpickling(
    steps: int, ended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part-filled, full and wrapped sub-buffers, of episodes that end and of such that run on."""
    path = tmp_path / "vector.hdf5"
    buffer = stock_vector(path, 30, 3, steps, ended=ended)
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(pickle, "loads", None)
        found, provenance = load_buffer(path, echo=said.append)
    assert provenance is None and read_provenance(path) is None
    assert "VectorReplayBuffer layout, 3 sub-buffers" in said[0]
    expected = wanted(buffer)
    assert len(found) == len(buffer) == 3 * min(steps, 10)
    same(found, expected)
    ends = np.cumsum([min(steps, 10)] * 3) - 1
    assert found.done[ends].all() and not (found.terminated & found.truncated & ~found.done).any()
    np.testing.assert_array_equal(found.next(ends), ends)  # into no other sub-buffer
    np.testing.assert_array_equal(found.prev(ends[:-1] + 1), ends[:-1] + 1)
    if not ended:
        assert found.truncated.sum() == 3 and not found.terminated.any()
    tensors, _ = TensorReplayBuffer.load(path)
    batch, rows = tensors.sample(64)
    np.testing.assert_array_equal(batch.obs_next, expected["obs_next"][rows].astype(np.float32))
    np.testing.assert_array_equal(batch.act, expected["act"][rows])


def test_sub_buffers_of_several_lengths(tmp_path: Path) -> None:
    """One is empty, one part-filled, one has wrapped: each as far as it went."""
    lanes = [ReplayBuffer(size) for size in (4, 6, 5, 3)]
    buffer = ReplayBufferManager(lanes)
    for row in range(25):
        lane = [0, 2, 2][row % 3] if row < 24 else 3
        buffer.add(
            Batch(
                obs=np.full((1, 2), row), act=np.array([row]), rew=np.array([float(row)]),
                terminated=np.array([row in (4, 10)]), truncated=np.array([row == 13]),
                obs_next=np.full((1, 2), row + 100), info=Batch(step=np.array([row])),
                policy=Batch(logp=np.array([0.5])),
            ),
            buffer_ids=[lane],
        )  # fmt: skip
    buffer.save_hdf5(str(tmp_path / "a.hdf5"))
    found, _ = load_buffer(tmp_path / "a.hdf5")
    assert found.act.tolist() == [12, 15, 18, 21, 17, 19, 20, 22, 23, 24]
    assert np.flatnonzero(found.done).tolist() == [3, 8, 9]
    same(found, wanted(buffer))


def test_a_file_without_next_observations(tmp_path: Path) -> None:
    buffer = drive(VectorReplayBuffer(20, 2, ignore_obs_next=True), 8, 2, ended=False)
    buffer.save_hdf5(str(tmp_path / "a.hdf5"))
    made, _ = TensorReplayBuffer.load(tmp_path / "a.hdf5")
    # the last one of each sub-buffer led nowhere that is stored
    assert len(made) == 14 and made.left_out == 2
    obs = buffer._meta.obs
    np.testing.assert_array_equal(made.obs_next[:7], obs[1:8].astype(np.float32))
    np.testing.assert_array_equal(made.obs_next[7:], obs[11:18].astype(np.float32))
    assert np.flatnonzero(made.truncated).tolist() == [6, 13]


def test_commands_open_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.hdf5"
    buffer = stock_vector(path, 60, 2, 40)
    assert describe([str(path)]) == 0
    text = capsys.readouterr().out
    assert "VectorReplayBuffer layout, 2 sub-buffers" in text and "transitions  60" in text
    data = load_dataset(str(path), 0)
    assert len(data.buffer) == 60 and len(data.returns) == wanted(buffer)["done"].sum()


def put(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(root: h5py.File) -> None:
        root[name][...] = value

    return change


def pickled(root: h5py.File) -> None:
    root["_meta/act"].attrs["__data_type__"] = "pickled_ndarray"


def linked(root: h5py.File) -> None:
    del root["_lengths"]
    root["_lengths"] = h5py.ExternalLink("other.hdf5", "_lengths")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("_lengths", [10, 11, 10]), r"the sub-buffer at 10 has 11 rows"),
        (put("last_index", [3, 3, 23]), r"the sub-buffer at 10 .* last written at 3"),
        (put("_offset", [0, 20, 10]), r"sub-buffers lie at \[0, 20, 10, 30\]"),
        (put("_lengths", 0), "is empty: it holds 0 transitions"),
        (lambda root: root.attrs.__setitem__("buffer_num", 4), "its 4 sub-buffers lie at"),
        (lambda root: root.attrs.__setitem__("maxsize", 99), "in 99 rows"),
        (lambda root: root.pop("_offset"), "_offset is not a dataset of whole numbers"),
        (lambda root: root.pop("_meta/rew"), "lacks _meta/rew"),
        (lambda root: root.pop("_meta"), "lacks _meta, which holds"),
        (linked, "_lengths is not a dataset of whole numbers"),
        (pickled, r"pickled parts.*_meta/act.*--trust"),
        (put("_meta/done", True), "Expected done = terminated or truncated"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: Callable[[h5py.File], Any], message: str) -> None:
    path = tmp_path / "a.hdf5"
    stock_vector(path, 30, 3, 14)
    with h5py.File(path, "r+") as root:
        change(root)
    with pytest.raises(DatasetError, match=message) as caught:
        load_buffer(path)
    assert "\n" not in str(caught.value)


def test_an_empty_one_is_refused(tmp_path: Path) -> None:
    VectorReplayBuffer(8, 2).save_hdf5(str(tmp_path / "a.hdf5"))
    with pytest.raises(DatasetError, match="is empty: it holds 0 transitions"):
        load_buffer(tmp_path / "a.hdf5")
