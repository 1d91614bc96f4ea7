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
