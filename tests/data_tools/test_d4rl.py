"""D4RL's files: every trap that real ones have, and every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_tools.buffers import TensorReplayBuffer
from data_tools.d4rl import read_d4rl
from data_tools.d4rl_tasks import find_file, normalised_score, task_of
from data_tools.flat_layout import DatasetError
from data_tools.provenance_schema import find_fault
from tests.real_data import FORMATS, needs

HOPPER = FORMATS / "d4rl_hopper_medium-v2.hdf5"


def columns(ends: str) -> dict[str, Any]:
    """Episodes whose rows' ends are spelled: "." goes on, "d" died, "t" ran out of time."""
    rng = np.random.default_rng(0)
    obs, following = [], []
    current = rng.normal(size=3)
    for end in ends:
        obs.append(current)
        following.append(rng.normal(size=3))
        current = following[-1] if end == "." else rng.normal(size=3)
    marks = np.array(list(ends))
    return {
        "observations": np.array(obs, np.float32),
        "actions": rng.uniform(-1, 1, (len(ends), 2)).astype(np.float32),
        "rewards": rng.normal(size=len(ends)).astype(np.float32),
        "terminals": marks == "d",
        "timeouts": marks == "t",
        "next_observations": np.array(following, np.float32),
    }


def write(path: Path, made: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as root:
        for name, values in made.items():
            root[name] = values
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hopper_medium-v2.hdf5"


def test_columns_become_transitions(path: Path) -> None:
    made = columns("..d...t.d..")
    extra = {"infos/goal": np.zeros((11, 2)), "metadata/algorithm": "SAC", "virtual": np.zeros(3)}
    buffer, facts = read_d4rl(write(path, made | extra))
    np.testing.assert_array_equal(buffer.obs, made["observations"])
    np.testing.assert_array_equal(buffer.act, made["actions"])
    np.testing.assert_array_equal(buffer.rew, made["rewards"].astype(np.float64))
    np.testing.assert_array_equal(buffer.obs_next, made["next_observations"])
    np.testing.assert_array_equal(buffer.terminated, made["terminals"])
    # the file ends in the middle of an episode: cut there, not dead
    np.testing.assert_array_equal(np.flatnonzero(buffer.truncated), [6, 10])
    np.testing.assert_array_equal(np.flatnonzero(buffer.done), [2, 6, 8, 10])
    assert buffer.obs.dtype == buffer.act.dtype == np.float32 and buffer.rew.dtype == np.float64
    assert (facts.complete_episodes, facts.cut_episodes, facts.dropped) == (3, 1, 0)
    returns = [part.sum() for part in np.split(made["rewards"].astype(np.float64), [3, 7, 9])][:3]
    assert facts.behavior_return == pytest.approx(np.mean(returns))
    assert facts.behavior_return_std == pytest.approx(np.std(returns))
    assert facts.timeouts == "column"
    assert find_fault(facts.provenance("hopper-medium-v2", "Hopper-v5", buffer)) is None
    # what is trained on holds them once and gives them back
    held = TensorReplayBuffer(buffer)
    np.testing.assert_array_equal(held.sample(0)[0].obs_next.numpy(), made["next_observations"])


@pytest.mark.parametrize("dtype", [np.float64, np.int8, np.bool_])
def test_flags_and_rewards_in_other_types_and_shapes(path: Path, dtype: type) -> None:
    made = columns("..d..t..d")
    for name in ("terminals", "timeouts"):
        made[name] = made[name].astype(dtype)[:, None]
    made["rewards"] = made["rewards"].astype(np.float64)[:, None]
    made["observations"] = made["observations"].astype(np.float64)
    buffer, facts = read_d4rl(write(path, made))
    assert buffer.rew.shape == buffer.terminated.shape == (9,)
    np.testing.assert_array_equal(np.flatnonzero(buffer.terminated), [2, 8])
    np.testing.assert_array_equal(np.flatnonzero(buffer.truncated), [5])
    assert buffer.obs.dtype == np.float32 and facts.cut_episodes == 0


def test_without_timeouts_an_episode_ends_where_it_does_not_continue(path: Path) -> None:
    made = columns("..d...t..t.d")
    del made["timeouts"]
    buffer, facts = read_d4rl(write(path, made))
    np.testing.assert_array_equal(np.flatnonzero(buffer.truncated), [6, 9])
    np.testing.assert_array_equal(np.flatnonzero(buffer.terminated), [2, 11])
    np.testing.assert_array_equal(buffer.obs_next, made["next_observations"])
    assert facts.timeouts == "observations" and "does not continue" in facts.describe()


def test_ends_that_timeouts_do_not_show(path: Path) -> None:
    made = columns("...t..t.d")
    made["timeouts"][3] = False
    buffer, facts = read_d4rl(write(path, made))
    np.testing.assert_array_equal(np.flatnonzero(buffer.truncated), [3, 6])
    assert facts.timeouts == "observations and column"


def test_without_next_observations_what_is_unknown_is_left_out(path: Path) -> None:
    made = columns("..d...t.dt..")
    following = made.pop("next_observations")
    buffer, facts = read_d4rl(write(path, made))
    kept = [0, 1, 2, 3, 4, 5, 7, 8, 10]  # not the timeouts, nor the last row
    np.testing.assert_array_equal(buffer.obs, made["observations"][kept])
    np.testing.assert_array_equal(buffer.rew, made["rewards"][kept].astype(np.float64))
    alive = ~buffer.terminated
    np.testing.assert_array_equal(buffer.obs_next[alive], following[kept][alive])
    np.testing.assert_array_equal(np.flatnonzero(buffer.terminated), [2, 7])
    np.testing.assert_array_equal(np.flatnonzero(buffer.truncated), [5, 8])
    assert facts.dropped == 3 and "3 rows left out" in facts.describe()
    # an episode's return has the rewards of rows that were left out
    totals = np.split(made["rewards"].astype(np.float64), [3, 7, 9, 10])
    assert facts.behavior_return == pytest.approx(np.mean([part.sum() for part in totals[:4]]))


def test_with_neither_only_the_time_limit_helps(path: Path) -> None:
    made = columns("...t..d...t.")
    del made["next_observations"], made["timeouts"]
    write(path, made)
    with pytest.raises(DatasetError, match="neither timeouts nor next_observations"):
        read_d4rl(path)
    buffer, facts = read_d4rl(path, time_limit=4)
    np.testing.assert_array_equal(buffer.rew, made["rewards"][[0, 1, 2, 4, 5, 6, 7, 8, 9]])
    np.testing.assert_array_equal(np.flatnonzero(buffer.truncated), [2, 8])
    assert facts.timeouts == "time limit"


def test_a_last_row_that_was_cut(path: Path) -> None:
    made = columns("..t...")
    made["rewards"] = made["rewards"][:-1]
    buffer, _ = read_d4rl(write(path, made))
    assert len(buffer) == 5 and buffer.truncated[-1]


def with_value(name: str, row: int, value: float) -> Any:
    def change(made: dict[str, Any]) -> None:
        made[name] = made[name].astype(np.float64)
        made[name][row] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_value("observations", 4, np.nan), "observations of row 4 is nan"),
        (with_value("next_observations", 4, np.inf), "next_observations of row 4 is inf"),
        (with_value("rewards", 2, np.nan), "rewards of row 2 is nan"),
        (with_value("terminals", 1, 0.5), "terminals of row 1 is 0.5. Expected 0 or 1"),
        (with_value("timeouts", 1, np.nan), "timeouts of row 1 is nan"),
        (lambda made: made.pop("terminals"), "lacks terminals. Keys seen: actions, next_"),
        (lambda made: made.update(rewards=made["rewards"][:-2]), "differ in length"),
        (lambda made: made.update(actions=made["actions"][:, 0]), r"actions has shape \(6,\)"),
        (lambda made: made.update(observations=np.array([b"x"] * 6, object)), "plain numbers"),
        (lambda made: made.update(rewards=h5py.SoftLink("/actions")), "is a link"),
        (lambda made: made.update({k: v[:0] for k, v in made.items()}), "it holds 0 rows"),
    ],
)
def test_refusals(path: Path, change: Any, message: str) -> None:
    made = columns("..t..d")
    change(made)
    with pytest.raises(DatasetError, match=message) as caught:
        read_d4rl(write(path, made))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_file_and_no_hdf5(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        read_d4rl(tmp_path / "none.hdf5")
    (tmp_path / "text.hdf5").write_text("hello")
    with pytest.raises(DatasetError, match="not an HDF5 file"):
        read_d4rl(tmp_path / "text.hdf5")


@needs(HOPPER)
def test_a_real_file() -> None:
    buffer, facts = read_d4rl(HOPPER)
    with h5py.File(HOPPER) as root:
        np.testing.assert_array_equal(buffer.obs_next, root["next_observations"])
    np.testing.assert_array_equal(np.flatnonzero(buffer.terminated), [469, 910])
    assert not buffer.truncated.any() and facts.complete_episodes == 2
    assert (facts.rows, facts.dropped, facts.timeouts) == (911, 0, "column")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hopper-medium-v2", "hopper_medium-v2.hdf5"),
        ("halfcheetah-medium-expert-v2", "halfcheetah_medium_expert-v2.hdf5"),
        ("walker2d-random-v0", "walker2d_random.hdf5"),
        ("ant-medium-v2", "ant-medium-v2.hdf5"),
        ("own", "own.hdf5"),
    ],
)
def test_names_and_files(tmp_path: Path, name: str, file: str) -> None:
    with pytest.raises(DatasetError, match=f"{name}: .* has none of .*--dataset-dir"):
        find_file(name, tmp_path)
    (tmp_path / file).write_bytes(b"")
    assert find_file(name, tmp_path) == tmp_path / file


def test_a_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected D4RL's name"):
        find_file("../hopper-medium-v2", tmp_path)


def test_tasks_and_scores() -> None:
    assert task_of("halfcheetah-medium-replay-v2") == "HalfCheetah-v5"
    with pytest.raises(DatasetError, match=r"no Gymnasium task is known for it.*--task"):
        task_of("antmaze-umaze-v2")
    score = normalised_score("Hopper-v5", {"random": -20.272305, "best": 3234.3, "none": None})
    assert score is not None and score["none"] is None
    assert (score["random"], score["best"]) == (0.0, 100.0)
    assert "infos.py" in score["source"] and "Hopper-v2" in score["note"]
    assert normalised_score("HopperBullet-v5", {}) is None
    assert normalised_score("CartPole-v1", {"best": 1.0}) is None
