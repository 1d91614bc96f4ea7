"""The reference ledger's brackets, against numbers worked out by hand.

Most cases are a long of 100 units from 100 with 1000 of cash and leverage 10, without costs: stop
95, target 108, liquidation at 90. The short is its mirror image about 100, with the same equities.
"""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from tests.hand_ledgers import LONG, QUIET, SHORT, ledger, mirrored
from tests.reference_brackets import (
    CLOSE,
    HOLD,
    Bracket,
    action_list,
)

CASES = {
    # name: stop fraction, (open, high, low, close), reason, price, equity, shortfall, ambiguous
    "nothing": ("-0.05", (100, 107, 96, 101), "", 0, 1100, 0, 0),
    "stop": ("-0.05", (100, 107, 94, 96), "stop_loss", 95, 500, 0, 0),
    "stop touched": ("-0.05", (100, 107, 95, 96), "stop_loss", 95, 500, 0, 0),
    "gap through stop": ("-0.05", (93, 96, 80, 95), "stop_loss", 93, 300, 0, 0),
    "gap through both": ("-0.05", (88, 99, 80, 99), "liquidation", 88, 0, 200, 0),
    "target": ("-0.05", (100, 109, 96, 96), "take_profit", 108, 1800, 0, 0),
    "target touched": ("-0.05", (100, 108, 96, 96), "take_profit", 108, 1800, 0, 0),
    "better at open": ("-0.05", (112, 113, 80, 112), "take_profit", 112, 2200, 0, 0),
    "ambiguous": ("-0.05", (100, 109, 94, 105), "stop_loss", 95, 500, 0, 1),
    "open decides": ("-0.05", (93, 109, 92, 105), "stop_loss", 93, 300, 0, 0),
    "liquidation": ("-0.12", (100, 107, 89, 91), "liquidation", 90, 0, 0, 0),
    "and target": ("-0.12", (100, 109, 89, 91), "liquidation", 90, 0, 0, 0),
    "and stop, target": ("-0.12", (100, 109, 88, 91), "liquidation", 90, 0, 0, 1),
    "gap, farther stop": ("-0.12", (89, 109, 80, 91), "liquidation", 89, 0, 100, 0),
    "tie": ("-0.10", (100, 107, 85, 91), "stop_loss", 90, 0, 0, 0),
    "tie at open": ("-0.10", (90, 107, 85, 91), "liquidation", 90, 0, 0, 0),
}


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("name", CASES)
def test_which_exit_a_bar_triggers(name, side):
    """The second bar of the walk decides, so that no step 0 comes before it."""
    stop, bar, reason, price, equity, shortfall, ambiguous = CASES[name]
    bars = [QUIET, bar] if side > 0 else [mirrored(QUIET), mirrored(bar)]
    account = ledger(bars, every=2)
    result = account.step(Bracket(side, stop, "0.08"))
    entered = result.fills[0]
    assert (entered.bar, entered.quantity, entered.price, entered.reason) == (
        2, 100 * side, 100, "agent")  # fmt: skip
    assert (result.equity, result.shortfall, result.ambiguous_bars) == (
        equity,
        shortfall,
        ambiguous,
    )
    assert result.exit_reason == reason
    assert result.liquidated == (reason == "liquidation")
    assert result.terminated == (equity == 0)
    if reason:
        left = result.fills[1]
        at = price if side > 0 else 200 - price
        assert (left.bar, left.quantity, left.price, left.reason) == (3, -100 * side, at, reason)
        assert (result.position, result.held_level, result.steps_held) == (0, 0, 0)
        assert (result.stop_price, result.target_price) == (None, None)
    else:
        assert (result.position, result.held_level, result.steps_held) == (100 * side, side, 1)
        assert (result.stop_price, result.target_price) == ((95, 108) if side > 0 else (105, 92))
        assert result.reward == pytest.approx(math.log(1.1), rel=1e-15)


@pytest.mark.parametrize(
    ("side", "cash", "bar", "price", "equity"),
    [
        # 10 units bought at 101 for 1010 and 1.01 of fee; stop 90.9, sold at 90.9 * 0.99 = 89.991
        (1, "1011.01", (100, 105, 90, 95), "89.991", "899.01009"),  # 899.91 less 0.89991
        (1, "1011.01", (100, 112, 99, 95), "111.1", "1109.889"),  # 1111 less 1.111
        # 10 sold at 99, fee 0.99, wallet 990; stop 108.9, bought at 108.9 * 1.01 = 109.989
        (-1, "990.99", (100, 109, 99, 100), "109.989", "879.01011"),  # 990 - 109.89 - 1.09989
        (-1, "990.99", (100, 101, 89, 100), "89.1", "1088.109"),  # 990 + 99 - 0.891
    ],
)
def test_brackets_are_of_the_fill_and_only_stops_slip(side, cash, bar, price, equity):
    account = ledger([bar], cash, leverage=1, slippage="0.01", fee="0.001")
    result = account.step(Bracket(side, "-0.1", "0.1"))
    assert result.fills[0].quantity == 10 * side
    assert result.fills[1].price == Fraction(price)
    assert result.equity == Fraction(equity)


@pytest.mark.parametrize("side", [1, -1])
def test_a_flip_carries_its_own_brackets(side):
    """Long 100 from 100; at 125 equity is 3500: short 3500 * 10 / 125 = 280, stop 131.25.

    Mirrored, at 75: long 3500 * 10 / 75 = 466 2/3, stop 71.25, target 81.
    """
    bars = [QUIET, (125, 126, 120, 121), (120, 121, 110, 121)]
    if side < 0:
        bars = [mirrored(bar) for bar in bars]
    size, stop, target = (280, "131.25", 115) if side > 0 else (Fraction(1400, 3), "71.25", 81)
    account = ledger(bars)
    account.step(Bracket(side, "-0.05", "0.5"))
    result = account.step(Bracket(-side, "-0.05", "0.08"))
    assert [fill.quantity for fill in result.fills] == [-side * (100 + size)]
    assert (result.position, result.held_level, result.steps_held) == (-side * size, -side, 1)
    assert (result.stop_price, result.target_price) == (Fraction(stop), target)
    result = account.step(HOLD)
    assert (result.exit_reason, result.fills[0].price) == ("take_profit", target)
    assert result.equity == (6300 if side > 0 else 3500 + Fraction(1400, 3) * 6)


def test_a_flip_pays_the_fee_of_its_whole_size():
    """10 from 100 with 1010: at 120, 120 z = 1200 - 1.2 (10 + z), so that z = 990/101."""
    account = ledger([QUIET, (120, 120, 120, 120)], 1010, leverage=1, fee="0.01")
    assert account.step(Bracket(1, "-0.5", "0.5")).position == 10
    result = account.step(Bracket(-1, "-0.5", "0.5"))
    assert result.position == -Fraction(990, 101)
    assert result.fees == Fraction(2400, 101)
    assert result.equity == Fraction(118800, 101)
    assert (result.stop_price, result.target_price) == (180, 60)


@pytest.mark.parametrize("side", [1, -1])
def test_the_same_direction_is_ignored_or_replaces_the_brackets(side):
    bars = [QUIET, (104, 105, 103, 104), (104, 105, 97, 104)]
    if side < 0:
        bars = [mirrored(bar) for bar in bars]
    kept, moved = ((95, 108), (98, 120)) if side > 0 else ((105, 92), (102, 80))
    for replace, expected, reason in ((False, kept, ""), (True, moved, "stop_loss")):
        account = ledger(bars, replace_brackets=replace)
        account.step(Bracket(side, "-0.05", "0.08"))
        result = account.step(Bracket(side, "-0.02", "0.2"))
        assert (result.stop_price, result.target_price) == expected
        assert (result.fills, result.position, result.steps_held) == ([], 100 * side, 2)
        result = account.step(HOLD)
        assert (result.exit_reason, result.equity) == (reason, 800 if replace else 1400)


def test_a_replaced_stop_that_the_open_has_passed_fills_at_the_open():
    account = ledger([QUIET, (97, 99, 96, 98)], replace_brackets=True)
    account.step(LONG)
    result = account.step(Bracket(1, "-0.01", "0.08"))
    assert (result.exit_reason, result.fills[0].price, result.equity) == ("stop_loss", 97, 700)


def test_an_order_at_the_open_comes_before_the_stop_that_the_open_has_passed():
    for action, reasons in ((CLOSE, ["agent"]), (SHORT, ["agent"]), (LONG, ["stop_loss"])):
        account = ledger([QUIET, (93, 94, 92, 93)])
        account.step(LONG)
        result = account.step(action)
        assert [fill.reason for fill in result.fills] == reasons
        assert (result.fills[0].price, result.equity) == (93, 300)


@pytest.mark.parametrize("side", [1, -1])
def test_lock_until_exit(side):
    own, other = (LONG, SHORT) if side > 0 else (SHORT, LONG)
    quiet, stopped = QUIET, (100, 104, 94, 100)
    bars = [quiet] * 4 + [stopped, quiet]
    if side < 0:
        bars = [mirrored(bar) for bar in bars]
    account = ledger(bars, lock_until_exit=True, replace_brackets=True)
    account.step(own)
    for action in (other, CLOSE, Bracket(side, "-0.01", "0.01")):
        result = account.step(action)
        assert (result.fills, result.refused, result.position) == ([], False, 100 * side)
        assert result.stop_price == 100 - 5 * side
    assert account.step(other).exit_reason == "stop_loss"
    assert account.step(other).position == -50 * side  # half of the cash is left


@pytest.mark.parametrize("side", [1, -1])
def test_a_gap_through_liquidation_before_the_order_is_an_exit(side):
    """Half of the cash is margin: 50 units, 500 lost and no more; then 500 * 5 / 80 or / 120."""
    bar = (80, 80, 80, 80) if side > 0 else (120, 120, 120, 120)
    bracket = LONG if side > 0 else SHORT
    for action, then in ((bracket, ["agent"]), (CLOSE, []), (HOLD, [])):
        account = ledger(
            [QUIET if side > 0 else mirrored(QUIET), bar],
            lock_until_exit=True, position_fraction="0.5", margin_mode="isolated",
        )  # fmt: skip
        assert account.step(bracket).position == 50 * side
        result = account.step(action)
        assert [fill.reason for fill in result.fills] == ["liquidation", *then]
        assert (result.equity, result.shortfall, result.liquidated) == (500, 500, True)
        assert result.position == (side * Fraction(2500, bar[0]) if then else 0)
        assert result.stop_price == (bar[0] * (1 - side * Fraction("0.05")) if then else None)


def test_a_bankrupt_account_orders_nothing():
    account = ledger([QUIET, (80, 80, 80, 80)])
    account.step(LONG)
    result = account.step(LONG)
    assert [fill.reason for fill in result.fills] == ["liquidation"]
    assert (result.equity, result.shortfall, result.terminated) == (0, 1000, True)
    assert result.reward == pytest.approx(math.log(1e-6))


def test_a_refused_flip_leaves_everything():
    """10 units from 100; at 40 the flip would be 20 units, 800 of notional."""
    account = ledger([QUIET, (40, 40, 40, 40)], position_fraction="0.1", min_notional=900)
    account.step(Bracket(1, "-0.7", "0.5"))
    result = account.step(SHORT)
    assert (result.refused, result.fills, result.position) == (True, [], 10)
    assert (result.held_level, result.stop_price, result.target_price) == (Fraction(1, 10), 30, 150)
    assert result.steps_held == 2


def test_close_and_a_flip_that_lots_cut_to_a_close():
    account = ledger([QUIET] * 3)
    assert account.step(CLOSE).fills == []
    account.step(LONG)
    result = account.step(CLOSE)
    assert (result.position, result.held_level, result.stop_price) == (0, 0, None)
    assert (result.fills[0].reason, result.exit_reason) == ("agent", "")
    # 20 units are one lot; at 60 the short would be 200 * 2 / 60 = 6 2/3 units, less than a lot
    bars = [QUIET, (60, 60, 60, 60), (20, 20, 20, 20)]
    account = ledger(bars, position_fraction="0.2", lot_size=20)
    account.step(Bracket(1, "-0.45", "0.5"))
    result = account.step(SHORT)
    assert [fill.quantity for fill in result.fills] == [-20]
    assert (result.position, result.stop_price) == (0, None)
    result = account.step(SHORT)  # 200 * 2 / 20 = 20 units, whatever level is held
    assert (result.position, result.stop_price) == (-20, 21)


def test_an_open_beyond_the_stop_by_slippage_alone():
    """Bought at 101, stop 99.99 below the open 100: nothing yet. With 100.495 it goes at once."""
    for stop, fills in (("-0.01", 1), ("-0.005", 2)):
        account = ledger([(100, 101, 100, 100)], leverage=1, slippage="0.01")
        assert len(account.step(Bracket(1, stop, "0.1")).fills) == fills


def test_the_order_of_the_actions():
    stops, targets = ("-0.02", "-0.05"), ("0.05", "0.1")
    longs = [Bracket(1, stop, target) for stop in stops for target in targets]
    shorts = [Bracket(-1, stop, target) for stop in stops for target in targets]
    both = action_list(stops, targets, shorts=True, hold=True, close=True)
    assert both == [HOLD, CLOSE, *longs, *shorts]
    assert action_list(stops, targets, shorts=False, hold=False, close=False) == longs
