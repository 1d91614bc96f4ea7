"""What rules read from a market's closes: the level of exposure wanted at each decision instant."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from gym_trade import Market
from gym_trade.reversion import DEVIATION_COLUMN
from gym_trade.simulated_bars import autoregression

Closes = npt.NDArray[np.float64]
NUMBERS_A_PASS = 2**20


def moving_average_levels(
    closes: Closes, fast: int, slow: int, above: float, below: float
) -> Closes:
    """The level that a moving-average cross wants at each decision instant.

    Args:
        closes: Last visible close at each instant, (N,); element i uses only ``closes[: i + 1]``.
        fast: Closes in the fast average.
        slow: Closes in the slow average.
        above: Level while the fast average is above the slow one.
        below: Level otherwise.

    Returns:
        (N,), 0 until the slow average is full.
    """
    # Sums of differences from the first close: a constant price gives exactly equal averages.
    sums = np.concatenate([[0.0], np.cumsum(closes - closes[0])])
    levels = np.zeros(len(closes))
    ends = np.arange(slow, len(closes) + 1)
    fast_average = (sums[ends] - sums[ends - fast]) / fast
    slow_average = (sums[ends] - sums[ends - slow]) / slow
    levels[slow - 1 :] = np.where(fast_average > slow_average, above, below)
    return levels


def mean_reversion_levels(
    closes: Closes, window: int, entry: float, exit: float, above: float, below: float
) -> Closes:
    """The level that a bet on the return to the moving average wants at each decision instant.

    The z-score is the close less the mean of the last `window` closes, this one included, over
    their deviation (ddof 0); 0 where they are all equal.

    Args:
        closes: Last visible close at each instant, (N,); element i uses only ``closes[: i + 1]``.
        window: Closes in the average.
        entry: Long from a z-score of ``-entry`` or less on, short from `entry` or more on.
        exit: The long ends at ``-exit`` or more, the short at `exit` or less.
        above: Level of the long.
        below: Level of the short.

    Returns:
        (N,), 0 where neither is held.
    """
    mean, deviation = _moments(closes, window)
    flat = ~(deviation > 1e-12 * np.abs(closes))  # rounding beside the price is no deviation
    score = np.where(flat, 0.0, (closes - mean) / np.where(flat, 1.0, deviation))
    full = np.arange(len(closes)) >= window - 1
    long = _held(full & (score <= -entry), score >= -exit)
    short = _held(full & (score >= entry), score <= exit)
    return np.where(long, above, np.where(short, below, 0.0))


def _moments(closes: Closes, window: int) -> tuple[Closes, Closes]:
    """Mean and deviation (ddof 0) of the last `window` closes, (N,) each, 0 until they are full.

    Each window is summed by itself: running sums would carry what is past, to the last digit.
    """
    mean, deviation = np.zeros(len(closes)), np.zeros(len(closes))
    if len(closes) < window:
        return mean, deviation
    windows = np.lib.stride_tricks.sliding_window_view(closes, window)
    rows = max(1, NUMBERS_A_PASS // window)
    for begin in range(0, len(windows), rows):
        part = windows[begin : begin + rows]
        place = slice(window - 1 + begin, window - 1 + begin + len(part))
        mean[place], deviation[place] = part.mean(axis=1), part.std(axis=1)
    return mean, deviation


def breakout_levels(closes: Closes, window: int, above: float, below: float) -> Closes:
    """The level that a Donchian channel's breakout wants at each decision instant.

    The channel lies between the highest and the lowest of the `window` closes before this one.

    Args:
        closes: Last visible close at each instant, (N,); element i uses only ``closes[: i + 1]``.
        window: Closes in the channel.
        above: Level since the last close above it.
        below: Level since the last close below it.

    Returns:
        (N,), 0 until the first breakout.
    """
    before = pd.Series(closes).rolling(window)
    up = closes > before.max().shift(1).to_numpy()
    down = closes < before.min().shift(1).to_numpy()
    return np.where(_held(up, down), above, np.where(_held(down, up), below, 0.0))


def _held(begins: npt.NDArray[np.bool_], ends: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where something is held that begins and ends at these instants; bool (N,) each."""
    instants = np.arange(1, len(begins) + 1)
    begun = np.maximum.accumulate(np.where(begins, instants, 0))
    ended = np.maximum.accumulate(np.where(ends, instants, 0))
    return np.asarray(begun > ended)


def beliefs(market: Market, gain: float, memory: float, drift: float) -> Closes:
    """What is to be thought of a decaying deviation in the log price, at each base bar's close.

    The filter is ``b[t] = memory b[t-1] + gain (log(close[t] / open[t]) - drift)`` from 0; see
    `gym_trade.reversion.Belief`, which has its numbers where the market is one of that module's.

    Args:
        market: Bars.
        gain: 0: the market shows the deviation, which is taken as it is.
        memory: See above.
        drift: See above.

    Returns:
        (bars,); element i uses only bars up to i.

    Raises:
        ValueError: `gain` is 0 and the market shows none.
    """
    if gain == 0.0:
        if DEVIATION_COLUMN not in market.extras:
            raise ValueError(
                f"gain=0 reads the column {DEVIATION_COLUMN}, which the market does not have. "
                "Give the filter's gain, or a market that shows the deviation."
            )
        return market.extras[DEVIATION_COLUMN]
    moves = np.log(market.close / market.open)
    found: Closes = autoregression(gain * (moves - drift), memory, 0.0)
    return found
