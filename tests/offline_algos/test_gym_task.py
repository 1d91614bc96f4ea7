"""Tasks that are no markets: CartPole and Pendulum, from datasets to results."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.controllers import balance, swing_up
from data_tools import describe
from data_tools.hdf5 import load_buffer
from data_tools.rollouts import record
from offline_algos.gym_task import RandomPolicy, open_gym_task
from tests.offline_algos import scripts


@pytest.fixture(scope="module")
def cart_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gym") / "cart.hdf5"
    noise = np.linspace(0.1, 1.0, 8)
    record("CartPole-v1", partial(balance, noise=noise), path, buffer_size=3000,
           policy={"name": "balance"})  # fmt: skip
    return path


@pytest.fixture(scope="module")
def pendulum_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gym") / "pendulum.hdf5"
    record("Pendulum-v1", partial(swing_up, noise=0.2), path, buffer_size=1200, num_envs=4,
           policy={"name": "swing-up"})  # fmt: skip
    return path


def test_a_cart_is_balanced_from_noisy_data(cart_file, tmp_path, capsys):
    flags = ["--update-per-epoch", "400", "--hidden-sizes", "64", "--lr", "1e-3"]
    assert scripts.run("atari_style_il", cart_file, tmp_path, *flags) == 0
    _, result = scripts.only_result(tmp_path)
    assert result["task"] == "CartPole-v1" and result["action_space"] == {"n": 2}
    best, random = result["test"]["best"], result["test"]["baselines"]["random"]
    assert len(best["returns"]) == 10 and best["return"] == np.mean(best["returns"])
    assert best["return"] > 200 > result["behavior_return"] > random["return"]
    assert "behaviour" in capsys.readouterr().out


def test_a_pendulum_s_torque_is_that_of_its_box(pendulum_file, tmp_path):
    name = next(name for name in scripts.NAMES if name.startswith("d4rl"))
    assert scripts.run(name, pendulum_file, tmp_path) == 0
    directory, result = scripts.only_result(tmp_path)
    assert result["action_space"] == {"low": [-2.0], "high": [2.0]}
    actor = scripts.load_policy(directory / "last.pth")
    actions = actor.act(np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32))
    assert actions.shape == (100, 1) and np.abs(actions).max() <= 2.0


def test_every_policy_meets_the_same_episodes():
    task = open_gym_task("CartPole-v1", 4)
    first, second = (task.returns(RandomPolicy(task.action_space)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (4,) and len(set(first.tolist())) > 1


def test_recorded_transitions_are_the_environment_s(tmp_path, cart_file):
    buffer, provenance = load_buffer(cart_file)
    assert provenance["task"] == "CartPole-v1" and "market" not in provenance
    env = gym.make("CartPole-v1").unwrapped
    for row in range(0, 3000, 97):
        env.reset(seed=0)
        env.state, env.steps_beyond_terminated = buffer.obs[row].astype(np.float64), None
        following, reward, terminated, _, _ = env.step(int(buffer.act[row]))
        np.testing.assert_allclose(following, buffer.obs_next[row], atol=1e-5)
        assert (reward, terminated) == (buffer.rew[row], buffer.terminated[row])
    ends = np.flatnonzero(buffer.done)
    starts = np.concatenate(([0], ends[:-1] + 1))
    for start, end in zip(starts, ends, strict=True):
        np.testing.assert_array_equal(buffer.obs[start + 1 : end + 1], buffer.obs_next[start:end])
    lengths = ends - starts + 1
    assert lengths.max() <= 500 and buffer.truncated[ends].any() and buffer.terminated[ends].any()
    record("CartPole-v1", partial(balance, noise=np.linspace(0.1, 1.0, 8)), tmp_path / "again.hdf5",
           buffer_size=3000, policy={"name": "balance"})  # fmt: skip
    assert (tmp_path / "again.hdf5").read_bytes() == cart_file.read_bytes()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task", "Pendulum-v1"], "--task Pendulum-v1, but the dataset was made in CartPole-v1"),
        (["--task", "Trade-Sequential-v0"], "but the dataset was made in CartPole-v1"),
        (["--num-test-envs", "0"], "--num-test-envs"),
    ],
)
def test_what_does_not_fit(flags, message, cart_file, tmp_path, capsys):
    assert scripts.run("atari_style_il", cart_file, tmp_path, *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("Nowhere-v0", "--task Nowhere-v0: "),
        ("FrozenLake-v1", "observations are Discrete"),
    ],
)
def test_tasks_that_cannot_be_learned(task, message):
    with pytest.raises(ValueError, match=message):
        open_gym_task(task, 2)


def test_such_a_dataset_can_be_described(pendulum_file, capsys):
    assert describe.main([str(pendulum_file)]) == 0
    out = capsys.readouterr().out
    assert "Pendulum-v1" in out and "swing-up" in out and "4 environments" in out
