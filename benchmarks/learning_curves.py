"""Validation returns of training runs, read from what they left, and their mean over seeds."""

from __future__ import annotations

import csv
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.method_tables import T_VALUES
from offline_algos.loggers import PROGRESS
from offline_algos.runner import CONTINUOUS

RESULT = "result.json"
EVENTS = "events.out.tfevents.*"
# What Tianshou's loggers write: returns of a validation, and at the end of each epoch its counters.
RETURNS, UPDATES, COLLECTED = "test/returns_stat/mean", "info/update_step", "info/train_step"
BANDS = {
    "range": "from the smallest to the largest seed",
    "interval": "95% interval of the mean (Student's t)",
}
Points = list[tuple[float, float]]


class Run(NamedTuple):
    """A run's curve.

    Attributes:
        task: The environment's id.
        method: As the scripts call it; of continuous actions in a market with `CONTINUOUS`.
        seed: Its seed.
        points: (step, validation return), the first of the untrained policy.
        online: Whether steps are those of the environment; else gradient steps.
        behaviour: Mean return of the dataset's episodes, None where that is no such return.
        directory: Where it was found.
        data: The dataset's file name without its ending, "" where that is not known (yet).
    """

    task: str
    method: str
    seed: int
    points: Points
    online: bool
    behaviour: float | None
    directory: Path
    data: str = ""


class Curve(NamedTuple):
    """The mean of a method's runs on a task, with its band; each (steps,)."""

    steps: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    seeds: int


def find_runs(folder: Path) -> list[Run]:
    """Every run below a folder; of several with the same task, method, data and seed the newest.

    Where a method learned from several datasets of a task, each is a method of its own here: "cql
    on expert".

    Runs that were not validated yet, and older ones, are named on standard error.

    Raises:
        ValueError: There is no such folder, no run in it, or none with a seed or a curve.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder. Name the --logdir of training runs.")
    patterns = (EVENTS, PROGRESS, RESULT)
    found = sorted({path.parent for pattern in patterns for path in folder.rglob(pattern)})
    if not found:
        raise ValueError(
            f"no runs below {folder}: neither TensorBoard events nor {PROGRESS} nor {RESULT}. "
            "Name the --logdir of training runs."
        )
    named = [directory for directory in found if _seed(directory) is not None]
    if not named:
        raise ValueError(
            f"no run below {folder} has a seed: {found[0]} is not called seed<seed>-<time>. Leave "
            "runs' folders as training named them."
        )
    read: list[Run] = []
    for directory in sorted(named, key=lambda path: path.name.partition("-")[2]):
        run = _read(directory, folder)
        if len(run.points) < 2:
            print(f"left out, not validated yet: {directory}", file=sys.stderr)
            continue
        read.append(run)
    runs: dict[tuple[str, str, str, int], Run] = {}
    for run in _with_likely_data(read):
        key = (run.task, run.method, run.data, run.seed)
        if key in runs:
            print(f"left out, newer with that seed: {runs[key].directory}", file=sys.stderr)
        runs[key] = run
    if not runs:
        raise ValueError(f"no run below {folder} was validated after its first epoch yet.")
    return _told_apart(list(runs.values()))


def _with_likely_data(runs: list[Run]) -> list[Run]:
    """The runs; one under way, whose data are not known yet, is one more seed of the only known."""
    known: dict[tuple[str, str], dict[str, set[int]]] = {}
    for run in runs:
        if run.data:
            own = known.setdefault((run.task, run.method), {})
            own.setdefault(run.data, set()).add(run.seed)

    def data_of(run: Run) -> str:
        found = known.get((run.task, run.method), {})
        only = next(iter(found)) if len(found) == 1 else ""
        # a seed that is there already may as well be that of other data
        return only if only and run.seed not in found[only] else ""

    return [run if run.data else run._replace(data=data_of(run)) for run in runs]


def _told_apart(runs: list[Run]) -> list[Run]:
    """The runs, with their data in the method's name where it has learned from several."""
    data: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        data.setdefault((run.task, run.method), set()).add(run.data)
    return [
        run._replace(method=f"{run.method} on {run.data or 'unknown data'}")
        if len(data[run.task, run.method]) > 1
        else run
        for run in runs
    ]


def _seed(directory: Path) -> int | None:
    match = re.match(r"seed(\d+)-", directory.name)
    return int(match[1]) if match else None


def _read(directory: Path, folder: Path) -> Run:
    """One run: TensorBoard events first, then `PROGRESS`, then `RESULT`."""
    path = directory / RESULT
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    parents = directory.resolve().parent.parent
    try:
        task = parents.relative_to(folder.resolve()).as_posix()  # a task's name may have slashes
    except ValueError:
        task = "."
    points, online = _events(directory)
    points = points or _progress(directory / PROGRESS) or _result(result)
    # a market is validated in one pass over a period; the data's episodes there are shorter
    comparable = "market" not in result.get("evaluation", {})
    return Run(
        task=result.get("task") or (parents.name if task == "." else task),
        method=_method(result) or directory.parent.name,
        seed=_seed(directory) or 0,
        points=points,
        online=online,
        behaviour=result.get("behavior_return") if comparable else None,
        directory=directory,
        data=Path((result.get("dataset") or {}).get("path", "")).stem,
    )


def _method(result: dict[str, Any]) -> str | None:
    """The last part of `runner.folder_of`, also for a run that lies elsewhere."""
    if "method" not in result:
        return None
    market = "market" in result.get("evaluation", {})
    continuous = market and "n" not in result.get("action_space", {"n": None})
    return result["method"] + CONTINUOUS * continuous


def _events(directory: Path) -> tuple[Points, bool]:
    """Points of TensorBoard's event files, and whether the run was online.

    A validation stands at the transitions sampled so far, or collected where the run is online; its
    gradient step is that of its epoch. What a resumed run did again counts once.
    """
    if not any(directory.glob(EVENTS)):
        return [], False
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    read.Reload()
    known = read.Tags()["scalars"]

    def latest(tag: str) -> dict[int, float]:
        items = sorted(read.Scalars(tag), key=lambda item: item.wall_time) if tag in known else []
        return {item.step: item.value for item in items}

    returns, updates = latest(RETURNS), latest(UPDATES)
    if any(latest(COLLECTED).values()):
        return sorted(returns.items()), True
    steps = [0.0, *(updates[epoch] for epoch in sorted(updates))]
    # a validation whose epoch is not over yet has no step
    values = [returns[step] for step in sorted(returns)]
    return list(zip(steps, values, strict=False)), False


def _progress(path: Path) -> Points:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(float(row["step"]), float(row["validation_return"])) for row in rows]


def _result(result: dict[str, Any]) -> Points:
    returns = result.get("validation_returns", [])
    each = result.get("updates", 0) / max(len(returns) - 1, 1)
    return [(number * each, value) for number, value in enumerate(returns)]


def over_seeds(runs: Sequence[Run], band: str = "range") -> Curve:
    """The mean of some runs, up to the last step of the shortest.

    Where they were not validated at the same steps, their returns between are interpolated.

    Args:
        runs: Of one task and method.
        band: One of `BANDS`.
    """
    shortest = min(run.points[-1][0] for run in runs)
    steps = sorted({step for run in runs for step, _ in run.points if step <= shortest})
    values = np.array([np.interp(steps, *zip(*run.points, strict=True)) for run in runs])
    mean, low, high = values.mean(0), values.min(0), values.max(0)
    if band == "interval" and len(runs) > 1:
        factor = T_VALUES[min(len(runs) - 2, len(T_VALUES) - 1)] / len(runs) ** 0.5
        margin = factor * np.array([statistics.stdev(column) for column in values.T.tolist()])
        low, high = mean - margin, mean + margin
    return Curve(np.array(steps, np.float64), mean, low, high, len(runs))
