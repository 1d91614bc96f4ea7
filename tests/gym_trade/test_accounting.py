"""The ledger's functions on one account record: fills, entry prices, round trips, funding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gym_trade import accounting, types
from gym_trade.grid import settlement_rates
from gym_trade.market import Market
from tests import markets
from tests.accounts import FEES, PRICES, SLIPPAGES, account, equity, rules, snapshot

QUANTITIES = st.one_of(st.floats(1e-6, 1e6), st.floats(-1e6, -1e-6))


@given(
    wallet=st.floats(-1e6, 1e9),
    held=st.one_of(st.just(0.0), QUANTITIES),
    entry=PRICES,
    quantity=st.one_of(QUANTITIES, st.sampled_from(["close", "flip", "half", "double"])),
    price=PRICES,
    fee=st.floats(0.0, 1e5),
)
@example(wallet=1e4, held=3.0, entry=100.0, quantity=-7.0, price=90.0, fee=2.0)
@example(wallet=1e4, held=-3.0, entry=100.0, quantity=7.0, price=90.0, fee=2.0)
def test_a_fill_costs_exactly_its_fee(wallet, held, entry, quantity, price, fee):
    """At the fill price, whatever it does to the position: open, add, reduce, close, flip."""
    if isinstance(quantity, str):
        held = held or 5.0
        quantity = held * {"close": -1.0, "flip": -2.5, "half": -0.5, "double": 1.0}[quantity]
    made = account(wallet, held, entry if held else 0.0)
    before = equity(made, price)
    accounting.fill(made, quantity, price, price, fee)
    scale = abs(wallet) + (abs(held) + abs(quantity)) * (entry + price) + fee
    assert equity(made, price) == pytest.approx(before - fee, abs=1e-13 * scale)
    assert made.quantity == held + quantity
    # and the wallet is what was realised, in exact arithmetic
    closed = min(abs(held), abs(quantity)) if held * quantity < 0 else 0.0
    realised = Fraction(closed) * (Fraction(price) - Fraction(entry)) * (1 if held > 0 else -1)
    exact = Fraction(wallet) + realised - Fraction(fee)
    assert made.wallet == pytest.approx(float(exact), abs=1e-13 * scale)


@given(held=QUANTITIES, entry=PRICES, share=st.floats(0.01, 5.0), price=PRICES)
def test_entry_price(held, entry, share, price):
    """Weighted on an increase, unchanged on a decrease, the fill price on open and flip."""
    made = account(quantity=held, entry_price=entry)
    accounting.fill(made, held * share, price, price, 0.0)
    total = Fraction(held) + Fraction(held * share)
    weighted = (Fraction(held) * Fraction(entry) + Fraction(held * share) * Fraction(price)) / total
    assert made.entry_price == pytest.approx(float(weighted), rel=1e-12)
    assert made.opened == 0

    made = account(quantity=held, entry_price=entry)
    accounting.fill(made, -held * min(share / 6.0, 0.9), price, price, 0.0)
    assert made.entry_price == entry
    assert made.opened == 0

    made = account(quantity=held, entry_price=entry)
    accounting.fill(made, -held * (1.0 + share), price, price, 0.0)
    assert made.entry_price == price
    assert made.quantity * held < 0.0
    assert made.opened == 1

    made = account()
    accounting.fill(made, held, price, price, 0.0)
    assert (made.entry_price, made.opened) == (price, 1)


@given(held=QUANTITIES, entry=PRICES, price=PRICES)
def test_a_close_leaves_no_dust(held, entry, price):
    made = account(quantity=held, entry_price=entry)
    accounting.fill(made, -held, price, price, 0.0)
    assert (made.quantity, made.entry_price) == (0.0, 0.0)


@given(quantity=QUANTITIES, price=st.floats(1.0, 1e4), fee_rate=FEES, slippage=st.floats(0.0, 0.05))
def test_a_round_trip_costs_two_fees_and_two_slippages(quantity, price, fee_rate, slippage):
    """At a constant price before slippage; and the record adds up both."""
    made = account()
    start = float(made.wallet)
    for signed in (quantity, -quantity):
        paid = accounting.slipped(price, signed, slippage)
        assert (paid - price) * signed >= 0.0  # adverse
        accounting.fill(made, signed, paid, price, abs(signed) * paid * fee_rate)
    size = abs(quantity)
    high, low = price * (1.0 + slippage), price * (1.0 - slippage)
    fees, slips = fee_rate * size * (high + low), size * (high - low)
    assert made.wallet == pytest.approx(start - fees - slips, rel=1e-12, abs=1e-12 * size * price)
    assert made.fees == pytest.approx(fees, rel=1e-12)
    assert made.slippage_cost == pytest.approx(slips, rel=1e-9, abs=1e-9 * size * price)
    assert made.turnover == pytest.approx(size * (high + low), rel=1e-12)
    assert made.n_trades == 1


@given(size=st.floats(1e-3, 1e3), entry=PRICES, exit_price=PRICES)
def test_long_profit_is_short_loss(size, entry, exit_price):
    """At equal size: bit for bit."""
    wallets = []
    for quantity in (size, -size):
        made = account(0.0)
        accounting.fill(made, quantity, entry, entry, 0.0)
        assert accounting.equity_at(made, exit_price) == equity(made, exit_price)
        accounting.fill(made, -quantity, exit_price, exit_price, 0.0)
        wallets.append(float(made.wallet))
    assert wallets[0] == -wallets[1]


def test_the_last_fill_is_on_record():
    made = account(quantity=2.0, entry_price=100.0)
    accounting.fill(made, -3.0, 90.0, 91.0, 0.5)
    assert made.fill_quantity == -3.0
    assert (made.fill_price, made.fill_reference, made.fill_fee) == (90.0, 91.0, 0.5)
    assert made.slippage_cost == 3.0


def test_a_flip_ends_one_round_trip_and_begins_the_next():
    """Its fee is shared by size, and both trips together explain the whole change of the wallet."""
    made = account()
    accounting.fill(made, 2.0, 100.0, 100.0, 4.0)
    accounting.fill(made, -6.0, 110.0, 110.0, 9.0)  # closes 2 of 6: 3.0 of the fee
    assert (made.n_trades, made.n_wins) == (1, 1)
    assert made.gross_profit == pytest.approx(20.0 - 4.0 - 3.0, rel=1e-12)
    accounting.fill(made, 4.0, 120.0, 120.0, 1.0)
    assert (made.n_trades, made.n_wins) == (2, 1)
    assert made.gross_loss == pytest.approx(40.0 + 6.0 + 1.0, rel=1e-12)
    assert made.gross_profit - made.gross_loss == pytest.approx(made.wallet - 10_000.0, rel=1e-12)


def test_a_resize_does_not_end_a_round_trip():
    made = account()
    for quantity, price in ((2.0, 100.0), (2.0, 110.0), (-1.0, 120.0)):
        accounting.fill(made, quantity, price, price, 1.0)
    assert made.n_trades == 0
    accounting.fill(made, -3.0, 130.0, 130.0, 1.0)
    # bought 2 x 100 + 2 x 110, sold 120 + 3 x 130, four fees
    assert (made.n_trades, made.gross_profit) == (1, pytest.approx(510.0 - 420.0 - 4.0))


@settings(max_examples=50)
@given(
    steps=st.lists(
        st.tuples(st.floats(-3.0, 3.0), st.floats(50.0, 200.0), FEES, SLIPPAGES), max_size=12
    ),
    rate=st.floats(-0.01, 0.01),
)
def test_identity_over_any_fills(steps, rate):
    """Change of equity = price profit - fees - slippage cost + funding."""
    made = account()
    profit, mark = 0.0, 100.0
    for quantity, price, fee_rate, slippage in steps:
        profit += float(made.quantity) * (price - mark)
        mark = price
        if quantity != 0.0:
            paid = accounting.slipped(price, quantity, slippage)
            accounting.fill(made, quantity, paid, price, abs(quantity) * paid * fee_rate)
        accounting.settle_funding(made, rate, price)
    change = equity(made, mark) - 10_000.0
    explained = profit - made.fees - made.slippage_cost + made.funding + made.shortfall
    assert change == pytest.approx(float(explained), rel=1e-9, abs=1e-7)


# --- funding ----------------------------------------------------------------------------


@pytest.mark.parametrize(("quantity", "rate", "received"), [
    (3.0, 0.001, -0.3), (3.0, -0.001, 0.3), (-3.0, 0.001, 0.3), (-3.0, -0.001, -0.3),
])  # fmt: skip
def test_a_positive_rate_is_paid_by_longs(quantity, rate, received):
    made = account(quantity=quantity, entry_price=80.0)
    accounting.settle_funding(made, rate, 100.0)
    assert made.wallet == pytest.approx(10_000.0 + received, rel=1e-15)
    assert made.funding == pytest.approx(received, rel=1e-12)
    assert (made.quantity, made.entry_price, made.fees) == (quantity, 80.0, 0.0)


def test_funding_hours():
    """Due on the bars that open at 00:00, 08:00 and 16:00 UTC; a missing bar settles nothing."""
    frame = markets.flat_bars(3 * 24, interval="1h").drop(index=["2023-01-03 08:00"])
    frame["funding_rate"] = (np.arange(len(frame)) + 1.0) / 100.0
    market = Market(frame)
    hours = frame.index.hour
    rates = settlement_rates(0.25, [market])
    np.testing.assert_array_equal(rates, np.where(hours % 8 == 0, 0.25, 0.0))
    assert (rates > 0).sum() == 8
    by_column = settlement_rates("funding_rate", [market])
    np.testing.assert_array_equal(by_column, np.where(hours % 8 == 0, frame["funding_rate"], 0.0))
    for bad in (1.5, np.nan):
        frame.loc["2023-01-03 00:00", "funding_rate"] = bad
        with pytest.raises(ValueError, match=rf"row 24 .*funding_rate is {bad} .*from -1 to 1"):
            settlement_rates("funding_rate", [Market(frame)])
    with pytest.raises(ValueError, match="'open' is part of every bar"):
        Market(frame, columns=["open"])
    with pytest.raises(ValueError, match="8 hours or less"):
        settlement_rates(0.25, [Market(markets.flat_bars(5, interval="1D"))])


def test_funding_is_settled_in_the_walk_after_the_fill_before_the_gap_check():
    """On the signed notional at the bar's open; it can pull the account into liquidation."""
    rule = rules(leverage=10.0, has_funding=1, maintenance_rate=0.01)
    bars = np.tile([100.0, 100.5, 99.5, 100.2], (4, 1))
    bars[2] = [102.0, 102.5, 101.5, 102.0]
    made = account(quantity=2.0, entry_price=100.0)
    assert accounting.advance(made, rule, bars, np.array([0.0, 0, 0.001, 0]), 0, 4) == (0, 3)
    assert made.funding == pytest.approx(-0.001 * 2.0 * 102.0)

    # equity 30 with a notional of 200: liquidated where equity is 1% of notional; not by the
    # prices alone, but once funding takes 28.5
    poor = account(30.0, 2.0, 100.0)
    still = np.tile([100.0, 100.0, 100.0, 100.0], (4, 1))
    assert accounting.advance(poor, rule, still, np.array([0.0, 0, 0, 0]), 0, 4) == (0, 3)
    reason = accounting.advance(poor, rule, still, np.array([0.0, 0, 0.1425, 0]), 0, 4)
    assert reason == (types.LIQUIDATION, 2)
    assert (poor.quantity, poor.fill_reference) == (0.0, 100.0)


def test_no_funding_when_flat_or_unwanted():
    bars = np.tile([100.0, 100.0, 100.0, 100.0], (3, 1))
    made = account()
    before = snapshot(made)
    accounting.advance(made, rules(has_funding=1), bars, np.ones(3), 0, 3)
    assert snapshot(made) == before
    held = account(quantity=1.0, entry_price=100.0)
    accounting.advance(held, rules(), bars, np.zeros(0), 0, 3)
    assert held.funding == 0.0


# --- slippage ---------------------------------------------------------------------------


def test_slippage_draws_are_keyed_by_seed_episode_step_and_slot():
    """Uniform in [0, slippage], the same whenever asked, different by each key."""
    rule = rules(slippage=0.01, uniform_slippage=1)
    seen = set()
    for seed in (0, 1):
        for episode in (0, 1):
            for steps in (0, 1):
                made = account(seed=seed, episode=episode, steps=steps)
                for slot in range(types.FILL_SLOTS):
                    rate = accounting.slippage_rate(made, rule, slot)
                    assert rate == accounting.slippage_rate(made, rule, slot)
                    assert 0.0 <= rate <= 0.01
                    seen.add(rate)
    assert len(seen) == 8 * types.FILL_SLOTS
    rates = [accounting.slippage_rate(account(steps=i), rule, 1) for i in range(2000)]
    assert np.mean(rates) == pytest.approx(0.005, abs=0.0003)
    assert max(rates) > 0.0099 and min(rates) < 0.0001
    assert accounting.slippage_rate(account(), rules(slippage=0.01), 1) == 0.01
