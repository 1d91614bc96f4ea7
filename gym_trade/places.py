"""Lanes put where they are wanted: episodes begun at an instant, states kept and put back.

For whoever goes over episodes again to ask what another action would have done.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gym_trade.engine import Engine
from gym_trade.types import CLOSE, Float32, Int64


class Kept(NamedTuple):
    """The states of some lanes.

    Attributes:
        lanes: Their records, (k,).
        decisions: Their decision instants, int64 (k,).
    """

    lanes: Any
    decisions: Int64


def begin_at(
    engine: Engine,
    index: Int64,
    seeds: Int64,
    episodes: Int64,
    decisions: Int64 | None = None,
) -> Float32:
    """Begin an episode on some lanes as a reset with these seeds would.

    Args:
        engine: Of a single market, in index mode.
        index: The lanes, int64 (k,), without repetition.
        seeds: int64 (k,).
        episodes: How many episodes a lane with that seed has had before, int64 (k,).
        decisions: Where to begin, int64 (k,), each with a later instant in the data; None: where
            the random numbers say. Not checked.

    Returns:
        Their first account states, float32 (k, 6).
    """
    lanes, mask = engine.lanes, np.zeros(engine.num_envs, np.bool_)
    mask[index] = True
    lanes["seed"][index], lanes["episode"][index] = seeds, episodes - 1
    engine.seeded = True
    observations = np.zeros((engine.num_envs, engine.width), np.float32)
    engine.reset(mask, observations, observe_all=False)
    if decisions is not None:
        lanes["decision"][index] = engine.decisions[index] = decisions
        price = engine.grid.bins[decisions, CLOSE]
        lanes["price"][index] = lanes["initial_price"][index] = price
    return observations[index]


def keep(engine: Engine, index: Int64) -> Kept:
    """The states of some lanes, to be put back."""
    return Kept(np.array(engine.lanes[index]), engine.decisions[index])


def put_back(engine: Engine, index: Int64, kept: Kept) -> None:
    """Make lanes again what they were when `kept` was made of them."""
    engine.lanes[index], engine.decisions[index] = kept.lanes, kept.decisions
