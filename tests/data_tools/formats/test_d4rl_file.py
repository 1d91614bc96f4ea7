"""D4RL's files, with what real ones get wrong; `data_tools.d4rl` has tests of its own reading."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from data_tools.convert import convert
from data_tools.d4rl import read_d4rl
from data_tools.hdf5 import load_buffer, read_provenance
from tests.data_tools.formats.comparing import content, refused, there
from tests.data_tools.transitions import Transitions
from tests.real_data import FORMATS, needs

REAL = FORMATS / "d4rl_hopper_medium-v2.hdf5"


def write(path, rows=40, **changes):
    """Two episodes that end at rows 15 (terminated) and 29 (time limit), and a cut one."""
    random = np.random.default_rng(0)
    obs = random.normal(size=(rows + 1, 4)).astype(np.float32)
    following = obs[1:].copy()
    following[[15, 29]] = random.normal(size=(2, 4))
    terminals, timeouts = np.zeros(rows, bool), np.zeros(rows, bool)
    terminals[15] = timeouts[29] = True
    columns = {
        "observations": obs[:-1], "actions": random.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "rewards": random.normal(size=rows).astype(np.float32), "terminals": terminals,
        "timeouts": timeouts, "next_observations": following,
        "infos/qpos": random.normal(size=(rows, 3)), "metadata/weights": np.arange(6.0),
        "metadata/algorithm": "SAC",
    }  # fmt: skip
    with h5py.File(path, "w") as root:
        for name, values in (columns | changes).items():
            if values is not None:
                root[name] = values
    return {name: values for name, values in (columns | changes).items() if values is not None}


def converted(tmp_path, **options):
    convert(tmp_path / "d4rl.hdf5", tmp_path / "ours.hdf5", overwrite=True, **options)
    return load_buffer(tmp_path / "ours.hdf5")[0]


def test_the_columns_of_a_whole_file(tmp_path):
    given = write(tmp_path / "d4rl.hdf5")
    buffer = converted(tmp_path, task="Hopper-v5")
    np.testing.assert_array_equal(buffer.obs, given["observations"])
    np.testing.assert_array_equal(buffer.obs_next, given["next_observations"])
    np.testing.assert_array_equal(buffer.rew, given["rewards"])
    assert np.flatnonzero(buffer.terminated).tolist() == [15]
    assert np.flatnonzero(buffer.truncated).tolist() == [29, 39]  # the cut one is no death
    said = read_provenance(tmp_path / "ours.hdf5")
    assert (said["task"], said["reference"]["complete_episodes"]) == ("Hopper-v5", 3)


def test_flags_as_float64_and_rewards_as_a_matrix(tmp_path):
    given = write(tmp_path / "d4rl.hdf5")
    expected = converted(tmp_path)
    odd = {
        "terminals": given["terminals"].astype(np.float64)[:, None],
        "timeouts": given["timeouts"].astype(np.float32),
        "rewards": given["rewards"][:, None],
    }
    write(tmp_path / "d4rl.hdf5", **odd)
    found = converted(tmp_path)
    for name in ("obs", "act", "rew", "terminated", "truncated", "obs_next"):
        np.testing.assert_array_equal(found._meta[name], expected._meta[name])


def test_without_timeouts_an_episode_ends_where_the_next_observation_does_not_continue(tmp_path):
    write(tmp_path / "d4rl.hdf5", timeouts=None)
    buffer = converted(tmp_path)
    assert np.flatnonzero(buffer.truncated).tolist() == [29, 39]
    assert np.flatnonzero(buffer.terminated).tolist() == [15]


def test_without_next_observations_the_row_with_the_lost_one_is_left_out(tmp_path):
    given = write(tmp_path / "d4rl.hdf5", next_observations=None)
    buffer = converted(tmp_path)
    assert len(buffer) == 38  # not those that rows 29 and 39 led to
    kept = np.delete(np.arange(40), [29, 39])
    np.testing.assert_array_equal(buffer.obs, given["observations"][kept])
    ends = np.flatnonzero(buffer.truncated)
    assert ends.tolist() == [28, 37]
    np.testing.assert_array_equal(buffer.obs_next[28], given["observations"][29])


def test_without_either_the_time_limit_is_asked_for(tmp_path):
    write(tmp_path / "d4rl.hdf5", next_observations=None, timeouts=None)
    refused(tmp_path / "d4rl.hdf5", tmp_path / "x.hdf5", "time limit")
    assert np.flatnonzero(converted(tmp_path, time_limit=14).truncated)[0] == 12


def test_the_last_row_cut(tmp_path):
    given = write(tmp_path / "d4rl.hdf5")
    cut = {n: given[n][:-1] for n in ("rewards", "terminals", "timeouts", "next_observations")}
    write(tmp_path / "d4rl.hdf5", **cut)
    assert len(converted(tmp_path)) == 39


def test_there_and_back_from_d4rl(tmp_path):
    """What D4RL holds beyond transitions comes back as well."""
    write(tmp_path / "d4rl.hdf5", rewards=np.arange(40.0))
    convert(tmp_path / "d4rl.hdf5", tmp_path / "ours.hdf5")
    convert(tmp_path / "ours.hdf5", tmp_path / "again.hdf5", target_format="d4rl")
    found = content(tmp_path / "again.hdf5", without=["metadata/gym_trade"])
    wanted = content(tmp_path / "d4rl.hdf5")
    with h5py.File(tmp_path / "again.hdf5") as root:
        assert root["timeouts"][39]  # where the file is cut, which it did not say
    for name in wanted.keys() - {"timeouts"}:
        assert found[name] == wanted[name], name


def test_what_is_written_is_d4rl(tmp_path):
    transitions = Transitions(90, 2, continuous=True)
    transitions.write(tmp_path / "made.hdf5")
    foreign = there(tmp_path / "made.hdf5", "d4rl", tmp_path)
    buffer, facts = read_d4rl(foreign)
    assert facts.timeouts == "column" and facts.next_observations
    with h5py.File(foreign) as root:
        assert root["rewards"].dtype == np.float64  # the precision that was given
        np.testing.assert_array_equal(root["rewards"], transitions.expected("reward"))
        np.testing.assert_array_equal(root["terminals"], transitions.expected("terminated"))
    np.testing.assert_array_equal(buffer.obs_next, transitions.expected("obs_next"))


def test_links_are_refused(tmp_path):
    write(tmp_path / "d4rl.hdf5")
    with h5py.File(tmp_path / "d4rl.hdf5", "r+") as root:
        del root["rewards"]
        root["rewards"] = h5py.ExternalLink("/etc/hostname", "/x")
    refused(tmp_path / "d4rl.hdf5", tmp_path / "x.hdf5", "rewards")


@needs(REAL)
@pytest.mark.parametrize("target", ["minari", "torchrl", "d3rlpy", "d4rl"])
def test_a_real_file(target, tmp_path):
    result = convert(REAL, tmp_path / "ours.hdf5", task="Hopper-v5")
    assert result.transitions == 911
    foreign = there(tmp_path / "ours.hdf5", target, tmp_path)
    convert(foreign, tmp_path / "back.hdf5")
    assert content(tmp_path / "back.hdf5") == content(tmp_path / "ours.hdf5")
    with h5py.File(REAL) as root, h5py.File(tmp_path / "ours.hdf5") as ours:
        np.testing.assert_array_equal(root["rewards"], ours["_meta/rew"])
        np.testing.assert_array_equal(root["infos/qpos"], ours["source/rows/infos/qpos"])
