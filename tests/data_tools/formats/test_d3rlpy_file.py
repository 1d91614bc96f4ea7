"""d3rlpy's files: version 1's traps, version 2's episodes, and files made by d3rlpy itself.

The latter need a Python with d3rlpy, which pins an old Gymnasium: name it with
GYM_TRADE_D3RLPY_PYTHON, or they are skipped.
"""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from data_tools.convert import convert
from data_tools.formats import trajectories
from data_tools.hdf5 import load_buffer
from tests.data_tools.formats.comparing import (
    content,
    interpreter,
    refused,
    run_with,
    there,
)
from tests.data_tools.transitions import Transitions
from tests.real_data import FORMATS, needs

REAL = FORMATS / "d3rlpy_v1_cartpole_random.h5"


def version_1(path, *, shifted=True, **changes):
    """Three episodes of 4, 3 and 5 rows: terminated, timed out, terminated."""
    obs = np.arange(12, dtype=np.float32)[:, None] * [1.0, 10.0]
    reward = np.arange(1, 13, dtype=np.float32)
    ends = np.zeros(12, np.float32)
    ends[[3, 6, 11]] = 1.0
    terminals = ends.copy()
    terminals[6] = 0.0
    if shifted:
        reward[[0, 4, 7]] = 0.0
    columns = {
        "observations": obs.astype(np.float32),
        "actions": np.arange(12, dtype=np.int32)[:, None] % 2,
        "rewards": reward, "terminals": terminals, "episode_terminals": ends,
        "discrete_action": True,
    }  # fmt: skip
    with h5py.File(path, "w") as root:
        for name, values in (columns | changes).items():
            if values is not None:
                root[name] = values


def loaded(path, tmp_path, **options):
    result = convert(path, tmp_path / "ours.hdf5", overwrite=True, **options)
    return load_buffer(tmp_path / "ours.hdf5")[0], result


@pytest.mark.parametrize("block_bytes", [100, 2**24])
def test_version_1_with_rewards_for_reaching_a_row(block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(trajectories, "BLOCK_BYTES", block_bytes)
    version_1(tmp_path / "v1.h5")
    buffer, result = loaded(tmp_path / "v1.h5", tmp_path)
    assert result.facts["rewards"] == "shifted"
    assert buffer.obs[:, 0].tolist() == [0, 1, 2, 4, 5, 7, 8, 9, 10]
    assert buffer.obs_next[:, 0].tolist() == [1, 2, 3, 5, 6, 8, 9, 10, 11]
    assert buffer.rew.tolist() == [2, 3, 4, 6, 7, 9, 10, 11, 12]
    assert buffer.act.tolist() == [0, 1, 0, 0, 1, 1, 0, 1, 0]
    assert np.flatnonzero(buffer.terminated).tolist() == [2, 8]
    assert np.flatnonzero(buffer.truncated).tolist() == [4]  # a time limit is no death
    assert buffer.act.dtype == np.int64 and buffer.rew.dtype == np.float32


@pytest.mark.parametrize("asked", ["auto", "aligned"])
def test_version_1_with_rewards_for_leaving_a_row(asked, tmp_path):
    version_1(tmp_path / "v1.h5", shifted=False)
    buffer, result = loaded(tmp_path / "v1.h5", tmp_path, rewards=asked)
    assert result.facts["rewards"] == "aligned"
    assert buffer.obs[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    assert buffer.obs_next[:, 0].tolist() == [1, 2, 3, 3, 5, 6, 8, 9, 10, 11, 11]
    assert buffer.rew.tolist() == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert np.flatnonzero(buffer.terminated).tolist() == [3, 10]
    assert np.flatnonzero(buffer.truncated).tolist() == [5]


def test_version_1_cut_in_an_episode_and_without_episode_terminals(tmp_path):
    version_1(tmp_path / "v1.h5", episode_terminals=None)
    buffer, _ = loaded(tmp_path / "v1.h5", tmp_path)
    assert np.flatnonzero(buffer.done).tolist() == [2, len(buffer) - 1]
    ends = np.zeros(12, np.float32)
    ends[3] = 1.0
    version_1(tmp_path / "v1.h5", terminals=ends, episode_terminals=ends)
    buffer, _ = loaded(tmp_path / "v1.h5", tmp_path)
    assert np.flatnonzero(buffer.truncated).tolist() == [len(buffer) - 1]


def test_version_1_refusals(tmp_path):
    target = tmp_path / "x.hdf5"
    version_1(tmp_path / "v1.h5", rewards=np.zeros(11))
    refused(tmp_path / "v1.h5", target, "differ in length")
    version_1(tmp_path / "v1.h5", terminals=np.full(12, 0.5))
    refused(tmp_path / "v1.h5", target, "0 or 1")
    version_1(tmp_path / "v1.h5", observations=["a"] * 12)
    refused(tmp_path / "v1.h5", target, "observations", "plain numbers")


@needs(REAL)
def test_a_real_file_of_version_1(tmp_path):
    """Rewards of CartPole are 1; the first of each episode belongs to no transition."""
    with h5py.File(REAL) as root:
        rows, episodes = len(root["rewards"]), int(root["episode_terminals"][()].sum())
        obs, ends = root["observations"][()], root["episode_terminals"][()].astype(bool)
        terminals = root["terminals"][()].astype(bool)
    buffer, result = loaded(REAL, tmp_path)
    assert (rows, result.transitions) == (100_000, rows - episodes)
    assert result.facts["rewards"] == "shifted"
    np.testing.assert_array_equal(buffer.rew, 1.0)
    np.testing.assert_array_equal(buffer.obs, obs[~ends])
    np.testing.assert_array_equal(buffer.obs_next, obs[np.flatnonzero(~ends) + 1])
    np.testing.assert_array_equal(buffer.terminated, terminals[np.flatnonzero(~ends) + 1])


DUMP = """
import sys
import numpy as np
from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer
random = np.random.default_rng(0)
kind, folder = sys.argv[2], sys.argv[1]
def obs(n):
    if kind == "tuple":
        shapes = (n, 3), (n, 2, 2)
        return [random.normal(size=shape).astype(np.float32) for shape in shapes]
    if kind == "picture":
        return random.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    return random.normal(size=(n, 3)).astype(np.float32)
def act(n):
    if kind == "discrete":
        return random.integers(0, 3, (n, 1))
    return random.normal(size=(n, 2)).astype(np.float32)
episodes = [
    Episode(obs(n), act(n), random.normal(size=(n, 1)).astype(np.float32), n != 7)
    for n in (5, 7, 1, 6)
]
buffer = ReplayBuffer(InfiniteBuffer(), episodes=episodes)
with open(folder, "w+b") as file:
    buffer.dump(file)
"""


@pytest.mark.parametrize("kind", ["vector", "discrete", "tuple", "picture"])
def test_what_d3rlpy_dumps_comes_back_as_it_was(kind, tmp_path):
    python = interpreter("d3rlpy", "GYM_TRADE_D3RLPY_PYTHON")
    run_with(python, DUMP, tmp_path / "dump.h5", kind)
    buffer, _ = loaded(tmp_path / "dump.h5", tmp_path)
    with h5py.File(tmp_path / "dump.h5") as root:
        rewards = [root[f"rewards_{i}"][:, 0] for i in range(4)]
    np.testing.assert_array_equal(
        buffer.rew, np.concatenate([*rewards[:1], rewards[1][:6], *rewards[2:]])
    )
    assert np.flatnonzero(buffer.terminated).tolist() == [4, 11, 17]
    assert np.flatnonzero(buffer.truncated).tolist() == [10]
    assert buffer.obs.dtype == (np.uint8 if kind == "picture" else np.float32)
    again = there(tmp_path / "ours.hdf5", "d3rlpy", tmp_path)
    wanted = content(tmp_path / "dump.h5")
    found = content(again, without=["gym_trade"])
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name] == wanted[name], name


LOAD = """
import json, sys
import numpy as np
from d3rlpy.dataset import InfiniteBuffer, ReplayBuffer
buffer = ReplayBuffer.load(sys.argv[1], InfiniteBuffer())
rows = []
for episode in buffer.episodes:
    for i in range(episode.transition_count):
        t = buffer.transition_picker(episode, i)
        rows.append([t.observation.tolist(), t.action.tolist(), t.reward.tolist(),
                     t.terminal, None if t.terminal else t.next_observation.tolist()])
batch = buffer.sample_transition_batch(8)
print(json.dumps([rows, buffer.dataset_info.action_size, str(buffer.dataset_info.action_space)]))
"""


@pytest.mark.parametrize("continuous", [False, True])
def test_d3rlpy_reads_each_transition(continuous, tmp_path):
    import json

    python = interpreter("d3rlpy", "GYM_TRADE_D3RLPY_PYTHON")
    transitions = Transitions(70, 2, continuous=continuous)
    transitions.write(tmp_path / "made.hdf5")
    foreign = there(tmp_path / "made.hdf5", "d3rlpy", tmp_path)
    output = run_with(python, LOAD, foreign).splitlines()[-1]
    rows, actions, space = json.loads(output)
    assert (actions, "DISCRETE" in space) == ((1, False) if continuous else (3, True))
    assert len(rows) == 70
    terminated = transitions.expected("terminated")
    for i, (obs, act, rew, terminal, following) in enumerate(rows):
        assert obs == transitions.expected("obs")[i].tolist()
        assert act == transitions.expected("act")[i].reshape(1).tolist()
        assert rew == [transitions.expected("rew")[i]]  # to the last bit
        assert terminal == terminated[i]
        if not terminal:
            assert following == transitions.expected("obs_next")[i].tolist()


def test_version_2_refusals(tmp_path):
    transitions = Transitions(30, 2)
    transitions.write(tmp_path / "made.hdf5")
    for change, part in (
        (lambda root: root.__delitem__("rewards_1"), "rewards_1 is missing"),
        (lambda root: root["num_episodes"].__setitem__((), 10**9), "episodes"),
        (lambda root: root["num_episodes"].__setitem__((), 0), "0 episodes"),
        (lambda root: shorten(root), "differ in length"),
    ):
        foreign = there(tmp_path / "made.hdf5", "d3rlpy", tmp_path, overwrite=True)
        with h5py.File(foreign, "r+") as root:
            change(root)
        refused(foreign, tmp_path / "x.hdf5", part)


def shorten(root):
    values = root["rewards_1"][:-1]
    del root["rewards_1"]
    root["rewards_1"] = values
