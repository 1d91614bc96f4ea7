"""The scale of scores: what is 0 and 100 in a task, and shares of the optimum's growth."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.scores_checks import FAIR


def mean_growth(control: list[dict[str, Any]]) -> float:
    """Of a control's walks."""
    return float(np.mean([walk["growth"] for walk in control]))


def ends(name: str, found: dict[str, Any]) -> tuple[float, float, str] | None:
    """What scores 0 and 100 in a task: growths, and what the latter is; None where nothing does.

    0 is the random policy; 100 the computed optimum's walk over the same test period or, where it
    is not known, the online expert's. On a fair game nothing is an expert, and on real bars one may
    be no better than random.
    """
    controls = found["controls"]
    top = "optimum" if "optimum" in controls else "expert"
    if FAIR in name or top not in controls:
        return None
    low, high = mean_growth(controls["random"]), mean_growth(controls[top])
    return None if high <= low else (low, high, top)


def optimum_growth(found: dict[str, Any]) -> float | None:
    """Of the optimum's walk: what shares are of; None where there is none, or it did not grow."""
    walks = found["controls"].get("optimum")
    grown = 0.0 if walks is None else mean_growth(walks)
    return grown if grown > 0.0 else None


def share_of(growth: float, found: dict[str, Any]) -> float | None:
    """Of the optimum's growth, no position being 0."""
    best = optimum_growth(found)
    return None if best is None else growth / best


def score(growth: float, limits: tuple[float, float, str]) -> float:
    """100 (x - random) / (top - random)."""
    low, high, _ = limits
    return 100.0 * (growth - low) / (high - low)
