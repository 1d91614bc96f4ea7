"""Any sequence of bracket orders, closes and exits keeps the identity and the brackets right."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_trade import accounting, orders, types
from gym_trade.types import BRACKET, CLOSE_ALL, HOLD, ORDER_FILLED, ORDER_REFUSED
from tests.accounts import FEES, SLIPPAGES, account, equity, rules, snapshot

STOPS = st.floats(-0.6, -1e-4)
TARGETS = st.floats(1e-4, 0.9)
FRACTIONS = st.one_of(st.just(1.0), st.floats(0.01, 1.0))
# A move of the market before the order, and the bars walked after it, as log returns.
MOVE = st.one_of(st.floats(-0.005, 0.005), st.floats(-0.3, 0.3))
MOVES = st.lists(MOVE, min_size=3, max_size=3)
STEPS = st.lists(st.tuples(st.integers(0, 5), MOVES, st.booleans()), min_size=1, max_size=8)


@st.composite
def rule_sets(draw):
    leverage = draw(st.sampled_from([1.0, 2.0, 3.0, 5.0, 30.0]))
    return rules(
        leverage=leverage,
        isolated=draw(st.booleans()),
        fee_rate=draw(FEES) / max(leverage / 20.0, 1.0),
        slippage=draw(SLIPPAGES),
        uniform_slippage=draw(st.booleans()),
        maintenance_rate=draw(st.sampled_from([0.0, 0.5])) / leverage,
        lot_size=draw(st.sampled_from([0.0, 0.5, 30.0])),
        min_notional=draw(st.sampled_from([0.0, 4000.0])),
        margin_call_threshold=draw(st.sampled_from([0.0, 0.9])),
        has_funding=1,
        replace_brackets=draw(st.booleans()),
        lock_until_exit=draw(st.booleans()),
    )


@st.composite
def choice_tables(draw):
    """Hold, close, two longs and two shorts of one size, each with a stop and a target."""
    fraction = draw(FRACTIONS)
    pairs = [(draw(STOPS), draw(TARGETS)) for _ in range(2)]
    table = [(HOLD, 0.0, 0.0, 0.0), (CLOSE_ALL, 0.0, 0.0, 0.0)]
    table += [(BRACKET, side * fraction, *pair) for side in (1.0, -1.0) for pair in pairs]
    return np.array(table, types.CHOICE_DTYPE).view(np.recarray)


def costs(made):
    """What is booked against the account so far: fees and slippage, less funding and shortfall."""
    booked = (made.fees, made.slippage_cost, -made.funding, -made.shortfall)
    return float(sum(map(float, booked)))


def booked(made, before, spent, profit, scale):
    """The accounting identity: equity changes by price profit at unslipped prices, less costs."""
    change = float(made.wallet) - before
    assert abs(change - (profit - (costs(made) - spent))) <= 1e-9 * scale


def check_brackets(made):
    """Stop and target on their sides of the entry; nothing of either without a position."""
    stop, entry, target = float(made.stop_price), float(made.entry_price), float(made.target_price)
    if made.quantity == 0.0:
        assert (stop, entry, target) == (0.0, 0.0, 0.0)
    elif made.quantity > 0.0:
        assert 0.0 < stop < entry < target
    else:
        assert 0.0 < target < entry < stop


def scale_of(made, price):
    return max(abs(float(made.wallet)), abs(float(made.quantity)) * price, 1.0)


def order(made, rule, choices, action, price, seen):
    """Place one order and check everything that it may and may not have changed."""
    before, held = snapshot(made), float(made.quantity)
    marked, spent = equity(made, price), costs(made)
    scale = scale_of(made, price)
    code = orders.place_order(made, rule, choices, action, 0.0, price, float(rule.slippage))
    scale = max(scale, scale_of(made, price))
    level = float(choices[action].level)
    booked_equity = equity(made, price)
    assert abs(booked_equity - (marked - (costs(made) - spent))) <= 1e-9 * scale
    check_brackets(made)
    seen["refused"] += code == ORDER_REFUSED
    seen["flip"] += bool(held * made.quantity < 0.0)
    seen["closed"] += code == ORDER_FILLED and made.quantity == 0.0
    if code != ORDER_FILLED:
        moved = {name for name, value in snapshot(made).items() if value != before[name]}
        assert moved <= {"stop_price", "target_price"}
        replaced = rule.replace_brackets and not rule.lock_until_exit and level * held > 0.0
        assert replaced or not moved
        seen["replaced"] += bool(moved)
        return
    assert not (rule.lock_until_exit and held != 0.0)
    assert level * held <= 0.0
    if made.quantity != 0.0:
        entry, side = float(made.entry_price), np.sign(level)
        assert made.quantity * level > 0.0 and entry == float(made.fill_price)
        choice = choices[action]
        assert made.stop_price == entry * (1.0 + side * choice.stop)
        assert made.target_price == entry * (1.0 + side * choice.target)


def walk(made, rule, price, moves, funded, seen):
    """Let bars pass from `price` on and check the exit, if any; returns the last close."""
    path = price * np.exp(np.cumsum([0.0, *moves]))
    open_, close = path[:-1], path[1:]
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) / 1.002
    bars = np.column_stack([open_, high, low, close])
    funding = np.where(funded, [0.0, 0.001, 0.0], 0.0)
    held, entry, spent = float(made.quantity), float(made.entry_price), costs(made)
    before, scale = float(made.wallet), scale_of(made, float(high.max()))
    stop, target = float(made.stop_price), float(made.target_price)
    reason, bar = accounting.advance(made, rule, bars, funding, 0, len(bars))
    check_brackets(made)
    seen[types.REASON_NAMES[reason]] += 1
    if reason == types.NO_EXIT:
        assert made.quantity == held
        assert (float(made.stop_price), float(made.target_price)) == (stop, target)
        booked(made, before, spent, 0.0, scale)
        return float(close[-1])
    assert made.quantity == 0.0 and made.held_level == 0.0
    reference = float(made.fill_reference)
    booked(made, before, spent, held * (reference - entry), scale)
    if reason == types.STOP_LOSS:  # never better than its level, nor outside its bar
        assert np.sign(held) * (stop - reference) >= 0.0
    if reason == types.TAKE_PROFIT:
        assert np.sign(held) * (reference - target) >= 0.0
        assert made.fill_price == made.fill_reference
    assert low[bar] * (1 - 1e-12) <= reference <= high[bar] * (1 + 1e-12)
    return float(close[-1])


def test_any_sequence_of_orders_closes_and_exits():
    seen = Counter()

    @settings(max_examples=400, derandomize=True)  # what is seen must not be a matter of luck
    @given(rule=rule_sets(), choices=choice_tables(), steps=STEPS, gap=st.floats(-0.02, 0.02))
    def check(rule, choices, steps, gap):
        made, price = account(seed=3), 100.0
        for number, (action, moves, funded) in enumerate(steps):
            made.steps = number
            order(made, rule, choices, action, price, seen)
            price = walk(made, rule, price, moves, funded, seen) * np.exp(gap)
            liquidation = accounting.liquidation_price(made, rule)
            if liquidation > 0.0 and accounting.crossed(made.quantity, price, liquidation):
                accounting.liquidate(made, rule, liquidation, price, 0.0)
                check_brackets(made)
                seen["liquidation at the next open"] += 1
            if made.wallet <= 0.0:
                break

    check()
    wanted = {"", "refused", "flip", "closed", "replaced", "liquidation", "stop_loss",
              "take_profit", "margin_call"}  # fmt: skip
    assert all(seen[name] > 0 for name in wanted), seen


@given(rule=rule_sets(), choices=choice_tables(), action=st.integers(2, 5))
def test_flat_after_any_exit_every_order_finds_a_fresh_account(rule, choices, action):
    """What an earlier position left behind does not reach the next one."""
    used, fresh = account(seed=1), account(seed=1)
    rule.min_notional, rule.lot_size = 0.0, 0.0
    orders.place_order(used, rule, choices, 7 - action, 0.0, 100.0, 0.0)
    if used.quantity != 0.0:
        accounting.close_position(used, rule, 100.0, 0.0)
    fresh.wallet = fresh.trade_wallet = used.wallet
    codes = [
        orders.place_order(made, rule, choices, action, 0.0, 90.0, 0.001) for made in (used, fresh)
    ]
    assert codes[0] == codes[1] == ORDER_FILLED
    for name in ("wallet", "quantity", "entry_price", "held_level", "stop_price", "target_price"):
        assert used[name] == fresh[name]
