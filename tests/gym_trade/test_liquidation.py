"""Liquidation: its price, its cap, what a gap through it costs; and margin calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gym_trade import accounting, orders
from gym_trade.types import LIQUIDATION, MARGIN_CALL, NO_EXIT, STOP_LOSS
from tests.accounts import FEES, LEVERAGES, SLIPPAGES, account, equity, opened, rules, snapshot

SIDES = st.sampled_from([1.0, -1.0])
MODES = st.sampled_from([0, 1])


def maintenance_gap(made, rule, price):
    """What is above the maintenance margin at `price`, by the definition of each mode."""
    quantity, entry = float(made.quantity), float(made.entry_price)
    backing = float(made.wallet)
    if rule.isolated:
        backing = abs(quantity) * entry / rule.leverage
    return backing + quantity * (price - entry) - rule.maintenance_rate * abs(quantity) * price


@given(
    leverage=LEVERAGES, side=SIDES, level=st.floats(0.05, 1.0), isolated=MODES,
    maintenance=st.floats(0.0, 0.0079), lost=st.floats(0.0, 0.5), price=st.floats(1.0, 400.0),
)  # fmt: skip
def test_liquidation_price(leverage, side, level, isolated, maintenance, lost, price):
    """Where what backs the position is the maintenance margin, and exactly from there on."""
    rule = rules(leverage=leverage, isolated=isolated, maintenance_rate=maintenance)
    made = opened(rule, level * side)
    made.wallet -= lost * made.wallet  # as funding can
    at = accounting.liquidation_price(made, rule)
    scale = 1e4 * leverage
    if side > 0 and leverage == 1.0:
        assert at == 0.0
        return
    if at > 1e-9:
        assert maintenance_gap(made, rule, at) == pytest.approx(0.0, abs=1e-11 * scale)
    margin = maintenance_gap(made, rule, price)
    assume(abs(margin) > 1e-6 * scale)
    assert (at > 0.0 and accounting.crossed(made.quantity, price, at)) == (margin < 0.0)


def test_what_has_no_liquidation_price():
    assert accounting.liquidation_price(account(), rules(leverage=50.0)) == 0.0
    spot = opened(rules(), 1.0)
    assert accounting.liquidation_price(spot, rules()) == 0.0
    covered = opened(rules(leverage=5.0), 0.1)  # a long of half the equity cannot fail
    assert accounting.liquidation_price(covered, rules(leverage=5.0)) == 0.0
    short = opened(rules(), -1.0)  # a spot short can: equity 20000 - 100 m
    assert accounting.liquidation_price(short, rules()) == pytest.approx(200.0 / 1.004)


def test_a_short_whose_backing_is_gone_is_liquidated_at_any_price():
    bare = account(-10.0, -0.05, 100.0)
    assert accounting.liquidation_price(bare, rules(leverage=2.0)) > 0.0
    assert accounting.crossed(
        bare.quantity, 1e-9, accounting.liquidation_price(bare, rules(leverage=2.0))
    )


@given(
    leverage=st.floats(1.0, 125.0), side=SIDES, level=st.floats(0.05, 1.0), isolated=MODES,
    fee_rate=FEES, slippage=SLIPPAGES, depths=st.tuples(st.floats(0.0, 0.99), st.floats(0.0, 0.99)),
    lost=st.sampled_from([0.0, 0.2, 0.9]),
)  # fmt: skip
def test_gap_through_liquidation(leverage, side, level, isolated, fee_rate, slippage, depths, lost):
    """A deeper gap never leaves the account richer, and no gap costs more than was posted."""
    rule = rules(leverage=leverage, fee_rate=fee_rate, slippage=slippage, isolated=isolated)
    wallets = []
    for depth in sorted(depths):
        made = opened(rule, level * side)
        made.wallet -= lost * made.wallet
        at = accounting.liquidation_price(made, rule)
        assume(at > 1e-6)
        before = snapshot(made)
        bar_open = at * (1.0 - depth) if side > 0 else at / (1.0 - depth)
        assert accounting.exit_at_open(made, at, bar_open) == LIQUIDATION
        accounting.liquidate(made, rule, at, bar_open, slippage)
        wallet, cost = float(made.wallet), before["wallet"] - float(made.wallet)
        margin = abs(before["quantity"]) * before["entry_price"] / leverage
        if isolated:
            assert cost <= max(min(margin, before["wallet"]), 0.0) * (1.0 + 1e-12)
        assert wallet >= 0.0
        # executed at the worse of level and open, with slippage, and flat
        assert made.fill_reference == (min if side > 0 else max)(at, bar_open)
        assert made.fill_price == made.fill_reference * (1.0 - side * slippage)
        assert (made.quantity, made.held_level, made.liquidations) == (0.0, 0.0, 1)
        assert (made.stop_price, made.target_price, made.entry_price) == (0.0, 0.0, 0.0)
        # the books: what the cap absorbed, and only the fee that could be paid
        realised = before["quantity"] * (float(made.fill_price) - before["entry_price"])
        scale = abs(before["quantity"]) * (before["entry_price"] + float(made.fill_price)) + 1e4
        explained = realised - (float(made.fees) - before["fees"]) + float(made.shortfall)
        assert -cost == pytest.approx(explained, abs=1e-12 * scale)
        full_fee = abs(before["quantity"]) * float(made.fill_price) * fee_rate
        assert 0.0 <= made.fill_fee <= full_fee * (1.0 + 1e-12)
        assert made.shortfall == 0.0 or made.fill_fee == 0.0
        assert made.shortfall >= 0.0
        assert made.gross_loss - made.gross_profit == pytest.approx(
            before["trade_wallet"] - wallet, abs=1e-12 * scale
        )
        wallets.append(wallet)
    assert wallets[1] <= wallets[0] + 1e-12 * 1e4 * leverage


def test_the_liquidation_fee_replaces_the_transaction_fee():
    rule = rules(leverage=10.0, fee_rate=0.0004, liquidation_fee_rate=0.002)
    made = opened(rule, 1.0)
    at, quantity = accounting.liquidation_price(made, rule), float(made.quantity)
    accounting.liquidate(made, rule, at, 100.0, 0.0)
    assert made.fill_fee == pytest.approx(quantity * at * 0.002, rel=1e-12)


def test_isolated_keeps_what_was_not_posted_and_cross_does_not():
    """Half the equity in margin, a gap of 90% against a leverage of 10."""
    wallets = {}
    for isolated in (0, 1):
        rule = rules(leverage=10.0, isolated=isolated)
        made = opened(rule, 0.5)
        accounting.liquidate(made, rule, accounting.liquidation_price(made, rule), 10.0, 0.0)
        wallets[isolated] = float(made.wallet)
    assert wallets == {0: 0.0, 1: pytest.approx(5000.0)}


@pytest.mark.parametrize("close", ["agent", "stop"])
def test_a_gap_just_short_of_liquidation_costs_no_more_than_one_beyond(close):
    """While slippage and fee fit into the maintenance rate: only a liquidation's loss is capped."""
    slippage = 0.003
    rule = rules(leverage=100.0, slippage=slippage)
    assert slippage + rule.fee_rate <= rule.maintenance_rate
    beyond, short_of = opened(rule, 1.0), opened(rule, 1.0)
    at = accounting.liquidation_price(beyond, rule)
    accounting.liquidate(beyond, rule, at, at - 1e-6, slippage)
    if close == "agent":
        orders.place_level_order(short_of, rule, 0.0, at + 1e-6, slippage)
    else:
        short_of.stop_price = at + 1.0
        assert walk(short_of, rule, (at + 1e-6,) * 4) == (STOP_LOSS, 0)
    assert short_of.wallet >= beyond.wallet >= 0.0


# --- in a walk --------------------------------------------------------------------------


def walk(made, rule, *bars):
    """Walk bars (open, high, low, close) without funding: (reason, bar)."""
    return accounting.advance(made, rule, np.array(bars, float), np.zeros(0), 0, len(bars))


@pytest.mark.parametrize("isolated", [0, 1])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_low_that_touches_the_level_liquidates_at_the_level(side, isolated):
    """Not at the low, not at the close; the bar before it does not; later bars do not count."""
    rule = rules(leverage=10.0, isolated=isolated)
    made = opened(rule, side)
    at = accounting.liquidation_price(made, rule)
    near = at + side * 1e-9
    quiet = (100.0, max(100.0, near), min(100.0, near), 100.0)
    touch = (100.0, max(100.0, at), min(100.0, at), 100.0)
    worse = (50.0, 150.0, 50.0, 100.0)
    assert walk(made, rule, quiet, quiet) == (NO_EXIT, 1)
    assert walk(made, rule, quiet, touch, worse) == (LIQUIDATION, 1)
    assert made.fill_reference == at
    assert walk(made, rule, worse) == (NO_EXIT, 0)
    assert made.liquidations == 1


def test_spot_is_never_liquidated():
    made = opened(rules(), 1.0)
    assert walk(made, rules(), (100.0, 100.0, 0.01, 0.02), (0.001, 0.001, 0.001, 0.001))[0] == 0
    assert made.quantity == 100.0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_margin_call(side):
    """At a bar's close, strictly below the threshold's share of the initial margin."""
    rule = rules(
        leverage=10.0, margin_call_threshold=0.5, fee_rate=0.001, slippage=0.002,
        maintenance_rate=0.0,
    )  # fmt: skip
    made = account(1000.0, 100.0 * side, 100.0, held_level=side)
    # long: E = 1000 + 100 (m - 100) < 0.5 * 100 m / 10 at m < 9000 / 95
    edge = 9000.0 / 95.0 if side > 0 else 11000.0 / 105.0
    above, below = edge + side * 1e-6, edge - side * 1e-6
    spike = (100.0, max(100.0, below), min(100.0, below), 100.0)  # through it, not at the close
    quiet = (100.0, max(100.0, above), min(100.0, above), above)
    call = (100.0, max(100.0, below), min(100.0, below), below)
    assert walk(made, rule, spike, quiet) == (NO_EXIT, 1)
    worth = equity(made, below)
    assert walk(made, rule, quiet, call, spike) == (MARGIN_CALL, 1)
    assert made.fill_reference == below
    assert made.fill_price == pytest.approx(below * (1.0 - side * 0.002), rel=1e-15)
    fee = 100.0 * float(made.fill_price) * 0.001
    assert made.fill_fee == pytest.approx(fee, rel=1e-12)
    assert made.wallet == pytest.approx(worth - 100.0 * below * 0.002 - fee, rel=1e-9)
    assert (made.quantity, made.held_level, made.liquidations) == (0.0, 0.0, 0)


def test_liquidation_inside_the_bar_goes_before_the_margin_call_at_its_close():
    rule = rules(leverage=10.0, margin_call_threshold=0.5)
    made = opened(rule, 1.0)
    at = accounting.liquidation_price(made, rule)
    assert walk(made, rule, (100.0, 100.0, at - 1.0, at - 0.5)) == (LIQUIDATION, 0)
    assert walk(opened(rules(leverage=10.0), 1.0), rules(leverage=10.0),
                (100.0, 100.0, 94.0, 94.0)) == (NO_EXIT, 0)  # fmt: skip
