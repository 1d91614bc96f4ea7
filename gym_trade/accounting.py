"""The only ledger: what a fill, a funding payment, an exit and a walk over bars do to an account.

Pure arithmetic on one account record (`types.LANE_DTYPE`) under one set of rules
(`types.RULES_DTYPE`). Quote currency is cash; quantities are signed base units; prices are quote
per base unit. Every environment goes through these functions and through no others.

Equity at price m is ``wallet + quantity * (m - entry_price)``.
"""

from __future__ import annotations

from gym_trade.fills import equity_at, fill, slippage_rate, slipped
from gym_trade.jit import jit, rare_jit
from gym_trade.types import (
    CLOSE,
    HIGH,
    LIQUIDATION,
    LOW,
    MARGIN_CALL,
    NO_EXIT,
    OPEN,
    SLOT_EXIT,
    STOP_LOSS,
    TAKE_PROFIT,
    Float64,
    MarketArrays,
    Record,
)

SMALLEST_PRICE = 1e-300
ROUNDING = 1e-12  # of the wallet: less than this is nothing


@jit
def liquidation_price(account: Record, rules: Record) -> float:
    """The price at which the position is liquidated; 0.0 where no price does that.

    Cross: where equity equals the maintenance margin ``mmr |q| m``. Isolated: where the margin
    ``|q| p / L`` less the loss does.
    """
    quantity = account.quantity
    if quantity == 0.0 or (rules.leverage <= 1.0 and quantity > 0.0):
        return 0.0
    rate = rules.maintenance_rate
    if rules.isolated != 0:
        if quantity > 0.0:
            return account.entry_price * (1.0 - 1.0 / rules.leverage) / (1.0 - rate)
        return account.entry_price * (1.0 + 1.0 / rules.leverage) / (1.0 + rate)
    price = (quantity * account.entry_price - account.wallet) / (quantity - rate * abs(quantity))
    # A short without equity at any price is liquidated at whatever price comes.
    return max(price, 0.0 if quantity > 0.0 else SMALLEST_PRICE)


@jit
def crossed(quantity: float, price: float, level: float) -> bool:
    """Whether `price` is at `level` or beyond it, on the losing side of the position."""
    return price <= level if quantity > 0.0 else price >= level


@jit
def close_position(account: Record, rules: Record, reference_price: float, slippage: float) -> None:
    """Close all of the position at `reference_price`, with slippage and the ordinary fee."""
    quantity = account.quantity
    price = slipped(reference_price, -quantity, slippage)
    fill(account, -quantity, price, reference_price, abs(quantity) * price * rules.fee_rate)
    go_flat(account)


@rare_jit
def liquidate(
    account: Record, rules: Record, price: float, bar_open: float, slippage: float
) -> None:
    """Close the position by force, at the worse of its liquidation price and the bar's open.

    The loss is capped: at zero equity (cross) or at the posted margin, as far as the wallet holds
    it (isolated). What the cap absorbs is booked as shortfall, and the fee counted is the one that
    could still be paid.
    """
    quantity = account.quantity
    reference = min(price, bar_open) if quantity > 0.0 else max(price, bar_open)
    fill_price = slipped(reference, -quantity, slippage)
    floor = 0.0
    if rules.isolated != 0:
        margin = abs(quantity) * account.entry_price / rules.leverage
        floor = account.wallet - min(margin, account.wallet)
        if floor <= ROUNDING * account.wallet:
            floor = 0.0  # all of it was margin: a rounding error must not trade on
    left = account.wallet + quantity * (fill_price - account.entry_price)
    fee = abs(quantity) * fill_price * rules.liquidation_fee_rate
    absorbed = max(floor - left, 0.0)
    # The cap is credited first, so that the round trip is closed at what was really lost.
    account.wallet += absorbed
    account.shortfall += absorbed
    fill(account, -quantity, fill_price, reference, min(fee, max(left - floor, 0.0)))
    if fee > left - floor:
        account.wallet = floor  # exactly the cap, without the sum's rounding error
    account.liquidations += 1
    account.liquidated = 1
    go_flat(account)


@jit
def go_flat(account: Record) -> None:
    """Forget what belonged to the position that was just closed."""
    account.held_level = 0.0
    account.stop_price = 0.0
    account.target_price = 0.0


@jit
def exit_at_open(account: Record, liquidation: float, bar_open: float) -> int:
    """The exit that a bar's open has gapped into; liquidation goes before the stop."""
    quantity = account.quantity
    if liquidation > 0.0 and crossed(quantity, bar_open, liquidation):
        return LIQUIDATION
    if account.stop_price > 0.0 and crossed(quantity, bar_open, account.stop_price):
        return STOP_LOSS
    if account.target_price > 0.0 and crossed(-quantity, bar_open, account.target_price):
        return TAKE_PROFIT
    return NO_EXIT


@jit
def exit_in_range(account: Record, liquidation: float, high: float, low: float) -> int:
    """The exit that a bar's range reaches.

    The nearer of stop and liquidation wins, a tie is the stop's; both go before a take-profit
    inside the same bar, because the order of prices within a bar is not known.
    """
    quantity = account.quantity
    adverse, favourable = (low, high) if quantity > 0.0 else (high, low)
    stop = account.stop_price
    stops = stop > 0.0 and crossed(quantity, adverse, stop)
    target = account.target_price
    if target > 0.0 and crossed(-quantity, favourable, target):
        if stops:
            account.ambiguous_bars += 1
    else:
        target = 0.0
    if liquidation > 0.0 and crossed(quantity, adverse, liquidation):
        if stops and crossed(-quantity, stop, liquidation):
            return STOP_LOSS
        return LIQUIDATION
    if stops:
        return STOP_LOSS
    return TAKE_PROFIT if target > 0.0 else NO_EXIT


@jit
def execute_exit(
    account: Record, rules: Record, reason: int, liquidation: float, bar_open: float
) -> None:
    """Carry out an exit: at its own level, or at the open where the open is beyond it."""
    slippage = slippage_rate(account, rules, SLOT_EXIT)
    if reason == LIQUIDATION:
        liquidate(account, rules, liquidation, bar_open, slippage)
        return
    quantity = account.quantity
    if reason == STOP_LOSS:
        worse_open = crossed(quantity, bar_open, account.stop_price)
        reference = bar_open if worse_open else account.stop_price
    elif reason == TAKE_PROFIT:
        better_open = crossed(-quantity, bar_open, account.target_price)
        reference = bar_open if better_open else account.target_price
        slippage = 0.0
    else:  # a margin call trades at the close, which the caller passes
        reference = bar_open
    close_position(account, rules, reference, slippage)


@jit
def margin_called(account: Record, rules: Record, close: float) -> bool:
    """Whether equity at a bar's close is below the margin call's share of the initial margin."""
    if rules.margin_call_threshold == 0.0:
        return False
    margin = abs(account.quantity) * close / rules.leverage
    return equity_at(account, close) < rules.margin_call_threshold * margin


@jit
def settle_funding(account: Record, rate: float, bar_open: float) -> None:
    """Settle funding on the signed notional at the bar's open; longs pay a positive rate."""
    payment = -rate * account.quantity * bar_open
    account.wallet += payment
    account.funding += payment


@rare_jit
def advance(
    account: Record, rules: Record, bars: Float64, funding: Float64, first: int, last: int
) -> tuple[int, int]:
    """Walk the base bars ``first <= bar < last`` with the position until it exits.

    Per bar: funding due at its open, the gap check at its open, its range, the margin call at its
    close. The bar in which the order filled at its open is walked like any other.

    Args:
        account: The account record, changed in place.
        rules: The rules record.
        bars: float64 (n, 4): open, high, low, close.
        funding: float64 (n,), the rate settled at each bar's open, 0 where none is due; may be
            empty when the rules have no funding.
        first: Index of the first bar.
        last: Index after the last bar.

    Returns:
        (reason, bar): the exit's reason code and bar, or (NO_EXIT, last - 1).
    """
    if account.quantity == 0.0:
        return NO_EXIT, last - 1
    liquidation = liquidation_price(account, rules)
    watched = liquidation > 0.0 or account.stop_price > 0.0 or account.target_price > 0.0
    if not watched and rules.has_funding == 0 and rules.margin_call_threshold == 0.0:
        return NO_EXIT, last - 1
    for bar in range(first, last):
        bar_open = bars[bar, OPEN]
        if rules.has_funding != 0 and funding[bar] != 0.0:
            settle_funding(account, funding[bar], bar_open)
            liquidation = liquidation_price(account, rules)
        reason = exit_at_open(account, liquidation, bar_open)
        if reason == NO_EXIT:
            reason = exit_in_range(account, liquidation, bars[bar, HIGH], bars[bar, LOW])
        if reason != NO_EXIT:
            execute_exit(account, rules, reason, liquidation, bar_open)
            return reason, bar
        close = bars[bar, CLOSE]
        if margin_called(account, rules, close):
            execute_exit(account, rules, MARGIN_CALL, liquidation, close)
            return MARGIN_CALL, bar
    return NO_EXIT, last - 1


@jit
def out_of_reach(account: Record, liquidation: float, high: float, low: float) -> bool:
    """Whether bars that stay between `low` and `high` can reach none of the position's levels."""
    stop, target = account.stop_price, account.target_price
    if account.quantity > 0.0:
        above_target = target > 0.0 and high >= target
        return low > max(liquidation, stop) and not above_target
    below_liquidation = liquidation == 0.0 or high < liquidation
    below_stop = stop == 0.0 or high < stop
    return below_liquidation and below_stop and low > target


@jit
def walk(account: Record, rules: Record, market: MarketArrays, decision: int) -> tuple[int, int]:
    """Let the base bars of one decision's bin pass; see `advance` for what is returned.

    The bin's own high and low tell whether any level can be reached: mostly none can, and the bars
    need not be looked at. An open lies within its bar's range, so this covers gaps as well.
    """
    bars, funding, bar_end, bins, _ = market
    if account.quantity == 0.0:
        return NO_EXIT, 0
    if rules.has_funding == 0 and rules.margin_call_threshold == 0.0:
        liquidation = liquidation_price(account, rules)
        if out_of_reach(account, liquidation, bins[decision, HIGH], bins[decision, LOW]):
            return NO_EXIT, 0
    return advance(account, rules, bars, funding, bar_end[decision - 1], bar_end[decision])
