"""Small environments for the tests, and ways to compare what they return."""

from __future__ import annotations

import numpy as np

from gym_trade import (
    OneStepEnv,
    SequentialEnv,
    SLTPEnv,
    VectorOneStepEnv,
    VectorSLTPEnv,
    VectorTradeEnv,
    types,
)
from tests import markets, slow_market

# One short window and a decision every five minutes: construction and steps are cheap.
SMALL = {"time_frames": ["1min"], "window_sizes": 4, "execute_on": "5min"}

FRAMES = {"one": markets.bars(500, seed=1), "two": markets.bars(400, seed=2, volatility=0.004)}

# The scalar and the vector class of each environment.
CLASSES = {
    "Sequential": (SequentialEnv, VectorTradeEnv),
    "SLTP": (SLTPEnv, VectorSLTPEnv),
    "OneStep": (OneStepEnv, VectorOneStepEnv),
}

# Configurations that reach every part of a step: draws, refusals, liquidations, autoresets.
# "kind" is a key of CLASSES, "Sequential" where it is left out.
CONFIGURATIONS = {
    "spot": {"df": FRAMES["one"], "episode_steps": 9},
    "wild": {
        "df": FRAMES, "leverage": 50, "slippage": 0.003, "slippage_model": "uniform",
        "initial_cash": (500.0, 20_000.0), "episode_steps": 12, "bankrupt_threshold": 0.4,
        "lot_size": 0.01, "min_notional": 60_000.0, "funding_rate": 0.001,
        "reward": "differential_sharpe", "liquidation_fee": 0.005,
    },
    "continuous": {
        "df": FRAMES["two"], "leverage": 10, "action_type": "continuous", "fill_at": "close",
        "margin_mode": "isolated", "margin_call_threshold": 0.6, "slippage": 0.001,
        "reward": "drawdown_penalty", "episode_steps": 7, "observation": "flat",
    },
    "index": {"df": FRAMES, "allow_short": True, "observation": "index"},
    "brackets": {
        "kind": "SLTP", "df": FRAMES, "leverage": 40, "slippage": 0.002,
        "slippage_model": "uniform", "initial_cash": (500.0, 20_000.0), "episode_steps": 12,
        "bankrupt_threshold": 0.3, "reward": "differential_sharpe",
        "stoploss_levels": (-0.005, -0.05), "takeprofit_levels": (0.006, 0.02),
        "include_close_action": True, "replace_brackets": True, "position_fraction": 0.9,
        "lot_size": 0.01, "min_notional": 30_000.0, "funding_rate": 0.001,
    },
    "locked": {
        "kind": "SLTP", "df": FRAMES["two"], "leverage": 25, "fill_at": "close", "slippage": 0.001,
        "margin_mode": "isolated", "margin_call_threshold": 0.6, "lock_until_exit": True,
        "stoploss_levels": (-0.01,), "takeprofit_levels": (0.004, 0.5), "position_fraction": 0.3,
        "include_hold_action": False, "reward": slow_market.gain, "episode_steps": 8,
        "observation": "flat",
    },
    "one step": {
        "kind": "OneStep", "df": FRAMES, "leverage": 45, "slippage": 0.003, "rollout_steps": 14,
        "slippage_model": "uniform", "initial_cash": (500.0, 20_000.0), "funding_rate": 0.001,
        "stoploss_levels": (-0.008, -0.05), "takeprofit_levels": (0.01, 0.4), "lot_size": 0.01,
        "min_notional": 60_000.0, "bankrupt_threshold": 0.4, "reward": "drawdown_penalty",
    },
    "left open": {
        "kind": "OneStep", "df": FRAMES["one"], "allow_short": True, "close_at_end": False,
        "rollout_steps": 9, "episode_steps": 7, "include_close_action": True, "slippage": 0.001,
        "stoploss_levels": (-0.006,), "takeprofit_levels": (0.003, 0.1), "observation": "index",
        "reward": slow_market.gain,
    },
}  # fmt: skip

BRACKETED = [name for name in CONFIGURATIONS if "kind" in CONFIGURATIONS[name]]

# What each environment needs to trade often on quiet bars.
NEAR = {"stoploss_levels": (-0.004,), "takeprofit_levels": (0.006,), "allow_short": True}
KINDS = {
    "Sequential": {"allow_short": True}, "SLTP": NEAR, "OneStep": NEAR | {"rollout_steps": 6},
}  # fmt: skip

# Arguments under which a market that is flat until a crash is entered and left.
CRASH = {"random_start": False, "start": "2023-01-02 00:30", "transaction_fee": 0.0}


def scalar(frame=None, kind="Sequential", **arguments):
    """A scalar environment on small windows; random bars with gaps unless a frame is given."""
    frame = markets.bars(600) if frame is None else frame
    return CLASSES[kind][0](df=frame, **(SMALL | arguments))


def vector(frame=None, kind="Sequential", **arguments):
    """Its vector counterpart."""
    frame = markets.bars(600) if frame is None else frame
    return CLASSES[kind][1](df=frame, **(SMALL | arguments))


def flat_then(count, price, *, at, start=100.0):
    """Minute bars that stand at `start` and, from bar `at` on, at `price`."""
    frame = markets.flat_bars(count, start)
    frame.iloc[at:, :4] = price
    return frame


def assert_same(left, right):
    """Equal in structure, dtype and every bit: observations, infos, arrays."""
    if isinstance(left, dict):
        assert isinstance(right, dict)
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
        return
    first, second = np.asarray(left), np.asarray(right)
    if first.dtype == object:
        assert first.shape == second.shape
        for one, other in zip(first.ravel(), second.ravel(), strict=True):
            if isinstance(one, dict | np.ndarray):
                assert_same(one, other)
            else:
                assert one == other
        return
    assert first.dtype == second.dtype
    np.testing.assert_array_equal(first, second)


def configured(name, **changes):
    """A vector environment of one of the configurations."""
    arguments = CONFIGURATIONS[name] | changes
    return vector(arguments.pop("df"), **arguments)


def configured_scalar(name, **changes):
    """Its scalar counterpart."""
    arguments = CONFIGURATIONS[name] | changes
    return scalar(arguments.pop("df"), **arguments)


def draw(env, rng, count=None):
    """Random actions for a vector environment; uniform over the box for continuous ones."""
    count = count or env.num_envs
    if env.config.continuous:
        return rng.uniform(-1.0, 1.0, (count, 1)).astype(np.float32)
    return rng.integers(0, env.single_action_space.n, count)


def lane_of(engine, lane=0):
    """The account of a lane, without the scratch fields of its last fill."""
    return {
        name: engine.lanes[name][lane].item()
        for name in types.LANE_DTYPE.names
        if not name.startswith("fill_")
    }


def of_lane(batch, lane):
    """One lane of a batched observation."""
    if isinstance(batch, dict):
        return {key: of_lane(value, lane) for key, value in batch.items()}
    return batch[lane]


def play(env, actions, seed=0):
    """Reset a scalar environment and step it until the end, or out of actions.

    Returns (infos, that of reset first; rewards; the last step's two flags).
    """
    infos, rewards, flags = [env.reset(seed=seed)[1]], [], (False, False)
    for action in actions:
        _, reward, *flags, info = env.step(action)
        infos.append(info)
        rewards.append(reward)
        if any(flags):
            break
    return infos, np.array(rewards), tuple(flags)


def same_steps(left, right):
    for one, other in zip(left, right, strict=True):
        for ours, theirs in zip(one, other, strict=True):
            assert_same(ours, theirs)


def episodes(env, actions, seed=0):
    """All that is returned while some actions are taken, over resets."""
    results = [env.reset(seed=seed)]
    for action in actions:
        results.append(env.step(action))
        if results[-1][2] or results[-1][3]:
            results.append(env.reset())
    return results


def choices(env, count, seed=0):
    return np.random.default_rng(seed).integers(0, env.action_space.n, count).tolist()
