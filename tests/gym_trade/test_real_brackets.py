"""Brackets on real bars, where they are at hand: each exit is the first that the bars allow."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from data_tools.load import load
from gym_trade import Market, OneStepEnv, SLTPEnv, VectorOneStepEnv, VectorSLTPEnv
from tests.real_data import BITCOIN, EURO, GOOGLE, euro_bids, needs


@pytest.fixture(scope="module")
def bitcoin():
    return Market(load(BITCOIN, echo=None))


def first_exit(bars, entry, last, side, stop, target):
    """(bar, reason, price, where) of the first real bar that reaches a bracket, or None."""
    for bar in range(entry, last + 1):
        open_, high, low, _ = bars[bar]
        adverse, favourable = (low, high) if side > 0 else (high, low)
        if side * (open_ - stop) <= 0.0:
            return bar, "stop_loss", open_, "gap"
        if side * (open_ - target) >= 0.0:
            return bar, "take_profit", open_, "gap"
        if side * (adverse - stop) <= 0.0:
            return bar, "stop_loss", stop, "level"
        if side * (favourable - target) >= 0.0:
            return bar, "take_profit", target, "level"
    return None


def check_brackets(env, frame):
    """Every entry is a bar's open and every exit the first that the real bars allow.

    Returns how often each kind of exit has happened, and how many entries waited for a market that
    was closed at the decision.
    """
    fills, marks = env.all_fills(), env.history()
    bars, stamps = frame[["open", "high", "low", "close"]].to_numpy(), frame.index
    assert (fills["timestamp"] == stamps[fills["bar"]]).all()  # nothing in closed hours
    last_bar = int(stamps.searchsorted(marks["timestamp"].iloc[-1])) - 1
    seen, rows = Counter(), [*fills.itertuples(), None]
    for fill, following in itertools.pairwise(rows):
        if fill.position == 0.0:
            continue
        decided = marks["timestamp"][fill.step]
        assert fill.reason == "agent" and fill.bar == stamps.searchsorted(decided)
        assert fill.reference_price == bars[fill.bar, 0]
        seen["waited"] += stamps[fill.bar] > decided
        choice = env.config.choices[marks["action"][fill.step + 1]]
        side = np.sign(fill.position)
        assert side == np.sign(choice.level)
        stop, target = (fill.price * (1.0 + side * move) for move in (choice.stop, choice.target))
        end = last_bar if following is None else following.bar
        due = first_exit(bars, fill.bar, end, side, stop, target)
        if following is None:
            assert due is None
        elif following.reason == "agent":  # at the open, before the bar is walked
            assert due is None or due[0] == following.bar
            assert following.reference_price == bars[following.bar, 0]
        elif following.reason == "rollout_end":
            assert due is None and following.bar == last_bar
            assert following.reference_price == bars[last_bar, 3]
        else:
            assert due[:2] == (following.bar, following.reason)
            assert following.reference_price == pytest.approx(due[2], rel=1e-12)
            assert bars[following.bar, 2] <= following.reference_price <= bars[following.bar, 1]
            seen[f"{due[1]} at a {due[3]}"] += 1
        seen["flip"] += following is not None and following.position * fill.position < 0.0
        seen["rollout_end"] += following is not None and following.reason == "rollout_end"
    return seen


def play_brackets(env, frame, episodes, hold=0.6):
    """Random episodes, each of them checked."""
    rng, seen = np.random.default_rng(0), Counter()
    env.reset(seed=0)
    for _ in range(episodes):
        over = False
        while not over:
            action = 0 if rng.random() < hold else int(rng.integers(0, env.action_space.n))
            _, reward, terminated, truncated, info = env.step(action)
            assert np.isfinite(reward)
            over = terminated or truncated
        assert (info["metrics"]["n_trades"] > 0) == (info["n_trades"] > 0)
        seen += check_brackets(env, frame)
        env.reset()
    return seen


EXITS = [f"{reason} at a level" for reason in ("stop_loss", "take_profit")]
GAPS = [f"{reason} at a gap" for reason in ("stop_loss", "take_profit")]
TIGHT = {"stoploss_levels": (-0.002, -0.006), "takeprofit_levels": (0.003, 0.01),
         "allow_short": True}  # fmt: skip


def occurred(seen, *names):
    missing = [name for name in names if not seen[name]]
    assert not missing, f"never: {missing}, of {dict(seen)}"


@needs(BITCOIN)
@pytest.mark.parametrize("execute_on", ["5min", "1hour"])
def test_brackets_on_minutes(bitcoin, execute_on):
    """From the day before the hole to the day after it."""
    frame = bitcoin.to_frame().loc["2023-03-20":"2023-03-26"]
    arguments = {"df": frame, "start": "2023-03-22", "execute_on": execute_on, "slippage": 1e-4}
    env = SLTPEnv(random_start=False, **arguments, **TIGHT)
    occurred(play_brackets(env, frame, 2), *EXITS, "flip", "waited")
    env = OneStepEnv(rollout_steps=12, **arguments, **TIGHT | {"stoploss_levels": (-0.002, -0.03)})
    occurred(play_brackets(env, frame, 150, hold=0.1), *EXITS, "rollout_end")


@needs(BITCOIN)
@pytest.mark.parametrize("kind", [VectorSLTPEnv, VectorOneStepEnv])
def test_batches_of_brackets_over_a_year_of_minutes(bitcoin, kind):
    env = kind(df=bitcoin, num_envs=64, leverage=5, execute_on="15min", autoreset_mode="SameStep")
    observation, _ = env.reset(seed=0)
    rng, liquidations = np.random.default_rng(0), 0
    for _ in range(60):
        observation, rewards, *_ = env.step(rng.integers(0, env.single_action_space.n, 64))
        assert np.isfinite(rewards).all() and rewards.min() > np.log(0.6)
        assert all(np.isfinite(value).all() for value in observation.values())
        liquidations += env.account()["liquidations"].sum()
    assert liquidations == 0  # a stop of 5% is nearer than a liquidation at a leverage of 5
    assert env.account()["fees_paid"].any() or kind is VectorOneStepEnv


@needs(GOOGLE)
def test_brackets_on_daily_bars():
    """A stock that opens far from where it has closed."""
    frame = load(GOOGLE, echo=None)
    wide = {"stoploss_levels": (-0.02, -0.05), "takeprofit_levels": (0.03, 0.06)}
    env = SLTPEnv(df=frame, random_start=False, **TIGHT | wide)
    occurred(play_brackets(env, frame, 2), *EXITS, *GAPS, "flip", "waited")
    env = OneStepEnv(df=frame, rollout_steps=20, **TIGHT | wide)
    occurred(play_brackets(env, frame, 150, hold=0.1), *EXITS, *GAPS, "rollout_end", "waited")


@needs(EURO)
@pytest.mark.filterwarnings("ignore:.*no volume column:UserWarning")
@pytest.mark.parametrize("execute_on", ["1hour", "4hour"])
def test_brackets_on_hourly_bars_with_closed_weekends(execute_on):
    """Each of these bars opens where the last one has closed, so that nothing gaps."""
    rows = euro_bids()
    frame = rows.set_index("date")
    arguments = {"df": rows, "time_frames": ["1hour", "4hour"], "window_sizes": [8, 6],
                 "execute_on": execute_on, "leverage": 10}  # fmt: skip
    env = SLTPEnv(random_start=False, **arguments, **TIGHT)
    occurred(play_brackets(env, frame, 2), *EXITS, "flip", "waited")
    env = OneStepEnv(rollout_steps=24, **arguments, **TIGHT)
    occurred(play_brackets(env, frame, 150, hold=0.1), *EXITS, "rollout_end")
