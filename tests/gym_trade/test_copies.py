"""Copies of environments, in memory or by their spec, are the same environments."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

import gym_trade
from gym_trade import SLTPConfig
from tests.rollouts import (
    BRACKETED,
    CONFIGURATIONS,
    FRAMES,
    KINDS,
    NEAR,
    SMALL,
    assert_same,
    choices,
    configured,
    configured_scalar,
    draw,
    episodes,
    same_steps,
)
from tests.round_trips import assert_same_frames, frames_of

BRACKET_KINDS = ("SLTP", "OneStep")


# --- copies -----------------------------------------------------------------------------


def run(env, actions):
    """Step a vector environment; ended lanes are reset where it is for us to."""
    results = []
    for row in actions:
        results.append(env.step(row))
        ended = results[-1][2] | results[-1][3]
        if env.autoreset_mode is AutoresetMode.DISABLED and ended.any():
            results.append(env.reset(options={"reset_mask": ended}))
    return results


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda env: pickle.loads(pickle.dumps(env))}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_scalar_copy_in_mid_episode_continues_identically(name, duplicate):
    env = configured_scalar(name)
    draws = draw(configured(name, num_envs=1), np.random.default_rng(0), 24)
    before = 1 if env.config.rollout else 3
    for seed in range(9):
        env.reset(seed=seed)
        if not any(any(env.step(action)[2:4]) for action in draws[:before]) or env.config.rollout:
            break
    assert len(env.history()) > before
    twin = duplicate(env)
    assert_same_frames(frames_of(env), frames_of(twin))
    if env.config.rollout:
        assert_same(env.reset()[0], twin.reset()[0])
    results = []
    for each in (env, twin):
        results.append([])
        for action in draws[3:]:
            results[-1].append(each.step(action))
            if any(results[-1][-1][2:4]):
                results[-1].append(each.reset())
    same_steps(*results)
    assert_same_frames(frames_of(env), frames_of(twin))
    assert all(one is other for one, other in zip(env.markets, twin.markets, strict=True))


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", BRACKETED)
def test_a_vector_copy_in_mid_episode_continues_identically(name, mode, duplicate):
    env = configured(name, num_envs=4, autoreset_mode=mode, record_lane=1)
    rng = np.random.default_rng(0)
    actions = [draw(env, rng) for _ in range(14)]
    env.reset(seed=3)
    run(env, actions[:4])
    twin = duplicate(env)
    assert_same_frames(frames_of(env), frames_of(twin))
    same_steps(run(env, actions[4:]), run(twin, actions[4:]))
    assert_same_frames(frames_of(env), frames_of(twin))
    assert twin.engine.lanes is not env.engine.lanes


# --- specs ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BRACKET_KINDS)
def test_a_spec_makes_the_same_environment_again(kind):
    market = gym_trade.Market(FRAMES["one"])
    env = gym.make(f"gym_trade:Trade-{kind}-v0", df=market, max_episode_steps=3, **SMALL,
                   **KINDS[kind])  # fmt: skip
    for wrapped in (env, wrappers.FlattenObservation(env)):
        again = gym.make(wrapped.spec)
        assert type(again) is type(wrapped) and again.unwrapped.markets[0] is market
        assert again.unwrapped.config == env.unwrapped.config
        assert again.spec.max_episode_steps == 3
        actions = choices(env, 8)
        same_steps(episodes(wrapped, actions), episodes(again, actions))
    config = SLTPConfig(df=market, **SMALL, **NEAR)
    whole = gym.make("Trade-SLTP-v0", config=config)
    assert whole.unwrapped.config == config == gym.make(whole.spec).unwrapped.config


def test_a_spec_of_plain_arguments_goes_through_json():
    env = gym.make("Trade-SLTP-v0", leverage=3, stoploss_levels=[-0.01, -0.03])
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.config == env.unwrapped.config
    assert_same(env.reset(seed=1)[0], again.reset(seed=1)[0])


def test_nothing_has_to_be_imported_first():
    program = """import gymnasium
for kind in ("Sequential", "SLTP", "OneStep", "VectorSequential"):
    env = gymnasium.make(f"gym_trade:Trade-{kind}-v0")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env = gymnasium.make_vec(f"gym_trade:Trade-{kind}-v0", num_envs=2)
    env.reset(seed=0)
    print(kind, env.step(env.action_space.sample())[1].shape)
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.count("(2,)") == 4
