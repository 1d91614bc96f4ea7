"""What methods have learned, and whether seeds agree on it: a part of `scores_checks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.intervals import Interval
from benchmarks.ranks import rank_stability
from benchmarks.scores_config import EASY, EASY_CONTINUOUS
from benchmarks.scores_verdict import FAILS, HOLDS, UNKNOWN, Check, Rows, as_check

RECOVERED = 0.85  # of the optimum's growth
RECOVERING = {EASY: ("iql", "cql", "bcq"), EASY_CONTINUOUS: ("td3_bc",)}


def recovery_check(task: str, rows: Rows, wanted: Sequence[str]) -> Check | None:
    """Whether expert data lets methods reach `RECOVERED` of a task's optimum; None without any."""
    own = [
        row
        for row in rows.values()
        if row["task"] == task and row["kind"] == "expert" and row["norm_obs"]
        and not row["variant"] and row["method"] in wanted and row["best"]["share"]
    ]  # fmt: skip
    if not own:
        return None
    size = max(row["size"] for row in own)
    shares = {row["method"]: row["best"]["share"] for row in own if row["size"] == size}
    parts = []
    for method, (middle, low, high) in shares.items():
        spread = "" if low is None else f" ({low:.0%} to {high:.0%})"
        parts.append(f"{method} {middle:.0%}{spread}")
    absent = [method for method in wanted if method not in shares]
    parts += [f"{method} was not run" for method in absent]
    short = any(share[0] < RECOVERED for share in shares.values())
    verdict = FAILS if short else UNKNOWN if absent else HOLDS
    what = f"{task}: {' and '.join(wanted)} reach {RECOVERED:.0%} of the optimum on expert data"
    return as_check(what, "interquartile mean: " + ", ".join(parts), verdict)


def compared_rows(rows: Rows) -> list[Mapping[str, Any]]:
    """Those that methods are compared by as a whole: no ablations.

    Sizes that not every dataset has are ablations too: with them their task, or its kind of data,
    would count for more than others.
    """
    plain = [row for row in rows.values() if row["norm_obs"] and not row["variant"]]
    sizes: dict[tuple[str, str], set[int]] = {}
    for row in plain:
        sizes.setdefault((row["task"], row["kind"]), set()).add(row["size"])
    shared = set.intersection(*sizes.values()) if sizes else set()
    return [row for row in plain if row["size"] in shared]


def stability_check(task: str, rows: Rows) -> Check | None:
    """Whether seeds agree on the order of a task's methods, by their mean growth on its data."""
    growths: dict[str, dict[tuple[str, int], list[float]]] = {}
    for row in compared_rows({name: row for name, row in rows.items() if row["task"] == task}):
        case = (row["kind"], row["size"])
        growths.setdefault(row["method"], {})[case] = row["best"]["growth"]
    shared = set.intersection(*(set(cases) for cases in growths.values())) if growths else set()
    seeds = {len(cases[case]) for cases in growths.values() for case in shared}
    if len(growths) < 2 or len(seeds) != 1 or min(seeds) < 2:
        return None
    scores = np.stack(
        [np.mean([cases[case] for case in sorted(shared)], axis=0) for cases in growths.values()],
        axis=1,
    )
    stable = rank_stability(scores)
    return _ranking(task, len(scores), stable.agreement, stable.verdict)


def overall_stability(methods: Mapping[str, Any]) -> Check | None:
    """As `stability_check`, over all tasks; None where methods were not compared."""
    if "stability" not in methods:
        return None
    found = methods["stability"]
    values = [float("nan") if value is None else value for value in found["agreement"]]
    return _ranking("all tasks", None, Interval(*values), found["verdict"])


def _ranking(where: str, seeds: int | None, agreement: Interval, verdict: str) -> Check:
    text = f"mean rank correlation of two seeds {agreement.estimate:.2f}"
    if agreement.known:
        text += f" ({agreement.low:.2f} to {agreement.high:.2f})"
    text += f", {seeds} seeds" if seeds else ""
    return as_check(f"{where}: the order of methods is the same for every seed", text, verdict)
