"""Tianshou's own files: the vector layout, pickled parts, and what is refused."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
from tianshou.data import ReplayBuffer

from data_tools.convert import convert
from data_tools.flat_layout import COLUMNS
from data_tools.formats import trajectories
from data_tools.hdf5 import DatasetError, load_buffer
from tests.data_tools.formats.comparing import (
    chronological,
    content,
    refused,
    stock,
    stock_vector,
    there,
)
from tests.data_tools.transitions import Transitions


@pytest.mark.parametrize("steps", [1, 9, 10, 37], ids=["one", "part-filled", "full", "wrapped"])
@pytest.mark.parametrize("block_bytes", [100, 2**24])
def test_a_vector_buffer_is_flattened_without_unpickling(steps, block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(trajectories, "BLOCK_BYTES", block_bytes)
    buffer = stock_vector(tmp_path / "vector.hdf5", 30, 3, steps)
    monkeypatch.setattr(pickle, "loads", None)
    result = convert(tmp_path / "vector.hdf5", tmp_path / "flat.hdf5")
    assert result.facts["buffer"] == "VectorReplayBuffer"
    flat, _ = load_buffer(tmp_path / "flat.hdf5")
    order = chronological(buffer)
    assert len(flat) == len(order) == len(buffer)
    for name in ("obs", "act", "rew", "terminated", "obs_next"):
        np.testing.assert_array_equal(flat._meta[name], buffer._meta[name][order])
    np.testing.assert_array_equal(flat.policy.logp, buffer.policy.logp[order])


def test_an_episode_that_still_ran_in_a_vector_buffer_is_truncated_not_terminated(tmp_path):
    buffer = stock_vector(tmp_path / "vector.hdf5", 30, 3, 7, ended=False)
    convert(tmp_path / "vector.hdf5", tmp_path / "flat.hdf5")
    flat, _ = load_buffer(tmp_path / "flat.hdf5")
    assert np.flatnonzero(flat.done).tolist() == [6, 13, 20]
    assert not flat.terminated.any() and flat.truncated.sum() == 3
    last = buffer.last_index
    np.testing.assert_array_equal(flat.obs_next[[6, 13, 20]], buffer.obs_next[last])
    assert flat.prev(np.array([7])) == 7  # never the episode of another sub-buffer


def test_a_pickled_random_state_is_left_out(tmp_path, monkeypatch):
    stock(tmp_path / "stock.hdf5", 20, 20, keep_state=True)
    monkeypatch.setattr(pickle, "loads", None)
    result = convert(tmp_path / "stock.hdf5", tmp_path / "clean.hdf5")
    assert any("_random_state" in note for note in result.notes)
    assert content(tmp_path / "clean.hdf5") == content(
        tmp_path / "stock.hdf5", without=["_random_state"]
    )


class Bomb:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def with_pickle(path, value):
    data = np.frombuffer(pickle.dumps(value), np.int8)
    with h5py.File(path, "r+") as root:
        item = root["_meta/info"].create_dataset("odd", data=data)
        item.attrs["__data_type__"] = "pickled_ndarray"
    return path


def test_pickled_columns_are_refused_unless_trusted(tmp_path):
    stock(tmp_path / "stock.hdf5", 5, 5)
    path = with_pickle(tmp_path / "stock.hdf5", Bomb(tmp_path / "bomb"))
    refused(path, tmp_path / "x.hdf5", "pickled parts", "_meta/info/odd", "--trust")
    assert not (tmp_path / "bomb").exists()
    stock(tmp_path / "two.hdf5", 5, 5)
    path = with_pickle(tmp_path / "two.hdf5", np.array([1, 2, 3, 4, 5.5], object))
    convert(path, tmp_path / "x.hdf5", trust=True)
    assert load_buffer(tmp_path / "x.hdf5")[0].info.odd.tolist() == [1, 2, 3, 4, 5.5]
    stock(tmp_path / "three.hdf5", 5, 5)
    path = with_pickle(tmp_path / "three.hdf5", np.array([None] * 5, object))
    result = convert(path, tmp_path / "y.hdf5", trust=True)
    assert any("info/odd" in note for note in result.notes)


def test_links_and_contradictions_are_refused(tmp_path):
    target = tmp_path / "x.h5"
    for name, change, part in (
        ("link", lambda root: link(root, tmp_path / "other.hdf5"), "link"),
        ("size", lambda root: root.attrs.__setitem__("_size", 99), "_size"),
        ("gone", lambda root: root.__delitem__("_meta/obs_next"), "lacks _meta/obs_next"),
        ("done", lambda root: root["_meta/done"].__setitem__(2, True), "done"),
        ("text", lambda root: text(root), "info/text"),
    ):
        stock(tmp_path / f"{name}.hdf5", 9, 4)
        with h5py.File(tmp_path / f"{name}.hdf5", "r+") as root:
            root["_meta/terminated"][:4] = root["_meta/truncated"][:4] = False
            root["_meta/done"][:4] = False
            change(root)
        refused(tmp_path / f"{name}.hdf5", target, part, target_format="d3rlpy")


def link(root, path):
    with h5py.File(path, "w") as other:
        other["act"] = root["_meta/act"][()]
    del root["_meta/act"]
    root["_meta/act"] = h5py.ExternalLink(str(path), "/act")


def text(root):
    item = root["_meta/info"].create_dataset("text", data=["a"] * 9)
    item.attrs["__data_type__"] = "ndarray"


def test_vector_positions_are_checked(tmp_path):
    stock_vector(tmp_path / "vector.hdf5", 30, 3, 5)
    for name, value in (
        ("_offset", [0, 40, 20]),
        ("_lengths", [99, 5, 5]),
        ("last_index", [4, 3, 24]),
    ):
        with h5py.File(tmp_path / "vector.hdf5", "r+") as root:
            before = root[name][()]
            root[name][...] = value
        with pytest.raises(DatasetError, match="sub-buffer"):
            convert(tmp_path / "vector.hdf5", tmp_path / "x.hdf5")
        with h5py.File(tmp_path / "vector.hdf5", "r+") as root:
            root[name][...] = before
    stock_vector(tmp_path / "none.hdf5", 30, 3, 0)
    with pytest.raises(DatasetError):
        convert(tmp_path / "none.hdf5", tmp_path / "x.hdf5")


def test_a_carried_record_cannot_write_outside_the_buffer(tmp_path):
    """What a foreign file says about the file it once was is checked like any other input."""
    from data_tools.formats.scalars import read_text, write_text

    source = Transitions(20, 2).write(tmp_path / "made.hdf5")
    for changes in (
        {"capacity": 2**60}, {"capacity": 3}, {"first_row": -1}, {"last_index": 700},
        {"groups": {"/": {}, "other": {"x": {"text": "y"}}}},
        {"groups": {"/": {"maxsize": {"dtype": "|O", "shape": [], "hex": "00" * 8}}}},
    ):  # fmt: skip
        foreign = there(source, "d4rl", tmp_path, overwrite=True)
        with h5py.File(foreign, "r+") as root:
            group = root["metadata/gym_trade"]
            document = read_text(group, "json")
            del group["json"]
            write_text(group, "json", document | {"flat": document["flat"] | changes})
        refused(foreign, tmp_path / "x.hdf5", "record")


def test_tianshou_itself_opens_what_is_converted(tmp_path):
    stock_vector(tmp_path / "vector.hdf5", 30, 3, 20)
    convert(tmp_path / "vector.hdf5", tmp_path / "flat.hdf5")
    opened = ReplayBuffer.load_hdf5(str(tmp_path / "flat.hdf5"))
    batch, _ = opened.sample(16)
    assert set(COLUMNS) <= set(batch.get_keys())
