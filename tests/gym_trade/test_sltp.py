"""Trade-SLTP-v0: what its actions mean, where brackets stand, and when an order is ignored."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest

import gym_trade
from tests import markets
from tests.rollouts import CRASH, SMALL, scalar, vector

STOPS, TARGETS = (-0.02, -0.05), (0.05, 0.10)
PAIRS = [(-0.02, 0.05), (-0.02, 0.10), (-0.05, 0.05), (-0.05, 0.10)]  # the contract's order
FLAGS = list(itertools.product((True, False), (True, False), (True, False)))
# A bar opens at minute 30 + 5 n for the order of step n; decisions before any move are at 100.
LONG, SHORT = 1, 5  # the first ones of each side with the default arguments and shorts


def sltp(frame=None, seed=0, **arguments):
    """A bracket environment at the first decision of a market that stands at 100 unless given."""
    frame = markets.flat_bars(120) if frame is None else frame
    env = scalar(frame, "SLTP", **(CRASH | arguments))
    env.reset(seed=seed)
    return env


def moving(prices, count=120):
    """Bars at 100 that jump to another price at the open of each of these bars."""
    frame = markets.flat_bars(count)
    for bar, price in sorted(prices.items()):
        frame.iloc[bar:, :4] = price
    return frame


def brackets(env):
    """(stop, target) as the history tells them; NaN where there are none."""
    row = env.history().iloc[-1]
    return row["stop_price"], row["target_price"]


# --- actions ----------------------------------------------------------------------------


@pytest.mark.parametrize("hold, close, shorts", FLAGS)
def test_actions_in_their_order(hold, close, shorts):
    """Hold, close, long stop by target, the same short; each as far as it is included."""
    meanings = ["hold"] * hold + ["close"] * close
    meanings += [(side, *pair) for side in ((1, -1) if shorts else (1,)) for pair in PAIRS]
    env = sltp(include_hold_action=hold, include_close_action=close, allow_short=shorts)
    assert env.action_space == gym.spaces.Discrete(len(meanings))
    batch = vector(kind="SLTP", num_envs=3, include_hold_action=hold, include_close_action=close,
                   allow_short=shorts)  # fmt: skip
    assert batch.single_action_space == env.action_space
    for action, meaning in enumerate(meanings):
        env.reset(seed=0)
        info = env.step(action)[4]
        if isinstance(meaning, str):
            assert info["position"] == 0.0 and len(env.fills()) == 0
            assert np.isnan(brackets(env)).all()
            continue
        side, stop, target = meaning
        assert np.sign(info["position"]) == side
        expected = 100.0 * (1.0 + side * stop), 100.0 * (1.0 + side * target)
        assert brackets(env) == pytest.approx(expected, rel=1e-15)
    for action in (len(meanings), -1):
        env.reset(seed=0)
        with pytest.raises(ValueError, match=f"expected 0 to {len(meanings) - 1}"):
            env.step(action)


def test_the_number_of_actions():
    for arguments, count in (
        ({}, 5), ({"leverage": 2}, 9), ({"leverage": 2, "allow_short": False}, 5),
        ({"stoploss_levels": [-0.1], "takeprofit_levels": [0.1, 0.2, 0.3]}, 4),
        ({"stoploss_levels": [-0.1], "takeprofit_levels": [0.1], "include_hold_action": False}, 1),
    ):  # fmt: skip
        assert sltp(**arguments).action_space.n == count
        env = gym.make("Trade-SLTP-v0", df=markets.flat_bars(), **SMALL, **arguments)
        assert env.action_space.n == count
        batch = gym.make_vec("Trade-SLTP-v0", num_envs=2, df=markets.flat_bars(), **SMALL,
                             **arguments)  # fmt: skip
        assert isinstance(batch.unwrapped, gym_trade.VectorSLTPEnv)
        assert batch.single_action_space.n == count


def test_hold_changes_nothing_and_close_closes():
    env = sltp(moving({36: 101.0}), include_close_action=True, transaction_fee=0.001)
    env.step(2)
    held = env.step(0)[4]
    assert held["position"] > 0.0 and len(env.fills()) == 0  # no rebalancing either
    info = env.step(1)[4]
    assert (info["position"], info["entry_price"], info["n_trades"]) == (0.0, 0.0, 1)
    assert list(env.fills()["quantity"]) == [-held["position"]]
    assert list(env.fills()["reason"]) == ["agent"]
    assert np.isnan(brackets(env)).all()
    again = env.step(1)[4]  # flat: nothing to close
    assert again["fees_paid"] == info["fees_paid"] and len(env.fills()) == 0


@pytest.mark.parametrize("action", [LONG, SHORT])
@pytest.mark.parametrize("leverage, fraction", [(1, 1.0), (1, 0.25), (5, 1.0), (5, 0.4)])
def test_position_fraction_is_the_exposure_after_the_fee(leverage, fraction, action):
    env = sltp(leverage=leverage, allow_short=True, position_fraction=fraction,
               transaction_fee=0.002)  # fmt: skip
    info = env.step(action)[4]
    side = 1.0 if action == LONG else -1.0
    notional = info["position"] * 100.0
    assert notional == pytest.approx(side * fraction * leverage * info["portfolio_value"])
    assert info["fees_paid"] == pytest.approx(abs(notional) * 0.002, rel=1e-12)


# --- where the brackets stand -----------------------------------------------------------


@pytest.mark.parametrize("model", ["fixed", "uniform"])
@pytest.mark.parametrize("fill_at", ["next_open", "close"])
@pytest.mark.parametrize("action, side, stop, target", [
    (1, 1, -0.02, 0.05), (4, 1, -0.05, 0.10), (6, -1, -0.02, 0.10), (7, -1, -0.05, 0.05),
])  # fmt: skip
def test_brackets_are_measured_from_the_actual_fill(action, side, stop, target, fill_at, model):
    """The next open is far from the last close, and the fill as far from the open."""
    frame = moving({30: 90.0}) if fill_at == "next_open" else markets.flat_bars()
    env = sltp(frame, allow_short=True, slippage=0.015, slippage_model=model, fill_at=fill_at)
    env.step(action)
    (fill,) = env.fills().iloc[:1].itertuples()
    assert fill.reference_price == (100.0 if fill_at == "close" else 90.0)
    slipped = side * (fill.price / fill.reference_price - 1.0)
    assert slipped == pytest.approx(0.015) if model == "fixed" else 0.0 < slipped < 0.015
    expected = fill.price * (1.0 + side * stop), fill.price * (1.0 + side * target)
    assert brackets(env) == pytest.approx(expected, rel=1e-15)


def test_a_stop_and_a_target_end_the_position_at_their_price():
    for path, reason, price in (
        ((100.0, 97.0), "stop_loss", 97.0), ((100.0, 107.0), "take_profit", 107.0),
    ):  # fmt: skip
        env = sltp(moving({30: path[0], 37: path[1]}))
        env.step(LONG)
        info = env.step(0)[4]
        assert (info["exit_reason"], info["position"]) == (reason, 0.0)
        (fill,) = env.fills().itertuples()
        assert (fill.price, fill.bar, fill.reason) == (price, 37, reason)
        assert env.step(LONG)[4]["position"] > 0.0  # and another may be opened


def test_inside_a_bar_the_levels_themselves_are_the_prices():
    frame = markets.flat_bars(120)
    frame.iloc[36, 1:3] = 105.5, 99.0
    frame.iloc[47, 1:3] = 101.0, 97.0
    env = sltp(frame, transaction_fee=0.0)
    env.step(LONG)
    info = env.step(0)[4]
    assert (info["exit_reason"], info["cash"]) == ("take_profit", pytest.approx(10_500.0))
    env.step(LONG)
    info = env.step(0)[4]
    assert (info["exit_reason"], info["cash"]) == ("stop_loss", pytest.approx(10_500.0 * 0.98))
    assert (info["n_trades"], info["ambiguous_bars"]) == (2, 0)


# --- in a position ----------------------------------------------------------------------


def test_the_same_direction_is_ignored():
    env = sltp(moving({36: 101.0}), leverage=3)
    before = env.step(LONG)[4]
    placed = brackets(env)
    for action in (1, 2, 3, 4):
        info = env.step(action)[4]
        assert len(env.fills()) == 0 and info["refused_orders"] == 0
        assert info["position"] == before["position"]
        assert brackets(env) == placed


@pytest.mark.parametrize("side", [1, -1])
def test_or_moves_stop_and_target_measured_from_the_entry(side):
    env = sltp(moving({36: 100.5}), leverage=3, slippage=0.01, replace_brackets=True)
    first = LONG if side > 0 else SHORT
    before = env.step(first)[4]
    entry = before["entry_price"]
    assert entry == pytest.approx(100.0 * (1.0 + side * 0.01))
    for number in (3, 1, 2):
        info = env.step(first + number)[4]
        stop, target = PAIRS[number]
        expected = entry * (1.0 + side * stop), entry * (1.0 + side * target)
        assert brackets(env) == pytest.approx(expected, rel=1e-15)
        assert len(env.fills()) == 0
        for key in ("position", "entry_price", "cash", "fees_paid", "n_trades"):
            assert info[key] == before[key]


@pytest.mark.parametrize("first, second, side", [(LONG, SHORT + 3, -1), (SHORT, LONG + 3, 1)])
def test_the_opposite_direction_flips_in_one_order(first, second, side):
    env = sltp(moving({36: 101.0}), leverage=3, slippage=0.005, position_fraction=0.5)
    env.step(first)
    held = env.step(0)[4]
    info = env.step(second)[4]
    (fill,) = env.fills().itertuples()
    assert fill.quantity == pytest.approx(info["position"] - held["position"], rel=1e-12)
    assert np.sign(info["position"]) == side and info["n_trades"] == 1
    entry = 101.0 * (1.0 + side * 0.005)
    assert info["entry_price"] == pytest.approx(entry, rel=1e-15)
    expected = entry * (1.0 - side * 0.05), entry * (1.0 + side * 0.10)
    assert brackets(env) == pytest.approx(expected, rel=1e-15)
    equity = info["cash"] + info["position"] * (fill.price - info["entry_price"])
    assert abs(info["position"]) * fill.price == pytest.approx(1.5 * equity, rel=1e-12)


def test_locked_every_order_is_ignored_until_the_exit():
    frame = moving({47: 97.0})
    for lock, expected in ((True, 1), (False, -1)):
        env = sltp(frame, leverage=2, lock_until_exit=lock)
        first = env.step(LONG)[4]
        info = env.step(SHORT)[4]
        assert np.sign(info["position"]) == expected
        if lock:
            assert info["position"] == first["position"] and len(env.fills()) == 0
            info = env.step(LONG + 3)[4]
            info = env.step(SHORT + 1)[4]  # the stop is hit in this step's bars
            assert info["exit_reason"] == "stop_loss" and len(env.fills()) == 1
            assert env.step(SHORT + 1)[4]["position"] < 0.0
            assert env.step(LONG)[4]["position"] < 0.0


@pytest.mark.parametrize("lock", [True, False])
@pytest.mark.parametrize("action", [LONG, SHORT])
def test_an_order_after_a_liquidation_at_the_open_opens_anew(action, lock):
    """The fill bar's open liquidates first; the order then finds an account without position."""
    env = sltp(moving({35: 80.0}), leverage=10, margin_mode="isolated", position_fraction=0.3,
               lock_until_exit=lock, stoploss_levels=(-0.2, -0.3))  # fmt: skip
    env.step(LONG)
    info = env.step(action)[4]
    assert list(env.fills()["reason"]) == ["liquidation", "agent"]
    assert info["liquidated"] and info["entry_price"] == 80.0
    assert np.sign(info["position"]) == (1 if action == LONG else -1)


def test_a_refused_order_places_no_brackets_and_keeps_the_old_ones():
    """A flip of 200 units at 30 is too small for what 100 units at 100 were enough for."""
    env = sltp(moving({36: 30.0}), allow_short=True, min_notional=8000.0, stoploss_levels=(-0.9,),
               takeprofit_levels=(0.9,))  # fmt: skip
    held = env.step(1)[4]
    env.step(0)
    info = env.step(2)[4]
    assert info["position"] == held["position"] == 100.0
    assert info["refused_orders"] == 1 and len(env.fills()) == 0
    assert brackets(env) == pytest.approx((10.0, 190.0))
    env = sltp(min_notional=10_001.0)
    info = env.step(LONG)[4]
    assert (info["position"], info["refused_orders"]) == (0.0, 1)
    assert np.isnan(brackets(env)).all()
