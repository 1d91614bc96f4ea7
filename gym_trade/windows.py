"""Observations gathered afterwards, from decision instants and accounts, as lanes showed them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from gym_trade.jit import rare_jit
from gym_trade.observing import copy_windows
from gym_trade.prefetch import copy_block, prefetch
from gym_trade.types import ACCOUNT_STATE_WIDTH, Bool, Float32, Float64, Int64, Windows

# (decisions, accounts, further decisions, further accounts): see `gather_observations`.
Shown: TypeAlias = tuple[Int64, Float32, Int64, Float32]
Moments: TypeAlias = tuple[Float64, Float64, Float64]

# How many rows lie between asking for a row's decision, for its window starts, for its windows, and
# copying them: each needs the one before.
STAGE = 6
FLOATS_A_LINE = 16


@rare_jit
def gather_observations(
    places: Int64,
    shown: Shown,
    windows: Windows,
    moments: Moments,
    out: Float32,
) -> None:
    """Write the flat observations of some places of a table, normalised if wanted.

    Args:
        places: int64 (n,): 0 to r - 1, or r to r + m - 1 for the further ones; not checked.
        shown: (decisions, accounts, further decisions, further accounts): integers (r,), flat
            float32 (6 r,), integers (m,), float32 (6 m,).
        windows: As for `observing.observe`; decisions must be rows of the starts.
        moments: Mean, standard deviation and limit, float64 (c,), to subtract from the last c
            columns, to divide them by, and to end them at on both sides, in float64.
        out: float32 (n, width), written.
    """
    decisions, accounts, further_decisions, further_accounts = shown
    starts, lengths, features = windows
    mean, std, limit = moments
    rows, count, frames = decisions.shape[0], places.shape[0], lengths.shape[0]
    first = out.shape[1] - mean.shape[0]
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
            if place < rows:
                position = copy_windows(decisions[place], windows, row)
                begin = place * ACCOUNT_STATE_WIDTH
                copy_block(accounts, begin, row, position, ACCOUNT_STATE_WIDTH)
            else:
                place -= rows
                position = copy_windows(further_decisions[place], windows, row)
                begin = place * ACCOUNT_STATE_WIDTH
                copy_block(further_accounts, begin, row, position, ACCOUNT_STATE_WIDTH)
            scaled = row[first:]
            for column in range(mean.shape[0]):
                value = (np.float64(scaled[column]) - mean[column]) / std[column]
                value = min(max(value, -limit[column]), limit[column])
                scaled[column] = np.float32(value)


@rare_jit
def following_places(rows: Int64, apart: Bool, marked: Int64, out: Int64) -> None:
    """Write where the observations after transitions are: in the next row, or apart.

    Args:
        rows: Transitions, int64 (n,): not checked.
        apart: Those that lead to a further observation, bool (r,).
        marked: The same as row numbers, int64 (m,), increasing.
        out: int64 (n,), written.
    """
    for i in range(rows.shape[0]):
        row = rows[i]
        if apart[row]:
            low, high = 0, marked.shape[0]
            while low < high:  # the first that is not below `row`
                middle = (low + high) // 2
                if marked[middle] < row:
                    low = middle + 1
                else:
                    high = middle
            out[i] = apart.shape[0] + low
        else:
            out[i] = row + 1
