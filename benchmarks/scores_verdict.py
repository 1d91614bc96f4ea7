"""What a check of the scores benchmark says; see `scores_checks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.intervals import Interval
from benchmarks.scores_paths import family_confidence
from benchmarks.scores_text import BASIS_POINTS

Rows = Mapping[str, Mapping[str, Any]]
Check = dict[str, Any]
HOLDS, FAILS, UNKNOWN = "holds", "FAILS", "cannot be told"


def as_check(what: str, found: str, verdict: str) -> Check:
    """A row of the table: what must hold, what was found, and whether it does."""
    return {"what": what, "found": found, "verdict": verdict}


def points(value: float) -> str:
    """A growth in basis points."""
    return f"{BASIS_POINTS * value:+.2f}"


def shown(interval: Interval) -> str:
    """A growth with its interval, in basis points."""
    return f"{points(interval.estimate)} ({points(interval.low)} to {points(interval.high)}) bp"


def level(members: int) -> str:
    """The confidence of the intervals of a family."""
    return f"{100.0 * family_confidence(members):.4g}% intervals, 5% for all {members}"


def short(name: str) -> str:
    """A row's name without its task; a control's as it is."""
    return name.split("/", 1)[-1].replace("/", ": ")
