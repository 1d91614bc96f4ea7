"""What an explorer remembers is what its environments did."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from tianshou.env import DummyVectorEnv

from offline_algos.exploring import Explorer
from offline_algos.gym_task import Flat
from offline_algos.normalisation import Normaliser
from offline_algos.replay_memory import ReplayMemory
from offline_algos.vector_env import TradeVectorEnv
from tests.offline_algos import samples

LANES = 3


def carts(limit=9):
    return DummyVectorEnv([partial(cart, limit)] * LANES)


def cart(limit):
    return Flat(gym.make("CartPole-v1", max_episode_steps=limit))


def explorer_of(env, columns, action_width=None, seed=0, capacity=600):
    memory = ReplayMemory(capacity, LANES, columns, action_width, seed=0, gamma=0.9)
    made = Explorer(env, memory, Normaliser.identity(columns), seed)
    made.explore = lambda obs, generator: generator.integers(2, size=len(obs))
    return made


def columns_of(explorer):
    state = explorer.buffer.state()
    return {name: value.numpy() for name, value in state.items() if hasattr(value, "numpy")}


def test_every_transition_is_a_step_of_the_environment():
    """The last observation of an episode is its own, and the next row begins another one."""
    explorer = explorer_of(carts(), 4)
    explorer.begin_epoch(1)
    stats = explorer.collect(n_step=300)
    rows = columns_of(explorer)
    assert stats.n_collected_steps == len(rows["rew"]) == 300
    env = gym.make("CartPole-v1").unwrapped
    for row in range(300):
        env.reset(seed=0)
        env.state, env.steps_beyond_terminated = rows["obs"][row].astype(np.float64), None
        following, reward, terminated, _, _ = env.step(int(rows["act"][row]))
        np.testing.assert_allclose(following, rows["obs_next"][row], atol=1e-5)
        assert (reward, terminated) == (rows["rew"][row], rows["terminated"][row])
    ended = rows["ended"]
    assert (ended & ~rows["terminated"]).any() and (ended & rows["terminated"]).any()
    for row in range(300 - LANES):
        same = np.array_equal(rows["obs_next"][row], rows["obs"][row + LANES])
        assert same != ended[row]
        if ended[row]:
            assert np.abs(rows["obs"][row + LANES]).max() <= 0.05
    assert stats.n_collected_episodes == ended.sum()
    assert sorted(stats.returns) == sorted(stats.lens)
    assert stats.lens.sum() == 300 - sum(
        300 // LANES - 1 - last_end(ended[i::LANES]) for i in range(LANES)
    )


def last_end(ended):
    return int(np.flatnonzero(ended)[-1])


def test_an_epoch_s_episodes_follow_from_seed_and_number():
    """Whatever was explored before it: that is what lets a run go on."""
    made = {}
    for name, seed, before in (("a", 5, 3), ("b", 5, 90), ("c", 6, 3)):
        explorer = explorer_of(carts(), 4, seed=seed)
        explorer.begin_epoch(1)
        explorer.collect(n_step=before)
        explorer.begin_epoch(2)
        explorer.collect(n_step=60)
        made[name] = columns_of(explorer)["obs"][-60:]
    np.testing.assert_array_equal(made["a"], made["b"])
    assert not np.array_equal(made["a"], made["c"])
    assert len(np.unique(made["a"][:LANES], axis=0)) == LANES


def test_a_market_s_episodes_do_as_well():
    made = []
    for before in (6, 33):
        explorer = explorer_of(
            TradeVectorEnv(samples.lanes(LANES, episode_steps=7)), samples.COLUMNS
        )
        explorer.begin_epoch(1)
        explorer.collect(n_step=before)
        explorer.begin_epoch(2)
        explorer.collect(n_step=60)
        rows = columns_of(explorer)
        made.append({name: values[-60:] for name, values in rows.items()})
    for name, values in made[0].items():
        np.testing.assert_array_equal(values, made[1][name])
    ended = made[0]["ended"].reshape(-1, LANES)
    assert np.flatnonzero(ended[:, 0]).tolist() == [6, 13]
    following, obs = made[0]["obs_next"], made[0]["obs"]
    for row in range(60 - LANES):
        assert np.array_equal(following[row], obs[row + LANES]) != made[0]["ended"][row]


def test_random_steps_give_the_statistics_that_stay():
    explorer = explorer_of(TradeVectorEnv(samples.lanes(LANES, episode_steps=20)), samples.COLUMNS)
    explorer.warm_up(100, norm_obs=True, norm_reward=True, bound=np.inf)
    assert len(explorer.buffer) == 102
    rows, normaliser = columns_of(explorer), explorer.normaliser
    mean, std = normaliser.mean.clone(), normaliser.std.clone()
    changing = (std != 1.0).numpy()
    assert changing.sum() > samples.COLUMNS / 2
    np.testing.assert_allclose(rows["obs"].mean(0)[changing], 0.0, atol=1e-4)
    np.testing.assert_allclose(rows["obs"].std(0)[changing], 1.0, atol=1e-3)
    assert rows["rew"].std() == pytest.approx(1.0) and explorer.reward_scale < 0.1
    counts = np.bincount(rows["act"])
    assert len(counts) == 3 and counts.min() > 15
    plain = explorer_of(TradeVectorEnv(samples.lanes(LANES, episode_steps=20)), samples.COLUMNS)
    plain.warm_up(100, norm_obs=False, norm_reward=False)
    for each in (explorer, plain):
        each.begin_epoch(1)
        each.collect(n_step=30)
    made, raw = columns_of(explorer), columns_of(plain)
    assert torch.equal(normaliser.mean, mean) and torch.equal(normaliser.std, std)
    for name in ("obs", "obs_next"):
        expected = (raw[name] - mean.numpy()) / std.numpy()
        np.testing.assert_array_equal(made[name], expected.astype(np.float32))
    np.testing.assert_allclose(made["rew"] * explorer.reward_scale, raw["rew"], rtol=1e-12)


def test_continuous_actions_fill_the_box():
    env = DummyVectorEnv([lambda: Flat(gym.make("Pendulum-v1"))] * LANES)
    explorer, seen = explorer_of(env, 3, action_width=1), []
    step = env.step
    env.step = lambda action, *rest: seen.append(action) or step(action, *rest)
    explorer.warm_up(300, norm_obs=True, norm_reward=False)
    acts = columns_of(explorer)["act"]
    assert np.abs(acts).max() <= 1.0 and acts.min() < -0.9 and acts.max() > 0.9
    np.testing.assert_allclose(np.concatenate(seen), 2.0 * acts, rtol=1e-6)


def test_it_needs_an_algorithm():
    explorer = explorer_of(carts(), 4)
    explorer.explore = None
    explorer.begin_epoch(1)
    with pytest.raises(ValueError, match="an algorithm that explores"):
        explorer.collect(n_step=3)
