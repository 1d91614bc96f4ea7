"""The table of D4RL's files."""

from __future__ import annotations

import json
import shutil

import gymnasium as gym
import h5py
import numpy as np
import pytest

from benchmarks import d4rl
from benchmarks.d4rl_tables import results_table
from benchmarks.machine import describe_machine
from tests.real_data import FORMATS, needs

pytest.importorskip("mujoco")
HOPPER = FORMATS / "d4rl_hopper_medium-v2.hdf5"
BUDGET = ["--epoch", "1", "--update-per-epoch", "3", "--seeds", "2", "--norm-obs", "both"]
SMALL = ["--", "--hidden-sizes", "8", "--batch-size", "8", "--num-test-envs", "1"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Random steps of a hopper as D4RL stores them, and a file of something else."""
    folder = tmp_path_factory.mktemp("d4rl")
    env, made = gym.make("Hopper-v5", max_episode_steps=20), []
    env.action_space.seed(0)
    for seed in range(3):
        seen, over = env.reset(seed=seed)[0], False
        while not over:
            action = env.action_space.sample()
            after, reward, terminated, truncated, _ = env.step(action)
            made.append((seen, action, reward, terminated, truncated, after))
            seen, over = after, terminated or truncated
    names = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")
    with h5py.File(folder / "hopper_random-v2.hdf5", "w") as root:
        for name, values in zip(names, zip(*made, strict=True), strict=True):
            root[name] = np.array(values)
    (folder / "kitchen_mixed-v0.hdf5").touch()
    return folder


def run(source, folder, *flags, more=()):
    words = ["--dataset-dir", str(source), "--folder", str(folder), *BUDGET]
    return d4rl.main([*words, *flags, *SMALL, *more])


def test_every_run_is_made_once_and_stands_in_the_table(source, tmp_path, capsys):
    assert run(source, tmp_path, "--methods", "il", "--jobs", "2") == 0
    out = capsys.readouterr().out
    files = sorted(tmp_path.glob("hopper-random-v2/*/seed*.json"))
    assert len(files) == 2 * 2  # seeds, with and without normalisation
    for name in ("il", "*behaviour*"):
        assert f"| hopper-random-v2: {name} |" in out
    one = json.loads((tmp_path / "hopper-random-v2/il/seed0.json").read_text())
    other = json.loads((tmp_path / "hopper-random-v2/il/seed1.json").read_text())
    mean = np.mean([one["score"]["best"], other["score"]["best"]])
    assert f"{mean:.1f} ±" in out
    expected = 100 * (np.mean(one["returns"]["best"]) + 20.272305) / (3234.3 + 20.272305)
    assert one["score"]["best"] == pytest.approx(expected)
    result = json.loads((tmp_path / "d4rl.json").read_text())
    assert result["seeds"] == [0, 1] and result["missing"] == []
    assert [row["norm_obs"] for row in result["rows"]] == [True, False]
    row = result["rows"][0]
    assert row["score"]["best"] == [one["score"]["best"], other["score"]["best"]]
    assert row["returns"]["last"][0] == pytest.approx(np.mean(one["returns"]["last"]))
    before = {path: path.stat().st_mtime_ns for path in files}
    assert run(source, tmp_path, "--methods", "il") == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert capsys.readouterr().out == out


def test_a_run_that_fails_is_told(source, tmp_path, capsys):
    flags = ["--methods", "il", "dt", "--seeds", "1", "--norm-obs", "1"]
    # the transformer has no such flag
    assert run(source, tmp_path, *flags, more=["--norm-reward", "0"]) == 1
    captured = capsys.readouterr()
    assert "hopper-random-v2/dt/seed0: exit code 1; see" in captured.err
    assert "| hopper-random-v2: il |" in captured.out and "dt |" not in captured.out
    assert "norm-reward" in (tmp_path / "hopper-random-v2/dt/seed0.txt").read_text()
    assert "Runs that are missing: 1." in captured.out
    result = json.loads((tmp_path / "d4rl.json").read_text())
    assert result["missing"] == ["hopper-random-v2/dt/seed0"]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("hopper_medium-v2", b"not HDF5", "is not an HDF5 file"),
    ("hopper_medium-v2", None, "has none of hopper_medium-v2.hdf5"),
    ("walker2d_random-v2", "hopper", "have 11 numbers, those of Walker2d-v5 17"),
])  # fmt: skip
def test_a_file_that_cannot_serve_is_told_before_anything_is_run(
    name, content, message, source, tmp_path, capsys
):
    folder = tmp_path / "files"
    shutil.copytree(source, folder)
    bad = folder / f"{name}.hdf5"
    if content is None:
        bad.symlink_to(folder / "gone.hdf5")
    elif content == "hopper":
        shutil.copy(folder / "hopper_random-v2.hdf5", bad)
    else:
        bad.write_bytes(content)
    assert run(folder, tmp_path / "made", "--methods", "il") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: dataset {name.replace('_', '-')}: ") and message in error
    assert "--datasets" in error and error.count("\n") == 1
    assert not (tmp_path / "made").exists()


@needs(HOPPER)
def test_a_real_file(tmp_path, capsys):
    (tmp_path / "hopper_medium-v2.hdf5").symlink_to(HOPPER)
    flags = ["--methods", "td3_bc", "--seeds", "1", "--norm-obs", "1"]
    assert run(tmp_path, tmp_path / "made", *flags) == 0
    out = capsys.readouterr().out
    assert "| hopper-medium-v2: td3_bc |" in out
    assert "| hopper-medium-v2: *behaviour* | 44.8 (1439.0) | - | - | - |" in out


def test_the_table_tells_missing_seeds_and_references():
    row = {"dataset": "hopper-random-v2", "method": "il", "norm_obs": True, "seeds": [0, 2],
           "returns": {"best": [1.0, 3.0], "last": [5.0, 5.0]}, "commits": ["c"]}  # fmt: skip
    raw = row | {"norm_obs": False, "score": {"best": [10.0, 20.0], "last": [30.0, 30.0]}}
    result = {
        "rows": [row | {"score": None}, raw], "seeds": [0, 1, 2], "missing": ["a", "b"],
        "behaviour": {"hopper-random-v2": {"return": 7.0, "score": None}},
        "machine": describe_machine(),
    }  # fmt: skip
    _, _, il, behaviour, *_ = results_table(result).splitlines()
    cells = ["- (2.0 ± 1.4)", "- (5.0 ± 0.0)", "15.0 ± 7.1 (2.0 ± 1.4)", "30.0 ± 0.0 (5.0 ± 0.0)"]
    told = " | ".join(f"{cell}, 2 of 3 seeds" for cell in cells)
    assert il == f"| hopper-random-v2: il | {told} |"
    assert behaviour == "| hopper-random-v2: *behaviour* | - (7.0) | - | - | - |"


@pytest.mark.parametrize(("flags", "message"), [
    (["--datasets", "hopper-expert-v2"], "has hopper-random-v2"),
    (["--seeds", "0"], "at least 1"),
    (["--dataset-dir", "nowhere"], "--dataset-dir nowhere is no folder"),
    (["--dataset-dir", "."], "has no file of halfcheetah"),
    (["--methods", "sac"], "invalid choice"),
])  # fmt: skip
def test_bad_flags(flags, message, source, tmp_path, capsys):
    assert run(source, tmp_path / "made", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "made").exists()


def test_flags_that_no_method_takes_are_refused_before_anything_is_run(source, tmp_path, capsys):
    flags = ["--methods", "il", "dt", "--seeds", "1"]
    assert run(source, tmp_path / "made", *flags, more=["--learning-speed", "3"]) == 2
    assert capsys.readouterr().err.startswith("error: unrecognized arguments: --learning-speed 3")
    assert not (tmp_path / "made").exists()
