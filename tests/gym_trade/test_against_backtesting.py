"""The same orders on the same bars in backtesting.py, an engine that nobody here wrote.

Both decide at a bar's close, fill at the next open, and watch the bracket from the bar of the fill
on: a gapped stop fills at the open, a gapped target at the better open, and a bar whose range holds
both is the stop's. Their ledger is theirs, and so are the exits; in some runs so is the size.

Whole units: `lot_size=1` with so much cash that the rounding does not matter.

Where the rules differ:

* A bar that *opens* beyond the target and then falls to the stop. Here an open comes before its
  bar's range, and the target is filled at the open. There a stop order is always looked at first,
  and is filled at the stop although the position would have been sold before. Such bars are found,
  must occur, and the two equities must differ by exactly that, from then on.
* Pending orders are worked off in the order of their queue, not in the order of prices: an opposite
  order that is to fill at the open comes after the old position's stop, which sees the whole bar.
  So a flip is sent as a close, which goes to the queue's front, and a new order behind it.
* A bracket is checked against the last close when it is placed, not against the fill: one that the
  next open's gap alone makes possible is refused with an error. Such actions are not asked for.
* There is no maintenance margin: equity is looked at at closes, and only zero ends the account.
  Nothing here comes near a liquidation.
* The margin check of an order uses the close of the bar at whose open it fills. Their margin is
  halved where the size is ours, so that it never decides.
* Their `spread` is paid on entry only. There is no slippage here.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests import markets
from tests.outside_engine import FULL, Brackets, Quantities, Switch, first_bar, theirs
from tests.rollouts import scalar

pytestmark = pytest.mark.filterwarnings("ignore:Some trades remain open:UserWarning")

CASH = 1e10
COMMON = {"execute_on": "1min", "random_start": False, "lot_size": 1.0, "initial_cash": CASH}
TIGHT = ((-0.003, -0.012), (0.003, 0.015))
WIDE = ((-0.02, -0.03), (0.02, 0.04))
SAME = {"rtol": 1e-9, "atol": 0.0}

SETUPS = {
    "spot": {"transaction_fee": 0.0},
    "spot with commission": {"transaction_fee": 0.0004, "position_fraction": 0.6},
    "shorts": {"transaction_fee": 0.0002, "allow_short": True, "include_close_action": True},
    "leverage": {"transaction_fee": 0.0003, "leverage": 3, "position_fraction": 0.5,
                 "include_close_action": True, "replace_brackets": True},
}  # fmt: skip

# what both engines make of a fraction of the equity: exposure 1, or no commission
SIZED_BY_BOTH = {
    "all in": {"transaction_fee": 0.0005},
    "half of leverage 2": {"transaction_fee": 0.0005, "leverage": 2, "position_fraction": 0.5,
                           "include_close_action": True},
    "a third, both sides": {"transaction_fee": 0.0, "allow_short": True, "position_fraction": 0.3,
                            "include_close_action": True},
    "leverage 5": {"transaction_fee": 0.0, "leverage": 5},
}  # fmt: skip


def order_table(brackets, sides, closes):
    """What each action asks for: hold, perhaps close, then every stop with every target."""
    pairs = [(stop, target) for stop in brackets[0] for target in brackets[1]]
    return ["hold"] + ["close"] * closes + [(side, *pair) for side in sides for pair in pairs]


def choose(frame, first, orders, seed):
    """Random actions, half of them hold; no bracket that does not enclose the last close too."""
    rng = np.random.default_rng(seed)
    close, following = frame["close"].to_numpy()[first:-1], frame["open"].to_numpy()[first + 1 :]
    actions = rng.integers(0, len(orders), len(close)) * (rng.random(len(close)) < 0.5)
    left_out = 0
    for step, action in enumerate(actions):
        if orders[action] not in ("hold", "close"):
            side, stop, target = orders[action]
            if not stop < side * (close[step] / following[step] - 1.0) < target:
                actions[step] = 0
                left_out += 1
    assert left_out < 0.15 * len(actions)
    return actions.tolist()


def ours(frame, brackets, seed, **arguments):
    """Our run: (environment after its episode, actions, what each asks for)."""
    env = scalar(
        frame, "SLTP", stoploss_levels=brackets[0], takeprofit_levels=brackets[1],
        **(COMMON | arguments),
    )  # fmt: skip
    env.reset()
    sides = (1, -1) if env.config.shorts else (1,)
    orders = order_table(brackets, sides, env.config.include_close_action)
    assert env.action_space.n == len(orders)
    actions = choose(frame, first_bar(env, frame), orders, seed)
    ended = [env.step(action)[2:4] for action in actions]
    assert ended[-1] == (False, True) and not any(map(any, ended[:-1]))
    return env, actions, orders


def targets_gapped_before_the_stop(env, frame, actions, orders):
    """Exits at an open beyond the target that they give to the stop: step -> stop price."""
    history, found = env.history(), {}
    for fill in env.all_fills().itertuples():
        side, held, bar = -np.sign(fill.quantity), history.iloc[fill.step], frame.iloc[fill.bar]
        if fill.reason != "take_profit" or held["position"] * side <= 0.0:
            continue  # opened at this very open, which therefore is not beyond its target
        stop, target = held["stop_price"], held["target_price"]
        order = orders[actions[fill.step]]
        if order[0] == side and env.config.replace_brackets:
            stop, target = (held["entry_price"] * (1.0 + side * level) for level in order[1:])
        worst = bar["low"] if side > 0 else bar["high"]
        if (bar["open"] - target) * side >= 0.0 >= (worst - stop) * side:
            assert fill.price == bar["open"]
            found[fill.step] = stop
    return found


def assert_same_trades(made, trades, stops_instead):
    """Times, sizes, prices, commissions, profits and the kind of exit of every closed trade.

    `stops_instead` maps the exit times at which they fill the stop to its price.
    """
    made = made[made["reason"] != "open"].reset_index(drop=True)
    assert len(made) == len(trades) > 1
    np.testing.assert_array_equal(made["entry_time"], trades["EntryTime"])
    np.testing.assert_array_equal(made["exit_time"], trades["ExitTime"])
    np.testing.assert_array_equal(made["quantity"] * made["direction"], trades["Size"])
    np.testing.assert_allclose(made["entry_price"], trades["EntryPrice"], **SAME)
    odd = made["exit_time"].isin(stops_instead) & (made["reason"] == "take_profit")
    odd &= made["entry_time"] < made["exit_time"]
    assert odd.sum() == len(stops_instead)
    stops = made["exit_time"][odd].map(stops_instead)
    np.testing.assert_allclose(trades["ExitPrice"][odd], stops, **SAME)
    made, trades = made[~odd], trades[~odd]
    np.testing.assert_allclose(made["exit_price"], trades["ExitPrice"], **SAME)
    np.testing.assert_allclose(made["fees"], trades["Commission"], **SAME)
    notional = made["quantity"] * made["entry_price"]
    np.testing.assert_allclose(made["pnl"] / notional, trades["PnL"] / notional, atol=1e-9)
    # The side of their bracket on which they left tells a stop from a target from a close.
    side = np.sign(trades["Size"])
    kind = pd.Series("agent", trades.index)
    kind[side * (trades["ExitPrice"] - trades["SL"]) <= 0.0] = "stop_loss"
    kind[side * (trades["ExitPrice"] - trades["TP"]) >= 0.0] = "take_profit"
    by_bracket = made["reason"] != "agent"
    assert set(made["reason"]) <= {"stop_loss", "take_profit", "agent"}
    np.testing.assert_array_equal(made["reason"][by_bracket], kind[by_bracket])


@pytest.mark.parametrize("name", SETUPS)
def test_bracket_orders(name):
    """Equity after every bar and all trades; the sizes are those of our fills."""
    seen = dict.fromkeys(("gapped stop", "gapped target", "same bar", "flip", "odd"), 0)
    for seed in (1, 2, 3):
        frame = markets.bars(1200, seed, volatility=0.004)
        env, actions, orders = ours(frame, TIGHT, seed, **SETUPS[name])
        fills, made = env.all_fills(), env.trades()
        placed = fills[(fills["reason"] == "agent") & (fills["position"] != 0.0)]
        sizes = dict(zip(placed["step"], placed["position"].abs(), strict=True))
        equity, trades = theirs(
            env, frame, Brackets, 0.5, orders=orders, actions=actions, sizes=sizes
        )
        odd = targets_gapped_before_the_stop(env, frame, actions, orders)
        missed = np.zeros(len(equity))  # what their stop costs against our open, ever after
        for fill in fills[
            fills["step"].isin(odd) & (fills["reason"] == "take_profit")
        ].itertuples():
            lower = fill.price - odd[fill.step]
            missed[fill.step + 1 :] -= fill.quantity * lower
            missed[fill.step + 1 :] -= abs(fill.quantity) * lower * env.config.transaction_fee
        expected = env.history()["portfolio_value"].to_numpy() - missed
        np.testing.assert_allclose(equity, expected, **SAME)
        at = dict(zip(fills["step"], frame.index[fills["bar"]], strict=True))
        assert_same_trades(made, trades, {at[step]: stop for step, stop in odd.items()})

        opens = frame["open"].to_numpy()[fills["bar"]]
        at_open = (fills["price"] == opens) & (fills["position"] == 0.0)
        seen["gapped stop"] += (at_open & (fills["reason"] == "stop_loss")).sum()
        seen["gapped target"] += (at_open & (fills["reason"] == "take_profit")).sum()
        seen["same bar"] += (made["entry_time"] == made["exit_time"]).sum()
        turned = (made["direction"].diff().abs() == 2) & made["entry_time"].isin(made["exit_time"])
        seen["flip"] += (turned & (made["reason"].shift() == "agent")).sum()
        seen["odd"] += len(odd)
        assert env.engine.lanes["ambiguous_bars"][0] > 0
    assert (seen.pop("flip") > 0) == env.config.shorts
    assert 0 < seen["odd"] < 40
    assert min(seen.values()) > 0  # each rule was needed


@pytest.mark.parametrize("name", SIZED_BY_BOTH)
def test_bracket_orders_of_a_fraction(name):
    """The size as well is theirs: a fraction of their account, commission reserved."""
    for seed in (4, 5):
        frame = markets.bars(2000, seed)
        env, actions, orders = ours(frame, WIDE, seed, **SIZED_BY_BOTH[name])
        fraction = env.config.position_fraction
        fraction = FULL if fraction == 1.0 else fraction
        equity, trades = theirs(
            env, frame, Brackets, orders=orders, actions=actions, fraction=fraction
        )
        assert not targets_gapped_before_the_stop(env, frame, actions, orders)
        np.testing.assert_allclose(env.history()["portfolio_value"], equity, **SAME)
        assert_same_trades(env.trades(), trades, {})


@pytest.mark.parametrize("side", [1, -1])
def test_levels_that_are_only_just_touched(side):
    """Prices at which random bars never are: a low of exactly the stop, a high of the target."""
    frame = markets.flat_bars(60)
    for bar, level in ((20, 1.0 - 0.01 * side), (30, 1.0 + 0.02 * side), (45, 1.0 - 0.01 * side)):
        frame.iloc[bar, frame.columns.get_loc("low" if level < 1.0 else "high")] = 100.0 * level
    env = scalar(
        frame, "SLTP", allow_short=True, transaction_fee=0.0,
        stoploss_levels=[-0.01], takeprofit_levels=[0.02],
        **(COMMON | {"initial_cash": CASH + 50.0}),  # half a unit: 1 - 2**-52 of it is no less
    )  # fmt: skip
    env.reset()
    actions = [1 if side > 0 else 2] * (len(frame) - first_bar(env, frame) - 1)
    for action in actions:
        env.step(action)
    orders = order_table(((-0.01,), (0.02,)), (1, -1), False)
    equity, trades = theirs(env, frame, Brackets, orders=orders, actions=actions, fraction=FULL)
    np.testing.assert_allclose(env.history()["portfolio_value"], equity, **SAME)
    assert_same_trades(env.trades(), trades, {})
    assert env.trades()["reason"].tolist() == ["stop_loss", "take_profit", "stop_loss", "open"]


@pytest.mark.parametrize("fee", [0.0, 0.0007])
def test_all_in_and_all_out(fee):
    """Levels 0 and 1 against their own full order and their own close."""
    for seed in (6, 7):
        frame = markets.bars(2000, seed)
        env = scalar(frame, action_levels=[0, 1], transaction_fee=fee, **COMMON)
        env.reset()
        count = len(frame) - first_bar(env, frame) - 1
        actions = np.random.default_rng(seed).integers(0, 2, count).tolist()
        for action in actions:
            env.step(action)
        equity, trades = theirs(env, frame, Switch, actions=actions)
        np.testing.assert_allclose(env.history()["portfolio_value"], equity, **SAME)
        assert_same_trades(env.trades(), trades, {})


def test_levels_with_leverage():
    """Resizes and flips in quantities of ours: they close the oldest trade first, equity agrees."""
    for seed in (8, 9):
        frame = markets.bars(2000, seed)
        env = scalar(frame, leverage=3, transaction_fee=0.0003, **COMMON)
        env.reset()
        rng = np.random.default_rng(seed)
        for _ in range(len(frame) - first_bar(env, frame) - 1):
            _, _, terminated, _, info = env.step(rng.choice(5, p=[0.1, 0.2, 0.2, 0.3, 0.2]))
            assert not terminated and not info["liquidated"]
        fills = env.all_fills()
        assert set(fills["reason"]) == {"agent"}
        quantities = dict(zip(fills["step"], fills["quantity"], strict=True))
        equity, _ = theirs(env, frame, Quantities, 0.5, quantities=quantities)
        np.testing.assert_allclose(env.history()["portfolio_value"], equity, **SAME)
