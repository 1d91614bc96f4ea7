"""Account and rules records for tests that call the ledger's functions directly."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from gym_trade import orders, types


def rules(**changes):
    """A rules record: spot, no costs, cross margin, maintenance 0.4%, unless changed by name."""
    array = np.zeros(1, types.RULES_DTYPE).view(np.recarray)
    defaults = {"leverage": 1.0, "maintenance_rate": 0.004, "bankrupt_threshold": 0.1}
    changes.setdefault("liquidation_fee_rate", changes.get("fee_rate", 0.0))
    for name, value in (defaults | changes).items():
        array[name] = value
    return array[0]


def account(wallet=10_000.0, quantity=0.0, entry_price=0.0, **changes):
    """An account record."""
    array = np.zeros(1, types.LANE_DTYPE).view(np.recarray)
    values = {"wallet": wallet, "quantity": quantity, "entry_price": entry_price}
    values |= {"initial_cash": 10_000.0, "trade_wallet": wallet}
    for name, value in (values | changes).items():
        array[name] = value
    return array[0]


def opened(rule, level, price=100.0, wallet=10_000.0):
    """An account that went from cash to `level` at `price` before slippage, at the rule's costs."""
    made = account(wallet)
    code = orders.place_level_order(made, rule, level, price, float(rule.slippage))
    assert code == types.ORDER_FILLED
    return made


def equity(record, price):
    """Equity at `price`, by the contract's formula in plain Python floats."""
    position = float(record.quantity)
    return float(record.wallet) + position * (price - float(record.entry_price))


def snapshot(record):
    """All of a record's fields, to compare later."""
    return {name: record[name].item() for name in record.dtype.names}


PRICES = st.floats(1e-3, 1e6)
LEVELS = st.one_of(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), st.floats(-1.0, 1.0))
LEVERAGES = st.one_of(st.sampled_from([1.0, 2.0, 5.0, 20.0, 100.0]), st.floats(1.0, 125.0))
FEES = st.sampled_from([0.0, 0.0004, 0.0007, 0.005])
SLIPPAGES = st.sampled_from([0.0, 0.0005, 0.01])
