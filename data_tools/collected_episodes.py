"""Which random numbers each episode of a collection was made with."""

from __future__ import annotations

import numpy as np

from data_tools.collected_files import collections_of
from data_tools.editing import EDITED
from data_tools.episode_scan import EpisodeTable
from data_tools.stored_rows import StoredRows
from gym_trade import TradeConfig
from gym_trade.types import Int64


def draws(config: TradeConfig) -> str | None:
    """The argument by which an environment's accounts depend on chance, or None."""
    if config.slippage_model == "uniform" and config.slippage > 0.0:
        return "slippage_model=uniform"
    if isinstance(config.initial_cash, tuple):
        return f"initial_cash={list(config.initial_cash)}"
    return None


def episode_keys(source: StoredRows, table: EpisodeTable) -> tuple[Int64, Int64] | None:
    """Seed and number of each episode's lane, int64 (episodes,) each.

    Returns:
        None where the rows are not, or not all, as a collection has left them.
    """
    known = source.provenance or {}
    if source.first != 0 or not _has_all_rows(known.get(EDITED)):
        return None
    edges, seeds = [0], []
    for rows, seed, lanes in collections_of(source.path, known):
        shares = rows // lanes + (np.arange(lanes) < rows % lanes)
        edges += (edges[-1] + np.cumsum(shares)).tolist()
        seeds += [seed + lane for lane in range(lanes)]
    begins = table.stops - table.lengths
    if not seeds or edges[-1] != source.size or not np.isin(edges[:-1], begins).all():
        return None
    lane = np.searchsorted(edges, begins, side="right") - 1
    firsts = np.searchsorted(begins, np.array(edges[:-1]))
    return np.array(seeds, np.int64)[lane], np.arange(len(begins)) - firsts[lane]


def _has_all_rows(edited: object) -> bool:
    """Whether a dataset that was edited, or not, still has the rows that were collected."""
    if not isinstance(edited, dict):
        return edited is None
    (source, *others) = edited.get("sources", []) or [{}]
    alone = edited.get("by") == "relabel" and "actions" not in edited and not others
    return alone and "plan" not in source and _has_all_rows(source.get(EDITED))
