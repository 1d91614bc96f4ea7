"""Stops and take-profits in the ledger: which exit a bar triggers, and at what price.

Every case is written for a long from 100 with the stop at 95, the target at 105 and liquidation at
90, and is run for the short that is its mirror image about 100 as well.
"""

from __future__ import annotations

import numpy as np
import pytest

from gym_trade import accounting
from gym_trade.types import LIQUIDATION, NO_EXIT, STOP_LOSS, TAKE_PROFIT
from tests.accounts import account, rules

# without maintenance margin a wallet of 10 against one unit is liquidated at 90, or 110 short
RULES = {"leverage": 10.0, "maintenance_rate": 0.0}


def mirror(price, side):
    return price if side > 0 or price == 0.0 else 200.0 - price


def bracket(side, stop=95.0, target=105.0):
    return account(
        10.0, side, 100.0, held_level=side,
        stop_price=mirror(stop, side), target_price=mirror(target, side),
    )  # fmt: skip


def walk(made, side, bars, **changes):
    rows = []
    for open_, high, low, close in bars:
        high, low = (high, low) if side > 0 else (low, high)
        rows.append([mirror(value, side) for value in (open_, high, low, close)])
    rule = rules(**(RULES | changes))
    return accounting.advance(made, rule, np.array(rows), np.zeros(0), 0, len(rows))


CASES = {
    # name: (stop, target), (open, high, low), reason, price
    "nothing reached": ((95, 105), (100, 104, 96), NO_EXIT, 0),
    "stop in range": ((95, 105), (100, 104, 94), STOP_LOSS, 95),
    "stop touched": ((95, 105), (100, 104, 95), STOP_LOSS, 95),
    "stop missed": ((95, 105), (100, 104, 95.0001), NO_EXIT, 0),
    "gap through the stop": ((95, 105), (94, 96, 93), STOP_LOSS, 94),
    "gap onto the stop": ((95, 105), (95, 96, 94), STOP_LOSS, 95),
    "target in range": ((95, 105), (100, 106, 96), TAKE_PROFIT, 105),
    "target touched": ((95, 105), (100, 105, 96), TAKE_PROFIT, 105),
    "target missed": ((95, 105), (100, 104.9999, 96), NO_EXIT, 0),
    "gap beyond the target": ((95, 105), (107, 108, 96), TAKE_PROFIT, 107),
    "gap beyond the target, then through the stop": ((95, 105), (107, 108, 80), TAKE_PROFIT, 107),
    "gap through the stop, then up to the target": ((95, 105), (94, 106, 94), STOP_LOSS, 94),
    "stop and target in one bar": ((95, 105), (100, 106, 94), STOP_LOSS, 95),
    "stop nearer than liquidation": ((95, 105), (100, 104, 80), STOP_LOSS, 95),
    "gap between liquidation and stop": ((95, 105), (93, 94, 80), STOP_LOSS, 93),
    "gap through stop and liquidation": ((95, 105), (89, 94, 80), LIQUIDATION, 89),
    "gap onto liquidation": ((95, 105), (90, 94, 89), LIQUIDATION, 90),
    "liquidation nearer than stop": ((85, 105), (100, 104, 80), LIQUIDATION, 90),
    "gap through liquidation and a farther stop": ((85, 105), (84, 94, 80), LIQUIDATION, 84),
    "a tie in range is the stop's": ((90, 105), (100, 104, 89), STOP_LOSS, 90),
    "a tie at the open is liquidation's": ((90, 105), (89, 94, 88), LIQUIDATION, 89),
    "liquidation before the target": ((0, 105), (100, 106, 89), LIQUIDATION, 90),
    "liquidation, farther stop and target": ((85, 105), (100, 106, 80), LIQUIDATION, 90),
    "no stop": ((0, 105), (100, 104, 91), NO_EXIT, 0),
    "no target": ((95, 0), (100, 190, 96), NO_EXIT, 0),
}


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("name", CASES)
def test_which_exit_and_at_what_price(name, side):
    (stop, target), (open_, high, low), reason, price = CASES[name]
    made = bracket(side, float(stop), float(target))
    quiet = (100, 104, 96, 100)
    after = (50, 150, 50, 100)  # never seen once out
    bars = [quiet, (open_, high, low, low), after]
    if reason == NO_EXIT:
        assert walk(made, side, bars[:2]) == (NO_EXIT, 1)
        assert made.quantity == side
        return
    assert walk(made, side, bars) == (reason, 1)
    assert made.fill_reference == mirror(float(price), side)
    assert made.fill_quantity == -side
    assert made.wallet == pytest.approx(max(10.0 + price - 100.0, 0.0), abs=1e-12)
    assert (made.quantity, made.held_level, made.stop_price, made.target_price) == (0, 0, 0, 0)
    assert made.liquidations == (reason == LIQUIDATION)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_ambiguous_bars_are_counted(side):
    """Stop and target inside one bar's range; not when the open has decided already."""
    for (open_, high, low), count in (
        ((100, 106, 94), 1), ((100, 105, 95), 1), ((100, 104, 94), 0), ((100, 106, 96), 0),
        ((94, 106, 94), 0), ((107, 108, 80), 0),
    ):  # fmt: skip
        made = bracket(side)
        walk(made, side, [(open_, high, low, 100)])
        assert made.ambiguous_bars == count, (open_, high, low)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_first_bar_of_the_walk_counts(side):
    """The bar in which the order filled at its open can trigger an exit."""
    made = bracket(side)
    assert walk(made, side, [(100, 104, 94, 100), (100, 101, 99, 100)]) == (STOP_LOSS, 0)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_stops_suffer_slippage_and_targets_do_not(side):
    for bar, reason, price, slips in (
        ((100, 104, 94, 96), STOP_LOSS, 95.0, True),
        ((94, 96, 93, 96), STOP_LOSS, 94.0, True),
        ((100, 106, 96, 96), TAKE_PROFIT, 105.0, False),
        ((107, 108, 96, 96), TAKE_PROFIT, 107.0, False),
    ):
        made = bracket(side)
        assert walk(made, side, [bar], slippage=0.01, fee_rate=0.002) == (reason, 0)
        reference = mirror(price, side)
        paid = reference * (1.0 - side * 0.01) if slips else reference
        assert made.fill_price == pytest.approx(paid, rel=1e-15)
        assert made.fill_fee == pytest.approx(paid * 0.002, rel=1e-12)
        expected = 10.0 + side * (paid - 100.0) - paid * 0.002
        assert made.wallet == pytest.approx(expected, rel=1e-12)
        assert made.slippage_cost == pytest.approx(abs(paid - reference), abs=1e-12)


def test_a_spot_position_has_stops_but_no_liquidation():
    made = account(0.0, 1.0, 100.0, stop_price=50.0)
    bars = np.array([[100.0, 101.0, 60.0, 60.0], [40.0, 41.0, 39.0, 40.0]])
    assert accounting.advance(made, rules(), bars, np.zeros(0), 0, 2) == (STOP_LOSS, 1)
    assert made.fill_price == 40.0
