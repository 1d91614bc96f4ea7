"""The vector environment is equal to scalar ones in every number, however it is run."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from gym_trade.metrics import NAMES
from tests.rollouts import CONFIGURATIONS, FRAMES, assert_same, draw, lane_of, of_lane
from tests.rollouts import configured as make
from tests.rollouts import configured_scalar as one

MODES = list(AutoresetMode)
MASKS = ("action_mask", "_action_mask")


def masked(name):
    """Whether a configuration's infos hold an action mask."""
    return "kind" in CONFIGURATIONS[name]


def ends_often(name):
    return "episode_steps" in CONFIGURATIONS[name] or "rollout_steps" in CONFIGURATIONS[name]


# --- scalar equals vector ---------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_lane_i_is_the_scalar_environment_of_seed_plus_i(name):
    """Bit for bit in observation, reward, flags, metrics and the whole account, over autoresets."""
    lanes, seed = 6, 40
    venv = make(name, num_envs=lanes, autoreset_mode="NextStep")
    envs = [one(name) for _ in range(lanes)]
    batch, info = venv.reset(seed=seed)
    assert set(info) == set(MASKS if masked(name) else ())
    for lane, env in enumerate(envs):
        expected = env.reset(seed=seed + lane)
        assert_same(of_lane(batch, lane), expected[0])
        compare_mask(info, lane, expected[1])
    rng, ended = np.random.default_rng(0), np.zeros(lanes, bool)
    seen = {"episodes": 0, "liquidations": 0, "terminated": 0, "refused": 0}
    for _ in range(250):
        actions = draw(venv, rng)
        batch, rewards, terminated, truncated, info = venv.step(actions)
        for lane, env in enumerate(envs):
            if ended[lane]:
                observation, start = env.reset()
                expected = (observation, 0.0, False, False, start)
            else:
                expected = env.step(actions[lane])
            assert_same(of_lane(batch, lane), expected[0])
            assert (rewards[lane], terminated[lane], truncated[lane]) == expected[1:4]
            assert lane_of(venv.engine, lane) == lane_of(env.engine)
            compare_mask(info, lane, expected[4])
            ended[lane] = expected[2] or expected[3]
            if ended[lane]:
                metrics = {key: info["metrics"][key][lane] for key in NAMES}
                assert metrics == expected[4]["metrics"]
                assert info["_metrics"][lane]
                seen["episodes"] += 1
                seen["terminated"] += expected[2]
                seen["liquidations"] += env.engine.lanes["liquidations"][0]
                seen["refused"] += expected[4]["refused_orders"]
        assert ("metrics" in info) == ended.any()
    assert seen["episodes"] > (20 if ends_often(name) else 5)
    if name in ("wild", "brackets", "one step"):
        assert min(seen.values()) > 5


def compare_mask(info, lane, expected):
    """A lane's part of a batch's action mask, which neither has where levels are traded."""
    if "action_mask" not in expected:
        assert "action_mask" not in info
        return
    assert_same(info["action_mask"][lane], expected["action_mask"])
    assert info["_action_mask"][lane]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_equals_gymnasiums_vector_of_scalar_environments(name, mode):
    """Observations, rewards, flags, final observations and metrics, in each autoreset mode."""
    lanes = 5
    ours = make(name, num_envs=lanes, autoreset_mode=mode)
    theirs = SyncVectorEnv([functools.partial(one, name)] * lanes, autoreset_mode=mode)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.single_action_space == theirs.single_action_space
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    left, right = ours.reset(seed=3), theirs.reset(seed=3)
    assert_same(left[0], right[0])
    compare_masks(left[1], right[1])
    rng, ends = np.random.default_rng(0), 0
    for _ in range(60):
        actions = draw(ours, rng)
        left, right = ours.step(actions), theirs.step(actions)
        for position in range(4):
            assert_same(left[position], right[position])
        compare_masks(left[4], right[4])
        assert left[0] in ours.observation_space
        ended = left[2] | left[3]
        ends += ended.sum()
        if mode is AutoresetMode.SAME_STEP:
            assert ("final_obs" in left[4]) == ended.any() == ("final_obs" in right[4])
        if ended.any():
            info = right[4]
            if mode is AutoresetMode.SAME_STEP:
                assert_same(left[4]["final_obs"], info["final_obs"])
                assert_same(left[4]["_final_obs"], info["_final_obs"])
                assert_same(left[4]["_final_info"], info["_final_info"])
                info = info["final_info"]
                assert set(left[4]["final_info"]) == set(info)
                for key in info:
                    assert_same(left[4]["final_info"][key], info[key])
            compare_metrics(left[4], info)
        if mode is AutoresetMode.DISABLED and ended.any():
            left, right = (
                env.reset(options={"reset_mask": ended.copy()})[0] for env in (ours, theirs)
            )
            assert_same(left, right)
    assert ends > 5 or name == "index"
    # a reset in the middle of everything
    assert_same(ours.reset()[0], theirs.reset()[0])
    seeds = [9, None, 8, None, 7]
    assert_same(ours.reset(seed=seeds)[0], theirs.reset(seed=seeds)[0])


def compare_masks(ours, theirs):
    assert_same(*({key: info[key] for key in MASKS if key in info} for info in (ours, theirs)))


def compare_metrics(ours, theirs):
    assert_same(ours["_metrics"], theirs["_metrics"])
    assert set(ours["metrics"]) == set(theirs["metrics"])
    for key, values in ours["metrics"].items():
        assert_same(values, theirs["metrics"][key])


def test_lanes_do_not_depend_on_their_number():
    few, many = make("wild", num_envs=3), make("wild", num_envs=100)
    few.reset(seed=5), many.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = draw(many, rng)
        left, right = few.step(actions[:3]), many.step(actions)
        for lane in range(3):
            assert_same(of_lane(left[0], lane), of_lane(right[0], lane))
        assert_same(left[1], right[1][:3])
        for lane in range(3):
            assert lane_of(few.engine, lane) == lane_of(many.engine, lane)


def test_a_lane_does_not_depend_on_what_the_others_do():
    runs = []
    for salt in range(2):
        env = make("wild", num_envs=4)
        env.reset(seed=5)
        rng, mine = np.random.default_rng(salt), np.random.default_rng(7)
        rewards = []
        for _ in range(60):
            actions = draw(env, rng)
            actions[2] = mine.integers(0, 5)
            rewards.append(env.step(actions)[1][2])
        runs.append(rewards)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("mode", MODES[:2], ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ["wild", "brackets", "locked", "one step", "left open"])
def test_two_threads_equal_one(name, mode):
    envs = [make(name, num_envs=513, autoreset_mode=mode, threads=n) for n in (1, 2)]
    assert [env.engine._workers for env in envs] == [1, 2]
    assert_same(*(env.reset(seed=0)[0] for env in envs))
    rng = np.random.default_rng(0)
    for _ in range(15):
        actions = draw(envs[0], rng)
        left, right = (env.step(actions) for env in envs)
        for one_, other in zip(left, right, strict=True):
            assert_same(one_, other)
    for env in envs:
        env.close()


# --- buffers ----------------------------------------------------------------------------


def arrays_of(result):
    observations, rewards, terminated, truncated, _ = result
    parts = observations.values() if isinstance(observations, dict) else [observations]
    return [*parts, rewards, terminated, truncated]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_copy_returns_fresh_arrays(name):
    env = make(name, num_envs=4, autoreset_mode="SameStep")
    first = [*env.reset(seed=0)[:1], np.zeros(0), np.zeros(0), np.zeros(0), {}]
    rng = np.random.default_rng(0)
    kept = [arrays_of(first)]
    copies = [[array.copy() for array in kept[0]]]
    for _ in range(20):
        kept.append(arrays_of(env.step(draw(env, rng))))
        copies.append([array.copy() for array in kept[-1]])
    for arrays, then in zip(kept, copies, strict=True):
        for array, copy in zip(arrays, then, strict=True):
            np.testing.assert_array_equal(array, copy)
    for arrays, later in itertools.pairwise(kept):
        for array, other in zip(arrays, later, strict=True):
            assert not np.shares_memory(array, other)


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if ends_often(name)])
def test_without_copy_the_same_arrays_hold_the_same_numbers(name):
    plain = make(name, num_envs=4, autoreset_mode="SameStep")
    reused = make(name, num_envs=4, autoreset_mode="SameStep", copy=False)
    plain.reset(seed=0)
    reused.reset(seed=0)
    actions = draw(plain, np.random.default_rng(1))
    plain.step(actions)
    first = arrays_of(reused.step(actions))
    rng, finals = np.random.default_rng(0), []
    for _ in range(30):
        actions = draw(plain, rng)
        left, right = plain.step(actions), reused.step(actions)
        for one_, other in zip(left, right, strict=True):
            assert_same(one_, other)
        for array, other in zip(first, arrays_of(right), strict=True):
            # a batch's indices may be computed anew
            assert np.shares_memory(array, other) or array.dtype == np.int64
        if "final_obs" in right[4]:
            finals.append((left[4], right[4]))
    for ours, theirs in finals:  # final observations and infos are the caller's to keep
        assert_same(ours, theirs)
    assert finals


@pytest.mark.parametrize("name", ["wild", "brackets", "one step"])
def test_the_three_observations_hold_the_same(name):
    """Flat is the dict in one row; index points at the windows, in every market."""
    envs = {kind: make(name, num_envs=6, observation=kind) for kind in ("dict", "flat", "index")}
    batches = {kind: env.reset(seed=0)[0] for kind, env in envs.items()}
    names = envs["index"].engine.market_names
    rng, seen = np.random.default_rng(0), set()
    for _ in range(40):
        flat, parts, index = batches["flat"], batches["dict"], batches["index"]
        assert flat.dtype == np.float32
        for key, start, stop, shape in envs["flat"].layout:
            np.testing.assert_array_equal(flat[:, start:stop].reshape(6, *shape), parts[key])
        assert envs["flat"].layout[-1].key == "account_state"
        np.testing.assert_array_equal(index["account_state"], parts["account_state"])
        for lane in range(6):
            market = envs["index"].markets[index["market"][lane]]
            (tables,) = market._tables.values()
            window = tables.window(index["decision_index"][lane], 0)
            np.testing.assert_array_equal(window, parts["market_data_1Minute"][lane])
            seen.add(names[index["market"][lane]])
        actions = draw(envs["flat"], rng)
        batches = {kind: env.step(actions)[0] for kind, env in envs.items()}
    assert seen == set(FRAMES)


def test_what_the_environment_tells_beside_gymnasium():
    """account(), decision_index, closes and times are of the same instant; copies all."""
    env = make("spot", num_envs=4)
    env.reset(seed=0)
    for action in (2, 1, 2):
        env.step(np.full(4, action))
    account = env.account()
    np.testing.assert_array_equal(account["price"], env.decision_closes[env.decision_index])
    np.testing.assert_array_equal(account["portfolio_value"], env.portfolio_value)
    equity = account["cash"] + account["position"] * (account["price"] - account["entry_price"])
    np.testing.assert_allclose(account["portfolio_value"], equity, rtol=1e-12)
    for values in (*account.values(), env.decision_index, env.portfolio_value, env.action_levels):
        values[...] = 0
    assert (env.portfolio_value > 0).all() and (env.decision_index > 0).all()
    lo, hi = env.decision_range
    assert 0 < lo < hi == len(env.decision_times) - 1
    assert env.decision_times.dtype == "datetime64[ns]"
    twin = one("spot")
    twin.reset(seed=0)
    *_, info = twin.step(2)
    env.reset(seed=0)
    env.step(np.full(4, 2))
    stamp = np.datetime64(info["timestamp"].removesuffix("+00:00"))
    assert env.decision_times[env.decision_index[0]] == stamp
