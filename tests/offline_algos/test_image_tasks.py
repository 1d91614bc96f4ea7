"""Training on images: files of stock Tianshou, recorded tasks, an Atari game."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from tianshou.data import ReplayBuffer

from data_tools.buffers import TensorReplayBuffer
from data_tools.gym_environments import make_environment
from data_tools.hdf5 import load_buffer
from data_tools.rollouts import record
from offline_algos import atari_style_il, export
from offline_algos.checkpoint import load_policy
from offline_algos.gym_task import GymTask, RandomPolicy, open_gym_task
from offline_algos.normalisation import Normaliser
from tests import image_tasks
from tests.image_tasks import FRAMES, SIDE, STACK
from tests.offline_algos import scripts

SHAPE = (STACK, SIDE, SIDE)
SHORT = ["--epoch", "1", "--update-per-epoch", "3", "--batch-size", "8", "--num-test-envs", "2"]
GAME = "ShortPong-v0"


@pytest.fixture(autouse=True)
def registered() -> None:
    image_tasks.register()


@pytest.fixture(scope="module")
def tianshou_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stock = ReplayBuffer(60, stack_num=STACK, save_only_last_obs=True, ignore_obs_next=True)
    path = tmp_path_factory.mktemp("images") / "frames.hdf5"
    return image_tasks.save(image_tasks.fill(stock, image_tasks.walk(60)), path)


def few(observations: Any, generator: np.random.Generator) -> Any:
    assert observations.dtype == np.uint8 and observations.ndim == 4
    return generator.integers(0, 3, len(observations))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image_tasks.register()
    path = tmp_path_factory.mktemp("recorded") / "frames.hdf5"
    record(FRAMES, few, path, buffer_size=70, policy={"name": "random"}, num_envs=2)
    return path


@pytest.mark.parametrize("name", ["atari_style_il", "atari_style_cql", "atari_style_dt"])
def test_a_file_of_stock_tianshou_trains(name, tianshou_file, tmp_path, capsys):
    assert scripts.run(name, tianshou_file, tmp_path, "--task", FRAMES, *SHORT) == 0
    out = capsys.readouterr().out
    assert "divides pixels by 255" in out and "stores no obs_next:" in out
    directory, result = scripts.only_result(tmp_path)
    assert result["arguments"]["encoder"] == "nature"
    assert result["layout"] == [["observation", 0, STACK * SIDE * SIDE, list(SHAPE)]]
    actor = load_policy(directory / "last.pth").actor
    assert torch.equal(actor.normaliser.std.unique(), torch.tensor([255.0], dtype=torch.float64))
    assert any(weight.shape == (32, STACK, 8, 8) for weight in actor.parameters())


@pytest.mark.parametrize(
    ("flags", "encoder", "scale"),
    [(["--norm-obs", "0"], "nature", 1.0), (["--encoder", "mlp"], "mlp", 255.0)],
)
def test_flags_say_otherwise(flags, encoder, scale, recorded, tmp_path):
    assert scripts.run("atari_style_il", recorded, tmp_path, *SHORT, *flags) == 0
    directory, result = scripts.only_result(tmp_path)
    assert result["arguments"]["encoder"] == encoder
    assert float(load_policy(directory / "last.pth").actor.normaliser.std.max()) == scale


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_policy_acts_on_stacks_and_is_exported(recorded, tmp_path):
    assert scripts.run("atari_style_cql", recorded, tmp_path, *SHORT) == 0
    directory, _ = scripts.only_result(tmp_path)
    policy = load_policy(directory / "policy.pth")
    stacks = np.random.default_rng(0).integers(0, 256, (7, *SHAPE), np.uint8)
    actions = policy.act(stacks)
    flat = stacks.reshape(7, -1).astype(np.float32)
    np.testing.assert_array_equal(policy.act(flat), actions)
    with pytest.raises(ValueError, match=r"expected \(n, 5184\)"):
        policy.act(stacks[:, :2])
    target = str(tmp_path / "policy.pt")
    assert export.main([str(directory / "policy.pth"), "--torchscript", target]) == 0
    np.testing.assert_array_equal(torch.jit.load(target)(torch.as_tensor(flat)).numpy(), actions)


def test_pixels_are_the_same_numbers_in_training_and_in_acting():
    pixels = torch.arange(256, dtype=torch.uint8)[None]
    normalised = Normaliser.pixels(256, 255.0)(pixels.to(torch.float32))
    assert torch.equal(normalised, pixels.to(torch.float32).div_(255.0))


def test_recorded_frames_are_the_task_s(recorded):
    buffer, provenance = load_buffer(recorded)
    assert buffer.stack_num == provenance["frame_stack"] == STACK
    assert buffer.obs.dtype == np.uint8 and buffer.obs.shape == (70, SIDE, SIDE)
    held, _ = TensorReplayBuffer.load(recorded)
    env = make_environment(FRAMES, SHAPE)
    for lane in (0, 1):
        observation, _ = env.reset(seed=lane)
        for row in range(35 * lane, 35 * lane + 35):
            drawn = held.rows(np.array([row]))
            np.testing.assert_array_equal(drawn.obs[0].numpy(), observation)
            observation, reward, died, late, _ = env.step(int(buffer.act[row]))
            np.testing.assert_array_equal(drawn.obs_next[0].numpy(), observation)
            assert (reward, died) == (buffer.rew[row], buffer.terminated[row])
            if died or late:
                assert buffer.done[row]
                observation, _ = env.reset()


def test_evaluation_sees_stacks_as_flat_numbers():
    task = open_gym_task(FRAMES, 2, SHAPE)
    assert isinstance(task, GymTask) and task.observation_space.shape == (STACK * SIDE * SIDE,)
    assert task.returns(RandomPolicy(task.action_space)).shape == (2,)


def test_another_task_is_refused(tianshou_file, tmp_path, capsys):
    gym.register("OtherFrames-v0", entry_point=lambda: gym.make("CartPole-v1").unwrapped)
    try:
        assert (
            scripts.run("atari_style_il", tianshou_file, tmp_path, "--task", "OtherFrames-v0") == 2
        )
    finally:
        del gym.registry["OtherFrames-v0"]
    assert "its observations have shape (4,), the dataset's (4, 36, 36)" in capsys.readouterr().err


def test_an_atari_game(tmp_path):
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    game = {"game": "pong", "frameskip": 4, "max_num_frames_per_episode": 80}
    gym.register(GAME, entry_point="ale_py.env:AtariEnv", kwargs=game)
    data = tmp_path / "pong.hdf5"
    try:
        record(GAME, few, data, buffer_size=50, policy={"name": "random"}, num_envs=2)
        buffer, _ = load_buffer(data)
        assert buffer.obs.shape == (50, 84, 84) and np.unique(buffer.obs).size > 3
        assert buffer.truncated.sum() >= 2 and not buffer.terminated.any()
        for name in ("atari_style_il", "atari_style_cql"):
            flags = [*SHORT, "--num-test-envs", "1", "--logger", "none"]
            assert scripts.run(name, data, tmp_path / name, *flags) == 0
            _, result = scripts.only_result(tmp_path / name)
            assert result["layout"][0][3] == [4, 84, 84] and result["task"] == GAME
    finally:
        del gym.registry[GAME]


@pytest.mark.parametrize(
    ("task", "module", "shape", "extra"),
    [
        ("HalfCheetah-v5", "mujoco", None, "mujoco"),
        ("ALE/Pong-v5", "ale_py", (4, 84, 84), "atari"),
        (GAME, "cv2", (4, 84, 84), "atari"),
    ],
)
def test_what_is_not_installed_is_named(task, module, shape, extra, monkeypatch):
    game = {"id": GAME, "entry_point": "ale_py.env:AtariEnv", "kwargs": {"game": "pong"}}
    if module == "cv2":
        pytest.importorskip("ale_py")
        monkeypatch.setitem(gym.registry, GAME, gym.envs.registration.EnvSpec(**game))
    else:
        monkeypatch.delitem(gym.registry, "ALE/Pong-v5", raising=False)
    for loaded in [name for name in sys.modules if name.startswith(f"gymnasium.envs.{module}")]:
        monkeypatch.delitem(sys.modules, loaded)  # of an earlier test
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"--task {task}: .*pip install -e '\.\[{extra}\]'"):
        make_environment(task, shape)


def test_an_image_policy_is_watched(recorded, tmp_path, capsys):
    assert scripts.run("atari_style_il", recorded, tmp_path, *SHORT) == 0
    directory, _ = scripts.only_result(tmp_path)
    flags = ["--watch", "--resume-path", str(directory), "--num-test-envs", "2"]
    capsys.readouterr()
    assert atari_style_il.main(flags) == 0
    assert "return of 2 episodes" in capsys.readouterr().out
