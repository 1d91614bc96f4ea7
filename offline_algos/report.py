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
from offline_algos.actors import ActorPolicy
from offline_algos.checkpoint import load_policy
from offline_algos.datasets import Dataset, behaviour_reference
from offline_algos.evaluation import behaviour_rules, evaluate, evaluate_rule
from offline_algos.gym_task import GymTask, RandomPolicy
from offline_algos.preparation import Learning
from offline_algos.runner import Run
from offline_algos.tasks import Task

FORMAT_VERSION = 1
CHECKPOINTS = {"best": "policy.pth", "last": "last.pth"}
CURVES = "equity.csv"
BASELINES = ("flat", "buy-and-hold", "random")
PACKAGES = ("gym-trade", "tianshou", "torch", "gymnasium", "numpy", "numba", "pandas")


def test_policies(run: Run, dataset: Dataset | None, task: Task) -> dict[str, dict[str, Any]]:
    """Walk both checkpoints, the baselines and any behaviour policy once over the test period.

    Returns:
        Name to what `evaluation.evaluate` returns.
    """
    period = (task.config, task.test.start, task.test.end)
    method = run.about["method"]
    tested = {}
    for name, file in CHECKPOINTS.items():
        policy = load_policy(run.directory / file)
        tested[f"{method} {name}"] = evaluate(
            policy.act, *period, name=name, show_progress=True, listener=policy.actor
        )
    for rule in BASELINES:
        tested[rule] = evaluate_rule(rule, *period, show_progress=True)
    provenance = dataset.provenance if dataset is not None else None
    behaviour = (provenance or {}).get("policy", {"members": []})
    for rule in behaviour_rules(behaviour):
        try:
            tested[f"behaviour {rule}"] = evaluate_rule(
                rule, *period, epsilon=behaviour.get("epsilon", 0.0), show_progress=True
            )
        except PolicyError as error:
            print(f"the behaviour policy is not in the table: {error}")
    return tested


def finish_run(run: Run, setup: Learning, **more: Any) -> dict[str, Any]:
    """Evaluate on what is kept for the test, write result.json, and print the table.

    Args:
        run: The finished run.
        setup: What it was trained on.
        **more: Further members of the result: JSON-able.

    Returns:
        What result.json holds.

    Raises:
        SystemExit: After Ctrl-C, with code 130.
    """
    task = setup.task
    judge = test_in_gym if isinstance(task, GymTask) else test_on_market
    try:
        tested, shown = judge(run, setup.dataset, task)
    except KeyboardInterrupt:
        print(f"interrupted in the test: the weights are in {run.directory}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    result = _result(run, setup.dataset) | {"test": tested} | more
    if isinstance(task, Task):
        result["equity_curves"] = CURVES
    path = run.directory / "result.json"
    with replacing(path) as temporary:
        text = json.dumps(finite(result), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    print(shown)
    print(path.resolve())
    return result


def _result(run: Run, dataset: Dataset | None) -> dict[str, Any]:
    """What result.json holds beside the test."""
    best_epoch, best_return = run.log.best()
    return {
        "format_version": FORMAT_VERSION,
        **run.about,
        "epochs": run.log.epoch,
        "updates": run.log.updates,
        "last_return": run.log.validation_returns[-1],
        "best_return": best_return,
        "best_epoch": best_epoch,
        "validation_returns": run.log.validation_returns,
        **behaviour_reference(dataset),
        "losses": run.log.losses,
        "seconds": run.log.seconds,
        "updates_per_second": run.log.updates / max(run.log.update_seconds, 1e-9),
        "checkpoints": CHECKPOINTS,
        "directory": str(run.directory),
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
    }


def test_on_market(run: Run, dataset: Dataset | None, task: Task) -> tuple[dict[str, Any], str]:
    """One pass of every policy over the test period; writes equity.csv.

    Returns:
        (``best``, ``last`` and ``baselines``, each with return, steps, terminated and metrics; the
        table as text).
    """
    tested = test_policies(run, dataset, task)
    method = run.about["method"]
    scores = {
        name: {key: outcome[key] for key in ("return", "steps", "terminated", "metrics")}
        for name, outcome in tested.items()
    }
    _write_curves(run.directory / CURVES, tested)
    where = task.market.get("path") or task.market.get("name")
    return (
        {
            "best": scores.pop(f"{method} best"),
            "last": scores.pop(f"{method} last"),
            "baselines": scores,
        },
        f"\ntest {task.test}, market {where}\n{table(tested)}",
    )


def test_in_gym(run: Run, dataset: Dataset | None, task: GymTask) -> tuple[dict[str, Any], str]:
    """The test episodes of both checkpoints and of random actions.

    Returns:
        (``best``, ``last`` and ``baselines``, each with the mean ``return``, its ``std`` over
        episodes and the ``returns``; the table as text).
    """
    scores = {}
    for name, file in CHECKPOINTS.items():
        actor = load_policy(run.directory / file).actor
        scores[name] = task.returns(ActorPolicy(actor, task.action_space), actor)
    scores["random"] = task.returns(RandomPolicy(task.action_space))
    lines = [f"{'policy':<10}{'return':>12}{'std':>10}{'min':>12}{'max':>12}"]
    lines += [
        f"{name:<10}{x.mean():>12.2f}{x.std():>10.2f}{x.min():>12.2f}{x.max():>12.2f}"
        for name, x in scores.items()
    ]
    behaviour = behaviour_reference(dataset)["behavior_return"]
    if behaviour is not None:
        lines.append(f"{'behaviour':<10}{behaviour:>12.2f}  (episodes of the dataset)")
    made = {
        name: {"return": float(x.mean()), "std": float(x.std()), "returns": x.tolist()}
        for name, x in scores.items()
    }
    tested = {"best": made["best"], "last": made["last"], "baselines": {"random": made["random"]}}
    return tested, f"\ntest: {task.episodes} episodes of {task.name}\n" + "\n".join(lines)


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


def finite(value: Any) -> Any:
    """The same for JSON: NumPy scalars become Python's, numbers that are not finite become None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
