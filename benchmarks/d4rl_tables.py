"""What the runs of `benchmarks.d4rl` found, and its table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.d4rl_runs import CHECKPOINTS, Job
from benchmarks.machine import describe_machine
from benchmarks.markdown import provenance, table

NONE = "-"


def gather(jobs: Sequence[Job]) -> dict[str, Any]:
    """The result, as JSON.

    Args:
        jobs: All that were asked for; those that are not done are ``missing``.

    Returns:
        ``rows``, one a dataset, method and kind of observations, with the numbers of its seeds:
        mean ``returns`` and D4RL's ``score`` of both checkpoints, None without a reference;
        ``behaviour``, a dataset to return and score of its episodes; ``seeds``, ``missing`` and
        ``machine``.
    """
    groups: dict[tuple[str, str, bool], list[dict[str, Any]]] = {}
    behaviour: dict[str, dict[str, Any]] = {}
    for job in jobs:
        if job.is_done:
            run = json.loads(job.result.read_text(encoding="utf-8"))
            groups.setdefault((job.dataset, job.method, job.norm_obs), []).append(run)
            score = (run["score"] or {}).get("behavior")
            behaviour.setdefault(job.dataset, {"return": run["behaviour"], "score": score})
    return {
        "rows": [
            {"dataset": dataset, "method": method, "norm_obs": norm_obs} | _row(runs)
            for (dataset, method, norm_obs), runs in groups.items()
        ],
        "behaviour": behaviour,
        "seeds": sorted({job.seed for job in jobs}),
        "missing": [job.name for job in jobs if not job.is_done],
        "machine": describe_machine(),
    }


def _row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers of one method on one dataset, in the order of its seeds."""
    scored = all(run["score"] for run in runs)
    return {
        "seeds": [run["job"]["seed"] for run in runs],
        "returns": {
            name: [statistics.fmean(run["returns"][name]) for run in runs] for name in CHECKPOINTS
        },
        "score": {name: [run["score"][name] for run in runs] for name in CHECKPOINTS}
        if scored
        else None,
        "updates": [run["updates"] for run in runs],
        "seconds": [run["seconds"] for run in runs],
        "commits": sorted({run["machine"]["commit"] for run in runs}),
    }


# --- the table --------------------------------------------------------------------------------


def results_table(result: dict[str, Any]) -> str:
    """Scores and returns of what is done, a row a dataset and method."""
    methods: dict[str, dict[str, dict[bool, dict[str, Any]]]] = {}
    for row in result["rows"]:
        own = methods.setdefault(row["dataset"], {}).setdefault(row["method"], {})
        own[row["norm_obs"]] = row
    lines = []
    for dataset, found in methods.items():
        for method, kinds in found.items():
            cells = [
                _cell(kinds.get(norm_obs), checkpoint, len(result["seeds"]))
                for norm_obs in (True, False)
                for checkpoint in CHECKPOINTS
            ]
            lines.append([f"{dataset}: {method}", *cells])
        lines.append([f"{dataset}: *behaviour*", _behaviour(result["behaviour"][dataset]),
                      *[NONE] * 3])  # fmt: skip
    header = ["dataset: method", "best on validation", "last", "raw observations: best",
              "raw observations: last"]  # fmt: skip
    commits = sorted({commit for row in result["rows"] for commit in row["commits"]})
    more = (
        "D4RL's normalised score and, in brackets, the return: mean ± deviation over seeds "
        f"{result['seeds']}; the references were measured on the v2 tasks, the policies on "
        f"Gymnasium's v5; runs of commit {', '.join(commits)}."
    )
    if result["missing"]:
        more += f" Runs that are missing: {len(result['missing'])}."
    return table(header, lines) + "\n\n" + provenance(result, more)


def _cell(row: dict[str, Any] | None, checkpoint: str, seeds: int) -> str:
    """Score and return of a checkpoint, and of how many seeds where some are missing."""
    if row is None:
        return NONE
    score = NONE if row["score"] is None else _spread(row["score"][checkpoint])
    told = f"{score} ({_spread(row['returns'][checkpoint])})"
    return told if len(row["seeds"]) == seeds else f"{told}, {len(row['seeds'])} of {seeds} seeds"


def _behaviour(found: dict[str, Any]) -> str:
    """Score and return of the dataset's own episodes."""
    score, value = (NONE if x is None else f"{x:.1f}" for x in (found["score"], found["return"]))
    return NONE if value == NONE else f"{score} ({value})"


def _spread(values: list[float]) -> str:
    """Mean and deviation over seeds."""
    mean = statistics.fmean(values)
    return f"{mean:.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")
