"""The scalar environment as a Gymnasium environment: registration, spaces, info, wrappers."""

from __future__ import annotations

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import (
    FlattenObservation,
    NormalizeObservation,
    RecordEpisodeStatistics,
    TimeLimit,
)

import gym_trade
from gym_trade import metrics
from tests import markets
from tests.rollouts import SMALL, assert_same, scalar, vector

FRAME = markets.bars(600)
IDS = sorted(name for name in gym.registry if name.startswith("Trade-"))


# --- registration and the checker -------------------------------------------------------


def test_ids():
    assert {"Trade-Sequential-v0", "Trade-VectorSequential-v0"} <= set(IDS)


@pytest.mark.parametrize("arguments", [
    {}, {"observation": "flat", "leverage": 5}, {"observation": "index"},
    {"action_type": "continuous"}, {"action_type": "continuous", "allow_short": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", IDS)
def test_check_env(name, arguments):
    if "action_type" in arguments and "Sequential" not in name:
        arguments = {"include_hold_action": False, "allow_short": True}
    env = gym.make(name, df=FRAME, **SMALL, **arguments).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)


def test_check_env_with_several_markets():
    frames = [FRAME, markets.bars(500, seed=1)]
    for observation in ("dict", "index"):
        check_env(scalar(frames, observation=observation), skip_render_check=True)


@pytest.mark.parametrize("name", IDS)
def test_no_arguments_trade_the_embedded_market(name):
    env = gym.make(f"gym_trade:{name}")
    observation, info = env.reset(seed=0)
    shapes = {key: value.shape for key, value in observation.items()}
    assert shapes == {
        "market_data_1Minute": (12, 5), "market_data_5Minute": (8, 5),
        "market_data_15Minute": (8, 5), "market_data_1Hour": (24, 5), "account_state": (6,),
    }  # fmt: skip
    assert info["portfolio_value"] == 10_000.0
    assert env.unwrapped.markets == (gym_trade.synthetic.embedded_market(),)
    assert env.step(2)[4]["fees_paid"] > 0.0


def test_a_spec_makes_the_same_environment_again():
    """Gymnasium copies a spec's arguments; the market among them is shared."""
    market = gym_trade.Market(FRAME)
    env = gym.make("Trade-Sequential-v0", df=market, leverage=3, **SMALL)
    again = gym.make(env.spec)
    assert again.unwrapped.markets[0] is market
    assert again.unwrapped.config == env.unwrapped.config
    assert_same(env.reset(seed=1)[0], again.reset(seed=1)[0])


def test_unknown_arguments_are_named():
    with pytest.raises(ValueError, match="transaction_fee"):
        gym.make("Trade-Sequential-v0", trading_fees=0.1)


# --- reset, step, their order -----------------------------------------------------------


def test_step_before_reset_and_after_the_end():
    env = scalar(episode_steps=2)
    with pytest.raises(RuntimeError, match="before the first reset"):
        env.step(0)
    env.reset(seed=0)
    env.step(0)
    assert env.step(0)[3]
    with pytest.raises(RuntimeError, match="after the episode's end"):
        env.step(0)
    env.reset()
    env.step(0)


@pytest.mark.parametrize("action", [-1, 3, 1.0, np.nan, None, "1", [0, 1], np.array([], int), True])
def test_bad_discrete_actions(action):
    env = scalar()
    env.reset(seed=0)
    before = env.engine.lanes.copy()
    with pytest.raises(ValueError):
        env.step(action)
    assert_same(np.asarray(env.engine.lanes), np.asarray(before))
    for good in (1, np.int64(1), np.array(1), np.array([1]), np.uint8(1)):
        env.step(good)


def test_bad_and_clipped_continuous_actions():
    env = scalar(action_type="continuous")
    assert env.action_space == spaces.Box(0.0, 1.0, (1,), np.float32)
    env.reset(seed=0)
    for action in (np.array([np.nan], np.float32), np.array([0.1, 0.2]), None, "0"):
        with pytest.raises(ValueError):
            env.step(action)
    _, _, _, _, info = env.step(np.array([7.0], np.float32))
    full = info["position"]
    env.reset(seed=0)
    assert env.step(np.array([1.0], np.float32))[4]["position"] == full
    env.step(np.array([-3.0], np.float32))
    assert env.step(0.0)[4]["position"] == 0.0
    shorts = scalar(action_type="continuous", allow_short=True)
    assert shorts.action_space == spaces.Box(-1.0, 1.0, (1,), np.float32)


def test_an_action_given_to_step_is_not_changed():
    """Clipping works on a copy, float64 actions included."""
    for dtype in (np.float32, np.float64):
        action = np.array([5.0], dtype)
        env = scalar(action_type="continuous")
        env.reset(seed=0)
        env.step(action)
        assert action[0] == 5.0


def test_seeds_and_options():
    env = scalar()
    for seed in (-1, 2**63):
        with pytest.raises(ValueError, match="seed"):
            env.reset(seed=seed)
    with pytest.raises(ValueError, match="start_at"):
        env.reset(options={"start_at": 3})
    env.reset(seed=2**63 - 1)
    first = env.reset(seed=7, options={})
    assert_same(first[0], env.reset(seed=7)[0])
    following = [env.reset()[1]["timestamp"] for _ in range(6)]
    assert len(set(following)) > 3
    env.reset(seed=7)
    assert [env.reset()[1]["timestamp"] for _ in range(6)] == following


def test_without_a_seed_environments_differ():
    starts = set()
    for _ in range(4):
        env = scalar()
        starts |= {(i, env.reset()[1]["timestamp"]) for i in range(4)}
    assert len(starts) > 8


def test_action_space_sampling_is_seeded_by_reset_as_gymnasium_does_it():
    env = scalar()
    env.reset(seed=3)
    assert env.np_random_seed == 3


# --- observations -----------------------------------------------------------------------


@pytest.mark.parametrize("observation", ["dict", "flat", "index"])
def test_an_observation_is_no_view_of_a_live_buffer(observation):
    env = scalar(observation=observation)
    kept, copies = [env.reset(seed=0)[0]], []
    copies.append(copy.deepcopy(kept[0]))
    for action in (2, 1, 0, 2):
        kept.append(env.step(action)[0])
        copies.append(copy.deepcopy(kept[-1]))
    kept.append(env.reset()[0])
    copies.append(copy.deepcopy(kept[-1]))
    for one, other in zip(kept, copies, strict=True):
        assert_same(one, other)
        arrays = one.values() if isinstance(one, dict) else [one]
        for array in arrays:
            if isinstance(array, np.ndarray):
                array[...] = 0  # and writing into it harms nobody
    assert_same(env.reset(seed=0)[0], copies[0])


def test_the_three_observations_hold_the_same():
    envs = {kind: scalar(observation=kind) for kind in ("dict", "flat", "index")}
    results = {kind: env.reset(seed=1)[0] for kind, env in envs.items()}
    for action in (2, 0, 1, 1):
        flat, parts, index = results["flat"], results["dict"], results["index"]
        for key, start, stop, shape in envs["flat"].layout:
            np.testing.assert_array_equal(flat[start:stop].reshape(shape), parts[key])
        tables = envs["index"].engine.tables
        window = tables.window(int(index["decision_index"]), 0)
        np.testing.assert_array_equal(window, parts["market_data_1Minute"])
        np.testing.assert_array_equal(index["account_state"], parts["account_state"])
        for kind, env in envs.items():
            assert results[kind] in env.observation_space
            results[kind] = env.step(action)[0]


def test_box_bounds_are_finite_float32():
    space = scalar(observation="flat").observation_space
    assert space.dtype == np.float32
    assert np.isfinite(space.low).all() and np.isfinite(space.high).all()


# --- Gymnasium's wrappers ---------------------------------------------------------------


def test_flatten_observation_keeps_the_contents():
    env = FlattenObservation(scalar())
    plain = scalar()
    ours, parts = env.reset(seed=0)[0], plain.reset(seed=0)[0]
    assert ours in env.observation_space
    np.testing.assert_array_equal(np.sort(ours), np.sort(np.concatenate(
        [value.ravel() for value in parts.values()]
    )))  # fmt: skip


def test_normalize_observation():
    env = NormalizeObservation(scalar(observation="flat"))
    env.reset(seed=0)
    for action in (2, 1, 0) * 5:
        observation, *_ = env.step(action)
        assert np.isfinite(observation).all()


def test_time_limit():
    """Both Gymnasium's own and that of gym.make; the environment then simply resets."""
    for env in (TimeLimit(scalar(), 3), gym.make("Trade-Sequential-v0", df=FRAME,
                                                 max_episode_steps=3, **SMALL)):  # fmt: skip
        for _ in range(2):
            env.reset(seed=0)
            ends = [env.step(1)[2:4] for _ in range(3)]
            assert ends == [(False, False), (False, False), (False, True)]


def test_record_episode_statistics():
    env = RecordEpisodeStatistics(scalar(episode_steps=6))
    env.reset(seed=0)
    rewards = []
    for action in (2, 1, 0, 2, 2, 2):
        _, reward, _, truncated, info = env.step(action)
        rewards.append(reward)
    assert truncated
    assert info["episode"]["l"] == 6
    assert info["episode"]["r"] == pytest.approx(sum(rewards))
    assert info["metrics"].keys() == set(metrics.NAMES)


# --- copies -----------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_a_copy_continues_identically_and_independently(duplicate):
    env = scalar(leverage=20, slippage=0.001, slippage_model="uniform", episode_steps=15,
                 reward="differential_sharpe")  # fmt: skip
    env.reset(seed=0)
    for action in (4, 3, 0):
        env.step(action)
    twin = duplicate(env)
    results = []
    for one in (env, twin):
        steps = [one.step(action) for action in (4, 0, 1, 2, 3, 4)]
        steps.append(one.reset())
        results.append(steps)
    for ours, theirs in zip(*results, strict=True):
        for left, right in zip(ours, theirs, strict=True):
            assert_same(left, right)
    assert twin.markets[0] is env.markets[0]


def test_scalar_of_the_vector_id():
    env = gym.make("Trade-VectorSequential-v0", df=FRAME, **SMALL)
    assert isinstance(env.unwrapped, gym_trade.SequentialEnv)
    twin = vector(FRAME, num_envs=1)
    assert_same(env.reset(seed=5)[0]["account_state"], twin.reset(seed=5)[0]["account_state"][0])
