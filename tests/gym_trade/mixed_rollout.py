"""Run something of everything and print a digest of every number: ``python mixed_rollout.py``.

For runs of one interpreter against another: jitted, un-jitted, bounds-checked. Prints one JSON
object, section -> digest; with ``--out-of-range`` it asks for a decision that does not exist.
"""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np

from gym_trade import accounting, metrics, philox, synthetic, types
from gym_trade.types import REWARDS
from tests import markets, slow_market
from tests.accounts import account, rules
from tests.rollouts import CONFIGURATIONS, configured, configured_scalar, draw, vector


class Digest:
    """A running digest over arrays, numbers and containers of them."""

    def __init__(self):
        self.hash = hashlib.sha256()

    def add(self, value):
        if isinstance(value, dict):
            for key in sorted(value):
                self.hash.update(key.encode())
                self.add(value[key])
        elif isinstance(value, str):
            self.hash.update(value.encode())
        elif isinstance(value, tuple | list):
            for item in value:
                self.add(item)
        elif np.asarray(value).dtype.hasobject:  # of final observations, None in other lanes
            self.add([item for item in value if item is not None])
        else:
            array = np.ascontiguousarray(value)
            self.hash.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())

    def text(self):
        return self.hash.hexdigest()[:16]


def add_lanes(digest, engine):
    for name in types.LANE_DTYPE.names:
        digest.add(np.array(engine.lanes[name]))


def vector_rollout(digest, name, **arguments):
    env = configured(name, num_envs=4, **arguments)
    rng = np.random.default_rng(0)
    digest.add(env.reset(seed=5)[0])
    for _ in range(40):
        actions = draw(env, rng)
        result = env.step(actions)
        digest.add(result)
        add_lanes(digest, env.engine)
        ended = result[2] | result[3]
        if arguments["autoreset_mode"] == "Disabled":
            if ended.any():
                digest.add(env.reset(options={"reset_mask": ended})[0])
            digest.add(env.step_lanes(np.array([2, 0]), actions[[2, 0]]))
            if env.engine.lanes.ended.any():
                digest.add(env.reset(options={"reset_mask": env.engine.lanes.ended == 1})[0])


def scalar_rollout(digest, name, **arguments):
    env = configured_scalar(name, **arguments)
    rng = np.random.default_rng(0)
    env.reset(seed=5)
    for _ in range(60):
        *result, info = env.step(int(rng.integers(0, env.action_space.n)))
        digest.add([*result, info, env.fills().drop(columns=["reason", "timestamp"]).to_numpy()])
        if result[2] or result[3]:
            env.reset()


def recorded_rollouts(digest, kind, **arguments):
    """A recorded lane whose episodes, of up to 320 decisions, outgrow the journal's first size."""
    frame = markets.bars(700, volatility=0.002)
    env = vector(
        frame, kind, num_envs=3, record_lane=1, execute_on="1min", leverage=3, slippage=0.001,
        slippage_model="uniform", **arguments,
    )  # fmt: skip
    rng, longest = np.random.default_rng(0), 0
    env.reset(seed=5)
    for _ in range(330 if kind == "SLTP" else 6):
        digest.add(env.step(draw(env, rng)))
        if env.engine.lanes.ended[1]:
            frames = (env.history(), env.all_fills(), env.trades())
            digest.add([frame.select_dtypes(float).to_numpy() for frame in frames])
            longest = max(longest, len(frames[0]))
    assert longest > 300, longest


def bracket_walks(digest):
    """Random positions with stops and targets, both sides and margin modes, walked bar by bar."""
    rng = np.random.default_rng(0)
    bars = markets.bars(3000, volatility=0.006).to_numpy()[:, :4].copy()
    funding = np.where(rng.random(len(bars)) < 0.2, 0.002, 0.0)
    reasons = set()
    for trial in range(250):
        rule = rules(
            leverage=10.0, isolated=trial % 2, fee_rate=0.001, slippage=0.002,
            uniform_slippage=trial % 3 == 0, has_funding=1,
            margin_call_threshold=0.9 * (trial % 5 == 0),
        )  # fmt: skip
        price, side = bars[trial * 10, 0], rng.choice([-1.0, 1.0])
        stop, target = price * (1.0 + side * rng.uniform(0.0, 0.2, 2) * [-1.0, 1.0])
        made = account(
            1000.0, side * 8000.0 / price, price, stop_price=stop, target_price=target, seed=trial
        )
        reason, _ = accounting.advance(made, rule, bars, funding, trial * 10, trial * 10 + 10)
        reasons.add(int(reason))
        digest.add([made[name] for name in types.LANE_DTYPE.names])
    assert reasons == {0, 2, 3, 4, 5}, reasons


def sections():
    done = {}
    for mode in ("NextStep", "SameStep", "Disabled"):
        for name in CONFIGURATIONS:
            digest = done[f"{mode} {name}"] = Digest()
            vector_rollout(digest, name, autoreset_mode=mode)
    for reward in REWARDS:
        digest = done[reward] = Digest()
        vector_rollout(digest, "wild", autoreset_mode="NextStep", reward=reward, min_notional=0.0)
    for margin_mode in ("cross", "isolated"):
        for name in ("wild", "brackets", "one step"):
            digest = done[f"{margin_mode} {name}"] = Digest()
            scalar_rollout(digest, name, margin_mode=margin_mode)
    far = {"stoploss_levels": (-0.3,), "takeprofit_levels": (0.9,)}
    near = {"stoploss_levels": (-0.004, -0.01), "takeprofit_levels": (0.005,)}
    for custom in (False, True):
        chosen = {"reward": slow_market.gain} if custom else {}
        digest = done[f"recorded SLTP {custom}"] = Digest()
        recorded_rollouts(digest, "SLTP", episode_steps=320, **near, **chosen)
        digest = done[f"recorded OneStep {custom}"] = Digest()
        recorded_rollouts(digest, "OneStep", rollout_steps=320, **far, **chosen)
    bracket_walks(done.setdefault("brackets", Digest()))
    done["market"] = Digest()
    done["market"].add(synthetic.make_frame(n_bars=300, seed=3).to_numpy())
    done["draws"] = Digest()
    done["draws"].add([philox.uniform(s, 1, 2, 3, 1) for s in range(50)])
    done["metrics"] = Digest()
    curve = np.cumprod(1.0 + 0.01 * np.sin(np.arange(60.0)))
    done["metrics"].add(metrics.from_equity(curve, periods_per_year=100.0))
    return {name: digest.text() for name, digest in done.items()}


def out_of_range():
    """A step beyond the last decision: only a bounds check can notice."""
    env = vector(num_envs=1)
    env.reset(seed=0)
    env.engine.lanes.decision = len(env.engine.grid.bar_end) + 3
    env.step(np.array([1]))


if __name__ == "__main__":
    if "--out-of-range" in sys.argv:
        out_of_range()
    else:
        print(json.dumps(sections()))
