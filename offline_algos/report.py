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

from data_tools.acting import acting_in
from data_tools.command_line import INTERRUPTED
from data_tools.d4rl_tasks import normalised_score
from data_tools.files import replacing
from data_tools.policies import PolicyError
from offline_algos.actors import ActorPolicy
from offline_algos.behaviour import CHECKPOINT, behaviour_of, recorded_checkpoint
from offline_algos.checkpoint import CheckpointError, TrainedPolicy, load_policy
from offline_algos.datasets import Dataset, behaviour_reference
from offline_algos.evaluation import (
    behaviour_rules,
    evaluate,
    evaluate_rule,
    evaluation_environment,
    walk,
)
from offline_algos.gym_task import GymTask, RandomPolicy
from offline_algos.origin import Origin, checkpoint_origin
from offline_algos.preparation import Learning
from offline_algos.runner import Run
from offline_algos.tasks import Task

FORMAT_VERSION = 1
CHECKPOINTS = {"best": "policy.pth", "last": "last.pth"}
CURVES = "equity.csv"
BASELINES = ("flat", "buy-and-hold", "random")
PACKAGES = ("gym-trade", "tianshou", "torch", "gymnasium", "numpy", "numba", "pandas")


Tested = tuple[dict[str, Any], str, pd.DataFrame | None]


def test_policies(
    policies: dict[str, TrainedPolicy], origin: Origin | None, task: Task
) -> dict[str, dict[str, Any]]:
    """Walk policies, the baselines and the behaviour policy once over the test period.

    Args:
        policies: Name, such as "best", to policy.
        origin: What they were learned from; None where there was no data.
        task: What they are judged in.

    Returns:
        Name to what `evaluation.evaluate` returns.
    """
    period = (task.config, task.test.start, task.test.end)
    tested = {}
    for name, policy in policies.items():
        tested[row_name(name, policy)] = evaluate(
            policy.act, *period, name=name, show_progress=True, listener=policy.actor
        )
    for rule in BASELINES:
        try:
            tested[rule] = evaluate_rule(rule, *period, show_progress=True)
        except PolicyError as error:
            print(f"{rule} is not in the table: {error}")
    return tested | _test_behaviour(origin, task)


def _test_behaviour(origin: Origin | None, task: Task) -> dict[str, dict[str, Any]]:
    """The policies that made the data over the test period, as far as they can be made again."""
    period = (task.config, task.test.start, task.test.end)
    provenance = {} if origin is None else origin.provenance
    behaviour = provenance.get("policy", {"members": []})
    epsilon, tested = behaviour.get("epsilon", 0.0), {}
    try:
        if behaviour.get("name") == CHECKPOINT:
            policy = recorded_checkpoint(behaviour, Path(origin.data_path or "").parent)
            environment = evaluation_environment(*period)
            mask = acting_in(environment).mask
            act = behaviour_of(policy, task.action_space, epsilon=epsilon, mask=mask).act
            tested[f"behaviour {row_name(CHECKPOINT, policy)}"] = walk(
                environment, act, CHECKPOINT, True, policy.actor
            )
            return tested
        for rule in behaviour_rules(behaviour):
            walked = evaluate_rule(rule, *period, epsilon=epsilon, show_progress=True)
            tested[f"behaviour {rule}"] = walked
    except (PolicyError, CheckpointError) as error:
        print(f"the behaviour policy is not in the table: {error}")
    return tested


def row_name(name: str, policy: TrainedPolicy) -> str:
    """A policy's name in tables, such as "cql best"."""
    return f"{policy.about['method']} {name}"


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
        policies = {name: load_policy(run.directory / file) for name, file in CHECKPOINTS.items()}
        tested, shown, curves = judge(policies, _origin(run, setup), task)
    except KeyboardInterrupt:
        print(f"interrupted in the test: the weights are in {run.directory}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    result = _result(run, setup.dataset) | {"test": tested} | more
    write_result(run.directory / "result.json", result, shown, curves)
    return result


def _origin(run: Run, setup: Learning) -> Origin:
    """What was learned from: a dataset, or what the run's checkpoints tell of its environments."""
    if setup.dataset is not None:
        return setup.dataset.origin
    return checkpoint_origin(run.about, str(run.directory))


def write_result(
    path: Path, result: dict[str, Any], shown: str, curves: pd.DataFrame | None
) -> None:
    """Write a result as JSON, and the equity curves beside it; print the table and the path."""
    if curves is not None:
        result["equity_curves"] = CURVES
        with replacing(path.with_name(CURVES)) as temporary:
            curves.to_csv(temporary, index_label="timestamp")
    else:
        score, line = _normalised(result["task"], result["test"], result.get("behavior_return"))
        result, shown = result | score, shown + line
    with replacing(path) as temporary:
        text = json.dumps(finite(result), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    print(shown)
    print(path.resolve())


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
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Which releases made a result."""
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}


def test_on_market(policies: dict[str, TrainedPolicy], origin: Origin | None, task: Task) -> Tested:
    """One pass of every policy over the test period.

    Returns:
        (Each of `policies` by its name and ``baselines``, all with return, steps, terminated and
        metrics; the table as text; equity by instant, one column a policy, empty after a
        bankruptcy).
    """
    tested = test_policies(policies, origin, task)
    scores = {
        name: {key: outcome[key] for key in ("return", "steps", "terminated", "metrics")}
        for name, outcome in tested.items()
    }
    curves = {
        name: pd.Series(outcome["equity"], index=outcome["times"])
        for name, outcome in tested.items()
    }
    where = task.market.get("path") or task.market.get("name")
    judged = {name: scores.pop(row_name(name, policy)) for name, policy in policies.items()}
    return (
        judged | {"baselines": scores},
        f"\ntest {task.test}, market {where}\n{table(tested)}",
        pd.DataFrame(curves),
    )


def test_in_gym(policies: dict[str, TrainedPolicy], origin: Origin | None, task: GymTask) -> Tested:
    """The test episodes of policies and of random actions.

    Returns:
        (Each of `policies` by its name and ``baselines``, all with the mean ``return``, its ``std``
        over episodes and the ``returns``; the table as text; no curves).
    """
    scores = {
        name: task.returns(ActorPolicy(policy.actor, task.action_space), policy.actor)
        for name, policy in policies.items()
    }
    scores["random"] = task.returns(RandomPolicy(task.action_space))
    width = max(10, *(len(name) + 1 for name in scores))
    lines = [f"{'policy':<{width}}{'return':>12}{'std':>10}{'min':>12}{'max':>12}"]
    lines += [
        f"{name:<{width}}{x.mean():>12.2f}{x.std():>10.2f}{x.min():>12.2f}{x.max():>12.2f}"
        for name, x in scores.items()
    ]
    behaviour = None if origin is None else origin.behavior_return
    if behaviour is not None:
        lines.append(f"{'behaviour':<{width}}{behaviour:>12.2f}  (episodes of the dataset)")
    made = {
        name: {"return": float(x.mean()), "std": float(x.std()), "returns": x.tolist()}
        for name, x in scores.items()
    }
    random = made.pop("random")
    shown = f"\ntest: {task.episodes} episodes of {task.name}\n" + "\n".join(lines)
    return made | {"baselines": {"random": random}}, shown, None


def _normalised(
    task: str, tested: dict[str, Any], behaviour: float | None
) -> tuple[dict[str, Any], str]:
    """What D4RL's normalised score adds to result.json and to the table, where there is one."""
    returns = {name: made["return"] for name, made in tested.items() if name != "baselines"}
    returns |= {"random": tested["baselines"]["random"]["return"], "behavior": behaviour}
    score = normalised_score(task, returns)
    if score is None:
        return {}, ""
    listed = ", ".join(f"{name} {score[name]:.1f}" for name in returns if score[name] is not None)
    return {"normalised_score": score}, f"\nD4RL's normalised score: {listed}; {score['note']}"


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


def finite(value: Any) -> Any:
    """The same for JSON: NumPy scalars become Python's, numbers that are not finite become None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
