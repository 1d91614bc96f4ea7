"""What stands beside the methods in every table: the controls, on the same test period.

* ``flat``, ``buy-and-hold`` and ``random`` (the mean of several seeds): who learned nothing.
* ``rule``: the suite's rule-based policy; ``expert`` and ``medium``: the online policies that made
  the data, without noise.
* ``optimum``: the policy that is known to be optimal, where there is one.
* ``oracle``: it is shown the next bar, or with stops and targets what each action brings
  (`bracket_oracle`), and must win by far. If it did not, the environment would not reward what it
  should.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.bracket_oracle import bracket_oracle
from benchmarks.reversion_optimum import Optimum, optimum_in
from benchmarks.scores_cell import growth, on_every_decision
from data_tools.acting import acting_in
from data_tools.files import replacing, sha256
from data_tools.flat_layout import read_provenance
from data_tools.policies import PolicyError
from gym_trade import SequentialConfig, VectorTradeEnv
from offline_algos import atari_style_il, d4rl_style_il
from offline_algos.checkpoint import load_policy
from offline_algos.datasets import load_dataset
from offline_algos.evaluation import evaluate, evaluate_rule, evaluation_environment, walk
from offline_algos.tasks import Task, open_task

RANDOM_SEEDS = 5
RULES = ("flat", "buy-and-hold")
SHOWN = ("total_return", "sharpe", "max_drawdown", "turnover", "n_trades", "fees_paid")


def open_judged(dataset: Path, *, continuous: bool, flags: tuple[str, ...] = ()) -> Task:
    """The task of a dataset, with the periods that every script judges its policies on.

    Args:
        dataset: A file of it.
        continuous: Of its actions.
        flags: Of the evaluation, as scripts take them.
    """
    script = d4rl_style_il if continuous else atari_style_il
    args = script.make_parser().parse_args(["--load-buffer-name", str(dataset), *flags])
    made = load_dataset(str(dataset), 0, continuous=continuous)
    task = open_task(args, made.origin)
    assert isinstance(task, Task)
    return task


def oracle(environment: VectorTradeEnv) -> Callable[[Any], npt.NDArray[Any]]:
    """A policy that knows the prices at which its order fills and at which it is next valued.

    It takes the highest level where the price rises by more than entering and leaving cost, the
    lowest where it falls by more, and else stays as it is.
    """
    acting = acting_in(environment)
    config = environment.config
    market, tables = environment.markets[0], environment.tables[0]
    ends = tables.bar_end
    fills, marks = market.open, market.close
    cost = 2.0 * (config.transaction_fee + config.slippage)

    def act(_: Any) -> npt.NDArray[Any]:
        here = int(environment.decision_index[0])
        first, after = int(ends[here]), int(ends[min(here + 1, len(ends) - 1)])
        begin = fills[min(first, len(fills) - 1)]
        move = float(np.log(marks[after - 1] / begin))
        level = environment.held_levels.copy()
        if move > cost:
            level[:] = acting.high
        elif move < -cost:
            level[:] = acting.low
        return acting.nearest(level)

    return act


def measure(outcome: dict[str, Any], times: npt.NDArray[Any]) -> dict[str, Any]:
    """What tables show of a walk, and its equity.

    Args:
        outcome: Of the walk.
        times: All decision instants of the period: between two rollouts equity is what it last was.
    """
    curve = pd.Series(outcome["equity"], index=outcome["times"]).reindex(times)
    equity = on_every_decision(curve)
    return {
        **{name: outcome["metrics"][name] for name in SHOWN},
        "growth": growth(equity),
        "steps": outcome["steps"],
        "terminated": outcome["terminated"],
        "equity": equity.tolist(),
    }


def walk_all(task: Task, suite: Path, rule: str) -> dict[str, list[dict[str, Any]]]:
    """Every control over the test period: its name to a walk for each seed.

    Args:
        task: What is judged.
        suite: The folder of the task's datasets, with its policies.
        rule: The suite's.
    """
    period = (task.config, task.test.start, task.test.end)
    made = {name: [evaluate_rule(name, *period)] for name in RULES}
    made["random"] = [evaluate_rule("random", *period, seed=seed) for seed in range(RANDOM_SEEDS)]
    try:
        made["rule"] = [evaluate_rule(rule, *period)]
    except PolicyError as error:
        print(f"rule {rule} is left out: {error}")
    for name in ("medium", "expert"):
        if (suite / f"{name}.pth").exists():
            policy = load_policy(suite / f"{name}.pth")
            made[name] = [evaluate(policy.act, *period, listener=policy.actor)]
    best = optimum_of_task(task)
    if best is not None:
        made["optimum"] = [evaluate_rule(best.policy, *period)]
    environment = evaluation_environment(*period)
    first, last = environment.decision_range
    times = environment.decision_times[first : last + 1]
    knowing = oracle if isinstance(task.config, SequentialConfig) else bracket_oracle
    made["oracle"] = [walk(environment, knowing(environment))]
    return {name: [measure(outcome, times) for outcome in walks] for name, walks in made.items()}


def optimum_of_task(task: Task) -> Optimum | None:
    """The optimum where it is known."""
    name = str(task.market.get("name", ""))
    try:
        return optimum_in(name, task.config)
    except ValueError:
        return None


def references(
    path: Path, dataset: Path, rule: str, *, continuous: bool, flags: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The controls of a task, from a file if they were walked before.

    Args:
        path: The file, JSON.
        dataset: One of the task's; its folder has the policies.
        rule: The suite's.
        continuous: Of the actions.
        flags: Of the evaluation.

    Returns:
        ``controls`` (name to walks), ``optimum`` (what is known of it, or None), the test period
        and what the file was made of.
    """
    source = {
        "market": (read_provenance(dataset) or {}).get("market", {}).get("content_hash"),
        "policies": {p.name: sha256(p) for p in sorted(dataset.parent.glob("*.pth"))},
        "rule": rule,
        "flags": list(flags),
    }
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if found["source"] == source:
            return found
    task = open_judged(dataset, continuous=continuous, flags=flags)
    best = optimum_of_task(task)
    made = {
        "source": source,
        "market": task.market.get("name") or task.market["content_hash"],
        "test": task.test.to_dict(),
        "optimum": None if best is None else asdict(best),
        "controls": walk_all(task, dataset.parent, rule),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(made, allow_nan=False) + "\n")
    return made
