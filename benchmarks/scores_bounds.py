"""Checks of who stands above all: the policy that is shown the next bar, and the optimum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.intervals import Interval
from benchmarks.reversion_optimum import Optimum
from benchmarks.scores_config import TASKS
from benchmarks.scores_paths import Paths, family_confidence
from benchmarks.scores_text import BASIS_POINTS
from benchmarks.scores_verdict import (
    FAILS,
    HOLDS,
    UNKNOWN,
    Check,
    as_check,
    level,
    points,
    short,
    shown,
)


def _compared(
    members: Sequence[tuple[str, str]], own: Paths, difference: Callable[[str], Interval]
) -> dict[str, Interval]:
    """Name to difference, of those that have an interval."""
    return {name: difference(name) for _, name in members if name in own.draws}


def _told_of(
    members: Sequence[tuple[str, str]], found: Mapping[str, Interval], own: Paths
) -> tuple[str, bool]:
    """How many were compared, as text, and whether that leaves any but the bankrupt out."""
    ruined = len({name for _, name in members if name not in found} & own.ruined)
    untold = len(members) - len(found) - ruined
    text = f"; {len(found)} of {len(members)} rows and controls compared"
    text += f", {ruined} went bankrupt" if ruined else ""
    text += f", {untold} have no interval" if untold else ""
    return text, untold > 0


def oracle_check(task: str, own: Paths, members: Sequence[tuple[str, str]]) -> Check | None:
    """Whether who is shown the next bar is above all others; None where nobody is.

    Args:
        task: Its name.
        own: Its paths, drawn.
        members: Task and name of all others, the optimum among them.
    """
    if "oracle" not in own.draws:
        return None
    confidence = family_confidence(len(members))
    found = _compared(members, own, lambda name: own.difference("oracle", name, confidence))
    if not found:
        return None
    least = min(found, key=lambda name: found[name].low)
    best = max(own.growth(name) for _, name in members if name not in own.uneven)
    grown = own.growth("oracle")
    times = f", {grown / best:.1f} times the next" if best > 0.0 else ""
    text = (
        f"{points(grown)} bp a decision{times}; least above {short(least)}, by "
        f"{shown(found[least])}"
    )
    compared, untold = _told_of(members, found, own)
    text += f"{compared} ({level(len(members))})"
    verdict = FAILS if found[least].low <= 0.0 else UNKNOWN if untold else HOLDS
    return as_check(f"{task}: who is shown the next bar is above all others", text, verdict)


def excess(known: Mapping[str, Any], steps: int, *, between: bool) -> float:
    """How much more than the computed policy expects a better one can expect, a decision.

    Args:
        known: A `reversion_optimum.Optimum`, as a dictionary.
        steps: Of the period.
        between: Whether exposures between 0 and 1 are possible.
    """
    best = Optimum(**dict(known) | {"gain_range": tuple(known["gain_range"])})
    low, high = best.total(steps)
    return (high - low) / steps + (best.between if between else 0.0)


def optimum_check(
    task: str, own: Paths, known: Mapping[str, Any], family: Sequence[tuple[str, str]]
) -> Check | None:
    """Whether anything beats the computed optimum by more than its error bound.

    Args:
        task: Its name.
        own: Its paths, drawn.
        known: A `reversion_optimum.Optimum`, as a dictionary.
        family: Task and name of all that could beat an optimum, of all tasks.
    """
    if "optimum" not in own.draws:
        return None
    members = [member for member in family if member[0] == task]
    confidence = family_confidence(len(family))
    found = _compared(members, own, lambda name: own.difference(name, "optimum", confidence))
    bound = excess(known, own.steps, between=TASKS[task].continuous)
    low, high = (BASIS_POINTS * value for value in known["gain_range"])
    text = f"its expected growth is proven to be {low:.4f} to {high:.4f} bp a decision"
    if TASKS[task].continuous:
        text += f", exposures between add at most {BASIS_POINTS * known['between']:.3f}"
    if found:
        nearest = max(found, key=lambda name: found[name].low)
        text += (
            f"; its walk grew by {points(own.growth('optimum'))}; nearest to better: "
            f"{short(nearest)}, {shown(found[nearest])} apart, bound "
            f"{BASIS_POINTS * bound:+.4f}"
        )
    beaten = [name for name, interval in found.items() if interval.low > bound]
    text += "; beaten by " + ", ".join(map(short, beaten)) if beaten else ""
    compared, untold = _told_of(members, found, own)
    text += f"{compared} ({level(len(family))})"
    verdict = FAILS if beaten else UNKNOWN if untold or not found else HOLDS
    return as_check(f"{task}: nothing beats the computed optimum", text, verdict)
