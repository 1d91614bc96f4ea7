"""Altering any bar after t leaves every observation, fill and reward up to t bit-identical."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_trade import Market, parse_time_frame
from tests import markets, slow_market
from tests.rollouts import CLASSES, assert_same, draw

PRICES = ["open", "high", "low", "close"]
COUNT = 700
FRAME = markets.bars(COUNT, 31, missing=0.1, volatility=0.004).assign(
    feature_x=lambda frame: np.random.default_rng(1).normal(size=len(frame)),
    funding_rate=lambda frame: np.random.default_rng(2).normal(0.0, 0.01, len(frame)),
)
WINDOWS = {"time_frames": ("1min", "7min", "15min"), "window_sizes": (5, 3, 3)}


def own_features(bars):
    """Causal, and touched by every column."""
    moves = bars["close"].pct_change().fillna(0.0)
    spread = moves.rolling(10, min_periods=1).std().fillna(0.0)
    return pd.DataFrame({
        "mean": moves.ewm(span=5).mean(), "spread": spread, "volume": bars["volume"].cumsum(),
        "range": np.log(bars["high"] / bars["low"]), "own": bars["feature_x"],
    })  # fmt: skip


CONFIGURATIONS = {
    "spot": {},
    "slippage": {"slippage": 0.01},
    "random slippage": {"slippage": 0.01, "slippage_model": "uniform", "leverage": 3},
    "futures": {"leverage": 40, "funding_rate": "funding_rate", "slippage": 0.002,
                "slippage_model": "uniform", "bankrupt_threshold": 0.01},
    "isolated": {"leverage": 60, "margin_mode": "isolated", "bankrupt_threshold": 0.01,
                 "margin_call_threshold": 0.4},
    "at the close": {"fill_at": "close", "allow_short": True, "slippage": 0.003},
    "continuous": {"action_type": "continuous", "leverage": 5, "reward": "differential_sharpe"},
    "own features": {"features": own_features, "reward": "drawdown_penalty"},
    "another step": {"execute_on": "7min", "lot_size": 0.01, "min_notional": 100.0,
                     "reward": lambda equity, drawdown: equity - drawdown},
    "flat": {"observation": "flat", "initial_cash": (10.0, 1e6)},
    "brackets": {"kind": "SLTP", "leverage": 20, "funding_rate": "funding_rate", "slippage": 0.002,
                 "slippage_model": "uniform", "bankrupt_threshold": 0.01, "position_fraction": 0.8,
                 "stoploss_levels": (-0.01, -0.2), "takeprofit_levels": (0.01, 0.04),
                 "include_close_action": True, "replace_brackets": True},
    "locked": {"kind": "SLTP", "allow_short": True, "fill_at": "close", "lock_until_exit": True,
               "stoploss_levels": (-0.006,), "takeprofit_levels": (0.008, 0.3), "reward": "pnl"},
    "one step": {"kind": "OneStep", "leverage": 20, "slippage": 0.002, "slippage_model": "uniform",
                 "stoploss_levels": (-0.01, -0.2), "takeprofit_levels": (0.02, 0.5),
                 "rollout_steps": 12, "funding_rate": "funding_rate", "random_start": True},
    "left open": {"kind": "OneStep", "allow_short": True, "close_at_end": False,
                  "rollout_steps": 7, "reward": lambda equity, price: equity - price},
}  # fmt: skip


def altered(frame, rows, seed):
    """Other bars in `rows`: prices anywhere between a thousandth and a thousandfold."""
    rng = np.random.default_rng(seed)
    frame = frame.copy()
    count = int(rows.sum())
    open_, close = np.exp(rng.normal(np.log(100.0), 3.0, (2, count)))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 1.0, count)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 1.0, count)))
    frame.loc[rows, PRICES] = np.column_stack([open_, high, low, close])
    frame.loc[rows, "volume"] = rng.exponential(1e9, count) * (rng.random(count) < 0.7)
    frame.loc[rows, "feature_x"] = rng.normal(0, 1e6, count)
    frame.loc[rows, "funding_rate"] = rng.normal(0, 0.5, count).clip(-1, 1)
    return frame


def later_than(instant, frame=FRAME):
    """The rows whose bars open at `instant` or after it: none of it can be known by then."""
    return np.asarray(frame.index.to_numpy() >= np.datetime64(instant))


def environment(frame, name, **changes):
    arguments = {"random_start": False, "execute_on": "5min"} | WINDOWS | CONFIGURATIONS[name]
    scalar, _ = CLASSES[arguments.pop("kind", "Sequential")]
    return scalar(df=frame, **(arguments | changes))


def action_of(env, rng):
    if env.config.continuous:
        return np.array([rng.uniform(-1.5, 1.5)], np.float32)
    return int(rng.integers(0, env.action_space.n))


REASON = 7  # its column in the frame of fills


def history(env, until=None, seed=3):
    """All that has been seen up to an instant: (time, observation, reward, flags, info, fills)."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    seen, flags, reward = [], (False, False), 0.0
    while True:
        at = pd.Timestamp(info["timestamp"]).tz_localize(None)
        if until is not None and at > until:
            return seen
        info.pop("metrics", None)
        info["action_mask"] = info.get("action_mask", np.zeros(0)).tolist()
        fills = list(env.unwrapped.fills().itertuples(index=False, name=None))
        seen.append((at, observation, reward, flags, info, fills))
        if any(flags) or at == until:
            return seen
        observation, reward, *flags, info = env.step(action_of(env, rng))


def assert_same_history(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one[0] == other[0]
        assert_same(one[1], other[1])
        assert one[2:] == other[2:]


@functools.cache
def unaltered(name, seed):
    """The history over all bars as they are, which many alterations are compared with."""
    return history(environment(FRAME, name), seed=seed)


# --- the scalar environment -------------------------------------------------------------


@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_was_seen_does_not_change_with_what_comes(name, data, seed):
    whole = unaltered(name, seed % 4)
    cut = data.draw(st.integers(0, len(whole) - 1))
    instant = whole[cut][0]
    changed = altered(FRAME, later_than(instant), seed)
    got = history(environment(changed, name), until=instant, seed=seed % 4)
    # the episode's last flag depends on whether more comes, everything else does not
    assert_same_history(got, whole[: cut + 1])


@pytest.mark.parametrize("name", ["futures", "random slippage", "at the close", "brackets"])
def test_a_single_later_bar_anywhere(name):
    """One bar altered, wherever after t it lies, and whatever t is."""
    rng = np.random.default_rng(4)
    whole = unaltered(name, 3)
    for cut in rng.integers(0, len(whole), 12):
        instant = whole[cut][0]
        rows = np.flatnonzero(later_than(instant))
        chosen = np.zeros(len(FRAME), bool)
        chosen[[rows[0], rng.choice(rows)]] = True
        got = history(environment(altered(FRAME, chosen, int(cut)), name), until=instant)
        assert_same_history(got, whole[: cut + 1])


@pytest.mark.parametrize("name", ["futures", "own features", "another step", "locked"])
def test_a_future_that_is_not_there(name):
    """Nothing that is seen up to t needs a bar after t to exist."""
    whole = unaltered(name, 3)
    for cut in (3, len(whole) // 2, len(whole) - 2):
        instant = whole[cut][0]
        got = history(environment(FRAME[~later_than(instant)], name))
        assert got[-1][3] == [False, True]  # the data ends there
        last = (*got[-1][:3], whole[cut][3], *got[-1][4:])
        assert_same_history([*got[:-1], last], whole[: cut + 1])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_test_itself_can_see_a_difference(name):
    """Altering what *is* known at t shows at t: in the windows, the mark or the account."""
    whole = unaltered(name, 3)
    for cut in (1, len(whole) // 2, len(whole) - 1):
        instant = whole[cut][0]
        last = np.flatnonzero(~later_than(instant))[-1]
        row = np.arange(len(FRAME)) == last
        got = history(environment(altered(FRAME, row, 0), name), until=instant)
        with pytest.raises(AssertionError):
            assert_same_history(got, whole[: cut + 1])
        # and only there: up to the instant before, all is the same
        assert_same_history(got[:cut], whole[:cut])


def test_configurations_reach_what_they_are_for():
    reasons = {name: set() for name in CONFIGURATIONS}
    for name in CONFIGURATIONS:
        for seed in range(3):
            for *_, fills in unaltered(name, seed):
                reasons[name] |= {fill[REASON] for fill in fills}
    assert "liquidation" in reasons["futures"]
    assert {"liquidation", "margin_call"} & reasons["isolated"]
    assert {"liquidation", "stop_loss", "take_profit"} <= reasons["brackets"]
    assert {"stop_loss", "take_profit"} <= reasons["locked"]
    assert all("agent" in found for found in reasons.values())


@pytest.mark.parametrize("name", ["one step", "left open"])
def test_bars_after_a_rollouts_end_change_nothing_of_it(name):
    """Neither its journal; those up to its end do, which is when it knows of them."""
    original = environment(FRAME, name, random_start=True)
    reasons, lengths = set(), set()
    for seed in range(12):
        whole, marks = history(original, seed=seed), original.history()
        changed = altered(FRAME, later_than(whole[1][0]), seed)
        env = environment(changed, name, random_start=True)
        assert_same_history(history(env, seed=seed), whole)
        pd.testing.assert_frame_equal(env.history(), marks)
        known = later_than(whole[0][0]) & ~later_than(whole[1][0])
        env = environment(altered(FRAME, known, seed), name, random_start=True)
        other = history(env, seed=seed)
        assert_same_history(other[:1], whole[:1])
        with pytest.raises(AssertionError):
            assert_same_history(other, whole)
        reasons |= {fill[REASON] for fill in whole[1][5]}
        lengths.add(len(marks))
    assert reasons >= ({"rollout_end", "stop_loss"} if name == "one step" else {"agent"})
    assert len(lengths) > 1


# --- many lanes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["random slippage", "futures", "flat", "brackets", "one step", "left open"]
)
def test_no_lane_sees_what_comes(name):
    """Random starts, autoreset, one market of two altered: each lane up to its first bar after."""
    other = markets.bars(COUNT, 32).assign(feature_x=0.0, funding_rate=0.0)
    instant = pd.Timestamp("2023-01-03 03:00")
    changed = altered(FRAME, later_than(instant), 8)
    arguments = WINDOWS | CONFIGURATIONS[name] | {"episode_steps": 15, "execute_on": "5min"}
    _, batch = CLASSES[arguments.pop("kind", "Sequential")]
    envs = [batch(df=[df, other], num_envs=40, **arguments) for df in (FRAME, changed)]
    batches = [env.reset(seed=9)[0] for env in envs]
    blind = np.ones(40, bool)  # lanes that have not been beyond the instant
    rng, compared = np.random.default_rng(0), 0
    rounds = 4 if envs[0].config.rollout else 60  # sooner or later every lane starts late
    for _ in range(rounds):
        at = np.array([
            envs[0].tables[market].instants[index]
            for market, index in zip(
                envs[0].account()["market"], envs[0].decision_index, strict=True
            )
        ])  # fmt: skip
        blind &= (at <= instant.value) | (envs[0].account()["market"] == 1)
        accounts = [env.account() for env in envs]
        for key in accounts[0]:
            np.testing.assert_array_equal(accounts[0][key][blind], accounts[1][key][blind])
        flat = [
            b if isinstance(b, np.ndarray) else np.concatenate(
                [v.reshape(40, -1) for v in b.values()], axis=1
            ) for b in batches
        ]  # fmt: skip
        np.testing.assert_array_equal(flat[0][blind], flat[1][blind])
        compared += int(blind.sum())
        actions = draw(envs[0], rng)
        results = [env.step(actions) for env in envs]
        batches = [result[0] for result in results]
        # a reward belongs to the instant that the step arrived at
        after = np.array([
            envs[0].tables[market].instants[index]
            for market, index in zip(
                envs[0].account()["market"], envs[0].decision_index, strict=True
            )
        ])  # fmt: skip
        known = blind & ((after <= instant.value) | (envs[0].account()["market"] == 1))
        for position in (1, 2, 3):
            left, right = (result[position][known] for result in results)
            np.testing.assert_array_equal(left, right)
    assert 5 * rounds < compared < 40 * rounds
    assert 0 < blind.sum() < 40


# --- the tables -------------------------------------------------------------------------


@settings(max_examples=25)
@given(cut=st.integers(70, len(FRAME) - 1), seed=st.integers(0, 2**32), own=st.booleans())
def test_no_feature_of_a_complete_bar_depends_on_a_later_one(cut, seed, own):
    """Every window of every decision up to t, also those that no episode happened to visit."""
    instant = FRAME.index[cut]
    changed = altered(FRAME, later_than(instant), seed)
    frames = tuple(map(parse_time_frame, WINDOWS["time_frames"]))
    arguments = (frames, WINDOWS["window_sizes"], parse_time_frame("5min"))
    features = own_features if own else None
    left, right = (Market(frame).tables(*arguments, features) for frame in (FRAME, changed))
    np.testing.assert_array_equal(left.instants, right.instants)
    assert left.first_decision == right.first_decision
    for decision in range(left.first_decision, len(left.instants)):
        if left.instants[decision] > slow_market.nanoseconds(instant):
            break
        for frame in range(3):
            np.testing.assert_array_equal(
                left.window(decision, frame), right.window(decision, frame)
            )
