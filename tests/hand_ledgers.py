"""Small reference ledgers whose numbers can be worked out by hand."""

from __future__ import annotations

from fractions import Fraction

from tests.reference import Bar
from tests.reference_brackets import Bracket, BracketLedger, BracketRules

MINUTE = 60 * 10**9
LONG, SHORT = Bracket(1, "-0.05", "0.08"), Bracket(-1, "-0.05", "0.08")
QUIET = (100, 104, 96, 100)


def ledger(bars, cash=1000, slip=None, every=1, **changes):
    """A ledger at the end of a quiet bar, on these bars; costs and maintenance are 0 unless set."""
    rows = [(100, 100, 100, 100)] * every + list(bars)
    made = [Bar(k * MINUTE, *map(Fraction, row)) for k, row in enumerate(rows)]
    rules = {"leverage": 10, "fee": 0, "slippage": 0, "maintenance": 0, "bankrupt_threshold": 0}
    rules |= {key: Fraction(v) if isinstance(v, str) and v[0] in "0123456789" else v
              for key, v in changes.items()}  # fmt: skip
    return BracketLedger(made, BracketRules(every * MINUTE, **rules), Fraction(cash), 0, slip)


def mirrored(bar):
    open_, high, low, close = bar
    return (200 - open_, 200 - low, 200 - high, 200 - close)
