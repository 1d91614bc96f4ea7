"""What a lane shows: the windows of its decision instant and the six numbers of its account."""

from __future__ import annotations

from gym_trade.accounting import liquidation_price
from gym_trade.jit import jit
from gym_trade.prefetch import copy_block
from gym_trade.types import Float32, Record, Windows

FLOAT32_MAX = 3.4028234663852886e38


@jit
def exposure_of(lane: Record) -> float:
    """Notional over equity at the mark; 0.0 where equity is not positive."""
    return abs(lane.quantity) * lane.price / lane.equity if lane.equity > 0.0 else 0.0


@jit
def write_account_state(lane: Record, rules: Record, out: Float32) -> None:
    """Write the six numbers of the account state into `out`, float32 (6,)."""
    quantity, price = lane.quantity, lane.price
    out[0] = min(lane.exposure, FLOAT32_MAX)
    direction = 0.0
    profit = 0.0
    distance = 1.0
    if quantity != 0.0:
        direction = 1.0 if quantity > 0.0 else -1.0
        profit = direction * (price - lane.entry_price) / lane.entry_price
        liquidation = liquidation_price(lane, rules)
        if liquidation > 0.0:
            distance = min(abs(price - liquidation) / price, 1.0)
    out[1] = direction
    out[2] = min(profit, FLOAT32_MAX)
    out[3] = lane.steps_held
    out[4] = rules.leverage
    out[5] = distance


@jit
def copy_windows(decision: int, windows: Windows, out: Float32) -> int:
    """Write each frame's window at a decision instant into `out`; returns how many numbers."""
    starts, lengths, features = windows
    position = 0
    for frame in range(lengths.shape[0]):
        begin, length = starts[decision, frame], lengths[frame]
        copy_block(features, begin, out, position, length)
        position += length
    return position


@jit
def observe(lane: Record, rules: Record, windows: Windows, out: Float32) -> None:
    """Write one lane's flat observation: each frame's window, then the account state.

    Args:
        lane: The lane record.
        rules: The rules record.
        windows: (starts, lengths, features): int64 (decisions, frames) with each window's first
            element in `features`, int64 (frames,) with each window's number of elements (no frames
            in index mode), and float32, all frames' feature rows one behind the other.
        out: float32 (width,).
    """
    position = copy_windows(lane.decision, windows, out)
    write_account_state(lane, rules, out[position:])
