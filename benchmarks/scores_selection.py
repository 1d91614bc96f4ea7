"""What the best of a task's rows is worth, given how many were tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.deflation import deflate_best
from benchmarks.overfitting import backtest_overfitting
from benchmarks.scores_cell import Work
from benchmarks.scores_paths import Paths

BLOCKS = 16


def selection(
    works: Sequence[Work], rows: Mapping[str, Mapping[str, Any]], paths: Mapping[str, Paths]
) -> dict[str, Any]:
    """Deflated Sharpe ratio and probability of backtest overfitting, task by task.

    The trials of the first are all cells of a task, every seed and variant, also those that are not
    done; they truly differ, as methods and data do. Strategies of the second are its rows, the mean
    of their seeds. A bankrupt account earns nothing after its end.

    Returns:
        Task to ``trials``, ``rows``, ``bankrupt`` (cells), the ``best`` cell, its ``sharpe`` and
        what ``luck`` alone would give (both annualised), ``deflated``, ``overfitting`` and
        ``loss`` (how often the row chosen in one half of the time loses in the other). What cannot
        be told is None. A task with fewer than two curves is left out.
    """
    made = {}
    for task, own in paths.items():
        trials = sum(work.cell.task == task for work in works)
        cells = [(name, seed) for name, curves in own.rows.items() for seed in range(len(curves))]
        if len(cells) < 2 or own.steps < 2 * BLOCKS:
            continue
        returns = np.concatenate(list(own.rows.values()))
        found = deflate_best(returns, trials=trials, differing=True)
        name, place = cells[found.best]
        row = rows[name]
        annual = row["best"]["sharpe"][place]
        factor = annual / found.sharpe if found.sharpe else math.nan
        made[task] = {
            "trials": trials,
            "rows": len(own.rows),
            "bankrupt": sum(rows[row]["best"]["bankrupt"] for row in own.rows),
            "best": f"{name}/seed{row['seeds'][place]}",
            "sharpe": annual,
            "luck": _told(found.expected_maximum * factor),
            "deflated": _told(found.probability),
            **_overfitting(own),
        }
    return made


def _overfitting(paths: Paths) -> dict[str, float | None]:
    if len(paths.rows) < 2:
        return {"overfitting": None, "loss": None}
    means = np.stack([curves.mean(axis=0) for curves in paths.rows.values()])
    found = backtest_overfitting(means, blocks=BLOCKS)
    return {"overfitting": _told(found.probability), "loss": _told(found.loss_probability)}


def _told(value: float) -> float | None:
    """For JSON."""
    return float(value) if math.isfinite(value) else None
