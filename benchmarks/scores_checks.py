"""What must hold of the benchmark's results, whatever the methods are worth.

* On a fair game no method's growth is above zero by more than chance.
* The policy that is shown the next bar grows faster than everything else.
* Nothing beats the computed optimum beyond its error bound.
* Expert data lets the methods of `RECOVERING` reach `RECOVERED` of the optimum.

Intervals are over seeds and time together. Each check asks a family of rows, of which none may be
wrong: with k of them the intervals are of confidence 1 - 0.05 / k (Bonferroni). A failed check
makes ``python -m benchmarks.scores`` exit with 1, after its result is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.intervals import Interval
from benchmarks.reversion_optimum import Optimum
from benchmarks.scores_config import TASKS
from benchmarks.scores_learned import (
    RECOVERING,
    overall_stability,
    recovery_check,
    stability_check,
)
from benchmarks.scores_paths import Paths, family_confidence, family_resamples
from benchmarks.scores_text import BASIS_POINTS
from benchmarks.scores_verdict import FAILS, HOLDS, UNKNOWN, Check, Rows, as_check

FAIR = "martingale"  # in the name of a task on which nothing can be learned
ABOVE_ALL = ("oracle", "optimum")  # what is compared with the others, and not one of them


def draws_of(paths: Mapping[str, Paths], controls: Mapping[str, Any]) -> dict[str, int]:
    """How many draws each task's intervals need, by the largest family that it is in."""
    families = {"fair": _fair(paths), "known": _beatable(paths, controls)}
    most = dict.fromkeys(paths, 1)
    for members in [*families.values(), *(_others(paths, task) for task in paths)]:
        for task, _ in members:
            most[task] = max(most[task], len(members))
    return {task: family_resamples(members) for task, members in most.items()}


def _fair(paths: Mapping[str, Paths]) -> list[tuple[str, str]]:
    """Task and name of every row on a fair game."""
    return [
        (task, name)
        for task, own in paths.items()
        if FAIR in task
        for name in [*own.rows, *sorted(own.uneven - set(ABOVE_ALL))]
    ]


def _others(paths: Mapping[str, Paths], task: str) -> list[tuple[str, str]]:
    """Task and name of everything that is not shown the next bar, nor the optimum."""
    own = paths[task]
    names = [*own.rows, *own.controls, *sorted(own.uneven)]
    return [(task, name) for name in names if name not in ABOVE_ALL]


def _beatable(paths: Mapping[str, Paths], controls: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What could beat an optimum, over all tasks that have one."""
    known = [task for task in paths if controls[task]["optimum"] is not None]
    return [member for task in known for member in _others(paths, task)]


def checks(
    rows: Rows,
    controls: Mapping[str, Any],
    paths: Mapping[str, Paths],
    methods: Mapping[str, Any],
    missing: Sequence[str],
) -> list[Check]:
    """All checks that the rows allow.

    Args:
        rows: As `scores_result.gather` makes them.
        controls: Task to what `scores_references.references` returned.
        paths: Task to its paths, drawn.
        methods: The comparison over all rows.
        missing: Cells that are not done.

    Returns:
        ``what``, ``found`` (text), ``verdict``, in the order of tables.
    """
    made = [_fair_check(rows, paths)]
    made += [_oracle_check(task, paths) for task in paths]
    known = _beatable(paths, controls)
    made += [
        _optimum_check(task, paths[task], controls[task]["optimum"], known)
        for task in dict.fromkeys(task for task, _ in known)
    ]
    made += [
        recovery_check(task, rows, wanted) for task, wanted in RECOVERING.items() if task in paths
    ]
    made += [stability_check(task, rows) for task in paths if FAIR not in task]
    made += [overall_stability(methods), _missing_check("every cell was run", missing)]
    return [check for check in made if check is not None]


def stages_check(missing: Sequence[str]) -> Check:
    """Whether the stages after the cells are whole.

    Args:
        missing: Names of their jobs that are not done.
    """
    return _missing_check("every job of the later stages was done", missing)


def failed(found: Iterable[Check]) -> list[str]:
    """What failed, a line each."""
    return [f"{check['what']}: {check['found']}" for check in found if check["verdict"] == FAILS]


def _points(value: float) -> str:
    return f"{BASIS_POINTS * value:+.2f}"


def _shown(interval: Interval) -> str:
    return f"{_points(interval.estimate)} ({_points(interval.low)} to {_points(interval.high)}) bp"


def _level(members: int) -> str:
    return f"{100.0 * family_confidence(members):.4g}% intervals, 5% for all {members}"


# --- the fair game ----------------------------------------------------------------------------


def _fair_check(rows: Rows, paths: Mapping[str, Paths]) -> Check | None:
    members = _fair(paths)
    if not members:
        return None
    confidence = family_confidence(len(members))
    found = {
        name: paths[task].interval(name, confidence)
        for task, name in members
        if name in paths[task].draws
    }
    above = [name for name, interval in found.items() if interval.low > 0.0]
    below = [name for name, interval in found.items() if interval.high < 0.0]
    ruined = sum(name in paths[task].ruined for task, name in members)
    text = (
        f"of {len(members)} rows' intervals {len(found) - len(above) - len(below)} cover zero, "
        f"{len(below)} lie below, {len(above)} above"
    )
    if below:
        before = {name: float(np.mean(rows[name]["fees"])) for name in below}
        even = sum(
            found[name].low + paid <= 0.0 <= found[name].high + paid
            for name, paid in before.items()
        )
        text += f" (of those below, {even} cover it before fees)"
    text += f", {ruined} went bankrupt" if ruined else ""
    untold = len(members) - len(found) - ruined
    text += f", {untold} have no interval" if untold else ""
    if found:
        highest = max(found, key=lambda name: found[name].low)
        text += f"; nearest to above: {_short(highest)} {_shown(found[highest])}"
    text += f" ({_level(len(members))})"
    if above:
        text += "; above: " + ", ".join(map(_short, above))
    verdict = FAILS if above else HOLDS if not untold else UNKNOWN
    return as_check("fair game: no method's net growth is above zero", text, verdict)


def _short(name: str) -> str:
    """A row's name without its task; a control's as it is."""
    return name.split("/", 1)[-1].replace("/", ": ")


# --- the oracle and the optimum ---------------------------------------------------------------


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


def _oracle_check(task: str, paths: Mapping[str, Paths]) -> Check | None:
    own = paths[task]
    if "oracle" not in own.draws:
        return None
    # here the optimum is one of the others
    members = _others(paths, task)
    confidence = family_confidence(len(members))
    found = _compared(members, own, lambda name: own.difference("oracle", name, confidence))
    if not found:
        return None
    least = min(found, key=lambda name: found[name].low)
    best = max(own.growth(name) for _, name in members if name not in own.uneven)
    grown = own.growth("oracle")
    times = f", {grown / best:.1f} times the next" if best > 0.0 else ""
    text = (
        f"{_points(grown)} bp a decision{times}; least above {_short(least)}, by "
        f"{_shown(found[least])}"
    )
    compared, untold = _told_of(members, found, own)
    text += f"{compared} ({_level(len(members))})"
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


def _optimum_check(
    task: str, own: Paths, known: Mapping[str, Any], family: Sequence[tuple[str, str]]
) -> Check | None:
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
            f"; its walk grew by {_points(own.growth('optimum'))}; nearest to better: "
            f"{_short(nearest)}, {_shown(found[nearest])} apart, bound "
            f"{BASIS_POINTS * bound:+.4f}"
        )
    beaten = [name for name, interval in found.items() if interval.low > bound]
    text += "; beaten by " + ", ".join(map(_short, beaten)) if beaten else ""
    compared, untold = _told_of(members, found, own)
    text += f"{compared} ({_level(len(family))})"
    verdict = FAILS if beaten else UNKNOWN if untold or not found else HOLDS
    return as_check(f"{task}: nothing beats the computed optimum", text, verdict)


def _missing_check(what: str, missing: Sequence[str]) -> Check:
    if not missing:
        return as_check(what, "none is missing", HOLDS)
    few = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return as_check(what, f"{len(missing)} missing: {few}", "incomplete")
