"""A result of the scores benchmark as the published one is shaped, made up."""

from __future__ import annotations

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.scores_curves import middle, thin
from benchmarks.scores_result import SHOWN, _methods, ends, score

EASY, CONTINUOUS, FAIR = "reversion-easy-levels", "reversion-easy-continuous", "martingale-levels"
METHODS = ("il", "bcq", "cql", "crr", "iql", "dt")
QUALITY = {"random": 0.3, "medium": 0.6, "expert": 0.9}
GROWTHS = {
    "flat": 0.0, "buy-and-hold": 1e-5, "random": -1.8e-4, "rule": 1e-4, "medium": 2.5e-4,
    "expert": 4e-4, "optimum": 4.5e-4, "oracle": 2e-3,
}  # fmt: skip
FEES = [0, 5, 10, 25]


def equity(random, growth, steps):
    return 1e4 * np.exp(np.append(0.0, np.cumsum(random.normal(growth, 2e-3, steps))))


def walk(random, growth, steps):
    curve = equity(random, growth, steps)
    made = float(np.log(curve[-1] / curve[0]) / steps)
    return {"growth": made, "equity": curve, **dict.fromkeys(SHOWN, 0.5)}


def around(value):
    return [value, value - 1e-5, value + 1e-5]


def task(random, name, steps):
    fair = name == FAIR
    names = [n for n in GROWTHS if not (fair and n == "optimum")]
    controls = {
        n: [walk(random, 0.0 if fair and n != "oracle" else GROWTHS[n], steps)] for n in names
    }
    limits = ends(name, {"controls": controls})
    return {
        "market": name, "optimum": None,
        "test": {"start": "2024-01-07T00:00:00", "end": "2026-05-29T00:00:00", "steps": steps},
        "top": None if limits is None else limits[2],
        "controls": {
            n: {"growth": w["growth"], "interval": around(w["growth"]),
                "score": None if limits is None else score(w["growth"], limits),
                **dict.fromkeys(SHOWN, 0.5), "equity": thin(w["equity"])}
            for n, (w,) in controls.items()
        },
    }, limits  # fmt: skip


def checkpoint(walks, limits):
    growths = [w["growth"] for w in walks]
    scores = None if limits is None else [score(g, limits) for g in growths]
    spread = None if scores is None else [float(np.mean(scores)), min(scores), max(scores)]
    return {"growth": growths, "score": scores, "interval": spread, "bankrupt": 0,
            **{key: [0.5] * len(walks) for key in SHOWN}}  # fmt: skip


def row(random, name, kind, size, method, limits, seeds, steps, **extra):
    growth = 0.0 if limits is None else 4e-4 * QUALITY[kind] * random.uniform(0.8, 1.1)
    walks = [walk(random, growth, steps) for _ in range(seeds)]
    best = checkpoint(walks, limits)
    chosen = middle(best["growth"])
    curves = np.linspace(-0.1, growth * 1e3, 6) + random.normal(0.0, 0.02, (seeds, 6))
    return {
        "task": name, "kind": kind, "size": size, "method": method, "norm_obs": True, "variant": "",
        "seeds": list(range(seeds)), "validation_returns": curves.tolist(), "seconds": 9.0,
        "updates_per_second": 1e3, "peak_bytes": 10**8, "commits": ["abc"], "behaviour": None,
        "best": best, "last": checkpoint(walks, limits),
        "growth_interval": around(float(np.mean(best["growth"]))),
        "above_optimum": None,
        "equity": {"seed": chosen, **thin(walks[chosen]["equity"])}, **extra,
    }  # fmt: skip


def sample(tasks=(EASY, CONTINUOUS, FAIR), kinds=tuple(QUALITY), seeds=3, steps=600, costs=True):
    """A whole result."""
    random = np.random.default_rng(7)
    made = {"tasks": {}, "rows": {}, "missing": [], "suite": "small", "machine": describe_machine()}
    for name in tasks:
        made["tasks"][name], limits = task(random, name, steps)
        methods = (*METHODS, "td3_bc") if name == CONTINUOUS else METHODS
        for kind in kinds:
            for method in methods:
                made["rows"][f"{name}/{kind}-100k/{method}"] = row(
                    random, name, kind, 100_000, method, limits, seeds, steps
                )
    first = next(iter(made["rows"].values()))
    raw = {**first, "norm_obs": False, "equity": None}
    made["rows"][f"{tasks[0]}/{kinds[0]}-100k/il-raw"] = raw
    made["methods"] = _methods(made["rows"])
    if costs:
        made["costs"] = sweep(made)
    return made


def sweep(result):
    """A sweep of fees: growth falls with the fee."""
    falls = [1.0 - 0.06 * fee for fee in FEES]
    rows = {
        name: {"growth": [[fall * g for g in found["best"]["growth"]] for fall in falls],
               "break_even_bp": 17.0}
        for name, found in result["rows"].items()
        if found["norm_obs"]
    }  # fmt: skip
    controls = {
        name: {n: [fall * c["growth"] for fall in falls] for n, c in about["controls"].items()}
        for name, about in result["tasks"].items()
    }
    return {"fees_bp": FEES, "rows": rows, "controls": controls}
