"""D4RL's datasets by name, from the command line."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import gymnasium as gym
import h5py
import numpy as np
import pytest

from data_tools import gym_environments
from data_tools.gym_environments import make_environment
from tests.offline_algos import scripts, trained
from tests.offline_algos.scripts import TINY
from tests.real_data import FORMATS, needs

HOPPER = FORMATS / "d4rl_hopper_medium-v2.hdf5"
CONTINUOUS = [name for name in scripts.NAMES if name.startswith("d4rl")]


def pendulum(path: Path) -> Path:
    """Random steps of a pendulum, in D4RL's layout: two whole episodes of 30 steps."""
    env, made = gym.make("Pendulum-v1", max_episode_steps=30), []
    env.action_space.seed(0)
    for seed in (0, 1):
        observation, over = env.reset(seed=seed)[0], False
        while not over:
            action = env.action_space.sample()
            following, reward, _, over, _ = env.step(action)
            made.append((observation, action, reward, False, over, following))
            observation = following
    names = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")
    with h5py.File(path, "w") as root:
        for name, values in zip(names, zip(*made, strict=True), strict=True):
            root[name] = np.array(values)
    return path


def run(name: str, *flags: str) -> int:
    small = [*TINY, "--epoch", "1", "--num-test-envs", "1", *scripts.SMALL.get(name[-2:], [])]
    code: int = importlib.import_module(f"offline_algos.{name}").main([*small, *flags])
    return code


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_dataset_by_its_name(name, tmp_path, capsys):
    path = pendulum(tmp_path / "pendulum_random-v0.hdf5")
    flags = ["--expert-data-task", "pendulum-random-v0", "--dataset-dir", str(tmp_path)]
    assert run(name, *flags, "--task", "Pendulum-v1", "--logdir", str(tmp_path)) == 0
    assert "D4RL file: 60 transitions, 2 episodes" in capsys.readouterr().out
    _, result = scripts.only_result(tmp_path)
    assert result["task"] == "Pendulum-v1" and "normalised_score" not in result
    assert result["dataset"]["path"] == str(path) and result["dataset"]["transitions"] == 60
    assert result["behavior_episodes"] == 2
    assert result["dataset"]["provenance"]["source"]["name"] == "pendulum-random-v0"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "one of the arguments --load-buffer-name --expert-data-task is required"),
        (["--load-buffer-name", "x", "--expert-data-task", "y"], "not allowed with"),
        (["--load-buffer-name", "x"], "--dataset-dir is where --expert-data-task NAME looks"),
        (["--expert-data-task", "hopper-medium-v2"], "has none of hopper_medium-v2.hdf5"),
        (["--expert-data-task", "kitchen-mixed-v0"], "Name the one to judge in with --task"),
    ],
)
def test_refusals(flags, message, tmp_path, capsys):
    place = ["--dataset-dir", str(tmp_path), "--logdir", str(tmp_path)]
    assert run("d4rl_style_il", *flags, *place) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())


def test_the_default_folder_is_the_user_s_and_help_does_not_say_who_that_is(
    tmp_path, monkeypatch, capsys
):
    home = tmp_path / "home"
    folder = home / ".d4rl/datasets"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("D4RL_DATASET_DIR", raising=False)
    assert run("d4rl_style_il", "--expert-data-task", "hopper-medium-v2") == 2
    assert f"{folder} has none of hopper_medium-v2.hdf5" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("d4rl_style_il", "--help")
    shown = capsys.readouterr().out
    assert "~/.d4rl/datasets" in shown and str(home) not in shown


def test_discrete_scripts_do_not_know_the_flag(capsys):
    assert run("atari_style_il", "--load-buffer-name", "x", "--expert-data-task", "y") == 2
    assert "--expert-data-task" in capsys.readouterr().err


@needs(HOPPER)
def test_a_real_file_trains(tmp_path):
    pytest.importorskip("mujoco")
    (tmp_path / "hopper_medium-v2.hdf5").symlink_to(HOPPER)
    flags = ["--expert-data-task", "hopper-medium-v2", "--dataset-dir", str(tmp_path)]
    assert run("d4rl_style_il", *flags, "--logdir", str(tmp_path)) == 0
    path, result = scripts.only_result(tmp_path)
    score = json.loads((path / "result.json").read_text())["normalised_score"]
    assert result["task"] == "Hopper-v5"
    assert score["behavior"] == pytest.approx(100 * (1438.957 + 20.272305) / 3254.572305, abs=0.01)
    last = 100 * (result["test"]["last"]["return"] + 20.272305) / 3254.572305
    assert score["last"] == pytest.approx(last)


def test_a_robot_from_its_expert_to_a_judged_checkpoint(tmp_path, capsys, monkeypatch):
    """As a user goes: train an expert, record it, learn from that, judge it."""
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    task, logs = ["--task", "Walker2d-v5"], ["--logger", "none", "--num-test-envs", "1"]
    rate = ["--update-per-step", "0.1", "--step-per-epoch", "120", "--epoch", "1"]
    assert scripts.explore("d4rl_style_sac", tmp_path / "sac", *task, *rate, *logs) == 0
    (expert,) = scripts.results(tmp_path / "sac")
    use = ["--watch", "--resume-path", expert.parent, "--buffer-size", "64"]
    assert trained.use("d4rl_style_sac", *use, "--save-buffer-name", "walker.hdf5") == 0
    made = ["--load-buffer-name", "walker.hdf5", "--logdir", "log", *logs]
    assert run("d4rl_style_td3_bc", *made) == 0
    (learnt,) = scripts.results(tmp_path / "log")
    assert learnt.parent.parent == tmp_path / "log/Walker2d-v5/td3_bc"
    capsys.readouterr()
    assert trained.use("d4rl_style_td3_bc", "--eval-only", "--resume-path", learnt.parent) == 0
    said = capsys.readouterr().out
    judged = trained.last_json(said)["test"]["policy"]["return"]
    assert judged == json.loads(learnt.read_text())["test"]["best"]["return"]
    assert "D4RL's normalised score" in said


def test_what_mujoco_warns_of_is_said_once_and_only_if_it_helps(tmp_path, capfd, monkeypatch):
    mujoco = pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    make_environment("HalfCheetah-v5").close()  # its model has an attribute that is deprecated
    assert capfd.readouterr().err == "" and not list(tmp_path.iterdir())
    warn = mujoco.get_mju_user_warning()
    monkeypatch.setattr(gym_environments, "_MUJOCO_SAID", set())
    for time in ("0.1", "2.35"):
        warn(f"Nan, Inf or huge value in QACC at DOF 0. Time = {time}.")
        warn("compiler attribute 'settotalmass' is deprecated")
    error = capfd.readouterr().err
    assert error == "MuJoCo: Nan, Inf or huge value in QACC at DOF 0. Time = 0.1.\n"


@pytest.mark.parametrize("task", ["HalfCheetah-v5", "Walker2d-v5", "Hopper-v5"])
def test_the_robots_move(task):
    pytest.importorskip("mujoco")
    env = make_environment(task)
    observation, _ = env.reset(seed=0)
    following, *_ = env.step(env.action_space.sample())
    assert following.shape == observation.shape and (following != observation).any()
