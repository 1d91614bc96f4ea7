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
from benchmarks.scores_cell import CHECKPOINTS, Work
from benchmarks.time_bootstrap import joint_bootstrap, joint_difference

Array = npt.NDArray[np.float64]
Rows = dict[str, dict[str, Any]]
FAIR = "martingale"  # in the name of a task on which nothing can be learned
BASELINE = "il"  # what methods are compared with
RESAMPLES = 1_000
SHOWN = ("total_return", "sharpe", "max_drawdown", "turnover", "n_trades")


def gather(works: Sequence[Work], controls: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Everything that tables show, as JSON.

    Args:
        works: The cells; those that are not done are left out.
        controls: Task to what `scores_references.references` returned.

    Returns:
        ``tasks``, ``rows`` (a method on a dataset over its seeds), ``methods`` (over all rows that
        have scores) and ``missing`` (names of cells that are not done).
    """
    groups: dict[str, list[Work]] = {}
    for work in works:
        groups.setdefault(work.cell.group, []).append(work)
    rows = {}
    for name, members in groups.items():
        done = [work for work in members if work.is_done]
        if done:
            rows[name] = _row(done, controls[members[0].cell.task])
    return {
        "tasks": {name: _task(name, found) for name, found in controls.items()},
        "rows": rows,
        "methods": _methods(rows),
        "missing": [work.cell.name for work in works if not work.is_done],
    }


# --- references -------------------------------------------------------------------------------


def mean_growth(control: list[dict[str, Any]]) -> float:
    """Of a control's walks."""
    return float(np.mean([walk["growth"] for walk in control]))


def ends(name: str, found: dict[str, Any]) -> tuple[float, float, str] | None:
    """What scores 0 and 100 in a task: growths, and what the latter is; None where nothing does.

    0 is the random policy; 100 the computed optimum's walk over the same test period or, where it
    is not known, the online expert's. On a fair game nothing is an expert.
    """
    controls = found["controls"]
    top = "optimum" if "optimum" in controls else "expert"
    if FAIR in name or top not in controls:
        return None
    return mean_growth(controls["random"]), mean_growth(controls[top]), top


def _task(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """A task's controls, without their equity."""
    limits = ends(name, found)
    made: dict[str, Any] = {key: found[key] for key in ("market", "test", "optimum")}
    made["top"] = None if limits is None else limits[2]
    made["controls"] = {
        control: {
            "growth": mean_growth(walks),
            "score": None if limits is None else score(mean_growth(walks), limits),
            "interval": _control_interval(walks),
            **{key: float(np.mean([walk[key] for walk in walks])) for key in SHOWN},
        }
        for control, walks in found["controls"].items()
    }
    return made


def _control_interval(walks: list[dict[str, Any]]) -> list[float | None] | None:
    """Of the growth, over time; None after a bankruptcy."""
    if any(walk["terminated"] for walk in walks):
        return None
    returns = np.stack([simple_returns(np.array(walk["equity"])) for walk in walks])
    given = returns[0] if len(returns) == 1 else returns
    return listed(joint_bootstrap(given, growth_of, resamples=RESAMPLES))


def score(growth: float, limits: tuple[float, float, str]) -> float:
    """100 (x - random) / (top - random)."""
    low, high, _ = limits
    return 100.0 * (growth - low) / (high - low)


def simple_returns(equity: Array) -> Array:
    """Of an equity curve (steps + 1,): (steps,)."""
    return np.asarray(equity[1:] / equity[:-1] - 1.0)


def growth_of(returns: npt.ArrayLike) -> Array:
    """Mean log return of simple returns (..., steps)."""
    return np.asarray(np.log1p(np.asarray(returns)).mean(axis=-1))


def listed(interval: Interval) -> list[float | None]:
    """Estimate and bounds, for JSON."""
    values = (interval.estimate, interval.low, interval.high)
    return [float(value) if np.isfinite(value) else None for value in values]


# --- rows -------------------------------------------------------------------------------------


def _row(works: list[Work], found: dict[str, Any]) -> dict[str, Any]:
    """A method on a dataset, over its seeds."""
    cell = works[0].cell
    cells = [json.loads(work.result.read_text()) for work in works]
    limits = ends(cell.task, found)
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
        row[checkpoint] = {
            "growth": growths,
            "score": scores,
            "interval": None if scores is None else _over_seeds(scores),
            "bankrupt": sum(test["terminated"] for test in tests),
            **{key: [test[key] for test in tests] for key in SHOWN},
        }
    return row | _over_time(works, row["best"], found)


def behaviour(cell: dict[str, Any]) -> dict[str, float] | None:
    """How the policy that made the data did over the test period, where it could be walked."""
    for name, walk in cell["baselines"].items():
        if name.startswith("behaviour"):
            return {"name": name, "return": walk["return"], "steps": walk["steps"]}
    return None


def _over_seeds(values: list[float]) -> list[float | None]:
    """Interquartile mean of one task with its bootstrap interval."""
    return listed(stratified_bootstrap(np.array(values)[:, None], interquartile_mean))


def _over_time(works: list[Work], best: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Growth with its interval over seeds and time, and how far it is above the optimum's."""
    if best["bankrupt"]:
        return {"growth_interval": None, "above_optimum": None}
    returns = []
    for work in works:
        with np.load(work.equity) as curves:
            returns.append(simple_returns(curves["best"]))
    paths = np.stack(returns)
    made: dict[str, Any] = {
        "growth_interval": listed(joint_bootstrap(paths, growth_of, resamples=RESAMPLES))
    }
    known = found["controls"].get("optimum")
    made["above_optimum"] = None
    if known is not None:
        optimum = simple_returns(np.array(known[0]["equity"]))
        apart = joint_difference(paths, optimum, growth_of, resamples=RESAMPLES)
        made["above_optimum"] = listed(apart)
    return made


# --- over rows --------------------------------------------------------------------------------


def _methods(rows: Rows) -> dict[str, Any]:
    """Methods compared over all rows that every one of them has, of one number of seeds.

    Ablations (raw observations, variants) are not among them.
    """
    plain = {
        name: row
        for name, row in rows.items()
        if row["norm_obs"] and not row["variant"] and row["best"]["score"] is not None
    }
    cases: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for row in plain.values():
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
