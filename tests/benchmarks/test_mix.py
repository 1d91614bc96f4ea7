"""Mixed datasets: equal parts, whole episodes, nothing invented."""

from __future__ import annotations

import numpy as np
import pytest
from tianshou.data import ReplayBuffer

from benchmarks import mix
from data_tools.collect import collect
from data_tools.flat_layout import COLUMNS, read_provenance
from data_tools.hdf5 import load_buffer
from data_tools.rollouts import record
from tests.offline_algos import samples

ENV = {"time_frames": ["1min", "5min"], "window_sizes": [4, 6], "execute_on": "5min"}


def pushing(action):
    return lambda seen, generator: np.full(len(seen), action)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    made = [folder / "left.hdf5", folder / "right.hdf5"]
    for action, path in enumerate(made):
        record("CartPole-v1", pushing(action), path, buffer_size=200, seed=action,
               policy={"name": f"push {action}"})  # fmt: skip
    return made


def episodes(buffer):
    """Each episode's columns, as bytes that can be compared."""
    ends = np.flatnonzero(buffer.done) + 1
    return [
        tuple(np.asarray(getattr(buffer, name))[a:b].tobytes() for name in COLUMNS)
        for a, b in zip([0, *ends[:-1]], ends, strict=True)
    ]


def test_rows_are_equal_parts_of_whole_episodes(sources, tmp_path):
    path = tmp_path / "mixed.hdf5"
    text = mix.mix(sources, path, buffer_size=101, seed=0)
    assert text.startswith("101 transitions") and text.endswith(str(path))
    mixed, provenance = load_buffer(path)
    # the one pushes left and the other right: 51 rows and 50
    assert mixed.act.tolist() == [0] * 51 + [1] * 50
    known = {episode for source in sources for episode in episodes(load_buffer(source)[0])}
    made = episodes(mixed)
    cut = [number for number, episode in enumerate(made) if episode not in known]
    assert len(cut) <= 2  # the last of each part
    assert len(set(made)) == len(made)  # without repetition
    assert provenance["reference"]["cut_episodes"] == len(cut)
    assert provenance["reference"]["complete_episodes"] == len(made) - len(cut)
    assert [m["rows"] for m in provenance["policy"]["members"]] == [51, 50]
    assert provenance["buffer_size"] == 101 and provenance["task"] == "CartPole-v1"


def test_a_cut_episode_is_truncated_with_its_true_next_observation(sources, tmp_path):
    path = tmp_path / "mixed.hdf5"
    mix.mix(sources[:1], path, buffer_size=3, seed=0)  # the shortest falls after eight pushes
    mixed, _ = load_buffer(path)
    assert mixed.truncated.tolist() == [False, False, True] and not mixed.terminated.any()
    source, _ = load_buffer(sources[0])
    row = int(np.flatnonzero((source.obs == mixed.obs[2]).all(axis=1))[0])
    assert np.array_equal(mixed.obs_next[2], source.obs_next[row])
    assert np.array_equal(mixed.obs_next[:2], mixed.obs[1:])


def test_all_rows_of_a_source_can_be_asked_for(sources, tmp_path):
    mix.mix(sources, tmp_path / "all.hdf5", buffer_size=400, seed=1)
    mixed, _ = load_buffer(tmp_path / "all.hdf5")
    whole = [episode for source in sources for episode in episodes(load_buffer(source)[0])]
    assert sorted(episodes(mixed)) == sorted(whole)


def test_the_seed_decides_and_tianshou_opens_it(sources, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        words = [*map(str, sources), "--buffer-size", "100", "--seed", str(seed)]
        assert mix.main([*words, "--save-buffer-name", str(tmp_path / name)]) == 0
    first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != third
    buffer = ReplayBuffer.load_hdf5(str(tmp_path / "a"))
    assert len(buffer) == 100 and buffer.prev(np.array([0]))[0] == 0


def test_sets_of_a_market(tmp_path):
    """A market's dataset stays one: dates, market and configuration are those of its parts."""
    market = tmp_path / "bars.csv"
    samples.frame(2500).to_csv(market)
    paths = [tmp_path / "random.hdf5", tmp_path / "rule.hdf5"]
    for path, policy in zip(paths, ("random", "ma-cross:fast=2,slow=4"), strict=True):
        collect(path, buffer_size=120, num_envs=4, episode_steps=10, market=str(market),
                policy=policy, env=ENV, progress=False, echo=None)  # fmt: skip
    mix.mix(paths, tmp_path / "mixed.hdf5", buffer_size=60, seed=0)
    mixed, provenance = load_buffer(tmp_path / "mixed.hdf5")
    assert np.diff(np.flatnonzero(mixed.truncated)).tolist() == [10] * 5
    for name in ("config", "market", "span", "layout"):
        assert provenance[name] == read_provenance(paths[0])[name]
    assert [m["name"] for m in provenance["policy"]["members"]] == ["random", "ma-cross"]


def test_what_cannot_be_mixed(sources, tmp_path, capsys):
    other = tmp_path / "pendulum.hdf5"
    record("Pendulum-v1", lambda seen, _: np.zeros((len(seen), 1), np.float32), other,
           buffer_size=20, policy={"name": "still"})  # fmt: skip
    left, target = str(sources[0]), str(tmp_path / "x.hdf5")
    for words, message in (
        ([left, str(other), "--buffer-size", "10"], "differ in task: expected datasets of one"),
        ([left, "--buffer-size", "201"], "has 200 transitions and is to give 201"),
        ([left, "--buffer-size", "0"], "--buffer-size 0: expected a whole number >= 1"),
        ([str(tmp_path / "none.hdf5"), "--buffer-size", "1"], "none.hdf5 does not exist"),
    ):
        assert mix.main([*words, "--save-buffer-name", target]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert [path.name for path in tmp_path.iterdir()] == ["pendulum.hdf5"]
