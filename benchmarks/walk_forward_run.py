"""The work of walk-forward evaluation: a dataset, its folds, their trainings, what came of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import fold_data, scores_cell
from benchmarks.folds import FIRST_SHARE, Fold, FoldError, find_folds
from benchmarks.scores_cell import Cell, Work
from benchmarks.scores_config import EASY, EASY_CONTINUOUS, TASKS, ScoreTask
from benchmarks.scores_engine import run_jobs
from benchmarks.scores_references import open_judged, references
from benchmarks.walk_forward_result import gather
from data_tools import command_line
from data_tools.collect import collect
from data_tools.files import replacing
from data_tools.training_span import INDEXED
from offline_algos.evaluation import evaluation_environment

COLLECTED = "collected.hdf5"
Say = Callable[[str], object]


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        folder: Of all files.
        dataset: What folds are cut from.
        source: What tells that dataset, for `fold_data.ask`.
        methods: Such as "cql".
        seeds: How many trainings of each in each fold.
        count: Folds.
        first: Share of the market before the first test.
        rolling: See `folds.find_folds`.
        rule: A rule that is shown beside the methods.
        flags: Further ones of the trainings.
        trained_behaviour: Take data that a trained policy made.
        task: The benchmark's whose flags methods take; None: of the easy market.
    """

    folder: Path
    dataset: Path
    source: dict[str, Any]
    methods: tuple[str, ...]
    seeds: int
    count: int
    first: float = FIRST_SHARE
    rolling: str | None = None
    rule: str = "ma-cross"
    flags: tuple[str, ...] = ()
    trained_behaviour: bool = False
    task: str | None = None

    def about(self) -> dict[str, Any]:
        """What folds depend on."""
        return {"source": self.source, "folds": self.count, "first": self.first,
                "rolling": self.rolling}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is to be done for a question.

    Attributes:
        folds: In the order of time.
        works: Method to its cells, of each fold those of each seed.
        continuous: Of the actions.
        about: The dataset's provenance.
    """

    folds: list[Fold]
    works: dict[str, list[list[Work]]]
    continuous: bool
    about: dict[str, Any]

    @property
    def jobs(self) -> list[Work]:
        """All cells, seed by seed: an interrupted run has whole seeds."""
        every = [work for each in self.works.values() for cells in each for work in cells]
        return sorted(every, key=lambda work: work.cell.seed)


def make_plan(question: Question) -> Plan:
    """Find the folds and the trainings.

    Raises:
        ValueError: There is no such method, or the dataset cannot be cut so.
    """
    if question.seeds < 1:
        raise command_line.CommandLineError(
            f"--seeds {question.seeds}: expected a whole number >= 1."
        )
    path, trained = question.dataset, question.trained_behaviour
    about = fold_data.read_about(path, trained_behaviour=trained)
    continuous = about["action"]["type"] == "continuous"
    task = TASKS[question.task or (EASY_CONTINUOUS if continuous else EASY)]
    _check_methods(question.methods, TASKS[EASY_CONTINUOUS if continuous else EASY])
    opened = open_judged(path, continuous=continuous, flags=("--allow-overlap",))
    environment = evaluation_environment(opened.config)
    folds = find_folds(environment, question.count, first=question.first, rolling=question.rolling)
    fold_data.check_covered(path, about, folds)
    size = int(about.get("buffer_size", 0))
    works = {
        method: [
            [_work(question, task, fold, method, seed, size) for seed in range(question.seeds)]
            for fold in folds
        ]
        for method in dict.fromkeys(question.methods)
    }
    return Plan(folds, works, continuous, about)


def _check_methods(methods: Sequence[str], task: ScoreTask) -> None:
    for method in methods:
        if method not in task.methods:
            raise command_line.CommandLineError(
                f"--methods {method}: expected some of {', '.join(task.methods)}."
            )


def _work(
    question: Question, task: ScoreTask, fold: Fold, method: str, seed: int, size: int
) -> Work:
    kind = "expanding" if question.rolling is None else "rolling"
    cell = Cell(fold.name, kind, size, method, seed, flags=(*question.flags, *fold.flags))
    return Work(cell, task.script(method), task.words(method), question.folder)


def answer(
    question: Question, *, engine: str = "local", jobs: int | None = None, say: Say = say
) -> dict[str, Any]:
    """Train and test what is missing, and gather.

    Args:
        question: What is asked.
        engine: See `scores_engine.run_jobs`.
        jobs: Trainings at once.
        say: Told what is done.

    Returns:
        See `walk_forward_result.gather`; ``failed`` has the names of what failed.

    Raises:
        ValueError: There is no such method, the dataset cannot be cut so, or the folder holds the
            answer to another question.
    """
    plan, folder = make_plan(question), question.folder
    fold_data.ask(folder, question.about())
    controls = []
    for fold, (first, *_) in zip(plan.folds, next(iter(plan.works.values())), strict=True):
        target = folder / "datasets" / first.cell.dataset
        say(f"{fold.name}: test {fold.test}")
        fold_data.cut(question.dataset, plan.about, fold, target)
        found = references(
            folder / "references" / f"{fold.name}.json", target, question.rule,
            continuous=plan.continuous, flags=fold.flags,
        )  # fmt: skip
        controls.append(found["controls"])
    waiting = [work for work in plan.jobs if not work.is_done]
    say(f"{len(plan.jobs)} trainings, {len(plan.jobs) - len(waiting)} of them done")
    outcome = run_jobs(
        scores_cell.run, waiting, engine=engine, workers=jobs,
        say=lambda name, text: say(f"{name}: {text}"),
    )  # fmt: skip
    for name, text in outcome.failed.items():
        say(f"{name}: {text}; see {folder / 'logs' / (name + '.txt')}")
    made = gather(plan.folds, plan.works, controls)
    return made | {"question": question.about(), "failed": sorted(outcome.failed)}


def collected(folder: Path, flags: dict[str, Any]) -> Path:
    """Collect on a whole market into a folder, unless that was done before.

    Raises:
        ValueError: The folder's were collected otherwise, or these cannot be.
    """
    path, noted = folder / COLLECTED, folder / "collected.json"
    text = json.dumps(flags, indent=1, default=str) + "\n"
    if path.exists() and noted.exists():
        if noted.read_text() == text:
            return path
        raise FoldError(
            f"{path} was collected otherwise ({noted} says how): choose another --folder, or "
            "delete this one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    # only such rows can be dated, and so cut, where windows stand still for several decisions
    recording = {"layout": INDEXED, "train_fraction": 1.0, "overwrite": True}
    collect(path, **flags, **recording, progress=False, echo=say)
    with replacing(noted) as temporary:
        temporary.write_text(text)
    return path
