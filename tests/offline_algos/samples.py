"""Small data for these tests: a market, an environment over it, and buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from tianshou.data import Batch, ReplayBuffer

from gym_trade import Market, SequentialConfig, VectorTradeEnv
from gym_trade.synthetic import make_frame

SMALL = {
    "time_frames": ("1min", "5min"),
    "window_sizes": (4, 6),
    "execute_on": "5min",
    "observation": "flat",
}
COLUMNS = (4 + 6) * 5 + 6


def frame(n_bars: int = 6000, start: str = "2020-01-01", seed: int = 0) -> pd.DataFrame:
    """Minute bars from `start` on."""
    made = make_frame(n_bars=n_bars, seed=seed)
    return made.set_axis(pd.date_range(start, periods=n_bars, freq="1min", name="timestamp"))


def config(market: Market | pd.DataFrame | None = None, **changes: Any) -> SequentialConfig:
    """A small environment over `market`, or over 6000 bars."""
    df = Market(frame()) if market is None else market
    return SequentialConfig(df=df, **(SMALL | changes))


def lanes(count: int, **changes: Any) -> VectorTradeEnv:
    """A vector environment that Tianshou may reset itself."""
    return VectorTradeEnv(config(**changes), num_envs=count, autoreset_mode="Disabled")


def buffer(observations: np.ndarray, size: int | None = None, actions: int = 3) -> ReplayBuffer:
    """A buffer with these observations, (rows, D), random otherwise; `size` rows at most."""
    rng = np.random.default_rng(0)
    rows = len(observations)
    made = ReplayBuffer(size or rows)
    for row in range(rows):
        ended = row % 50 == 49 or row == rows - 1
        made.add(
            Batch(
                obs=observations[row],
                obs_next=observations[min(row + 1, rows - 1)],
                act=int(rng.integers(actions)),
                rew=float(rng.normal(0.0, 1e-3)),
                terminated=False,
                truncated=ended,
                done=ended,
                info={},
            )
        )
    return made
