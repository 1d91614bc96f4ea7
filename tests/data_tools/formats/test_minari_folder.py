"""Minari's folders, made and read by Minari's own functions."""

from __future__ import annotations

import json
import sys
import warnings

import gymnasium as gym
import h5py
import numpy as np
import pytest

from data_tools.convert import convert, recognise
from data_tools.hdf5 import load_buffer, read_provenance
from tests.data_tools.formats.comparing import back, refused, there
from tests.data_tools.transitions import Transitions

minari = pytest.importorskip("minari")
from minari.data_collector import EpisodeBuffer  # noqa: E402

BOX = gym.spaces.Box(-1, 1, (2,), np.float32)
SPACES = {
    "box": (gym.spaces.Box(-np.inf, np.inf, (3,), np.float64), gym.spaces.Discrete(4, start=1)),
    "dict": (
        gym.spaces.Dict(
            {
                "goal": gym.spaces.Box(-9, 9, (2, 2), np.float64),
                "inner": gym.spaces.Dict(
                    {"kind": gym.spaces.Discrete(5), "on": gym.spaces.MultiBinary(3)}
                ),
                "pair": gym.spaces.Tuple((BOX, gym.spaces.Box(0, 9, (), np.int64))),
            }
        ),
        BOX,
    ),
    "discrete": (gym.spaces.Discrete(16), gym.spaces.Discrete(4)),
    "actions": (BOX, gym.spaces.Dict({"a": BOX, "b": gym.spaces.MultiDiscrete([3, 4])})),
    "picture": (gym.spaces.Box(0, 255, (40, 36, 3), np.uint8), gym.spaces.Discrete(2)),
}  # fmt: skip


def samples(space, rows):
    """A stacked sample of a space: nested as Minari holds it."""
    if isinstance(space, gym.spaces.Dict):
        return {name: samples(part, rows) for name, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(samples(part, rows) for part in space.spaces)
    return np.stack([np.asarray(space.sample(), space.dtype) for _ in range(rows)])


def equal(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    first, second = np.asarray(first), np.asarray(second)
    return (first.dtype, first.shape, first.tobytes()) == (
        second.dtype,
        second.shape,
        second.tobytes(),
    )


def deep(form, rows):
    """Infos that Minari's own Arrow reader does not give back as they were."""
    return {"deep": {"n": np.arange(rows)}, "flat": np.arange(rows)} if form == "hdf5" else {}


def make(root, monkeypatch, kind, form, jpeg=False):
    """A dataset of three episodes by Minari: terminated, truncated, and one that says neither."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    observation, action = SPACES[kind]
    observation.seed(0), action.seed(0)
    random = np.random.default_rng(0)
    buffers = []
    for number, rows in enumerate((4, 6, 3)):
        buffers.append(
            EpisodeBuffer(
                id=number, seed=number + 7, options={"level": number},
                observations=samples(observation, rows + 1), actions=samples(action, rows),
                rewards=random.normal(size=rows).astype(np.float32),
                terminations=np.arange(rows) == (rows - 1 if number == 0 else -1),
                truncations=np.arange(rows) == (rows - 1 if number == 1 else -1),
                infos={"x": random.normal(size=(rows + 1, 2))} | deep(form, rows + 1),
            )
        )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = minari.create_dataset_from_buffers(
            f"space/{kind}-v3", buffer=buffers, observation_space=observation, action_space=action,
            data_format=form, author={"A. Nother"}, algorithm_name="dice", description="made up",
            env=gym.spec("CartPole-v1"), **({} if jpeg else {"jpeg_encoding": False}),
        )  # fmt: skip
    return root / "space" / f"{kind}-v3", dataset


@pytest.mark.parametrize("form", ["hdf5", "arrow", "parquet"])
@pytest.mark.parametrize("kind", list(SPACES))
def test_there_and_back_is_the_same_to_minari(kind, form, tmp_path, monkeypatch):
    if form != "hdf5":
        pytest.importorskip("pyarrow")
    (tmp_path / "given").mkdir()
    folder, dataset = make(tmp_path / "given", monkeypatch, kind, form)
    assert recognise(folder) == "minari"
    ours = back(folder, tmp_path, "ours.hdf5")
    convert(ours, tmp_path / f"{kind}-v3", target_format="minari")
    again = minari.MinariDataset(tmp_path / f"{kind}-v3" / "data")
    assert again.total_episodes == 3 and again.total_steps == 13
    assert (again.observation_space, again.action_space) == (
        dataset.observation_space, dataset.action_space,
    )  # fmt: skip
    assert again.env_spec == dataset.env_spec
    for first, second in zip(dataset, again, strict=True):
        for name in (
            "id",
            "observations",
            "actions",
            "rewards",
            "terminations",
            "truncations",
            "infos",
        ):
            assert equal(getattr(first, name), getattr(second, name)), name
    facts = [list(d.storage.get_episode_metadata(range(3))) for d in (dataset, again)]
    for first, second in zip(*facts, strict=True):
        assert {k: v for k, v in first.items() if k != "options"} == {
            k: v for k, v in second.items() if k != "options"
        }
        assert int(first["options"]["level"]) == int(second["options"]["level"])
    left, right = (d.storage.metadata for d in (dataset, again))
    skipped = ("dataset_id", "dataset_size", "data_format")
    assert {k: v for k, v in left.items() if k not in skipped} == {
        k: v for k, v in right.items() if k not in skipped
    }


def test_dict_observations_are_flat_with_their_layout_recorded(tmp_path, monkeypatch):
    folder, dataset = make(tmp_path, monkeypatch, "dict", "hdf5")
    ours = back(folder, tmp_path, "ours.hdf5")
    buffer, provenance = load_buffer(ours)
    assert buffer.obs.shape == (13, 4 + 1 + 3 + 2 + 1) and buffer.obs.dtype == np.float64
    layout = {part["key"]: (part["start"], part["stop"]) for part in provenance["layout"]}
    assert layout == {"goal": (0, 4), "inner/kind": (4, 5), "inner/on": (5, 8), "pair/0": (8, 10),
                      "pair/1": (10, 11)}  # fmt: skip
    episode = dataset[1]
    np.testing.assert_array_equal(
        buffer.obs[4:10, 0:4].reshape(6, 2, 2), episode.observations["goal"][:-1]
    )
    np.testing.assert_array_equal(
        buffer.obs_next[4:10, 4], episode.observations["inner"]["kind"][1:]
    )
    assert provenance["task"] == "CartPole-v1" and provenance["policy"]["name"] == "dice"


def test_an_end_without_a_flag_is_truncated_and_final_observations_are_true(tmp_path, monkeypatch):
    folder, dataset = make(tmp_path, monkeypatch, "box", "hdf5")
    buffer, _ = load_buffer(back(folder, tmp_path, "ours.hdf5"))
    assert np.flatnonzero(buffer.terminated).tolist() == [3]
    assert np.flatnonzero(buffer.truncated).tolist() == [9, 12]
    for episode, last in zip(dataset, (3, 9, 12), strict=True):
        np.testing.assert_array_equal(buffer.obs_next[last], episode.observations[-1])
    assert buffer.rew.dtype == np.float32 and buffer.obs.dtype == np.float64


@pytest.mark.parametrize("form", ["hdf5", "arrow"])
def test_encoded_pictures_are_read_as_minari_reads_them(form, tmp_path, monkeypatch):
    if form == "arrow":
        pytest.importorskip("pyarrow")
    folder, dataset = make(tmp_path, monkeypatch, "picture", form, jpeg=True)
    buffer, _ = load_buffer(back(folder, tmp_path, "ours.hdf5"))
    assert buffer.obs.dtype == np.uint8
    np.testing.assert_array_equal(buffer.obs[:4], dataset[0].observations[:-1])


def test_whole_number_rewards_come_back_as_such(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    episode = EpisodeBuffer(
        observations=np.zeros((3, 2), np.float32), actions=[1, 0], rewards=[1, 2],
        terminations=[False, True], truncations=[False, False], infos=None,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "whole-v0", buffer=[episode], observation_space=BOX, action_space=gym.spaces.Discrete(2)
        )
    ours = back(tmp_path / "whole-v0", tmp_path, "ours.hdf5")
    assert load_buffer(ours)[0].rew.dtype == np.float64
    assert read_provenance(ours) is None  # nothing says which task it is
    convert(ours, tmp_path / "again-v0", target_format="minari")
    assert minari.MinariDataset(tmp_path / "again-v0" / "data")[0].rewards.dtype == np.int64


@pytest.mark.parametrize("continuous", [False, True])
def test_minari_reads_each_transition(continuous, tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    transitions = Transitions(70, 2, continuous=continuous)
    transitions.write(tmp_path / "made.hdf5")
    there(tmp_path / "made.hdf5", "minari", tmp_path)
    dataset = minari.load_dataset("made-v0")
    assert dataset.total_steps == 70
    rows = 0
    for episode in dataset:
        span = slice(rows, rows + len(episode.rewards))
        np.testing.assert_array_equal(episode.observations[:-1], transitions.expected("obs")[span])
        np.testing.assert_array_equal(
            episode.observations[1:], transitions.expected("obs_next")[span]
        )
        np.testing.assert_array_equal(episode.actions, transitions.expected("act")[span])
        np.testing.assert_array_equal(episode.rewards, transitions.expected("rew")[span])
        np.testing.assert_array_equal(
            episode.terminations, transitions.expected("terminated")[span]
        )
        np.testing.assert_array_equal(episode.truncations, transitions.expected("truncated")[span])
        assert dataset.action_space.contains(episode.actions[0])
        rows = span.stop
    assert rows == 70
    assert list(minari.list_local_datasets()) == ["made-v0"]


def test_arrow_needs_pyarrow_and_says_so(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    folder, _ = make(tmp_path, monkeypatch, "box", "arrow")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(folder, tmp_path / "x.hdf5", "pyarrow", "pip install")


def test_refusals(tmp_path, monkeypatch):
    folder, _ = make(tmp_path, monkeypatch, "box", "hdf5")
    metadata, main = (folder / "data" / name for name in ("metadata.json", "main_data.hdf5"))
    said, target = json.loads(metadata.read_text()), tmp_path / "x.hdf5"
    for change, part in (
        ({"data_format": "csv"}, "'csv'"),
        ({"observation_space": "{}"}, "not a space"),
        ({"observation_space": '{"type": "Text", "max_length": 5}'}, "Text"),
        ({"observation_space": '{"type": "Graph"}'}, "Graph"),
    ):
        metadata.write_text(json.dumps(said | change))
        refused(folder, target, part)
    metadata.write_text(json.dumps({k: v for k, v in said.items() if k != "action_space"}))
    refused(folder, target, "lacks action_space")
    metadata.write_text(json.dumps(said))
    with h5py.File(main, "r+") as root:
        rewards = root["episode_1/rewards"][:-1]
        del root["episode_1/rewards"]
        root["episode_1/rewards"] = rewards
    refused(folder, target, "episode_1", "rows")
    with h5py.File(main, "r+") as root:
        root.move("episode_1", "episode_9")
    refused(folder, target, "lacks episode_1")
