"""One cell of the scores benchmark: a method trained on a dataset and tested, as a user does it.

A cell is run by the method's own script, in a process of its own, and leaves a JSON file with its
configuration, provenance, learning curve, test results, time, memory and commit, and beside it the
equity of both checkpoints over the test period.
"""

from __future__ import annotations

import importlib
import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.machine import describe_machine
from benchmarks.scores_engine import is_answered
from benchmarks.scores_log import logged
from benchmarks.suite_config import size_name
from data_tools.files import replacing

FORMAT_VERSION = 1
CHECKPOINTS = ("best", "last")
KIBIBYTE = 1024


@dataclass(frozen=True)
class Cell:
    """What is run.

    Attributes:
        task: Of the suite.
        kind: Of its datasets.
        size: Transitions of the dataset.
        method: Such as "cql".
        seed: Of the training.
        norm_obs: Whether observations are normalised.
        variant: Name of what else is unlike the method's defaults, "" for nothing.
        flags: The flags that make it so, beside the task's and the method's.
    """

    task: str
    kind: str
    size: int
    method: str
    seed: int
    norm_obs: bool = True
    variant: str = ""
    flags: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """All but the seed: what a row of a table is made of."""
        name = self.method + (f"-{self.variant}" if self.variant else "")
        name += "" if self.norm_obs else "-raw"
        return f"{self.task}/{self.kind}-{size_name(self.size)}/{name}"

    @property
    def name(self) -> str:
        """Of its files, below the folder of cells."""
        return f"{self.group}/seed{self.seed}"

    @property
    def dataset(self) -> str:
        """Its file, below the folder of datasets."""
        return f"{self.task}/{self.kind}-{size_name(self.size)}.hdf5"


@dataclass(frozen=True)
class Work:
    """A cell with all that its process needs to know.

    Attributes:
        cell: What is run.
        script: Module of ``offline_algos``.
        words: Its command line, but for the places of files.
        folder: The benchmark's: datasets, cells, runs.
    """

    cell: Cell
    script: str
    words: tuple[str, ...]
    folder: Path

    @property
    def name(self) -> str:
        """The cell's."""
        return self.cell.name

    @property
    def result(self) -> Path:
        """The JSON file."""
        return self.folder / "cells" / f"{self.cell.name}.json"

    @property
    def equity(self) -> Path:
        """The equity curves."""
        return self.result.with_suffix(".npz")

    @property
    def log(self) -> Path:
        """What the script prints, and why it failed."""
        return self.folder / "logs" / f"{self.cell.name}.txt"

    @property
    def is_done(self) -> bool:
        """Whether it need not be run again: its file says the same command."""
        return is_answered(self.result, self.command())

    def command(self) -> list[str]:
        """The whole command, its places relative to the benchmark's folder."""
        places = ["--load-buffer-name", f"datasets/{self.cell.dataset}"]
        places += ["--logdir", f"runs/{self.cell.name}"]
        return [self.script, *self.words, *self.cell.flags, *places, "--seed", str(self.cell.seed)]


def run(work: Work) -> None:
    """Train and test, and write the files; what was printed goes into the log.

    Raises:
        SystemExit: With 1 after a failure, which the log tells.
    """
    with logged(work.log, work.result):
        _train(work)


def _train(work: Work) -> None:
    script = importlib.import_module(f"offline_algos.{work.script}")
    words = _absolute(work.command()[1:], work.folder)
    begin = time.perf_counter()
    result = script.train(script.make_parser().parse_args(words))
    seconds = time.perf_counter() - begin
    curves = pd.read_csv(Path(result["directory"]) / result["equity_curves"], index_col=0)
    method = result["method"]
    equity = {name: on_every_decision(curves[f"{method} {name}"]) for name in CHECKPOINTS}
    with replacing(work.equity) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **equity)
    made = summary(work, result, equity) | {"seconds": seconds, "peak_bytes": _peak_bytes()}
    with replacing(work.result) as temporary:
        temporary.write_text(json.dumps(made, indent=1, allow_nan=False) + "\n")


def _absolute(words: list[str], folder: Path) -> list[str]:
    """The command with its places where they are."""
    made = list(words)
    for flag in ("--load-buffer-name", "--logdir"):
        place = made.index(flag) + 1
        made[place] = str(folder / made[place])
    return made


def _peak_bytes() -> int:
    """This process's largest memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE


def on_every_decision(curve: pd.Series) -> npt.NDArray[np.float64]:
    """An equity curve up to its last value; between two rollouts it is what it last was.

    Args:
        curve: By decision instants, NaN where this policy was in a rollout, or bankrupt before.
    """
    return curve.loc[: curve.last_valid_index()].ffill().to_numpy(np.float64)


def growth(equity: Any) -> float:
    """Mean log return a decision, up to where the account was bankrupt.

    Args:
        equity: In quote currency, (decisions + 1,), NaN after a bankruptcy. An account of nothing
            or less counts as a millionth of its first value.
    """
    values = np.asarray(equity, np.float64)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return 0.0
    last = max(values[-1], 1e-6 * values[0])
    return float(np.log(last / values[0]) / (len(values) - 1))


def summary(work: Work, result: dict[str, Any], equity: dict[str, Any]) -> dict[str, Any]:
    """What the cell's file holds of a script's result.

    Args:
        work: What was run.
        result: What the script's ``train`` returned.
        equity: "best" and "last" to the equity over the test period.
    """
    test = result["test"]
    baselines = {
        name: {**made["metrics"], "return": made["return"], "steps": made["steps"]}
        for name, made in test["baselines"].items()
    }
    return {
        "format_version": FORMAT_VERSION,
        "cell": asdict(work.cell),
        "command": work.command(),
        "dataset": {key: result["dataset"][key] for key in ("content_hash", "transitions")},
        "evaluation": result["evaluation"],
        "validation_returns": result["validation_returns"],
        "best_epoch": result["best_epoch"],
        "epochs": result["epochs"],
        "updates": result["updates"],
        "updates_per_second": result["updates_per_second"],
        "test": {
            name: {
                **test[name]["metrics"],
                "return": test[name]["return"],
                "steps": test[name]["steps"],
                "terminated": test[name]["terminated"],
                "growth": growth(equity[name]),
            }
            for name in CHECKPOINTS
        },
        "baselines": baselines,
        "machine": describe_machine(),
        "directory": str(Path(result["directory"]).relative_to(work.folder.resolve())),
    }
