"""What the reference ledger takes and returns: bars, rules, fills, results, all in fractions."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from fractions import Fraction

ZERO = Fraction(0)


@functools.cache
def _exact_fields(kind: type) -> list[str]:
    return [field.name for field in fields(kind) if str(field.type).startswith("Fraction")]


class Exact:
    """A dataclass whose Fraction fields also take ints and floats, at their exact value."""

    def __post_init__(self) -> None:
        for name in _exact_fields(type(self)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, Fraction(value))


@dataclass(frozen=True)
class Bar(Exact):
    """One base bar, named by the UTC nanosecond of its open; `funding_rate` is per 8 h."""

    open_ns: int
    open: Fraction
    high: Fraction
    low: Fraction
    close: Fraction
    funding_rate: Fraction = ZERO


@dataclass(frozen=True)
class Rules(Exact):
    """The arguments of an environment that the ledger needs; rates are fractions of notional."""

    execute_on_ns: int
    leverage: Fraction
    fee: Fraction
    slippage: Fraction
    fill_at: str = "next_open"  # or "close"
    margin_mode: str = "cross"  # or "isolated"
    maintenance: Fraction = Fraction(4, 1000)
    liquidation_fee: Fraction | None = None
    funding: bool = False
    rebalance_threshold: Fraction = ZERO
    continuous: bool = False
    lot_size: Fraction = ZERO
    min_notional: Fraction = ZERO
    margin_call_threshold: Fraction | None = None
    bankrupt_threshold: Fraction = Fraction(1, 10)


@dataclass(frozen=True)
class Fill:
    """One execution: `quantity` > 0 buys; `price` is `reference_price` after slippage."""

    bar: int
    quantity: Fraction
    reference_price: Fraction
    price: Fraction
    fee: Fraction  # the fee that was paid
    reason: str  # "agent", "liquidation", "margin_call" or one that brackets add


@dataclass
class StepResult:
    """The account after a step, and what this one step did (`funding` is < 0 where it was paid)."""

    equity: Fraction
    wallet: Fraction
    position: Fraction
    entry: Fraction
    steps_held: int
    held_level: Fraction
    fills: list[Fill]
    fees: Fraction
    slippage_cost: Fraction
    funding: Fraction
    shortfall: Fraction
    price_pnl: Fraction
    liquidated: bool
    refused: bool
    terminated: bool
    exit_reason: str
    mark: Fraction
    reward: float  # log(E_{t+1} / E_t)
    ambiguous_bars: int  # with stop and target both inside their range
    stop_price: Fraction | None
    target_price: Fraction | None
