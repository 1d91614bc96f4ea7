"""What the kernel writes down of one lane: fills and marks; `history` makes frames of them."""

from __future__ import annotations

from gym_trade.jit import jit
from gym_trade.types import NO_ACTION, Journal, Record


@jit
def record_fill(journal: Journal, lane: Record, bar: int, reason: int) -> None:
    """Count the lane's last fill, and write it down where fills are recorded at all."""
    fills, _ = journal
    if fills.shape[0] > 0:
        entry = fills[lane.n_fills]
        entry.step = lane.steps
        entry.bar = bar
        entry.quantity = lane.fill_quantity
        entry.reference_price = lane.fill_reference
        entry.price = lane.fill_price
        entry.fee = lane.fill_fee
        entry.reason = reason
        entry.position = lane.quantity
        entry.entry_price = lane.entry_price
        entry.cash = lane.wallet
    lane.n_fills += 1


@jit
def record_mark(journal: Journal, lane: Record, action: float) -> None:
    """Write down the account at its present decision instant."""
    _, marks = journal
    if marks.shape[0] > 0:
        mark = marks[lane.steps]
        mark.decision = lane.decision
        mark.action = action
        mark.reward = 0.0 if lane.steps == 0 else lane.reward
        mark.price = lane.price
        mark.portfolio_value = lane.equity
        mark.cash = lane.wallet
        mark.position = lane.quantity
        mark.entry_price = lane.entry_price
        mark.stop_price = lane.stop_price
        mark.target_price = lane.target_price
        mark.steps_held = lane.steps_held
        mark.fees_paid = lane.fees
        mark.funding = lane.funding
        mark.exit_reason = lane.exit_reason


@jit
def record_start(journal: Journal, lane: Record) -> None:
    """Begin an episode's journal."""
    lane.n_fills = 0
    record_mark(journal, lane, NO_ACTION)
