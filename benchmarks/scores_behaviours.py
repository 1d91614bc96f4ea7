"""How the policies that made the datasets do over the test period, with their noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.intervals import Interval
from benchmarks.scores_cell import Work, growth, on_every_decision
from benchmarks.scores_config import TASKS
from benchmarks.scores_paths import Paths, draw, padded_returns
from benchmarks.suite_config import size_name
from offline_algos.report import CURVES

NOISY = ("medium", "expert", "rule-based")  # kinds that are recorded with random actions
PREFIX = "behaviour"
SHOWN = ("total_return", "sharpe", "max_drawdown", "turnover", "n_trades")


def behaviours(works: Sequence[Work], steps: int) -> dict[str, dict[str, Any]]:
    """What every cell's script walked beside its own policy: the one that made its data.

    Args:
        works: Of one task, done.
        steps: Of the test period.

    Returns:
        Name of a dataset, such as "expert-100k", to its behaviour. Data of several policies, as a
        mixture's, have none (those stand in the table themselves), nor has a cell whose run's
        curves are gone.
    """
    made: dict[str, dict[str, Any]] = {}
    for work in works:
        name = f"{work.cell.kind}-{size_name(work.cell.size)}"
        if name not in made:
            found = _behaviour(work, steps)
            if found is not None:
                made[name] = found
    return dict(sorted(made.items(), key=lambda item: (item[1]["size"], item[1]["kind"])))


def _behaviour(work: Work, steps: int) -> dict[str, Any] | None:
    cell = json.loads(work.result.read_text())
    for name, walk in cell["baselines"].items():
        if name.startswith(PREFIX):
            equity = _equity(work, cell["directory"], name)
            if equity is None:
                return None
            ended = len(equity) < steps + 1  # a curve goes on to the period's end, or a bankruptcy
            return {
                "kind": work.cell.kind,
                "size": work.cell.size,
                "name": name,
                "noise": TASKS[work.cell.task].sets.epsilon if work.cell.kind in NOISY else 0.0,
                "growth": growth(equity),
                "interval": None if ended else _interval(name, equity, steps),
                "bankrupt": int(ended),
                **{key: walk[key] for key in SHOWN},
            }
    return None


def _equity(work: Work, directory: str, name: str) -> npt.NDArray[np.float64] | None:
    """By decision, where the run's curves are still there."""
    path = work.folder / directory / CURVES
    if not path.exists():
        return None
    return on_every_decision(pd.read_csv(path, usecols=[name])[name])


def _interval(name: str, equity: npt.NDArray[np.float64], steps: int) -> list[float] | None:
    """Of the growth over time."""
    paths = Paths(steps, controls={name: padded_returns(equity, steps)[None]})
    draw(paths, 2_000)
    found: Interval = paths.interval(name)
    return [found.estimate, found.low, found.high] if found.known else None
