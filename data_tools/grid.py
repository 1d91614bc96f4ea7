"""Where the bars of a market file stand: how far apart, and how far off the grid from 1970 on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gym_trade.timeframe import TimeFrame
from gym_trade.validation import is_calendar_months

Stamps = npt.NDArray[np.int64]  # nanoseconds since 1970


def most_common(values: Stamps) -> int:
    """The value that occurs most, the smallest of several; there must be one."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])


def base_step(stamps: Stamps) -> int:
    """The most common difference between stamps, in nanoseconds; 0 where there is none."""
    steps: Stamps = np.diff(np.unique(stamps)).astype(np.int64)
    return most_common(steps) if len(steps) else 0


def grid_offset(stamps: Stamps) -> str | None:
    """The `offset` that `gym_trade.Market` needs for bars that all stand off the plain grid.

    Weekly bars begin on Mondays, four days behind a week that is counted from 1970-01-01.

    Returns:
        A time frame such as "4day"; None where none is needed, or none fits all.
    """
    step = base_step(stamps)
    phases = np.unique(stamps % step) if step else np.zeros(1, np.int64)
    if len(phases) > 1 or not phases[0] or phases[0] % 1_000_000_000:
        return None
    return TimeFrame(int(phases[0])).name


def grid_note(stamps: Stamps) -> str:
    """What a reader of such a file must know; nothing of most."""
    if is_calendar_months(np.unique(stamps)):
        return "calendar months, which have no constant length: gym_trade.Market refuses them"
    offset = grid_offset(stamps)
    if offset is None:
        return ""
    step = TimeFrame(base_step(stamps)).name
    return (
        f"all bars begin {offset} behind the grid of {step} that is counted from 1970-01-01 UTC: "
        f"gym_trade.Market takes them with offset='{offset}', a command with --env offset={offset}"
    )
