"""Equity over the test period, thin enough to stand in a result: what pictures are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.scores_cell import Work

POINTS = 150
DIGITS = 4
LEAST = 1e-6  # of the first value: what an account of nothing counts as, as in `growth`


def places(steps: int, points: int) -> npt.NDArray[np.int64]:
    """The decisions after which a thin curve has its points, the first 0 and the last `steps`."""
    return np.linspace(0, steps, points).round().astype(np.int64)


def thin(equity: npt.ArrayLike) -> dict[str, Any]:
    """An equity curve at some places.

    Args:
        equity: In quote currency, (steps + 1,).

    Returns:
        ``steps``; ``log_equity``: logarithm of equity over its first value at `places`;
        ``drawdown``: the deepest fall below the highest equity so far, as a fraction of it, since
        the place before. The deepest point of the thin curve is thus that of the whole one.
    """
    values = np.asarray(equity, np.float64)
    steps = len(values) - 1
    at = places(steps, min(POINTS, steps + 1))
    logs = np.log(np.maximum(values / values[0], LEAST))
    falls = 1.0 - values / np.maximum.accumulate(values)
    begins = np.append(0, at[:-1] + 1)
    return {
        "steps": steps,
        "log_equity": [round(float(value), DIGITS) for value in logs[at]],
        "drawdown": [round(float(value), DIGITS) for value in np.maximum.reduceat(falls, begins)],
    }


def middle(growths: Sequence[float]) -> int:
    """Which of several walks has the median growth; of two in the middle the worse."""
    order = sorted(range(len(growths)), key=lambda number: growths[number])
    return order[(len(order) - 1) // 2]


def equity_curves(works: Sequence[Work], controls: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The median walk of every row and control.

    Args:
        works: The cells; those that are not done, and ablations, are left out.
        controls: Task to what `scores_references.references` returned.

    Returns:
        ``rows``: a cell's group to the `thin` curve of its median seed (``seed``), of the
        checkpoint chosen on validation; ``controls``: task to name to curve.
    """
    groups: dict[str, list[Work]] = {}
    for work in works:
        if work.is_done and work.cell.norm_obs and not work.cell.variant:
            groups.setdefault(work.cell.group, []).append(work)
    return {
        "rows": {name: _of_row(members) for name, members in groups.items()},
        "controls": {
            task: {
                name: thin(walks[middle([walk["growth"] for walk in walks])]["equity"])
                for name, walks in found["controls"].items()
            }
            for task, found in controls.items()
        },
    }


def _of_row(works: Sequence[Work]) -> dict[str, Any]:
    growths = [json.loads(work.result.read_text())["test"]["best"]["growth"] for work in works]
    chosen = works[middle(growths)]
    with np.load(chosen.equity) as curves:
        return {"seed": chosen.cell.seed, **thin(curves["best"])}
