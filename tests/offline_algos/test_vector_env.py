from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from tianshou.data import Collector, ReplayBuffer, VectorReplayBuffer
from tianshou.env import BaseVectorEnv

from gym_trade import VectorTradeEnv
from offline_algos.actors import ActorPolicy, GreedyActor
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser
from offline_algos.vector_env import TradeVectorEnv
from tests.offline_algos import samples


def policy(env: TradeVectorEnv) -> ActorPolicy:
    inputs = Inputs([("all", 0, samples.COLUMNS, (samples.COLUMNS,))], hidden_sizes=(16,))
    actor = GreedyActor(Normaliser.identity(samples.COLUMNS), ValueNetwork(inputs, 3, 4))
    return ActorPolicy(actor, env.action_space[0])


def test_stepping_equals_the_environment_itself():
    direct, adapter = (
        samples.lanes(5, episode_steps=40),
        TradeVectorEnv(samples.lanes(5, episode_steps=40)),
    )
    expected, _ = direct.reset(seed=7)
    adapter.seed(7)
    observations, infos = adapter.reset()
    np.testing.assert_array_equal(observations, expected)
    assert infos.tolist() == [{}] * 5
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.integers(0, 3, 5)
        wanted, made = direct.step(actions)[:4], adapter.step(actions, np.arange(5))[:4]
        for left, right in zip(wanted, made, strict=True):
            np.testing.assert_array_equal(left, right)
    assert made[3].all()


def test_a_subset_in_any_order_leaves_the_other_lanes_alone():
    direct, adapter = samples.lanes(4), TradeVectorEnv(samples.lanes(4))
    direct.reset(seed=3)
    adapter.reset(seed=3)
    direct.step(np.array([2, 1, 0, 1]))
    for lane, action in ((3, 1), (0, 2)):
        adapter.step([action], [lane])
    observations, rewards, *_ = adapter.step(np.array([0, 1]), np.array([2, 1]))
    assert observations.shape == (2, samples.COLUMNS) and rewards.dtype == np.float64
    wanted, made = direct.step(np.full(4, 2)), adapter.step(np.full(4, 2))
    for left, right in zip(wanted[:4], made[:4], strict=True):
        np.testing.assert_array_equal(left, right)


def test_results_are_not_overwritten_by_the_next_step():
    environment = VectorTradeEnv(
        samples.config(), num_envs=2, autoreset_mode="Disabled", copy=False
    )
    adapter = TradeVectorEnv(environment)
    first, _ = adapter.reset(seed=0)
    kept = first.copy()
    second = adapter.step(np.array([2, 0]))[0]
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)


def test_collector_collects_the_episodes_that_the_environment_plays():
    adapter = TradeVectorEnv(samples.lanes(3, episode_steps=30))
    buffer = VectorReplayBuffer(3000, 3)
    collector = Collector(policy(adapter), adapter, buffer)
    adapter.seed(11)
    collector.reset()
    stats = collector.collect(n_episode=7)
    assert stats.lens.tolist() == [30] * 7 and len(buffer) == 210
    assert buffer.truncated.sum() == 7 and not buffer.terminated.any()

    # lane 0's first episode, replayed by hand with the recorded actions
    replay = samples.lanes(1, episode_steps=30)
    observation, _ = replay.reset(seed=11)
    for row in range(30):
        np.testing.assert_array_equal(buffer.obs[row], observation[0])
        observation, reward, _, truncated, _ = replay.step(buffer.act[row : row + 1])
        assert buffer.rew[row] == reward[0]
        np.testing.assert_array_equal(buffer.obs_next[row], observation[0])
    assert truncated[0]


def test_replay_seed_makes_every_pass_the_same():
    changes = {
        "random_start": False,
        "slippage": 0.001,
        "slippage_model": "uniform",
        "episode_steps": 60,
    }
    torch.manual_seed(0)
    returns = {}
    for replay in (5, None):
        adapter = TradeVectorEnv(samples.lanes(1, **changes), replay_seed=replay)
        collector = Collector(policy(adapter), adapter, ReplayBuffer(200))
        collector.reset()
        returns[replay] = [collector.collect(n_episode=1).returns[0] for _ in range(3)]
    assert len(set(returns[5])) == 1
    assert len(set(returns[None])) == 3  # other slippage every time


def test_what_tianshou_reads():
    adapter = TradeVectorEnv(samples.lanes(3))
    assert isinstance(adapter, BaseVectorEnv) and len(adapter) == 3 and not adapter.is_async
    assert [space.n for space in adapter.action_space] == [3, 3, 3]
    assert all(space.shape == (samples.COLUMNS,) for space in adapter.observation_space)
    assert adapter.seed(4) == [[4], [5], [6]]
    with pytest.raises(ValueError, match="2 seeds for 3 lanes"):
        adapter.seed([1, 2])
    adapter.close()
    with pytest.raises(AssertionError, match="close"):
        adapter.reset()


def test_refuses_an_environment_that_resets_itself_or_is_not_flat():
    with pytest.raises(ValueError, match="autoreset_mode"):
        TradeVectorEnv(VectorTradeEnv(samples.config(), num_envs=2))
    with pytest.raises(ValueError, match="flat"):
        TradeVectorEnv(samples.lanes(2, observation="dict"))


def test_runs_behind_gym_make_vec():
    made = gym.make_vec(
        "Trade-Sequential-v0", num_envs=2, config=samples.config(), autoreset_mode="Disabled"
    )
    adapter = TradeVectorEnv(made)
    adapter.reset(seed=0)
    assert adapter.step([1], [1])[0].shape == (1, samples.COLUMNS)
