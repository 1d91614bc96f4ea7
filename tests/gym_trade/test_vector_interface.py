"""The vector environment as a Gymnasium VectorEnv: what goes in, how it is made and wrapped."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

import gym_trade
from gym_trade import SequentialEnv
from tests.rollouts import (
    CONFIGURATIONS,
    FRAMES,
    SMALL,
    assert_same,
    draw,
    lane_of,
    of_lane,
    vector,
)
from tests.rollouts import configured as make
from tests.rollouts import configured_scalar as one

MODES = list(AutoresetMode)


# --- autoreset disabled -----------------------------------------------------------------


def test_step_lanes_equals_a_step_of_those_lanes():
    for name in CONFIGURATIONS:
        full, part = (make(name, num_envs=6, autoreset_mode="Disabled") for _ in range(2))
        full.reset(seed=0), part.reset(seed=0)
        rng = np.random.default_rng(0)
        for _ in range(5):
            actions = draw(full, rng)
            before = [lane_of(part.engine, lane) for lane in range(6)]
            expected = full.step(actions)
            for lanes in ([4, 0], [1], [5, 2, 3]):
                got = part.step_lanes(np.array(lanes), actions[lanes])
                for row, lane in enumerate(lanes):
                    assert_same(of_lane(got[0], row), of_lane(expected[0], lane))
                    for part_of_it, all_of_it in zip(got[1:4], expected[1:4], strict=True):
                        assert part_of_it[row] == all_of_it[lane]
                if lanes == [4, 0]:
                    for lane in (1, 2, 3, 5):
                        assert lane_of(part.engine, lane) == before[lane]
            for lane in range(6):
                assert lane_of(part.engine, lane) == lane_of(full.engine, lane)
            ended = expected[2] | expected[3]
            if ended.any():
                for env in (full, part):
                    env.reset(options={"reset_mask": ended})


def test_disabled_autoreset_refuses_to_step_an_ended_lane():
    env = make("spot", num_envs=3, autoreset_mode="Disabled", episode_steps=2)
    env.reset(seed=0)
    env.step_lanes(np.array([1]), np.array([0]))
    _, _, _, truncated, info = env.step(np.zeros(3, int))
    assert list(truncated) == [False, True, False]
    assert list(info["_metrics"]) == [False, True, False]
    with pytest.raises(RuntimeError, match="lane 1"):
        env.step(np.zeros(3, int))
    with pytest.raises(RuntimeError, match="lane 1"):
        env.step_lanes(np.array([0, 1]), np.zeros(2, int))
    before = [lane_of(env.engine, lane) for lane in range(3)]
    env.reset(options={"reset_mask": np.array([False, True, False])})
    assert [lane_of(env.engine, lane) == before[lane] for lane in range(3)] == [True, False, True]
    env.step(np.zeros(3, int))


@pytest.mark.parametrize("lanes", [[0, 0], [3], [-1], [], [0.0], [[0]], [True]])
def test_bad_lanes(lanes):
    env = make("spot", num_envs=3, autoreset_mode="Disabled")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="lanes"):
        env.step_lanes(np.array(lanes), np.zeros(len(lanes), int))


def test_step_lanes_needs_autoreset_disabled():
    env = make("spot", num_envs=3)
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="Disabled"):
        env.step_lanes(np.array([0]), np.array([0]))


# --- what goes in -----------------------------------------------------------------------


@pytest.mark.parametrize("actions", [
    [0, 1, 3], [0, -1, 0], [0, 1], [[0, 1, 2]], [0.0, 1.0, 2.0], [np.nan, 0, 0], [True] * 3,
    None, ["0", "1", "2"], 1,
], ids=str)  # fmt: skip
def test_bad_discrete_actions(actions):
    """Refused before anything has moved."""
    env = make("spot", num_envs=3)
    env.reset(seed=0)
    before = [lane_of(env.engine, lane) for lane in range(3)]
    with pytest.raises(ValueError):
        env.step(actions)
    assert [lane_of(env.engine, lane) for lane in range(3)] == before
    for dtype in (np.int64, np.int32, np.uint8):
        env.step(np.array([0, 1, 2], dtype))
    env.step([0, 1, 2])


def test_bad_continuous_actions():
    env = make("continuous", num_envs=2)
    env.reset(seed=0)
    for actions in ([[0.1], [np.nan]], [[0.1, 0.2]], [[0.1]], None, [["a"], ["b"]]):
        with pytest.raises(ValueError):
            env.step(np.array(actions))
    with pytest.raises(ValueError, match="lane 1"):
        env.step(np.array([[0.1], [np.nan]]))
    given = np.array([[5.0], [-np.inf]])
    env.step(given)
    np.testing.assert_array_equal(given, [[5.0], [-np.inf]])
    np.testing.assert_array_equal(env.account()["held_level"], [1.0, -1.0])


def test_step_before_reset():
    with pytest.raises(RuntimeError, match="reset"):
        make("spot", num_envs=2).step(np.zeros(2, int))


def test_bad_seeds_and_options():
    env = make("spot", num_envs=3)
    first = {"reset_mask": np.array([True, False, True])}
    with pytest.raises(ValueError, match="every lane"):
        env.reset(seed=0, options=first)
    for seed in (
        -1, [1, 2], [1, 2, 3, 4], [0, 1, -5], [0, 1, 2**63], 2**63 - 2, [0, 1.5, 2], [0, None, 1],
    ):  # fmt: skip
        with pytest.raises(ValueError, match="seed"):
            env.reset(seed=seed)
    env.reset(seed=0)
    for mask in ([True, False], np.zeros(3, bool), np.array([1, 0, 1]), "all"):
        with pytest.raises(ValueError, match="reset_mask"):
            env.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match="start"):
        env.reset(options={"start": 3})


def test_a_refused_reset_changes_nothing():
    env, twin = make("spot", num_envs=3), make("spot", num_envs=3)
    for each in (env, twin):
        each.reset(seed=0)
        each.reset()
    with pytest.raises(ValueError, match="seed"):
        env.reset(seed=[5, 6, -1])
    assert_same(env.reset()[0], twin.reset()[0])


def test_the_options_given_are_not_changed():
    """Gymnasium's statistics wrapper reads the mask after the environment has."""
    env = make("spot", num_envs=3, autoreset_mode="Disabled")
    env.reset(seed=0)
    options = {"reset_mask": np.array([True, False, True])}
    env.reset(options=options)
    assert list(options) == ["reset_mask"]


def test_seed_lists_and_masks():
    env = make("spot", num_envs=3)
    plain = [one("spot") for _ in range(3)]
    env.reset(seed=[100, 7, 100])
    starts = [scalar_.reset(seed=s)[1] for scalar_, s in zip(plain, (100, 7, 100), strict=True)]
    assert list(env.account()["price"]) == [info["price"] for info in starts]
    # a seed with a mask reaches the masked lanes only
    mask = np.array([False, True, False])
    before = lane_of(env.engine, 0)
    env.reset(seed=50, options={"reset_mask": mask})
    assert lane_of(env.engine, 0) == before
    assert list(env.account()["seed"]) == [100, 51, 100]
    assert env.account()["price"][1] == plain[1].reset(seed=51)[1]["price"]


def test_without_seeds_lanes_and_environments_differ():
    first, second = make("spot", num_envs=40), make("spot", num_envs=40)
    first.reset(), second.reset()
    assert len(set(first.decision_index)) > 10
    assert list(first.decision_index) != list(second.decision_index)


# --- Gymnasium's ways to make and wrap it -----------------------------------------------


def test_make_vec_with_every_argument():
    arguments = {
        "df": FRAMES["one"], "time_frames": ["1min", "5min"], "window_sizes": [6, 3],
        "execute_on": "5min", "features": None, "stamp": "open", "offset": None, "start": None,
        "end": "2023-01-03 03:00", "initial_cash": 500.0, "leverage": 3, "allow_short": False,
        "action_type": "discrete", "action_levels": [0.0, 1.0], "transaction_fee": 0.001,
        "slippage": 0.001, "slippage_model": "uniform", "fill_at": "close",
        "rebalance_threshold": 0.1, "lot_size": 0.001, "min_notional": 1.0,
        "margin_mode": "isolated", "maintenance_margin_rate": 0.01, "liquidation_fee": 0.002,
        "margin_call_threshold": 0.5, "funding_rate": 0.0001, "bankrupt_threshold": 0.2,
        "episode_steps": 10, "random_start": False, "reward": "pnl", "observation": "flat",
        "render_mode": None,
    }  # fmt: skip

    fields = {field.name for field in dataclasses.fields(gym_trade.SequentialConfig)}
    assert set(arguments) == fields
    env = gym.make_vec(
        "Trade-Sequential-v0", num_envs=7, autoreset_mode="SameStep", copy=False, threads=1,
        **arguments,
    )  # fmt: skip
    assert isinstance(env.unwrapped, gym_trade.VectorTradeEnv)
    config = env.unwrapped.config
    for name in fields - {"df", "window_sizes", "time_frames", "action_levels", "end"}:
        assert getattr(config, name) == arguments[name]
    assert config.action_levels == (0.0, 1.0) and config.window_sizes == (6, 3)
    assert env.reset(seed=0)[0].shape == (7, 6 * 5 + 3 * 5 + 6)
    env.step(np.ones(7, int))
    again = gym.make_vec(env.spec)
    assert again.num_envs == 7 and again.unwrapped.config == config
    assert again.unwrapped.autoreset_mode is AutoresetMode.SAME_STEP


@pytest.mark.parametrize("name", ["Trade-Sequential-v0", "Trade-VectorSequential-v0"])
def test_max_episode_steps_truncates(name):
    for limit, own, expected in ((4, None, 4), (4, 6, 4), (6, 4, 4)):
        env = gym.make_vec(f"gym_trade:{name}", num_envs=2, df=FRAMES["one"], **SMALL,
                           max_episode_steps=limit, episode_steps=own)  # fmt: skip
        env.reset(seed=0)
        ends = [env.step(np.zeros(2, int))[3].all() for _ in range(expected)]
        assert ends == [False] * (expected - 1) + [True]
    with pytest.raises(ValueError, match="max_episode_steps"):
        gym.make_vec(name, df=FRAMES["one"], max_episode_steps=0)


def test_bad_vector_arguments():
    for arguments, message in (
        ({"num_envs": 0}, "num_envs"), ({"num_envs": 2.5}, "num_envs"), ({"threads": 0}, "threads"),
        ({"copy": "yes"}, "copy"), ({"autoreset_mode": "Never"}, "NextStep"),
        ({"windows": 3}, "window_sizes"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            vector(FRAMES["one"], **arguments)


@pytest.mark.parametrize("value", ["SameStep", "SAME_STEP", "same_step", AutoresetMode.SAME_STEP])
def test_spellings_of_the_autoreset_mode(value):
    env = make("spot", num_envs=2, autoreset_mode=value)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert gym_trade.VectorTradeEnv.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


@pytest.mark.parametrize("mode", MODES[:2], ids=lambda mode: mode.value)
def test_record_episode_statistics(mode):
    env = gym.wrappers.vector.RecordEpisodeStatistics(make("spot", num_envs=3, autoreset_mode=mode))
    env.reset(seed=0)
    total, lengths = np.zeros(3), []
    for step in range(1, 25):
        _, rewards, _, truncated, info = env.step(np.full(3, step % 3))
        total += rewards
        if truncated.any():
            np.testing.assert_allclose(info["episode"]["r"], total)
            assert set(info["episode"]["l"]) == {9}
            lengths.append(step)
            total[:] = 0.0
    assert lengths == ([9, 19] if mode is AutoresetMode.NEXT_STEP else [9, 18])


def test_dict_info_to_list():
    env = gym.wrappers.vector.DictInfoToList(make("spot", num_envs=2, autoreset_mode="SameStep"))
    assert env.reset(seed=0)[1] == [{}, {}]
    for _ in range(9):
        *_, infos = env.step(np.array([1, 2]))
    assert set(infos[0]["metrics"]) == set(gym_trade.metrics.NAMES)
    assert infos[0]["final_info"]["metrics"] == infos[0]["metrics"]
    assert infos[1]["final_obs"]["account_state"].shape == (6,)


def test_async_vector_of_scalar_environments():
    """In processes that import everything anew and map the same market."""
    market = gym_trade.Market(FRAMES["one"])
    make_one = functools.partial(SequentialEnv, df=market, episode_steps=4, leverage=3, **SMALL)
    processes = AsyncVectorEnv([make_one, make_one], context="spawn")
    try:
        ours = vector(market, num_envs=2, episode_steps=4, leverage=3)
        assert_same(processes.reset(seed=0)[0], ours.reset(seed=0)[0])
        for step in range(8):
            actions = np.array([step % 5, (step + 2) % 5])
            left, right = processes.step(actions), ours.step(actions)
            for position in range(4):
                assert_same(left[position], right[position])
    finally:
        processes.close()


def test_copies_continue_identically():

    for name, mode in (("wild", "NextStep"), ("continuous", "SameStep"), ("index", "Disabled")):
        env = make(name, num_envs=4, autoreset_mode=mode)
        env.reset(seed=0)
        rng = np.random.default_rng(0)
        for _ in range(6):
            env.step(draw(env, rng))
        twins = [env, copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
        actions = [draw(env, rng) for _ in range(5)]
        results = [[twin.step(a) for a in actions] for twin in twins]
        for twin in results[1:]:
            for ours, theirs in zip(results[0], twin, strict=True):
                for left, right in zip(ours, theirs, strict=True):
                    assert_same(left, right)
        assert all(twin.markets == env.markets for twin in twins)
        assert twins[1].engine.lanes is not env.engine.lanes
