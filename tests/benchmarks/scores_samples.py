"""Results of the scores benchmark, gathered from made-up cells: nothing is trained."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from benchmarks import scores
from benchmarks.machine import describe_machine
from benchmarks.scores_cell import CHECKPOINTS, growth
from benchmarks.scores_config import EASY, MARTINGALE, Suite, cells_of
from benchmarks.scores_curves import equity_curves
from benchmarks.scores_fqe import fqe
from benchmarks.scores_result import gather
from gym_trade.metrics import NAMES

STEPS = 120
SUITE = Suite((EASY, MARTINGALE), ("medium", "expert"), (10_000,), seeds=3,
              methods=("il", "cql", "iql"))  # fmt: skip
GROWTHS = {
    "flat": 0.0, "buy-and-hold": 1e-4, "random": -2e-3, "rule": 5e-4, "medium": 1e-3,
    "expert": 2e-3, "optimum": 2.5e-3, "oracle": 6e-3,
}  # fmt: skip
QUALITY = {"medium": 1e-3, "expert": 2e-3}
FEES = [0, 5, 10, 25]
TEST = {"start": "2024-01-07T00:00:00", "end": "2026-05-29T00:00:00", "steps": STEPS}


def equity(random, mean, steps=STEPS):
    return 1e4 * np.exp(np.append(0.0, np.cumsum(random.normal(mean, 2e-3, steps))))


def measured(curve):
    return {
        **dict.fromkeys(NAMES, 0.5), "total_return": curve[-1] / curve[0] - 1.0,
        "growth": growth(curve), "steps": len(curve) - 1, "terminated": False, "return": 0.1,
    }  # fmt: skip


def controls_of(random, task):
    """As `scores_references.references` returns them."""
    fair = task == MARTINGALE
    walks = {}
    for name, mean in GROWTHS.items():
        if not (fair and name == "optimum"):
            curve = equity(random, 0.0 if fair and name != "oracle" else mean)
            curve = np.full_like(curve, 1e4) if name == "flat" else curve
            walks[name] = [measured(curve) | {"equity": curve.tolist()}]
    return {"market": task, "test": TEST, "optimum": None, "controls": walks}


def write_cell(random, work, machine):
    """The files that a finished cell leaves."""
    mean = 0.0 if work.cell.task == MARTINGALE else QUALITY[work.cell.kind]
    curves = {name: equity(random, mean) for name in CHECKPOINTS}
    work.result.parent.mkdir(parents=True, exist_ok=True)
    np.savez(work.equity, **curves)
    work.result.write_text(json.dumps({
        "cell": asdict(work.cell), "command": work.command(), "best_epoch": 3, "epochs": 3,
        "validation_returns": (np.arange(4) + random.normal(size=4)).tolist(), "updates": 9,
        "updates_per_second": 1e3, "baselines": {}, "machine": machine,
        "test": {name: measured(curve) for name, curve in curves.items()},
        "directory": "runs", "seconds": 9.0, "peak_bytes": 10**8,
    }))  # fmt: skip


def made_result(folder, suite=SUITE):
    """A whole result, as ``python -m benchmarks.scores`` writes it."""
    random, machine = np.random.default_rng(7), describe_machine()
    works = scores.works_of(cells_of(suite), folder)
    for work in works:
        write_cell(random, work, machine)
    controls = {task: controls_of(random, task) for task in suite.tasks}
    made = gather(works, controls) | {"suite": "quick", "machine": machine}
    made["fqe"] = fqe(works, controls, [])
    return made | {"curves": equity_curves(works, controls)}


def sweep(result):
    """As `scores_sweeps.costs` returns it: growth falls with the fee."""
    falls = [1.0 - 0.06 * fee for fee in FEES]
    at = ("at", 1.0 / 0.06)
    rows = {}
    for name, found in result["rows"].items():
        trained = found["best"]["growth"]
        rows[name] = {key: found[key] for key in ("task", "kind", "size", "method", "seeds")} | {
            "growth": [[fall * growth for growth in trained] for fall in falls],
            "bankrupt": [0] * len(FEES), "trained_bp": FEES[0], "trained_growth": trained,
            "break_even": at[0], "break_even_bp": at[1], "break_even_seeds": [at] * len(trained),
        }  # fmt: skip
    controls = {
        task: {n: [fall * c["growth"] for fall in falls] for n, c in about["controls"].items()}
        for task, about in result["tasks"].items()
    }
    return {
        "fees_bp": FEES, "rows": rows, "controls": controls, "optimum": {}, "missing": [],
        "controls_break_even": {task: dict.fromkeys(of, at) for task, of in controls.items()},
    }  # fmt: skip
