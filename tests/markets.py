"""Market frames for the tests: with gaps between close and next open, and with missing bars."""

from __future__ import annotations

import numpy as np
import pandas as pd


def bars(
    count: int = 2000,
    seed: int = 0,
    *,
    interval: str = "1min",
    volatility: float = 0.002,
    missing: float = 0.03,
    start: str = "2023-01-02 21:00",
) -> pd.DataFrame:
    """Random OHLCV bars whose opens gap away from the last close and whose stamps have holes."""
    rng = np.random.default_rng(seed)
    moves = volatility * rng.standard_t(3, count)
    gaps = 0.7 * volatility * rng.standard_t(3, count)
    log_close = np.log(100.0) + np.cumsum(moves + gaps)
    close = np.exp(log_close)
    open_ = np.exp(log_close - moves)
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, volatility, count)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, volatility, count)))
    volume = rng.gamma(2.0, 5.0, count) * (rng.random(count) > 0.05)
    index = pd.date_range(start, periods=count, freq=interval, name="timestamp")
    frame = pd.DataFrame(
        {"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=index
    )
    keep = rng.random(count) > missing
    keep[:2] = True
    return frame[keep]


def flat_bars(count: int = 400, price: float = 100.0, interval: str = "1min") -> pd.DataFrame:
    """Bars that never move."""
    index = pd.date_range("2023-01-02", periods=count, freq=interval, name="timestamp")
    columns = dict.fromkeys(("open", "high", "low", "close"), price)
    return pd.DataFrame({**columns, "volume": 1.0}, index=index)


def hourly(
    count: int, seed: int = 0, *, move: float = 0.01, gap: float = 0.004, reach: float = 0.01
) -> pd.DataFrame:
    """Hourly bars without holes, with a gap between each close and the next open.

    Args:
        count: Bars.
        seed: Seed.
        move: Deviation of a bar's log return.
        gap: Deviation of the log gap before its open.
        reach: How far high and low lie beyond open and close, as a fraction.
    """
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, move, count)))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(random.normal(0, gap, count))
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * (1.0 + reach),
            "low": np.minimum(open_, close) * (1.0 - reach),
            "close": close,
            "volume": random.uniform(1, 2, count),
        },
        index=pd.date_range("2022-03-01", periods=count, freq="h", name="timestamp"),
    )
