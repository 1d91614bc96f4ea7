"""The scale of scores: what is 0 and 100 in a task, and shares of the optimum's growth."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.scores_checks import FAIR
from benchmarks.scores_paths import RESAMPLES, Paths, draw

PAIR = ("expert", "random")
Ends = tuple[float, float, str]


def mean_growth(control: list[dict[str, Any]]) -> float:
    """Of a control's walks."""
    return float(np.mean([walk["growth"] for walk in control]))


def ends(name: str, found: dict[str, Any], paths: Paths) -> Ends | None:
    """What scores 0 and 100 in a task: growths, and what the latter is; None where nothing does.

    0 is the random policy; 100 the computed optimum's walk over the same test period or, where it
    is not known, the online expert's, if it is one: on a fair game nobody is, and on real bars
    hardly anybody.

    Args:
        name: Of the task.
        found: What `scores_references.references` returned of it.
        paths: Of the task.
    """
    controls = found["controls"]
    top = "optimum" if "optimum" in controls else "expert"
    if FAIR in name or top not in controls:
        return None
    low, high = mean_growth(controls["random"]), mean_growth(controls[top])
    if high <= low or (top == "expert" and not is_expert(paths)):
        return None
    return low, high, top


def is_expert(paths: Paths) -> bool:
    """Whether the online expert's growth is above no position's and random trading's.

    Both by 95% intervals over time, drawn for these two alone: a suite's other rows must not decide
    it. Random trading that went bankrupt has no interval; its growth up to there is what counts.
    """
    pair = Paths(paths.steps, ruined=paths.ruined)
    pair.controls = {name: paths.controls[name] for name in PAIR if name in paths.controls}
    draw(pair, RESAMPLES)
    if "expert" not in pair.draws:
        return False
    if "random" in pair.draws and not pair.difference(*PAIR).low > 0.0:
        return False
    floor = pair.growth("random") if "random" in pair.controls else 0.0
    return pair.interval("expert").low > max(floor, 0.0)


def optimum_growth(found: dict[str, Any]) -> float | None:
    """Of the optimum's walk: what shares are of; None where there is none, or it did not grow."""
    walks = found["controls"].get("optimum")
    grown = 0.0 if walks is None else mean_growth(walks)
    return grown if grown > 0.0 else None


def share_of(growth: float, found: dict[str, Any]) -> float | None:
    """Of the optimum's growth, no position being 0."""
    best = optimum_growth(found)
    return None if best is None else growth / best


def score(growth: float, limits: Ends) -> float:
    """100 (x - random) / (top - random)."""
    low, high, _ = limits
    return 100.0 * (growth - low) / (high - low)
