"""Which random numbers each episode of a collection was made with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.editing import EDITED
from data_tools.episode_scan import EpisodeTable
from data_tools.flat_layout import read_provenance
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
    for rows, seed, lanes in _files(source.path, known):
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


def _files(path: Path, known: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    """Rows, seed and lanes of each file that a collection wrote."""
    if "shards" not in known:
        yield from _file(known)
        return
    folder = path.parent / str(known["shards"].get("folder"))
    for each in known["shards"].get("files", []):
        yield from _file(read_provenance(folder / str(each.get("file"))) or {})


def _file(known: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    numbers = [known.get(name) for name in ("buffer_size", "seed", "num_envs")]
    if all(isinstance(number, int) for number in numbers):
        rows, seed, lanes = (int(number or 0) for number in numbers)
        if 1 <= lanes <= rows and seed >= 0:
            yield rows, seed, lanes
