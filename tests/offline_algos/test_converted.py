"""A converted dataset of another package is learned from like any other."""

from __future__ import annotations

import json

import gymnasium as gym
import h5py
import numpy as np
import pytest

from data_tools.convert import convert
from tests.data_tools.formats import tfrecords
from tests.image_tasks import ImageFrames
from tests.offline_algos.scripts import results, run


def cart_pole(path):
    """d3rlpy's version 1: 40 made-up episodes of 12 rows."""
    random = np.random.default_rng(0)
    ends = (np.arange(480) % 12 == 11).astype(np.float32)
    with h5py.File(path, "w") as root:
        root["observations"] = random.normal(size=(480, 4)).astype(np.float32)
        root["actions"] = random.integers(0, 2, (480, 1), dtype=np.int32)
        root["rewards"] = (np.arange(480) % 12 > 0).astype(np.float32)
        root["terminals"] = root["episode_terminals"] = ends


@pytest.mark.parametrize("named", ["when it is converted", "when it is learned from"])
def test_a_script_learns_from_a_converted_dataset(named, tmp_path, capsys):
    cart_pole(tmp_path / "v1.h5")
    task = "CartPole-v1" if named == "when it is converted" else None
    convert(tmp_path / "v1.h5", tmp_path / "ours.hdf5", task=task)
    flags = [] if task else ["--task", "CartPole-v1"]
    assert run("atari_style_il", tmp_path / "ours.hdf5", tmp_path / "log", *flags) == 0
    found = json.loads(results(tmp_path / "log")[0].read_text())
    assert (found["task"], found["behavior_return"]) == ("CartPole-v1", 11.0)
    assert "440 transitions" in capsys.readouterr().out


@pytest.mark.parametrize("ordered", [True, False])
def test_a_script_learns_from_a_converted_shard_of_atari_frames(ordered, tmp_path, monkeypatch):
    examples, _ = tfrecords.transitions((40, 30), (True, False))
    if not ordered:  # then each record keeps its own stack
        np.random.default_rng(0).shuffle(examples)
    shard = tfrecords.write(tmp_path / "shard", examples)
    game = gym.envs.registration.EnvSpec(
        "Game-v0", entry_point=ImageFrames, kwargs={"side": 84, "actions": 4}
    )
    monkeypatch.setitem(gym.registry, "Game-v0", game)
    convert(shard, tmp_path / "ours.hdf5")
    few = ["--task", "Game-v0", "--update-per-epoch", "3", "--batch-size", "8"]
    assert run("atari_style_cql", tmp_path / "ours.hdf5", tmp_path / "log", *few) == 0
    found = json.loads(results(tmp_path / "log")[0].read_text())
    assert found["layout"][0][3] == [4, 84, 84]
    assert found["arguments"]["encoder"] == "nature"
