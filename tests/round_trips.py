"""Histories of episodes: compared, and their round trips worked out from the fills alone.

An independent reading of what `gym_trade.history.History.trades` says; it shares nothing with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
from pandas.testing import assert_frame_equal


@dataclass
class RoundTrip:
    """The legs of one position, from flat (or a flip) to flat (or a flip)."""

    side: int
    legs: list = field(default_factory=list)  # (quantity, price, reference, fee, fill)
    held: int = 0

    def position(self, count=None):
        return sum(leg[0] for leg in self.legs[:count])

    def entry_price(self):
        """Increases are averaged, decreases change nothing."""
        held, price = 0.0, 0.0
        for quantity, paid, *_ in self.legs:
            if quantity * self.side > 0:
                price = (held * price + abs(quantity) * paid) / (held + abs(quantity))
            held += quantity * self.side
        return price

    def row(self, last_price):
        """What `trades` has to say of it, but for funding, loss caps and the return."""
        flows = -sum(quantity * price for quantity, price, *_ in self.legs)
        fees = sum(fee for *_, fee, _ in self.legs)
        closed = self.legs[-1][-1].position * self.side <= 0.0
        last = self.legs[-1][-1]
        return {
            "entry_time": self.legs[0][-1].timestamp,
            "exit_time": last.timestamp if closed else pd.NaT,
            "direction": self.side,
            "quantity": max(abs(self.position(n + 1)) for n in range(len(self.legs))),
            "entry_price": self.entry_price(),
            "exit_price": last.price if closed else last_price,
            "reason": last.reason if closed else "open",
            "pnl": flows - fees + (0.0 if closed else self.position() * last_price),
            "fees": fees,
            "slippage_cost": sum(abs(leg[0]) * abs(leg[1] - leg[2]) for leg in self.legs),
            "steps_held": self.held,
        }


def round_trips(fills, marks):
    """The round trips of an episode, in order.

    fills: a row a fill; marks: a row a decision instant, the first at the reset.
    """
    trips, running = [], None
    rows = list(fills.itertuples())
    for instant in range(1, len(marks)):
        for fill in [row for row in rows if row.step == instant - 1]:
            running = _book(trips, running, fill)
        if running is not None:
            running.held += 1
    return trips


def _book(trips, running, fill):
    """Book a fill's legs, of which a flip has two; returns the round trip that is then open."""
    before = fill.position - fill.quantity
    if running is not None and fill.position * running.side <= 0.0:
        before = running.position()
        quantities = [-before, fill.position]
    else:
        quantities = [fill.quantity]
    for quantity in quantities:
        if quantity == 0.0:
            continue
        if running is None:
            running = RoundTrip(1 if quantity > 0.0 else -1)
            trips.append(running)
        share = abs(quantity / fill.quantity)
        leg = (quantity, fill.price, fill.reference_price, fill.fee * share, fill)
        running.legs.append(leg)
        if len(quantities) == 2 and quantity == -before:
            running = None
    return running


def frames_of(env):
    env = env.unwrapped
    return [env.history(), env.all_fills(), env.trades()]


def assert_same_frames(left, right):
    for one, other in zip(left, right, strict=True):
        assert_frame_equal(one, other, check_exact=True)
