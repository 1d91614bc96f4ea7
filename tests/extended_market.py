"""A market with further columns, and one choice of time frames on it."""

from __future__ import annotations

import numpy as np

from gym_trade import parse_time_frame
from tests import markets

FRAMES = ("1min", "7min", "15min")
SIZES = (12, 3, 4)
WINDOWS = {"time_frames": FRAMES, "window_sizes": SIZES}
TABLE_ARRAYS = ("instants", "bar_end", "bins", "starts", "lengths", "features")


def extended(seed=0, count=400):
    frame = markets.bars(count, seed)
    rng = np.random.default_rng(seed)
    return frame.assign(feature_x=rng.normal(size=len(frame)), funding_rate=1e-4)


def tables_of(market, features=None):
    frames = tuple(map(parse_time_frame, FRAMES))
    return market.tables(frames, SIZES, parse_time_frame("5min"), features)
