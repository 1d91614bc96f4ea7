"""One execution: its price, and what it does to an account.

Part of the ledger of `accounting`, which says what the terms mean.
"""

from __future__ import annotations

from gym_trade.jit import jit
from gym_trade.philox import DOMAIN_SLIPPAGE, uniform
from gym_trade.types import Record


@jit
def equity_at(account: Record, price: float) -> float:
    """Equity in quote currency with the position marked at `price`."""
    return account.wallet + account.quantity * (price - account.entry_price)


@jit
def slippage_rate(account: Record, rules: Record, slot: int) -> float:
    """The slippage of one fill: fixed, or drawn for (seed, episode, step, slot)."""
    if rules.uniform_slippage == 0:
        return rules.slippage
    draw = uniform(account.seed, account.episode, account.steps, slot, DOMAIN_SLIPPAGE)
    return rules.slippage * draw


@jit
def slipped(reference_price: float, quantity: float, slippage: float) -> float:
    """The fill price of an order: slippage is adverse, buys pay more and sells get less."""
    if quantity > 0.0:
        return reference_price * (1.0 + slippage)
    return reference_price * (1.0 - slippage)


@jit
def close_trade(account: Record, wallet: float) -> None:
    """Count a finished round trip; its profit is the change of the wallet, net of all costs."""
    profit = wallet - account.trade_wallet
    account.n_trades += 1
    if profit > 0.0:
        account.n_wins += 1
        account.gross_profit += profit
    else:
        account.gross_loss -= profit


@jit
def fill(
    account: Record, quantity: float, price: float, reference_price: float, fee: float
) -> None:
    """Apply one execution and book its fee and slippage.

    Args:
        account: The account record, changed in place.
        quantity: Base units, signed, > 0 buys. Minus the position closes it exactly.
        price: Fill price, after slippage.
        reference_price: The price before slippage.
        fee: Fee in quote currency. Afterwards equity at `price` is lower by exactly the fee.
    """
    held = account.quantity
    target = held + quantity
    reduces = held < 0.0 < quantity or quantity < 0.0 < held
    if held == 0.0:
        account.trade_wallet = account.wallet
    if not reduces:
        notional = held * account.entry_price + quantity * price
        account.entry_price = price if held == 0.0 else notional / target
        account.opened = 1 if held == 0.0 else account.opened
        account.wallet -= fee
    else:
        closed = -quantity if abs(quantity) <= abs(held) else held
        account.wallet += closed * (price - account.entry_price)
        if target == 0.0:
            account.wallet -= fee
            close_trade(account, account.wallet)
            account.entry_price = 0.0
        elif held < 0.0 < target or target < 0.0 < held:
            # A flip is one order: the closing share of its fee belongs to the old round trip.
            closing_fee = fee * abs(held / quantity)
            close_trade(account, account.wallet - closing_fee)
            account.trade_wallet = account.wallet - closing_fee
            account.wallet -= fee
            account.entry_price = price
            account.opened = 1
        else:
            account.wallet -= fee
    account.quantity = target
    account.fees += fee
    account.slippage_cost += abs(quantity * (price - reference_price))
    account.turnover += abs(quantity) * price
    account.fill_quantity = quantity
    account.fill_price = price
    account.fill_reference = reference_price
    account.fill_fee = fee
