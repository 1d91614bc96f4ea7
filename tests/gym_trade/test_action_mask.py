"""``info["action_mask"]``: which actions would be ignored, for scalar and vector environments."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from tests.rollouts import CRASH, assert_same, draw, flat_then, scalar, vector
from tests.rollouts import configured as make

# Arguments, and the masks when flat, long and short: hold, close, 2 x long, 2 x short.
LEVELS = {"stoploss_levels": (-0.01, -0.02), "takeprofit_levels": (0.015,)}
TABLE = {
    "plain": ({}, "1 11 11", "1 00 11", "1 11 00"),
    "close": ({"include_close_action": True}, "1 0 11 11", "1 1 00 11", "1 1 11 00"),
    "replace": ({"replace_brackets": True}, "1 11 11", "1 11 11", "1 11 11"),
    "locked": ({"lock_until_exit": True}, "1 11 11", "1 00 00", "1 00 00"),
    # what would be ignored is then the way to stay as one is
    "no hold": ({"include_hold_action": False}, "11 11", "11 11", "11 11"),
    "no hold, close": (
        {"include_hold_action": False, "include_close_action": True},
        "1 11 11", "1 11 11", "1 11 11",
    ),
    "locked, no hold": (
        {"include_hold_action": False, "lock_until_exit": True}, "11 11", "11 11", "11 11",
    ),
    "long only": ({"allow_short": False}, "1 11", "1 00", None),
    "long only, no hold": (
        {"allow_short": False, "include_hold_action": False}, "11", "11", None,
    ),
}  # fmt: skip


def bits(text):
    return [int(bit) for bit in text.replace(" ", "")]


def make_env(name, kind="SLTP", frame=None, **arguments):
    """A scalar environment whose masks are those of the table."""
    return scalar(frame, kind, **({"allow_short": True} | LEVELS | TABLE[name][0] | arguments))


@pytest.mark.parametrize("kind", ["SLTP", "OneStep"])
@pytest.mark.parametrize("name", TABLE)
def test_masks_by_position(name, kind):
    """Flat at the reset, then whatever the position is; never all zero."""
    extra = {"rollout_steps": 3, "close_at_end": False} if kind == "OneStep" else {}
    env, rng, seen = make_env(name, kind, **extra), np.random.default_rng(0), set()
    masks = dict(zip((0, 1, -1), TABLE[name][1:], strict=True))
    over, info = True, {"position": 0.0}
    for step in range(150):
        if over:
            info, over = env.reset(seed=step)[1], False
        else:
            *_, terminated, truncated, info = env.step(int(rng.integers(0, env.action_space.n)))
            over = terminated or truncated
        mask, side = info["action_mask"], int(np.sign(info["position"]))
        assert mask.dtype == np.int8 and mask.shape == (env.action_space.n,)
        assert mask.tolist() == bits(masks[side])
        assert mask.any()
        seen.add(side)
    assert seen == {side for side, mask in masks.items() if mask}


def results(env, action):
    """What a step returns, and everything that the account holds after it."""
    *result, info = env.step(action)
    lane = np.asarray(env.engine.lanes)[0]
    return result, info, {name: lane[name].item() for name in lane.dtype.names}


def copies(env):
    """Two independent copies, made in two ways."""
    return copy.deepcopy(env), pickle.loads(pickle.dumps(env))


@pytest.mark.parametrize("name", [name for name in TABLE if "no hold" not in name])
def test_a_masked_action_is_hold_and_the_others_are_not(name):
    """At every state of a run, on copies of the environment.

    At leverage 1 no open liquidates before the order: that is the next test's.
    """
    env = make_env(name, reward="pnl", slippage=0.001, slippage_model="uniform")
    rng, changed, allowed = np.random.default_rng(1), set(), set()
    _, info = env.reset(seed=5)
    for _ in range(30):
        side, mask = int(np.sign(info["position"])), info["action_mask"]
        for action in range(1, env.action_space.n):
            held, acted = copies(env)
            left, right = results(held, 0), results(acted, action)
            if mask[action]:
                allowed.add((side, action))
                if left[2] != right[2]:
                    changed.add((side, action))
                continue
            assert_same(left[0][0], right[0][0])
            assert left[0][1:] == right[0][1:]
            assert_same(left[1], right[1])
            assert left[2] == right[2]
        *_, terminated, truncated, info = env.step(int(rng.integers(0, env.action_space.n)))
        if terminated or truncated:
            _, info = env.reset()
    assert changed == allowed  # each of them did something at least once
    assert {side for side, _ in allowed} == ({0} if name in ("locked", "long only") else {0, 1, -1})


@pytest.mark.parametrize("action", ["long", "short"])
def test_a_masked_order_counts_after_all_when_the_open_liquidates_first(action):
    """The mask is of the position as it stands, and that one is gone when the order comes."""
    env = make_env(
        "locked", frame=flat_then(120, 80.0, at=35), leverage=10, margin_mode="isolated",
        position_fraction=0.3, **CRASH | {"stoploss_levels": (-0.2, -0.3)},
    )  # fmt: skip
    env.reset(seed=0)
    *_, info = env.step(1)
    number = 1 if action == "long" else 3
    assert info["action_mask"][number] == 0
    held, acted = copies(env)
    after_hold, after_order = results(held, 0)[2], results(acted, number)[2]
    assert after_hold["liquidated"] and after_order["liquidated"]
    assert after_hold["quantity"] == 0.0
    assert np.sign(after_order["quantity"]) == (1 if action == "long" else -1)


def test_levels_have_no_mask():
    env, batch = scalar(), vector(num_envs=2)
    assert "action_mask" not in env.reset(seed=0)[1]
    assert "action_mask" not in env.step(0)[4]
    assert batch.reset(seed=0)[1] == {} == batch.step(np.zeros(2, int))[4]


def test_actions_are_sampled_by_the_mask():
    """Gymnasium's own sampling takes it as it is; what is sampled is never ignored."""
    env = make_env("close", replace_brackets=False)
    _, info = env.reset(seed=0)
    env.action_space.seed(0)
    taken = set()
    for _ in range(80):
        mask = info["action_mask"]
        action = int(env.action_space.sample(mask))
        assert mask[action] == 1
        taken.add(action)
        *_, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            _, info = env.reset()
    assert taken == set(range(6))


@pytest.mark.parametrize("name", ["brackets", "locked", "one step"])
def test_a_batch_is_sampled_by_its_masks(name):
    env = make(name, num_envs=5)
    _, info = env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(20):
        masks = info["action_mask"]
        actions = env.action_space.sample(tuple(masks))
        assert (masks[np.arange(5), actions] == 1).all()
        *_, info = env.step(actions)


# --- vector -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("kind", ["SLTP", "OneStep"])
def test_the_masks_of_a_batch(kind, mode):
    """Of every lane after every step and reset; of an ended one's position in the final info."""
    steps = {"rollout_steps": 4, "close_at_end": False} if kind == "OneStep" else {}
    env = vector(kind=kind, num_envs=6, autoreset_mode=mode, allow_short=True, episode_steps=7,
                 include_close_action=True, **LEVELS, **steps)  # fmt: skip
    by_side = {
        side: bits(mask) for side, mask in zip((0, 1, -1), TABLE["close"][1:], strict=True)
    }  # fmt: skip
    _, info = env.reset(seed=2)
    rng, finals = np.random.default_rng(0), set()
    if kind == "SLTP":  # so that not all lanes end at once
        env.step(draw(env, rng))
        _, info = env.reset(options={"reset_mask": np.arange(6) < 3})
    for _ in range(40):
        masks = info["action_mask"]
        assert (masks.dtype, masks.shape) == (np.int8, (6, 6))
        sides = np.sign(env.account()["position"]).astype(int)
        assert masks.tolist() == [by_side[side] for side in sides]
        assert info["_action_mask"].dtype == bool and info["_action_mask"].all()
        *_, terminated, truncated, info = env.step(draw(env, rng))
        ended = terminated | truncated
        if mode == "SameStep" and ended.any():
            final = info["final_info"]
            assert_same(final["_action_mask"], ended)
            assert final["action_mask"].dtype == np.int8
            for lane in range(6):
                side = int(np.sign(final["position"][lane]))
                expected = by_side[side] if ended[lane] else [0] * 6
                assert final["action_mask"][lane].tolist() == expected
                finals.add(side)
            assert (info["action_mask"][ended] == by_side[0]).all()
        if mode == "Disabled" and ended.any():
            _, info = env.reset(options={"reset_mask": ended})
    assert finals == ({0, 1, -1} if mode == "SameStep" else set())


def test_a_mask_is_the_callers_own():
    """Whoever writes into one changes no other, and no step writes into one given before."""
    env = make_env("plain")
    _, info = env.reset(seed=0)
    given = [info["action_mask"]]
    given += [env.step(action)[4]["action_mask"] for action in (0, 1, 0, 3, 0)]
    before = [mask.copy() for mask in given]
    for mask in given:
        mask[:] = 7
    assert env.reset(seed=0)[1]["action_mask"].tolist() == before[0].tolist()
    for action, expected in zip((0, 1, 0, 3, 0), before[1:], strict=True):
        assert env.step(action)[4]["action_mask"].tolist() == expected.tolist()


@pytest.mark.parametrize("copied", [True, False])
def test_the_masks_of_a_batch_are_the_callers_own(copied):
    env, twin = (make("one step", num_envs=4, autoreset_mode="SameStep", copy=copied)
                 for _ in range(2))  # fmt: skip
    kept = [env.reset(seed=0)[1]]
    twin.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(12):
        actions = draw(env, rng)
        kept.append(env.step(actions)[4])
        expected = twin.step(actions)[4]
        for name in ("action_mask", "_action_mask"):
            assert_same(kept[-1][name], expected[name])
            kept[-1][name][...] = 0
            if "final_info" in kept[-1]:
                assert_same(kept[-1]["final_info"][name], expected["final_info"][name])
                kept[-1]["final_info"][name][...] = 0
        assert all(not info[name].any() for info in kept[1:] for name in info if "mask" in name)


def test_the_mask_of_a_market_that_is_flat_again():
    """An exit inside a step shows in the mask that the step returns."""
    env = scalar(flat_then(120, 97.0, at=37), "SLTP", **CRASH)
    env.reset(seed=0)
    assert env.step(1)[4]["action_mask"].tolist() == [1, 0, 0, 0, 0]
    *_, info = env.step(0)
    assert info["exit_reason"] == "stop_loss"
    assert info["action_mask"].tolist() == [1] * 5
