"""Gymnasium's wrappers and vectors of processes, specs and copies, around every environment."""

from __future__ import annotations

import copy
import functools
import os

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as vector_wrappers

import gym_trade
from gym_trade import metrics
from tests import worker_probe
from tests.rollouts import (
    BRACKETED,
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
    scalar,
    vector,
)

MODES = list(AutoresetMode)


# --- wrappers of a scalar environment ---------------------------------------------------


@pytest.mark.parametrize("kind", ["SLTP", "OneStep"])
def test_flattened_and_normalised_observations(kind):
    plain = scalar(kind=kind, episode_steps=5, **KINDS[kind])
    flat = wrappers.FlattenObservation(scalar(kind=kind, episode_steps=5, **KINDS[kind]))
    normal = wrappers.NormalizeObservation(wrappers.FlattenObservation(
        scalar(kind=kind, episode_steps=5, **KINDS[kind])
    ))  # fmt: skip
    actions = choices(plain, 30)
    expected = [result[0] for result in episodes(plain, actions)]
    flattened = [result[0] for result in episodes(flat, actions)]
    space = plain.observation_space
    for parts, row in zip(expected, flattened, strict=True):
        assert row.dtype == np.float32 and row in flat.observation_space
        assert_same(gym.spaces.unflatten(space, row), parts)
    rows, whitened = np.array(flattened), [result[0] for result in episodes(normal, actions)]
    assert normal.observation_space.shape == rows[0].shape
    moments = normal.obs_rms  # of all rows, beside a pseudo-count of 1e-4
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-4, atol=1e-4)
    wanted = (rows[-1] - moments.mean) / np.sqrt(moments.var + 1e-8)
    np.testing.assert_allclose(whitened[-1], wanted, rtol=1e-4, atol=1e-4)
    assert np.abs(whitened).max() < 10.0 and np.std(whitened[5:]) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_normalised_rewards_are_the_rewards_scaled(kind):
    plain, env = (scalar(kind=kind, episode_steps=5, **KINDS[kind]) for _ in range(2))
    env = wrappers.NormalizeReward(env)
    actions = choices(plain, 40)
    results = [
        [step for step in episodes(each, actions) if len(step) == 5] for each in (plain, env)
    ]
    rewards, scaled = (np.array([step[1] for step in steps]) for steps in results)
    assert np.isfinite(scaled).all() and (np.sign(rewards) == np.sign(scaled)).all()
    assert np.count_nonzero(rewards) > 5 and np.abs(scaled).max() < 11.0
    same_steps([step[2:4] for step in results[0]], [step[2:4] for step in results[1]])


@pytest.mark.parametrize("kind", ["SLTP", "OneStep"])
def test_episode_statistics_and_time_limits(kind):
    """Two wrappers of gym.make's own and one more; the environment's metrics stand beside them."""
    env = gym.make(f"gym_trade:Trade-{kind}-v0", df=FRAMES["one"], max_episode_steps=4, **SMALL,
                   **KINDS[kind])  # fmt: skip
    env = wrappers.RecordEpisodeStatistics(env)
    for seed in range(4):
        env.reset(seed=seed)
        rewards, over = [], False
        while not over:
            _, reward, terminated, truncated, info = env.step(1)
            rewards.append(reward)
            over = terminated or truncated
        assert info["episode"]["l"] == len(rewards) == (1 if kind == "OneStep" else 4)
        assert info["episode"]["r"] == pytest.approx(sum(rewards))
        assert (terminated, truncated) == ((True, False) if kind == "OneStep" else (False, True))
        # a limit that Gymnasium sets ends no episode of ours
        assert ("metrics" in info) == (kind == "OneStep")
    own = wrappers.RecordEpisodeStatistics(scalar(kind="SLTP", episode_steps=3))
    own.reset(seed=0)
    info = [own.step(1)[4] for _ in range(3)][-1]
    assert info["metrics"].keys() == set(metrics.NAMES) and info["episode"]["l"] == 3


# --- wrappers of a vector environment ---------------------------------------------------


def pair(name, mode, count=3):
    """A vector environment and Gymnasium's own of as many scalar ones."""
    theirs = SyncVectorEnv(
        [functools.partial(configured_scalar, name)] * count, autoreset_mode=mode
    )
    return configured(name, num_envs=count, autoreset_mode=mode), theirs


def run(env, actions, seed=3):
    """The steps of a wrapped vector environment; ended lanes are reset where it is for us to."""
    results = [env.reset(seed=seed)]
    for row in actions:
        results.append(copy.deepcopy(env.step(row)))  # a reset clears the wrapper's own mask
        ended = results[-1][2] | results[-1][3]
        if env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
            results.append(env.reset(options={"reset_mask": ended.copy()}))
    return results


@pytest.mark.parametrize("mode", MODES[:2], ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ["wild", *BRACKETED])
def test_record_episode_statistics(name, mode):
    """With autoreset: else the wrapper forgets all lanes where a SyncVectorEnv resets one."""
    ours, theirs = map(vector_wrappers.RecordEpisodeStatistics, pair(name, mode))
    rng = np.random.default_rng(0)
    actions = [draw(ours.unwrapped, rng) for _ in range(30)]
    ended = 0
    for left, right in zip(run(ours, actions), run(theirs, actions), strict=True):
        if len(left) == 2 or "episode" not in left[4]:
            assert len(left) == 2 or "episode" not in right[4]
            continue
        for key in ("r", "l"):
            np.testing.assert_array_equal(left[4]["episode"][key], right[4]["episode"][key])
        assert_same(left[4]["_episode"], right[4]["_episode"])
        np.testing.assert_array_equal(left[4]["_episode"], left[4]["_metrics"])
        ended += left[4]["_episode"].sum()
    assert ended == ours.episode_count == theirs.episode_count and ended > 5
    assert list(ours.return_queue) == list(theirs.return_queue)


@pytest.mark.parametrize("name", ["wild", *BRACKETED])
def test_record_episode_statistics_of_lanes_that_are_reset_by_hand(name):
    env = vector_wrappers.RecordEpisodeStatistics(
        configured(name, num_envs=3, autoreset_mode="Disabled")
    )
    rng, totals, lengths, ended = np.random.default_rng(0), np.zeros(3), np.zeros(3, int), 0
    for result in run(env, [draw(env.unwrapped, rng) for _ in range(30)]):
        if len(result) == 2:
            continue
        totals, lengths = totals + result[1], lengths + 1
        over = result[2] | result[3]
        if over.any():
            episode = result[4]["episode"]
            np.testing.assert_array_equal(result[4]["_episode"], over)
            np.testing.assert_allclose(episode["r"][over], totals[over], rtol=1e-12)
            np.testing.assert_array_equal(episode["l"][over], lengths[over])
            assert not episode["r"][~over].any() and not episode["l"][~over].any()
            totals, lengths = np.where(over, 0.0, totals), np.where(over, 0, lengths)
            ended += over.sum()
    assert ended == env.episode_count > 5


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ["spot", "brackets", "one step"])
def test_dict_info_to_list(name, mode):
    """Each lane's metrics, masks and final infos, as plain dicts: those of scalar environments.

    But for a lane that a partial reset leaves alone: where Gymnasium's own vector says nothing of
    it, ours repeats its mask, as it does its observation.
    """
    ours, theirs = map(vector_wrappers.DictInfoToList, pair(name, mode))
    rng, keys = np.random.default_rng(0), ("metrics", "action_mask", "final_obs", "final_info")
    actions, met = [draw(ours.unwrapped, rng) for _ in range(15)], set()
    last = []
    for left, right in zip(run(ours, actions), run(theirs, actions), strict=True):
        for lane, (our_info, their_info) in enumerate(zip(left[-1], right[-1], strict=True)):
            if len(left) == 2 and not their_info and name == "brackets":
                assert_same(our_info, {"action_mask": last[lane]["action_mask"]})
                continue
            wanted = {key: their_info[key] for key in keys if key in their_info}
            if mode is AutoresetMode.SAME_STEP and "final_info" in wanted:
                wanted["metrics"] = wanted["final_info"]["metrics"]
            assert_same(our_info, wanted)
            met |= set(our_info)
        last = left[-1]
    finals = {"final_obs", "final_info"} if mode is AutoresetMode.SAME_STEP else set()
    assert met == {"metrics"} | finals | ({"action_mask"} if name != "spot" else set())


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("kind", KINDS)
def test_normalised_batches(kind, mode):
    """Gymnasium normalises observations in NEXT_STEP mode only, and says so itself."""
    arguments = KINDS[kind] | {"observation": "flat", "num_envs": 4, "episode_steps": 4}
    env = vector(FRAMES["one"], kind, autoreset_mode=mode, **arguments)
    rewarded = vector_wrappers.NormalizeReward(env)
    if mode is not AutoresetMode.NEXT_STEP:
        with pytest.raises(ValueError, match="NEXT_STEP"):
            vector_wrappers.NormalizeObservation(rewarded)
        return
    env = vector_wrappers.NormalizeObservation(rewarded)
    assert env.observation_space.shape == (4, env.single_observation_space.shape[0])
    rng, batches, scaled = np.random.default_rng(0), [env.reset(seed=0)[0]], []
    for _ in range(40):
        observations, rewards, *_ = env.step(draw(env.unwrapped, rng, 4))
        batches.append(observations)
        scaled.append(rewards)
    late = np.concatenate(batches[10:])
    assert np.isfinite(late).all() and np.isfinite(scaled).all()
    assert 0.3 < late.std() < 3.0 and abs(late.mean()) < 0.5 and np.abs(scaled).max() < 11.0


# --- vectors of scalar environments -----------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux's /proc")
@pytest.mark.parametrize("context, shared", [("fork", True), ("fork", False), ("spawn", True)])
def test_processes_share_one_market(context, shared):
    """Forked, they see the parent's memory; spawned, they map a file. Neither copies it."""
    market = gym_trade.Market(FRAMES["one"])
    arguments = {"df": market, "episode_steps": 4, **SMALL, **NEAR}
    makers = [functools.partial(worker_probe.probed, **arguments)] * 2
    processes = AsyncVectorEnv(makers, shared_memory=shared, context=context)
    try:
        same_process, ours = SyncVectorEnv(makers), vector(kind="SLTP", frame=market, num_envs=2,
                                                          episode_steps=4, **NEAR)  # fmt: skip
        assert all(env.unwrapped.markets[0] is market for env in same_process.envs)
        results = [env.reset(seed=0) for env in (processes, same_process, ours)]
        rng = np.random.default_rng(0)
        for _ in range(12):
            assert_same(*(result[0] for result in results[:2]))
            assert_same(*(result[0] for result in results[1:]))
            for result in results[1:]:
                assert_same(results[0][-1]["action_mask"], result[-1]["action_mask"])
            actions = rng.integers(0, 3, 2)
            results = [env.step(actions) for env in (processes, same_process, ours)]
            assert_same(results[0][1:4], results[2][1:4])
        whereabouts = processes.call("whereabouts")
        path = market.__reduce__()[1][0].path
    finally:
        processes.close()
    assert len({os.getpid()} | {pid for pid, *_ in whereabouts}) == 3
    for _, address, writeable, mapped in whereabouts:
        assert not writeable
        if context == "spawn":
            assert mapped == [path]
        else:
            assert address == market.bars.ctypes.data
