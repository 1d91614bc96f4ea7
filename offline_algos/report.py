"""The end of a run: both checkpoints and the baselines on the test period, and result.json."""

from __future__ import annotations

import json
import math
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_tools.command_line import INTERRUPTED
from data_tools.files import replacing
from data_tools.policies import PolicyError
from offline_algos.checkpoint import load_policy
from offline_algos.datasets import Dataset, behaviour_reference
from offline_algos.evaluation import behaviour_rules, evaluate, evaluate_rule
from offline_algos.runner import Run
from offline_algos.tasks import Task

FORMAT_VERSION = 1
BASELINES = ("flat", "buy-and-hold", "random")
PACKAGES = ("gym-trade", "tianshou", "torch", "gymnasium", "numpy", "numba", "pandas")


def test_policies(run: Run, dataset: Dataset, task: Task) -> dict[str, dict[str, Any]]:
    """Walk both checkpoints, the baselines and the behaviour policy once over the test period.

    Returns:
        Name to what `evaluation.evaluate` returns.
    """
    period = (task.config, task.test.start, task.test.end)
    method = run.about["method"]
    tested = {}
    for name, file in (("best", "policy.pth"), ("last", "last.pth")):
        act = load_policy(run.directory / file).act
        tested[f"{method} {name}"] = evaluate(act, *period, name=name, show_progress=True)
    for rule in BASELINES:
        tested[rule] = evaluate_rule(rule, *period, show_progress=True)
    behaviour = (dataset.provenance or {}).get("policy", {"members": []})
    for rule in behaviour_rules(behaviour):
        try:
            tested[f"behaviour {rule}"] = evaluate_rule(
                rule, *period, epsilon=behaviour.get("epsilon", 0.0), show_progress=True
            )
        except PolicyError as error:
            print(f"the behaviour policy is not in the table: {error}")
    return tested


def finish_run(run: Run, dataset: Dataset, task: Task) -> dict[str, Any]:
    """Evaluate on the test period, write result.json and equity.csv, and print both tables.

    Returns:
        What result.json holds.

    Raises:
        SystemExit: After Ctrl-C, with code 130.
    """
    try:
        tested = test_policies(run, dataset, task)
    except KeyboardInterrupt:
        print(f"interrupted in the test: the weights are in {run.directory}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    best_epoch, best_return = run.log.best()
    method = run.about["method"]
    scores = {
        name: {key: outcome[key] for key in ("return", "steps", "terminated", "metrics")}
        for name, outcome in tested.items()
    }
    result = {
        "format_version": FORMAT_VERSION,
        **run.about,
        "epochs": run.log.epoch,
        "updates": run.log.updates,
        "last_return": run.log.validation_returns[-1],
        "best_return": best_return,
        "best_epoch": best_epoch,
        "validation_returns": run.log.validation_returns,
        **behaviour_reference(dataset),
        "test": {
            "best": scores.pop(f"{method} best"),
            "last": scores.pop(f"{method} last"),
            "baselines": scores,
        },
        "losses": run.log.losses,
        "seconds": run.log.seconds,
        "updates_per_second": run.log.updates / max(run.log.update_seconds, 1e-9),
        "checkpoints": {"best": "policy.pth", "last": "last.pth"},
        "directory": str(run.directory),
        "equity_curves": "equity.csv",
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
    }
    _write_curves(run.directory / "equity.csv", tested)
    path = run.directory / "result.json"
    with replacing(path) as temporary:
        text = json.dumps(_finite(result), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    print(f"\ntest {task.test}, market {task.market.get('path') or task.market.get('name')}")
    print(table(tested))
    print(path.resolve())
    return result


def table(tested: dict[str, dict[str, Any]]) -> str:
    """One line a policy: what a trader asks first."""
    width = max(map(len, tested)) + 1
    lines = [
        f"{'policy':<{width}}{'return':>10}{'sharpe':>9}{'max drawdown':>14}{'turnover':>10}"
        f"{'trades':>8}{'fees':>10}{'reward':>12}"
    ]
    for name, outcome in tested.items():
        metrics = outcome["metrics"]
        lines.append(
            f"{name:<{width}}{metrics['total_return']:>+10.2%}{metrics['sharpe']:>9.2f}"
            f"{metrics['max_drawdown']:>14.2%}{metrics['turnover']:>10.1f}"
            f"{metrics['n_trades']:>8.0f}{metrics['fees_paid']:>10.2f}{outcome['return']:>+12.5f}"
        )
    return "\n".join(lines)


def _write_curves(path: Path, tested: dict[str, dict[str, Any]]) -> None:
    """Equity by instant, one column a policy; empty after a bankruptcy."""
    curves = {
        name: pd.Series(outcome["equity"], index=outcome["times"])
        for name, outcome in tested.items()
    }
    with replacing(path) as temporary:
        pd.DataFrame(curves).to_csv(temporary, index_label="timestamp")


def _finite(value: Any) -> Any:
    """The same for JSON: NumPy scalars become Python's, numbers that are not finite become None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
