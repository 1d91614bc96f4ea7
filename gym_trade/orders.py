"""Orders: from the action of an agent to the quantity that is filled.

The sizing rules stand here; what a fill does to the account stands in `accounting`.
"""

from __future__ import annotations

import math

from gym_trade.accounting import close_position
from gym_trade.fills import equity_at, fill, slipped
from gym_trade.jit import jit
from gym_trade.types import (
    BRACKET,
    HOLD,
    LEVEL,
    ORDER_FILLED,
    ORDER_NONE,
    ORDER_REFUSED,
    Record,
)

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
    missing = exposure * equity - held * buy_price
    if missing > 0.0:  # its sign decides: a quotient would only come later
        return missing / (buy_price * (1.0 + exposure * rules.fee_rate)), True
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
def fill_level(
    account: Record, rules: Record, level: float, reference_price: float, slippage: float
) -> int:
    """Fill the order that brings the exposure to `level`; 0 closes to a quantity of exactly 0.

    A refused order (too small, or without the margin or the equity that it needs) leaves the held
    level.

    Returns:
        ORDER_NONE, ORDER_FILLED or ORDER_REFUSED.
    """
    if level == 0.0 and account.quantity != 0.0:
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


@jit
def place_level_order(
    account: Record, rules: Record, level: float, reference_price: float, slippage: float
) -> int:
    """Turn a level in [-1, 1] into an order; see `fill_level`.

    A level as near to the held one as the rebalance threshold is no order; 0 always closes.
    """
    closes = level == 0.0 and account.quantity != 0.0
    if not closes and not abs(level - account.held_level) > rules.rebalance_threshold:
        return ORDER_NONE
    return fill_level(account, rules, level, reference_price, slippage)


@jit
def set_brackets(account: Record, choice: Record) -> None:
    """Place stop and take-profit around the entry price; mirrored for a short."""
    side = 1.0 if account.quantity > 0.0 else -1.0
    account.stop_price = account.entry_price * (1.0 + side * choice.stop)
    account.target_price = account.entry_price * (1.0 + side * choice.target)


@jit
def place_bracket_order(
    account: Record, rules: Record, choice: Record, reference_price: float, slippage: float
) -> int:
    """Open or flip into a position with a stop and a take-profit; see `fill_level`.

    In a position of the same side it is ignored, or, with `replace_brackets`, moves the stop and
    the take-profit, which are measured from the entry price as ever.
    """
    if account.quantity * choice.level > 0.0:
        if rules.replace_brackets != 0:
            set_brackets(account, choice)
        return ORDER_NONE
    code = fill_level(account, rules, choice.level, reference_price, slippage)
    if code == ORDER_FILLED:
        set_brackets(account, choice)
    return code


@jit
def place_order(
    account: Record,
    rules: Record,
    choices: Record,
    action: int,
    level: float,
    reference_price: float,
    slippage: float,
) -> int:
    """Do what an action asks for.

    Args:
        account: The account record, changed in place.
        rules: The rules record.
        choices: Structured (actions,), `types.CHOICE_DTYPE`: what each discrete action means.
        action: Index into `choices`; read where the rules are not continuous.
        level: A continuous action's level in [-1, 1].
        reference_price: The price before slippage.
        slippage: Adverse fraction of it.

    Returns:
        ORDER_NONE, ORDER_FILLED or ORDER_REFUSED.
    """
    if rules.continuous != 0:
        return place_level_order(account, rules, level, reference_price, slippage)
    choice = choices[action]
    operation = choice.operation
    if operation == LEVEL:
        return place_level_order(account, rules, choice.level, reference_price, slippage)
    in_position = account.quantity != 0.0
    if operation == HOLD or (in_position and rules.lock_until_exit != 0):
        return ORDER_NONE
    if operation == BRACKET:
        return place_bracket_order(account, rules, choice, reference_price, slippage)
    if in_position:
        close_position(account, rules, reference_price, slippage)
        return ORDER_FILLED
    return ORDER_NONE
