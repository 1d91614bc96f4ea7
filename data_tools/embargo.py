"""How far a later stretch of a market must be from an earlier one to show nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gym_trade import Market, parse_time_frame

WINDOW_PREFIX = "market_data_"


def clear_of(market: Market, layout: Sequence[Sequence[Any]], after: pd.Timestamp) -> pd.Timestamp:
    """The end of the embargo: from then on every window holds only bars that open from `after` on.

    On data without gaps that is the length of the longest window; closed hours make it longer. The
    first bars' previous close and mean volume still reach up to one window further back.

    Args:
        market: The bars.
        layout: The flat observation's parts: (key, start, stop, shape).
        after: The last instant whose bars must not be seen again.

    Returns:
        The first such instant, UTC; ``pd.Timestamp.max`` where the data ends before it.
    """
    first = int(np.searchsorted(market.open_ns, after.value))
    clear_ns = after.value
    for key, _, _, shape in layout:
        if not key.startswith(WINDOW_PREFIX):
            continue
        frame_ns = parse_time_frame(key.removeprefix(WINDOW_PREFIX)).interval_ns
        shifted = market.open_ns[first:] - market.offset_ns
        bins = np.unique(shifted // frame_ns)
        # a coarse bar that began before `after` would show what happened before it
        bins = bins[bins * frame_ns + market.offset_ns >= after.value]
        if len(bins) < shape[0]:
            return pd.Timestamp.max.tz_localize("UTC")
        end_ns = (int(bins[shape[0] - 1]) + 1) * frame_ns + market.offset_ns
        clear_ns = max(clear_ns, end_ns)
    return pd.Timestamp(clear_ns, tz="UTC")
