"""What the scores benchmark found, of the files of its cells: scores, intervals, comparisons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.aggregate import interquartile_mean, stratified_bootstrap
from benchmarks.comparison import probability_of_improvement
from benchmarks.intervals import Interval
from benchmarks.ranks import rank_stability
from benchmarks.scores_behaviours import behaviours
from benchmarks.scores_cell import CHECKPOINTS, Work
from benchmarks.scores_checks import checks, draws_of
from benchmarks.scores_learned import compared_rows
from benchmarks.scores_paths import Paths, draw, read_paths
from benchmarks.scores_scale import Ends, ends, mean_growth, score, share_of
from benchmarks.scores_selection import selection

Array = npt.NDArray[np.float64]
Rows = dict[str, dict[str, Any]]
BASELINE = "il"  # what methods are compared with
DIGITS = 9  # of numbers in results
SHOWN = ("total_return", "sharpe", "max_drawdown", "turnover", "n_trades")


def gather(works: Sequence[Work], controls: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Everything that tables show, as JSON.

    Args:
        works: The cells; those that are not done are left out.
        controls: Task to what `scores_references.references` returned.

    Returns:
        ``tasks``, ``rows`` (a method on a dataset over its seeds), ``methods`` (over all rows that
        have scores), ``checks`` and ``selection`` (see `scores_checks`, `scores_selection`), and
        ``missing`` (names of cells that are not done). Numbers have nine digits.
    """
    groups: dict[str, list[Work]] = {}
    for work in works:
        if work.is_done:
            groups.setdefault(work.cell.group, []).append(work)
    missing = [work.cell.name for work in works if not work.is_done]
    paths = {}
    for task, found in controls.items():
        own = {name: done for name, done in groups.items() if done[0].cell.task == task}
        paths[task] = read_paths(found, own)
    for task, drawn in draws_of(paths, controls).items():
        draw(paths[task], drawn)
    limits = {task: ends(task, found, paths[task]) for task, found in controls.items()}
    rows = {}
    for name, done in groups.items():
        task = done[0].cell.task
        rows[name] = _row(name, done, controls[task], paths[task], limits[task])
    methods = _methods(rows)
    tasks = {
        name: _task(found, paths[name], limits[name])
        | {"behaviours": _behaviours(name, found, groups, paths[name].steps, limits[name])}
        for name, found in controls.items()
    }
    made = {
        "tasks": tasks,
        "rows": rows,
        "methods": methods,
        "checks": checks(rows, controls, paths, methods, missing),
        "selection": selection(works, rows, paths),
        "missing": missing,
    }
    rounded: dict[str, Any] = round_numbers(made)
    return rounded


def round_numbers(value: Any) -> Any:
    """JSON with every number that is not whole rounded to `DIGITS` significant digits."""
    if isinstance(value, dict):
        return {key: round_numbers(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [round_numbers(member) for member in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


# --- references -------------------------------------------------------------------------------


def _task(found: dict[str, Any], paths: Paths, limits: Ends | None) -> dict[str, Any]:
    """A task's controls, without their equity."""
    made: dict[str, Any] = {key: found[key] for key in ("market", "test", "optimum")}
    made["top"] = None if limits is None else limits[2]
    made["controls"] = {
        control: {
            "growth": mean_growth(walks),
            "score": None if limits is None else score(mean_growth(walks), limits),
            "share": share_of(mean_growth(walks), found),
            "interval": _growth_interval(paths, control),
            "walks": len(walks),
            "bankrupt": sum(walk["terminated"] for walk in walks),
            **{key: float(np.mean([walk[key] for walk in walks])) for key in SHOWN},
        }
        for control, walks in found["controls"].items()
    }
    return made


def _growth_interval(paths: Paths, name: str) -> list[float | None] | None:
    """Of a row's or a control's growth, over time and seeds; None where there is none."""
    return listed(paths.interval(name)) if name in paths.draws else None


def _behaviours(
    name: str,
    found: dict[str, Any],
    groups: dict[str, list[Work]],
    steps: int,
    limits: Ends | None,
) -> dict[str, Any]:
    """The policies that made a task's datasets, with score and share."""
    made = behaviours([works[0] for works in groups.values() if works[0].cell.task == name], steps)
    for walked in made.values():
        walked["score"] = None if limits is None else score(walked["growth"], limits)
        walked["share"] = share_of(walked["growth"], found)
    return made


def listed(interval: Interval) -> list[float | None]:
    """Estimate and bounds, for JSON."""
    values = (interval.estimate, interval.low, interval.high)
    return [float(value) if np.isfinite(value) else None for value in values]


# --- rows -------------------------------------------------------------------------------------


def _row(
    name: str, works: list[Work], found: dict[str, Any], paths: Paths, limits: Ends | None
) -> dict[str, Any]:
    """A method on a dataset, over its seeds."""
    cell = works[0].cell
    cells = [json.loads(work.result.read_text()) for work in works]
    row: dict[str, Any] = {
        **{key: getattr(cell, key) for key in
           ("task", "kind", "size", "method", "norm_obs", "variant")},
        "seeds": [work.cell.seed for work in works],
        "validation_returns": [made["validation_returns"] for made in cells],
        "seconds": float(np.median([made["seconds"] for made in cells])),
        "updates_per_second": float(np.median([made["updates_per_second"] for made in cells])),
        "peak_bytes": max(made["peak_bytes"] for made in cells),
        "commits": sorted({made["machine"]["commit"] for made in cells}),
        "behaviour": behaviour(cells[0]),
    }  # fmt: skip
    for checkpoint in CHECKPOINTS:
        tests = [made["test"][checkpoint] for made in cells]
        growths = [test["growth"] for test in tests]
        scores = None if limits is None else [score(growth, limits) for growth in growths]
        shares = [share_of(growth, found) for growth in growths]
        row[checkpoint] = {
            "growth": growths,
            "score": scores,
            "interval": None if scores is None else _over_seeds(scores),
            "share": _over_seeds([share for share in shares if share is not None]),
            "bankrupt": sum(test["terminated"] for test in tests),
            **{key: [test[key] for test in tests] for key in SHOWN},
        }
    above = name in paths.draws and "optimum" in paths.draws
    return row | {
        "fees": [
            _fees(made["test"]["best"], work) for work, made in zip(works, cells, strict=True)
        ],
        "growth_interval": _growth_interval(paths, name),
        "above_optimum": listed(paths.difference(name, "optimum")) if above else None,
    }


def _fees(test: dict[str, Any], work: Work) -> float:
    """Paid a decision, in parts of the mean equity; a rollout is several decisions."""
    with np.load(work.equity) as curves:
        equity = curves["best"]
    return float(test["fees_paid"]) / float(np.mean(equity)) / max(len(equity) - 1, 1)


def behaviour(cell: dict[str, Any]) -> dict[str, float] | None:
    """How the policy that made the data did over the test period, where it could be walked."""
    for name, walk in cell["baselines"].items():
        if name.startswith("behaviour"):
            return {"name": name, "return": walk["return"], "steps": walk["steps"]}
    return None


def _over_seeds(values: list[float]) -> list[float | None] | None:
    """Interquartile mean of one task with its bootstrap interval; None of nothing."""
    if not values:
        return None
    return listed(stratified_bootstrap(np.array(values)[:, None], interquartile_mean))


# --- over rows --------------------------------------------------------------------------------


def _methods(rows: Rows) -> dict[str, Any]:
    """Methods compared over all rows that every one of them has, of one number of seeds.

    Ablations (raw observations, variants, sizes that not all datasets have) are not among them: a
    task would count for more by them.
    """
    scored = {name: row for name, row in rows.items() if row["best"]["score"] is not None}
    cases: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for row in compared_rows(scored):
        case = (row["task"], row["kind"], row["size"])
        cases.setdefault(case, {})[row["method"]] = row["best"]["score"]
    if not cases:
        return {}
    shared = set.intersection(*(set(found) for found in cases.values()))
    seeds = {len(scores) for found in cases.values() for scores in found.values()}
    methods = sorted(shared)
    if not methods or len(seeds) != 1:
        return {}
    tables = {m: np.array([cases[case][m] for case in cases]).T for m in methods}
    made: dict[str, Any] = {
        "cases": [list(case) for case in cases],
        "interquartile_mean": {m: listed(stratified_bootstrap(tables[m])) for m in methods},
        "improvement": {
            m: listed(probability_of_improvement(tables[m], tables[BASELINE]))
            for m in methods
            if BASELINE in methods and m != BASELINE
        },
    }
    by_seed = np.stack([tables[m].mean(axis=1) for m in methods], axis=1)
    if len(by_seed) > 1 and len(methods) > 1:
        stable = rank_stability(by_seed)
        made["stability"] = {
            "agreement": listed(stable.agreement),
            "concordance": float(np.nan_to_num(stable.concordance)),
            "verdict": stable.verdict,
        }
    return made
