"""What simulated markets share: Gaussian AR(1) paths, and bars around opens and closes.

High and low are each drawn from the exact law of a Brownian bridge's extreme between open and close
(see e.g. Glasserman 2003, "Monte Carlo methods in financial engineering", section 6.4).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gym_trade.jit import allocating_jit
from gym_trade.types import Float64

START_PRICE = 20_000.0


@allocating_jit
def autoregression(shocks: Float64, decay: float, start: float) -> Float64:
    """x[t] = decay * x[t-1] + shocks[t], from x[-1] = start."""
    values = np.empty_like(shocks)
    value = start
    for step in range(len(shocks)):
        value = decay * value + shocks[step]
        values[step] = value
    return values


def prices_of(
    log_close: Float64, gaps: Float64, bridge_deviation: Float64 | float, draws: Float64
) -> dict[str, Float64]:
    """The four prices of bars, float64 (bars,) each.

    Args:
        log_close: Log closes, (bars,).
        gaps: From the last close to the open, as log returns, (bars,).
        bridge_deviation: Standard deviation of the log price over a bar, open to close.
        draws: Uniform numbers in [0, 1), (2, bars), from which high and low are made.
    """
    log_open = np.concatenate(([np.log(START_PRICE)], log_close[:-1])) + gaps
    middle, spread = 0.5 * (log_open + log_close), (log_close - log_open) ** 2
    extremes = -2.0 * bridge_deviation**2 * np.log1p(-draws)
    reach_up, reach_down = 0.5 * np.sqrt(spread + extremes)
    opens, closes = np.exp(log_open), np.exp(log_close)
    return {
        "open": opens,
        # rounding must not put a high below its own close
        "high": np.maximum(np.exp(middle + reach_up), np.maximum(opens, closes)),
        "low": np.minimum(np.exp(middle - reach_down), np.minimum(opens, closes)),
        "close": closes,
    }


def bar_times(start: str, n_bars: int, interval: str) -> pd.DatetimeIndex:
    """Open times of bars without a gap, named as in market files."""
    return pd.date_range(start, periods=n_bars, freq=interval, name="timestamp")
