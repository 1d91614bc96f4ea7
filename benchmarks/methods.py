"""Every method on small tasks whose right answer is known, over seeds.

``python -m benchmarks.methods`` collects CartPole and Pendulum data with controllers written by
hand, and data of a noisy rule on the embedded learnable market, trains every method on them with
the commands that users run, and writes results/methods.json. What was finished is not run again:
each run is a file in ``--folder``. ``--tasks`` and ``--methods`` take a part.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.controllers import balance, swing_up
from benchmarks.machine import describe_machine, write_result
from benchmarks.method_cases import CONTINUOUS, DISCRETE, TASKS, TaskCase
from benchmarks.method_tables import methods_table
from data_tools import command_line
from data_tools.files import replacing
from data_tools.rollouts import record


def arguments_of(case: TaskCase, method: str, parser: argparse.ArgumentParser) -> list[str]:
    """A method's flags on a task; a flag that it does not have (a discount) is left out."""
    known = {option for action in parser._actions for option in action.option_strings}
    flags = case.flags | case.own.get(method, {})
    return [
        word for flag, words in flags.items() if flag in known and words for word in (flag, *words)
    ]


def run_cell(case: TaskCase, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train and test a method once, or read what that gave before."""
    name = case.name.replace(", ", "-").replace(" ", "-")
    kept, data = folder / f"{name}-{method}-{seed}.json", folder / f"{name}.hdf5"
    if kept.exists():
        made: dict[str, Any] = json.loads(kept.read_text())
        return made
    if not data.exists():
        case.make_data(data)
    script = importlib.import_module(f"offline_algos.{case.prefix}_{method}")
    parser = script.make_parser()
    flags = arguments_of(case, method, parser)
    places = ["--load-buffer-name", str(data), "--logdir", str(folder / "log" / name / method)]
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        result = script.train(parser.parse_args([*places, "--seed", str(seed), *flags]))
    made = _summary(result) | {
        "seconds": time.perf_counter() - begin,
        "flags": flags,
        "commit": describe_machine()["commit"],
    }
    with replacing(kept) as temporary:
        temporary.write_text(json.dumps(made, indent=1))
    return made


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a run: test results of the best and the last checkpoint."""
    test = result["test"]
    made = {}
    for name, outcome in {**test["baselines"], "best": test["best"], "last": test["last"]}.items():
        metrics = outcome.get("metrics")
        made[name] = metrics["total_return"] if metrics else outcome["return"]
    return {
        "test": made,
        "behaviour": result["behavior_return"],
        "updates_per_second": result["updates_per_second"],
    }


def measure(cases: list[TaskCase], methods: set[str], seeds: int, folder: Path) -> dict[str, Any]:
    """Task -> method -> a list of runs, one a seed."""
    results: dict[str, Any] = {}
    for case in cases:
        for method in case.methods:
            if method not in methods:
                continue
            count = min(seeds, case.seeds or seeds)
            runs = [run_cell(case, method, seed, folder) for seed in range(count)]
            results.setdefault(case.name, {})[method] = runs
            best = [round(run["test"]["best"], 3) for run in runs]
            print(f"{case.name}, {method}: {best}", file=sys.stderr, flush=True)
    return results


def expert_returns() -> dict[str, float]:
    """What the controllers earn without noise: the mean over 20,000 steps."""
    made = {}
    experts = {"CartPole": ("CartPole-v1", balance), "Pendulum": ("Pendulum-v1", swing_up)}
    with tempfile.TemporaryDirectory() as folder:
        for name, (task, act) in experts.items():
            path = Path(folder) / f"{name}.hdf5"
            episodes = record(task, act, path, buffer_size=20_000, policy={"name": "expert"})
            made[name] = episodes.mean_return
    return made


def main(argv: list[str] | None = None) -> int:
    """The command line; 0, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    names = [case.name for case in TASKS]
    parser.add_argument("--tasks", nargs="+", choices=names, default=names)
    parser.add_argument("--methods", nargs="+", default=sorted({*DISCRETE, *CONTINUOUS}))
    parser.add_argument("--seeds", type=int, default=5, help="default: 5")
    parser.add_argument("--folder", type=Path, default=Path("methods"), help="default: methods/")
    arguments = parser.parse_args(argv)

    def command() -> None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        machine = describe_machine()
        cases = [case for case in TASKS if case.name in arguments.tasks]
        result = {
            "machine": machine,
            "seeds": arguments.seeds,
            "experts": expert_returns(),
            "tasks": measure(cases, set(arguments.methods), arguments.seeds, arguments.folder),
        }
        print(methods_table(result))
        print(write_result("methods", result))

    return command_line.run(command)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
