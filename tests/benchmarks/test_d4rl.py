"""The table of D4RL's files."""

from __future__ import annotations

import json

import gymnasium as gym
import h5py
import numpy as np
import pytest

from benchmarks import d4rl

pytest.importorskip("mujoco")
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


@pytest.mark.parametrize(("flags", "message"), [
    (["--datasets", "hopper-expert-v2"], "has hopper-random-v2"),
    (["--seeds", "0"], "at least 1"),
    (["--dataset-dir", "nowhere"], "has no file of halfcheetah"),
    (["--methods", "sac"], "invalid choice"),
])  # fmt: skip
def test_bad_flags(flags, message, source, tmp_path, capsys):
    assert run(source, tmp_path / "made", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "made").exists()
