"""Stable-Baselines3 takes the environments as they are: its checker, its wrappers, a short PPO."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FlattenObservation
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from gym_trade import Market, metrics
from tests import markets
from tests.rollouts import CLASSES, SMALL, scalar

MARKET = Market(markets.bars(600))
NEAR = {"stoploss_levels": (-0.004, -0.01), "takeprofit_levels": (0.006,), "allow_short": True}
KINDS = {
    "Sequential": {"leverage": 3}, "SLTP": NEAR, "OneStep": NEAR | {"rollout_steps": 6},
}  # fmt: skip
CONTINUOUS = {"action_type": "continuous", "allow_short": True}
CASES = [*KINDS.items(), ("Sequential", CONTINUOUS), ("Sequential", {"observation": "index"})]


@pytest.mark.parametrize("observation", ["dict", "flat"])
@pytest.mark.parametrize("kind, arguments", CASES, ids=str)
def test_its_checker_is_content(kind, arguments, observation):
    """Flat ones without a word; a dict's windows are matrices, of which it warns."""
    arguments = {"observation": observation} | arguments
    env = gym.make(f"Trade-{kind}-v0", df=MARKET, render_mode="rgb_array", **SMALL, **arguments)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(env.unwrapped, skip_render_check=False)
    windows = 1 if arguments["observation"] == "dict" else 0
    assert ["unconventional shape" in str(warning.message) for warning in said] == [True] * windows


POLICIES = {
    "dict levels": ("MultiInputPolicy", "Sequential", {"leverage": 3}),
    "dict continuous": ("MultiInputPolicy", "Sequential", CONTINUOUS),
    "flat brackets": ("MlpPolicy", "SLTP", NEAR | {"observation": "flat"}),
    "flattened rollouts": ("MlpPolicy", "OneStep", NEAR | {"rollout_steps": 6}),
}  # fmt: skip


@pytest.mark.parametrize("policy, kind, arguments", POLICIES.values(), ids=POLICIES)
def test_a_short_ppo(policy, kind, arguments):
    env = scalar(MARKET, kind, episode_steps=20, **arguments)
    if policy == "MlpPolicy" and "observation" not in arguments:
        env = FlattenObservation(env)
    model = PPO(policy, env, n_steps=32, batch_size=32, n_epochs=2, seed=0, device="cpu",
                policy_kwargs={"net_arch": [8]})  # fmt: skip
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(96)
    assert model.num_timesteps == 96
    assert len(model.ep_info_buffer) == (96 if kind == "OneStep" else 4)
    after = list(model.policy.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert any((one != two).any() for one, two in zip(before, after, strict=True))
    observation, _ = env.reset(seed=1)
    action, _ = model.predict(observation, deterministic=True)
    assert env.action_space.contains(action if action.ndim else np.int64(action))
    assert np.isfinite(env.step(action)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_its_vectors_of_scalar_environments(kind):
    """They share the market, seed lane i with s + i, and hand on the last observation and info."""
    arguments = SMALL | KINDS[kind] | {"df": MARKET, "observation": "flat", "episode_steps": 5}
    env = make_vec_env(CLASSES[kind][0], n_envs=2, seed=3, env_kwargs=arguments)
    assert all(lane.unwrapped.markets[0] is MARKET for lane in env.envs)
    twins = [CLASSES[kind][0](**arguments) for _ in range(2)]
    batch = env.reset()
    for lane, twin in enumerate(twins):
        np.testing.assert_array_equal(batch[lane], twin.reset(seed=3 + lane)[0])
    normal = VecNormalize(env)
    normal.reset()
    for twin in twins:
        twin.reset()
    ends = 0
    for step in range(12):
        actions = np.array([step % 3, (step + 1) % 3])
        _, _, dones, infos = normal.step(actions)
        batch, rewards = normal.get_original_obs(), normal.get_original_reward()
        for lane, twin in enumerate(twins):
            observation, reward, terminated, truncated, info = twin.step(int(actions[lane]))
            assert rewards[lane] == np.float32(reward)
            assert dones[lane] == (terminated or truncated)
            assert infos[lane]["portfolio_value"] == info["portfolio_value"]
            if dones[lane]:
                ends += 1
                last = normal.unnormalize_obs(infos[lane]["terminal_observation"])
                np.testing.assert_allclose(last, observation, rtol=1e-3, atol=1e-3)
                assert infos[lane]["metrics"].keys() == set(metrics.NAMES)
                assert infos[lane]["TimeLimit.truncated"] == (kind != "OneStep")
                observation, _ = twin.reset()
            np.testing.assert_array_equal(batch[lane], observation)
    assert ends == (24 if kind == "OneStep" else 4)
    normal.close()
