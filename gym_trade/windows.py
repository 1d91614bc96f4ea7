"""Observations gathered afterwards, from decision instants and accounts, as lanes showed them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from gym_trade.jit import rare_jit
from gym_trade.observing import copy_windows
from gym_trade.prefetch import prefetch
from gym_trade.types import ACCOUNT_STATE_WIDTH, Float32, Float64, Int64, Windows

# (decisions, accounts, further decisions, further accounts): see `gather_observations`.
Shown: TypeAlias = tuple[Int64, Float32, Int64, Float32]

# How many rows lie between asking for a row's decision, for its window starts, for its windows, and
# copying them: each needs the one before.
STAGE = 6
FLOATS_A_LINE = 16


@rare_jit
def gather_observations(
    places: Int64,
    shown: Shown,
    windows: Windows,
    moments: tuple[Float64, Float64],
    out: Float32,
) -> None:
    """Write the flat observations of some places of a table, normalised if wanted.

    Args:
        places: int64 (n,): 0 to r - 1, or r to r + m - 1 for the further ones; not checked.
        shown: (decisions, accounts, further decisions, further accounts): integers (r,), float32
            (r, 6), integers (m,), float32 (m, 6).
        windows: As for `observing.observe`; decisions must be rows of the starts.
        moments: Mean and standard deviation, float64 (width,), to subtract and to divide by in
            float64; or two empty arrays.
        out: float32 (n, width), written.
    """
    decisions, accounts, further_decisions, further_accounts = shown
    starts, lengths, features = windows
    mean, std = moments
    rows, count, frames = decisions.shape[0], places.shape[0], lengths.shape[0]
    for step in range(count + 3 * STAGE):
        if step < count and places[step] < rows:
            prefetch(decisions, places[step])
            prefetch(accounts, places[step] * ACCOUNT_STATE_WIDTH)
            prefetch(accounts, (places[step] + 1) * ACCOUNT_STATE_WIDTH - 1)
        asked = step - STAGE
        if 0 <= asked < count:
            place = places[asked]
            decision = decisions[place] if place < rows else further_decisions[place - rows]
            prefetch(starts, decision * frames)
        asked = step - 2 * STAGE
        if 0 <= asked < count:
            place = places[asked]
            decision = decisions[place] if place < rows else further_decisions[place - rows]
            for frame in range(frames):
                begin = starts[decision, frame]
                for offset in range(0, lengths[frame] + FLOATS_A_LINE - 1, FLOATS_A_LINE):
                    prefetch(features, begin + offset)
        done = step - 3 * STAGE
        if done >= 0:
            place, row = places[done], out[done]
            decision = decisions[place] if place < rows else further_decisions[place - rows]
            position = copy_windows(decision, windows, row)
            for number in range(ACCOUNT_STATE_WIDTH):
                if place < rows:
                    row[position + number] = accounts[place, number]
                else:
                    row[position + number] = further_accounts[place - rows, number]
            for column in range(mean.shape[0]):
                row[column] = np.float32((np.float64(row[column]) - mean[column]) / std[column])
