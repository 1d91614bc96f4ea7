"""Orders: the exposure that is reached, what is no order, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_trade import accounting, orders
from gym_trade.types import ORDER_FILLED, ORDER_NONE, ORDER_REFUSED
from tests.accounts import (
    FEES,
    LEVELS,
    LEVERAGES,
    SLIPPAGES,
    account,
    equity,
    opened,
    rules,
    snapshot,
)


def place(made, rule, level, price):
    """Order with the rule's fixed slippage."""
    return orders.place_level_order(made, rule, level, price, float(rule.slippage))


@given(
    first=LEVELS, second=LEVELS, leverage=LEVERAGES, fee_rate=FEES, slippage=SLIPPAGES,
    move=st.floats(-0.9, 0.9),
)  # fmt: skip
def test_exposure_after_the_trade_and_its_fee_is_exactly_the_level(
    first, second, leverage, fee_rate, slippage, move
):
    """``q x = a L E(x)`` afterwards, x being the fill price: from cash and from any position."""
    rule = rules(leverage=leverage, fee_rate=fee_rate, slippage=slippage)
    made = account()
    price = 100.0
    for level, mark in ((first, price), (second, price * (1.0 + move / leverage))):
        before, worth = snapshot(made), equity(made, mark)
        code = place(made, rule, level, mark)
        if code == ORDER_FILLED:
            x, fee = float(made.fill_price), float(made.fill_fee)
            size = abs(before["quantity"]) + abs(float(made.quantity))
            scale = 1e4 * leverage + size * x
            wanted = level * leverage * equity(made, x)
            assert made.quantity * x == pytest.approx(wanted, abs=1e-11 * scale * leverage)
            traded = abs(float(made.quantity) - before["quantity"])
            assert fee == pytest.approx(fee_rate * traded * x, rel=1e-9, abs=1e-9)
            assert (x - mark) * made.fill_quantity >= 0.0
            assert made.held_level == level
        elif code == ORDER_NONE:
            assert made.quantity == before["quantity"]
            assert made.held_level == level
        else:
            assert worth <= abs(before["quantity"]) * mark * slippage  # no equity at that price


@given(fee_rate=st.floats(0.0, 0.5), slippage=st.floats(0.0, 0.5), price=st.floats(1e-6, 1e9),
       wallet=st.floats(1e-3, 1e12))  # fmt: skip
def test_a_full_order_is_affordable(fee_rate, slippage, price, wallet):
    """Spot, level 1: all cash becomes position and fee, and none is borrowed."""
    rule = rules(fee_rate=fee_rate, slippage=slippage)
    made = opened(rule, 1.0, price, wallet)
    spent = made.quantity * made.fill_price + made.fill_fee
    assert spent == pytest.approx(wallet, rel=1e-12)
    assert made.quantity > 0.0


@given(
    first=LEVELS.filter(lambda a: abs(a) > 0.01), leverage=LEVERAGES, slippage=SLIPPAGES,
    price=st.floats(90.0, 110.0), lot=st.sampled_from([0.0, 0.3, 0.1, 7.0, 1e-9]),
    minimum=st.sampled_from([0.0, 1e9]),
)  # fmt: skip
def test_level_zero_closes_to_exactly_nothing(first, leverage, slippage, price, lot, minimum):
    """Not subject to lot size or least notional."""
    made = opened(rules(leverage=leverage, fee_rate=0.0004, slippage=slippage), first)
    rule = rules(leverage=leverage, fee_rate=0.0004, slippage=slippage, lot_size=lot,
                 min_notional=minimum)  # fmt: skip
    assert place(made, rule, 0.0, price) == ORDER_FILLED
    assert (made.quantity, made.entry_price, made.held_level) == (0.0, 0.0, 0.0)
    assert not math.copysign(1.0, made.quantity) < 0  # nor a negative zero
    assert place(made, rule, 0.0, price) == ORDER_NONE


@given(
    levels=st.lists(LEVELS, max_size=12), leverage=LEVERAGES, isolated=st.sampled_from([0, 1]),
    lot=st.sampled_from([0.0, 0.37]),
)  # fmt: skip
def test_constant_price_and_no_fee_conserve_equity(levels, leverage, isolated, lot):
    rule = rules(leverage=leverage, isolated=isolated, lot_size=lot)
    bars = np.full((2, 4), 100.0)
    made = account()
    for level in levels:
        place(made, rule, level, 100.0)
        accounting.advance(made, rule, bars, np.zeros(0), 0, 2)
        assert equity(made, 100.0) == pytest.approx(10_000.0, rel=1e-12)
        assert made.liquidations == 0


@given(level=LEVELS.filter(lambda a: abs(a) > 0.01), leverage=LEVERAGES, move=st.floats(-0.5, 0.5))
def test_the_level_held_is_no_order(level, leverage, move):
    """No drift rebalancing and no fee churn, wherever the price has gone."""
    rule = rules(leverage=leverage, fee_rate=0.001, slippage=0.001)
    made = opened(rule, level)
    before = snapshot(made)
    assert place(made, rule, level, 100.0 * (1.0 + move / leverage)) == ORDER_NONE
    assert snapshot(made) == before


def test_rebalance_threshold():
    """A continuous level trades beyond the threshold only, except that 0 always closes."""
    rule = rules(leverage=2.0, rebalance_threshold=0.05)
    made = opened(rule, 0.5)
    assert place(made, rule, 0.549, 100.0) == ORDER_NONE
    assert place(made, rule, 0.451, 100.0) == ORDER_NONE
    assert made.held_level == 0.5  # so that small steps cannot creep past it unnoticed
    assert place(made, rule, 0.551, 100.0) == ORDER_FILLED
    assert made.held_level == 0.551
    assert place(made, rule, 0.03, 100.0) == ORDER_FILLED
    assert place(made, rule, 0.0, 100.0) == ORDER_FILLED
    assert made.quantity == 0.0
    assert place(made, rule, 0.04, 100.0) == ORDER_NONE


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_winning_leveraged_position_can_be_enlarged(side):
    """Cross: the profit is margin too."""
    rule = rules(leverage=10.0, fee_rate=0.0004)
    made = opened(rule, 0.8 * side)
    held = abs(float(made.quantity))
    price = 100.0 * (1.0 + 0.05 * side)
    assert place(made, rule, side, price) == ORDER_FILLED
    assert abs(made.quantity) > held
    assert made.quantity * price == pytest.approx(10.0 * side * equity(made, price), rel=1e-12)


def test_isolated_margin_cuts_an_increase():
    """To ``max(B - |q| p / L, 0) / (x (1/L + f))``; with nothing free the order is refused."""
    rule = rules(leverage=10.0, isolated=1, fee_rate=0.001)
    made = opened(rule, 0.5)
    price = 120.0
    free = float(made.wallet) - float(made.quantity) * 100.0 / 10.0
    limit = free / (price * (0.1 + 0.001))
    before = float(made.quantity)
    assert place(made, rule, 1.0, price) == ORDER_FILLED
    assert made.quantity - before == pytest.approx(limit, rel=1e-12)
    # everything is locked now: margin at the new average entry, and nothing is left over
    assert made.wallet - made.quantity * made.entry_price / 10.0 == pytest.approx(0.0, abs=1e-8)
    assert made.held_level == 1.0
    full = account(1000.0, 100.0, 100.0, held_level=0.5)
    held = snapshot(full)
    assert place(full, rule, 1.0, price) == ORDER_REFUSED
    assert snapshot(full) == held
    # a decrease, a close and a flip are not cut
    assert place(full, rule, 0.1, price) == ORDER_FILLED
    assert place(full, rule, -1.0, price) == ORDER_FILLED
    assert full.quantity * price == pytest.approx(-10.0 * equity(full, price), rel=1e-12)


@given(leverage=LEVERAGES, level=st.floats(0.05, 1.0), fee_rate=FEES)
def test_isolated_orders_from_cash_are_not_cut(leverage, level, fee_rate):
    cross = opened(rules(leverage=leverage, fee_rate=fee_rate), level)
    isolated = opened(rules(leverage=leverage, fee_rate=fee_rate, isolated=1), level)
    assert isolated.quantity == pytest.approx(cross.quantity, rel=1e-12)


@pytest.mark.parametrize(("lot", "level", "expected"), [
    (0.3, 0.5, 49.8), (7.0, 0.5, 49.0), (0.1, 0.5, 50.0), (0.1, -0.25, -25.0), (60.0, 0.5, 0.0),
])  # fmt: skip
def test_lot_size_rounds_the_order_down(lot, level, expected):
    """50 units asked for at a level of 0.5; a whole number of lots stays whole."""
    rule = rules(lot_size=lot)
    made = account()
    code = place(made, rule, level, 100.0)
    assert made.quantity == pytest.approx(expected, rel=1e-12)
    assert code == (ORDER_FILLED if expected else ORDER_REFUSED)
    assert made.held_level == (level if expected else 0.0)


def test_lots_that_meet_zero_leave_no_dust():
    """Seven lots of 0.1 are not 0.7 in binary; a flip to a short of less than a lot only closes."""
    rule = rules(lot_size=0.1, leverage=2.0)
    made = account(quantity=0.7, entry_price=100.0, held_level=0.4)
    assert 7 * 0.1 != 0.7
    assert place(made, rule, -1e-5, 100.0) == ORDER_FILLED
    assert (made.quantity, made.entry_price) == (0.0, 0.0)
    assert place(made, rule, 0.0, 100.0) == ORDER_NONE


def test_a_whole_number_of_lots_stays_whole():
    """0.3 / 0.1 is below 3 in binary."""
    made = account(30.0)
    assert 0.3 / 0.1 < 3.0
    assert place(made, rules(lot_size=0.1), 1.0, 100.0) == ORDER_FILLED
    assert made.quantity == pytest.approx(0.3, rel=1e-12)


def test_min_notional():
    rule = rules(min_notional=2000.0)
    made = account()
    assert place(made, rule, 0.19, 100.0) == ORDER_REFUSED
    assert (made.quantity, made.held_level, made.fees) == (0.0, 0.0, 0.0)
    assert place(made, rule, 0.2, 100.0) == ORDER_FILLED
    assert place(made, rule, 0.39, 100.0) == ORDER_REFUSED
    assert made.held_level == 0.2
    assert place(made, rule, 0.41, 100.0) == ORDER_FILLED


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_no_equity_no_order(side):
    """Anything but a close is refused; the close still goes through."""
    rule = rules(leverage=10.0)
    made = account(100.0, 10.0 * side, 100.0, held_level=side)
    price = 100.0 - 11.0 * side
    assert equity(made, price) < 0.0
    assert place(made, rule, 0.5 * side, price) == ORDER_REFUSED
    assert made.held_level == side
    assert place(made, rule, 0.0, price) == ORDER_FILLED
    assert made.wallet == pytest.approx(-10.0)


def test_a_level_that_neither_side_moves_is_held_without_a_trade():
    """Slippage can make a small change of level not worth any quantity, at either side's price."""
    rule = rules(slippage=0.2)
    made = account(10_000.0, 50.0, 100.0, held_level=0.5)
    # bought at 120, 0.46 of the equity of 11000 is 42 units; sold at 80, 0.46 of 9000 is 52
    assert place(made, rule, 0.46, 100.0) == ORDER_NONE
    assert (made.quantity, made.held_level, made.fees) == (50.0, 0.46, 0.0)


def test_where_both_sides_could_trade_the_order_is_a_buy():
    rule = rules(leverage=5.0, slippage=0.2)
    made = account(10_000.0, 200.0, 100.0, held_level=0.5)
    # bought at 120, twice the equity of 14000 is 233 units; sold at 80, twice 6000 is 150
    assert place(made, rule, 0.4, 100.0) == ORDER_FILLED
    assert made.quantity == pytest.approx(28_000.0 / 120.0, rel=1e-12)
