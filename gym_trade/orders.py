"""Orders: from the level that an agent asks for to the quantity that is filled.

The sizing rules stand here; what a fill does to the account stands in `accounting`.
"""

from __future__ import annotations

import math

from gym_trade.accounting import close_position
from gym_trade.fills import equity_at, fill, slipped
from gym_trade.jit import jit
from gym_trade.types import ORDER_FILLED, ORDER_NONE, ORDER_REFUSED, Record

# A lot count that is whole but for rounding errors counts as whole.
LOT_TOLERANCE = 1e-9
# Free margin below this share of the wallet is none.
MARGIN_TOLERANCE = 1e-9


@jit
def order_quantity(
    account: Record, rules: Record, level: float, buy_price: float, sell_price: float
) -> tuple[float, bool]:
    """The quantity that brings the exposure after the trade and its fee to ``level * leverage``.

    Solves ``(q + dq) x = level L (E(x) - f |dq| x)`` for dq, first as a buy at `buy_price`, then
    as a sell at `sell_price`.

    Returns:
        (quantity, solvable): 0.0 where neither side moves the position; `solvable` is False where
        that is for want of positive equity at the price it would trade at.
    """
    exposure = level * rules.leverage
    held = account.quantity
    equity = equity_at(account, buy_price)
    if equity <= 0.0:
        return 0.0, False
    quantity = (exposure * equity - held * buy_price) / (
        buy_price * (1.0 + exposure * rules.fee_rate)
    )
    if quantity > 0.0:
        return quantity, True
    equity = equity_at(account, sell_price)
    if equity <= 0.0:
        return 0.0, False
    quantity = (exposure * equity - held * sell_price) / (
        sell_price * (1.0 - exposure * rules.fee_rate)
    )
    return min(quantity, 0.0), True


@jit
def affordable(account: Record, rules: Record, quantity: float, price: float) -> float:
    """Isolated margin: cut an increase to what the free wallet can margin, fee included."""
    free = max(account.wallet - abs(account.quantity) * account.entry_price / rules.leverage, 0.0)
    if free <= MARGIN_TOLERANCE * abs(account.wallet):
        return 0.0  # a fully margined account: what is left is a rounding error
    limit = free / (price * (1.0 / rules.leverage + rules.fee_rate))
    return math.copysign(min(abs(quantity), limit), quantity)


@jit
def whole_lots(quantity: float, lot_size: float) -> float:
    """Round a quantity's size down to a multiple of `lot_size`."""
    lots = math.floor(abs(quantity) / lot_size + LOT_TOLERANCE)
    return math.copysign(lots * lot_size, quantity)


@jit
def permitted(account: Record, rules: Record, quantity: float, price: float) -> float:
    """What isolated margin, lots and the minimum notional leave of an order; 0.0: refused."""
    if rules.isolated != 0 and account.quantity * quantity >= 0.0:
        quantity = affordable(account, rules, quantity, price)
    if rules.lot_size > 0.0:
        quantity = whole_lots(quantity, rules.lot_size)
        if abs(account.quantity + quantity) < LOT_TOLERANCE * rules.lot_size:
            quantity = -account.quantity  # flat, not a rounding error's worth of position
    return quantity if abs(quantity) * price >= rules.min_notional else 0.0


@jit
def place_level_order(
    account: Record, rules: Record, level: float, reference_price: float, slippage: float
) -> int:
    """Turn a level in [-1, 1] into an order and fill it.

    A level as near to the held one as the rebalance threshold is no order; 0 always closes, to a
    quantity of exactly 0. A refused order (too small, or without the margin or the equity that it
    needs) leaves the held level.

    Returns:
        ORDER_NONE, ORDER_FILLED or ORDER_REFUSED.
    """
    closes = level == 0.0 and account.quantity != 0.0
    if not closes and not abs(level - account.held_level) > rules.rebalance_threshold:
        return ORDER_NONE
    if closes:
        close_position(account, rules, reference_price, slippage)
        return ORDER_FILLED
    quantity, solvable = order_quantity(
        account,
        rules,
        level,
        slipped(reference_price, 1.0, slippage),
        slipped(reference_price, -1.0, slippage),
    )
    if not solvable:
        return ORDER_REFUSED
    if quantity == 0.0:
        account.held_level = level
        return ORDER_NONE
    price = slipped(reference_price, quantity, slippage)
    quantity = permitted(account, rules, quantity, price)
    fee = abs(quantity) * price * rules.fee_rate
    if quantity == 0.0 or fee >= equity_at(account, price):
        return ORDER_REFUSED
    fill(account, quantity, price, reference_price, fee)
    account.held_level = level
    return ORDER_FILLED
