"""TorchRL's folders, by hand and by TensorDict itself.

The latter needs a Python with tensordict, whose wheels are tied to a release of torch: name it with
GYM_TRADE_TENSORDICT_PYTHON, or those tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from data_tools.convert import convert
from data_tools.formats import trajectories
from data_tools.hdf5 import load_buffer
from tests.data_tools.formats.comparing import back, interpreter, refused, run_with, there
from tests.data_tools.transitions import Transitions

VARIABLE = "GYM_TRADE_TENSORDICT_PYTHON"


def write(folder, tensors, batch, **meta):
    """A memory-mapped TensorDict, by hand."""
    levels = {}
    for name, values in tensors.items():
        values = np.ascontiguousarray(values)
        path, _, leaf = name.rpartition("/")
        place = folder / path
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{leaf}.memmap").write_bytes(values.tobytes())
        about = {"device": "cpu", "shape": list(values.shape), "dtype": f"torch.{values.dtype}"}
        levels.setdefault(path, {})[leaf] = about
        if path:
            levels.setdefault("", {})[path] = {"type": "TensorDict"}
    for path, about in levels.items():
        about |= {"shape": list(batch), "device": "cpu", "_type": "TensorDict"} | meta
        (folder / path / "meta.json").write_text(json.dumps(about))
    return folder


def tensors(rows=12, **changes):
    """Two episodes: terminated at row 4, and one that is cut."""
    random = np.random.default_rng(0)
    obs = random.normal(size=(rows + 1, 3)).astype(np.float32)
    after = obs[1:].copy()
    after[4] = 9.0
    terminated = np.arange(rows) == 4
    found = {
        "observation": obs[:-1], "action": random.normal(size=(rows, 2)).astype(np.float32),
        "next/observation": after, "next/reward": random.normal(size=(rows, 1)),
        "next/done": terminated[:, None], "next/terminated": terminated[:, None],
        "next/truncated": np.zeros((rows, 1), bool), "index": np.arange(rows),
    } | changes  # fmt: skip
    return {name: values for name, values in found.items() if values is not None}


def loaded(folder, tmp_path):
    convert(folder, tmp_path / "ours.hdf5", overwrite=True)
    return load_buffer(tmp_path / "ours.hdf5")[0]


def test_transitions_and_precision(tmp_path):
    given = tensors()
    buffer = loaded(write(tmp_path / "td", given, [12]), tmp_path)
    np.testing.assert_array_equal(buffer.obs, given["observation"])
    np.testing.assert_array_equal(buffer.obs_next, given["next/observation"])
    np.testing.assert_array_equal(buffer.rew, given["next/reward"][:, 0])
    assert buffer.rew.dtype == np.float64 and buffer.obs.dtype == np.float32
    assert np.flatnonzero(buffer.terminated).tolist() == [4]
    assert np.flatnonzero(buffer.truncated).tolist() == [11]  # the end of the data is no death


@pytest.mark.parametrize("block_bytes", [100, 2**24])
def test_a_batch_of_trajectories_and_a_break_without_a_flag(block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(trajectories, "BLOCK_BYTES", block_bytes)
    given = {n: v.reshape(2, 6, *v.shape[1:]) for n, v in tensors().items()}
    buffer = loaded(write(tmp_path / "td", given, [2, 6]), tmp_path)
    assert np.flatnonzero(buffer.truncated).tolist() == [5, 11]
    given = tensors()
    given["next/observation"][7] = 3.0
    buffer = loaded(write(tmp_path / "two", given, [12]), tmp_path)
    assert np.flatnonzero(buffer.truncated).tolist() == [7, 11]


def test_done_without_a_reason_is_a_termination_that_is_mentioned(tmp_path):
    given = tensors(**{"next/terminated": None, "next/truncated": None})
    result = convert(write(tmp_path / "td", given, [12]), tmp_path / "ours.hdf5")
    assert any("not why" in note for note in result.notes)
    assert load_buffer(tmp_path / "ours.hdf5")[0].terminated.sum() == 1
    given = tensors(**{"next/terminated": np.zeros((12, 1), bool), "next/truncated": None})
    buffer = loaded(write(tmp_path / "two", given, [12]), tmp_path)
    assert np.flatnonzero(buffer.truncated).tolist() == [4, 11] and not buffer.terminated.any()


def test_a_dumped_buffer_that_is_not_full(tmp_path):
    write(tmp_path / "rb" / "storage", tensors(), [12])
    (tmp_path / "rb" / "storage" / "storage_metadata.json").write_text('{"len": 9}')
    assert len(loaded(tmp_path / "rb", tmp_path)) == 9


@pytest.mark.parametrize("several", [False, True])
def test_there_and_back_from_torchrl(several, tmp_path):
    given = tensors()
    if several:
        random = np.random.default_rng(1)
        extra = random.integers(0, 256, (13, 4), dtype=np.uint8)
        given |= {"pixels": extra[:-1], "next/pixels": extra[1:]}
    folder = write(tmp_path / "td", given, [12])
    ours = back(folder, tmp_path, "ours.hdf5")
    again = there(ours, "torchrl", tmp_path)
    for name, values in given.items():
        raw = (again / f"{name}.memmap").read_bytes()
        if name in ("next/truncated", "next/done"):
            values = values | (np.arange(12) == 11)[:, None]
        assert raw == np.ascontiguousarray(values).tobytes(), name


def test_one_hot_actions_become_numbers_and_one_hot_again(tmp_path):
    chosen = np.arange(12) % 3
    given = tensors(action=np.eye(3, dtype=bool)[chosen])
    ours = back(write(tmp_path / "td", given, [12]), tmp_path, "ours.hdf5")
    buffer, _ = load_buffer(ours)
    assert buffer.act.dtype == np.int64 and buffer.act.tolist() == chosen.tolist()
    again = there(ours, "torchrl", tmp_path)
    assert (again / "action.memmap").read_bytes() == given["action"].tobytes()
    several = np.eye(3, dtype=np.int64)[chosen]
    several[7] = [1, 1, 0]
    back(write(tmp_path / "two", tensors(action=several), [12]), tmp_path, "two.hdf5")
    assert load_buffer(tmp_path / "two.hdf5")[0].act.tolist() == several.tolist()


def test_refusals(tmp_path):
    target = tmp_path / "x.hdf5"

    def fresh(**changes):
        shutil.rmtree(tmp_path / "td", ignore_errors=True)
        return write(tmp_path / "td", tensors(**changes), [12])

    refused(fresh(action=None), target, "lacks action", "observation")
    refused(fresh(**{"next/observation": None}), target, "under next")
    refused(fresh(**{"next/reward": None}), target, "next/reward")
    folder = fresh()
    os.truncate(folder / "action.memmap", 10)
    refused(folder, target, "10 bytes", "Expected 96")
    folder = fresh()
    about = json.loads((folder / "meta.json").read_text())
    for change, part in (
        ({"shape": [2**50, 2], "dtype": "torch.float32"}, "Expected"),
        ({"shape": [-1, 2], "dtype": "torch.float32"}, "bytes"),
        ({"shape": [12, 2], "dtype": "torch.complex64"}, "complex64"),
    ):
        (folder / "meta.json").write_text(json.dumps(about | {"action": change}))
        refused(folder, target, part)
    folder = fresh()
    (tmp_path / "secret.memmap").write_bytes(b"1" * 96)
    (folder / "action.memmap").unlink()
    (folder / "action.memmap").symlink_to(tmp_path / "secret.memmap")
    refused(folder, target, "link out of the dataset")
    (folder / "meta.json").write_text("{")
    refused(folder, target, "no format")


def test_pickled_parts_need_trust_and_are_never_read(tmp_path):
    folder = write(tmp_path / "td", tensors(), [12])
    (folder / "note").mkdir()
    (folder / "note" / "other.pickle").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    refused(folder, tmp_path / "x.hdf5", "pickled parts", "note/other.pickle", "--trust")
    result = convert(folder, tmp_path / "x.hdf5", trust=True)
    assert result.transitions == 12 and any("other.pickle" in note for note in result.notes)


SAVE = """
import sys, torch
from tensordict import TensorDict
torch.manual_seed(0)
obs = torch.randn(13, 3)
done = (torch.arange(12) == 4).unsqueeze(1)
td = TensorDict({
    "observation": obs[:-1], "action": torch.randint(0, 4, (12,)),
    "next": TensorDict({
        "observation": obs[1:].clone(), "reward": torch.randn(12, 1, dtype=torch.float64),
        "done": done, "terminated": done & False, "truncated": done.clone()}, [12]),
}, [12])
td["next", "observation"][4] = 9.0
td.memmap(sys.argv[1])
"""

LOAD = """
import json, sys
from tensordict import TensorDict
td = TensorDict.load_memmap(sys.argv[1])
assert td.batch_size[0] == len(td["action"])
print(json.dumps({"obs": td["observation"].tolist(), "act": td["action"].tolist(),
    "rew": td["next", "reward"][:, 0].tolist(), "obs_next": td["next", "observation"].tolist(),
    "terminated": td["next", "terminated"][:, 0].tolist(), "dtype": str(td["next", "reward"].dtype),
    "truncated": td["next", "truncated"][:, 0].tolist(), "episode": td["episode"].tolist()}))
"""


def test_what_tensordict_saves(tmp_path):
    python = interpreter("tensordict", VARIABLE)
    run_with(python, SAVE, tmp_path / "td")
    buffer = loaded(tmp_path / "td", tmp_path)
    assert np.flatnonzero(buffer.truncated).tolist() == [4, 11] and not buffer.terminated.any()
    assert buffer.act.dtype == np.int64 and (buffer.obs_next[4] == 9.0).all()
    np.testing.assert_array_equal(buffer.obs[1:5], buffer.obs_next[:4])


@pytest.mark.parametrize("continuous", [False, True])
def test_tensordict_reads_each_transition(continuous, tmp_path):
    python = interpreter("tensordict", VARIABLE)
    transitions = Transitions(70, 2, continuous=continuous)
    transitions.write(tmp_path / "made.hdf5")
    foreign = there(tmp_path / "made.hdf5", "torchrl", tmp_path)
    read = json.loads(run_with(python, LOAD, foreign).splitlines()[-1])
    assert read["dtype"] == "torch.float64"
    for name in ("obs", "act", "rew", "obs_next", "terminated", "truncated"):
        assert read[name] == transitions.expected(name).tolist(), name
    done = transitions.expected("terminated") | transitions.expected("truncated")
    assert read["episode"] == np.concatenate([[0], np.cumsum(done)[:-1]]).tolist()
