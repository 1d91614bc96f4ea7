"""What must hold of the benchmark's results, whatever the methods are worth.

* On a fair game no method's growth is above zero by more than chance.
* The policy that is shown the next bar grows faster than everything else.
* Nothing beats the computed optimum beyond its error bound.
* Expert data lets the methods of `RECOVERING` reach `RECOVERED` of the optimum.
* Nothing is missing: no cell, and no job of the stages after them.

Intervals are over seeds and time together. Each check asks a family of rows, of which none may be
wrong: with k of them the intervals are of confidence 1 - 0.05 / k (Bonferroni). A failed check
makes ``python -m benchmarks.scores`` exit with 1, after its result is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.scores_bounds import optimum_check, oracle_check
from benchmarks.scores_learned import (
    RECOVERING,
    overall_stability,
    recovery_check,
    stability_check,
)
from benchmarks.scores_paths import Paths, family_confidence, family_resamples
from benchmarks.scores_verdict import (
    FAILS,
    HOLDS,
    UNKNOWN,
    Check,
    Rows,
    as_check,
    level,
    short,
    shown,
)

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
    made += [oracle_check(task, paths[task], _others(paths, task)) for task in paths]
    known = _beatable(paths, controls)
    made += [
        optimum_check(task, paths[task], controls[task]["optimum"], known)
        for task in dict.fromkeys(task for task, _ in known)
    ]
    made += [
        recovery_check(task, rows, wanted) for task, wanted in RECOVERING.items() if task in paths
    ]
    made += [stability_check(task, rows) for task in paths if FAIR not in task]
    made += [overall_stability(methods), _missing_check("every cell was run", missing)]
    return [check for check in made if check is not None]


def failed(found: Iterable[Check]) -> list[str]:
    """What failed, a line each."""
    return [f"{check['what']}: {check['found']}" for check in found if check["verdict"] == FAILS]


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
        text += f"; nearest to above: {short(highest)} {shown(found[highest])}"
    text += f" ({level(len(members))})"
    if above:
        text += "; above: " + ", ".join(map(short, above))
    verdict = FAILS if above else HOLDS if not untold else UNKNOWN
    return as_check("fair game: no method's net growth is above zero", text, verdict)


# --- whether it is whole ----------------------------------------------------------------------


def stages_check(missing: Sequence[str]) -> Check:
    """Whether the stages after the cells are whole.

    Args:
        missing: Names of their jobs that are not done.
    """
    return _missing_check("every job of the later stages was done", missing)


def _missing_check(what: str, missing: Sequence[str]) -> Check:
    if not missing:
        return as_check(what, "none is missing", HOLDS)
    few = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return as_check(what, f"{len(missing)} missing: {few}", "incomplete")
