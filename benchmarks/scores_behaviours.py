"""How the policies that made the datasets do over the test period, with their noise."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.intervals import Interval
from benchmarks.scores_cell import Work
from benchmarks.scores_config import TASKS
from benchmarks.scores_paths import Paths, draw, padded_returns
from benchmarks.suite_config import size_name

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
        mixture's, have none: those stand in the table themselves.
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
            taken = walk["steps"]
            ended = taken < steps
            return {
                "kind": work.cell.kind,
                "size": work.cell.size,
                "name": name,
                "noise": TASKS[work.cell.task].sets.epsilon if work.cell.kind in NOISY else 0.0,
                "growth": float(np.log1p(max(walk["total_return"], -1 + 1e-6)) / max(taken, 1)),
                "interval": None if ended else _interval(work, cell["directory"], name, steps),
                "bankrupt": int(ended and walk["total_return"] < 0.0),
                **{key: walk[key] for key in SHOWN},
            }
    return None


def _interval(work: Work, directory: str, name: str, steps: int) -> list[float] | None:
    """Of the growth over time, where the run's curves are still there."""
    path = work.folder / directory / "equity.csv"
    if not path.exists():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        equity = [float(line[name]) for line in csv.DictReader(file) if line.get(name)]
    if len(equity) != steps + 1:
        return None
    paths = Paths(steps, controls={name: padded_returns(equity, steps)[None]})
    draw(paths, 2_000)
    found: Interval = paths.interval(name)
    return [found.estimate, found.low, found.high] if found.known else None
