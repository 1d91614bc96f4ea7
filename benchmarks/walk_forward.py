"""Walk-forward evaluation: methods trained again and again, each time tested on what comes next.

    python -m benchmarks.walk_forward --load-buffer-name trades.hdf5 --methods cql iql il --folds 4

cuts the market of a dataset into folds (`benchmarks.folds`), trains every method on what lies
before each one's validation and test periods, and joins the tests to one account. The dataset must
reach far enough and be made by rules, since a trained policy may have learned from the folds'
tests: ``python -m data_tools.collect --train-fraction 1``. With ``--market`` instead of
``--load-buffer-name`` it is collected here, by ``--policy``.

Trainings, tables and walk_forward.json lie in ``--folder``. What is finished is not done again: the
same command goes on after an interrupt. Methods take the flags of the scores benchmark
(`scores_config`) and then those of ``--flags``, such as --flags "--epoch 10 --lr 3e-4".
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import fold_data, scores_cell
from benchmarks.folds import FIRST_SHARE, Fold, find_folds
from benchmarks.machine import describe_machine
from benchmarks.scores_cell import Cell, Work
from benchmarks.scores_config import EASY, EASY_CONTINUOUS, TASKS, ScoreTask
from benchmarks.scores_engine import run_jobs
from benchmarks.scores_references import open_judged, references
from benchmarks.walk_forward_result import gather
from benchmarks.walk_forward_tables import folds_table, walk_forward_tables
from data_tools import command_line
from data_tools.collect import collect
from data_tools.environment import add_environment_flags, parse_env_arguments
from data_tools.files import replacing
from data_tools.training_span import DEFAULT_TASK
from offline_algos.evaluation import evaluation_environment

FAILED = 1
RESULT = "walk_forward"
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


# --- the command ------------------------------------------------------------------------------


def parser_() -> command_line.ArgumentParser:
    """The flags."""
    parser = command_line.ArgumentParser(
        prog="python -m benchmarks.walk_forward", description=__doc__
    )
    # fmt: off
    add = parser.add_argument
    add("--load-buffer-name", type=Path, metavar="FILE", help="the dataset; or give --market")
    add_environment_flags(parser, default_market=False)
    add("--task", default=DEFAULT_TASK, help="with --market: environment id (default: %(default)s)")
    add("--policy", default="random", metavar="NAME",
        help="with --market: who makes the data, as data_tools.collect has it "
        "(default: %(default)s)")
    add("--epsilon", type=float, default=0.0, metavar="P",
        help="with --market: share of its actions that are random (default: %(default)s)")
    add("--buffer-size", type=int, default=100_000, metavar="N",
        help="with --market: transitions on the whole market (default: %(default)s)")
    add("--episode-steps", type=int, default=200, metavar="N",
        help="with --market: steps an episode (default: %(default)s)")
    add("--methods", nargs="+", default=["il", "cql", "iql"], metavar="METHOD",
        help="default: il cql iql")
    add("--folds", type=int, default=4, metavar="K", help="default: %(default)s")
    window = parser.add_mutually_exclusive_group()
    window.add_argument("--expanding", action="store_true",
        help="learn from all that lies before (the default)")
    window.add_argument("--rolling", metavar="SPAN",
        help="learn from at most so much of what lies before, such as 365d")
    add("--first", type=float, default=FIRST_SHARE, metavar="F",
        help="share of the market before the first test (default: %(default)s)")
    add("--seeds", type=int, default=2, metavar="N",
        help="trainings of each method in each fold (default: %(default)s)")
    add("--rule", default="ma-cross", metavar="NAME",
        help="a rule to stand beside the methods (default: %(default)s)")
    add("--flags", default="", metavar="TEXT", help="further flags of every method, in one word")
    add("--trained-behaviour", action="store_true",
        help="take data that a trained policy made: say that it has not seen the tests")
    add("--folder", type=Path, default=Path("walk_forward"), help="default: %(default)s/")
    add("--engine", choices=("local", "ray"), default="local",
        help="processes of this machine, or a Ray cluster (extra ray)")
    add("--jobs", type=int, metavar="N",
        help="trainings at once, a thread each (default: 1; with Ray all cores)")
    add("--dry-run", action="store_true", help="only list folds and trainings (with --market data are collected for it)")
    # fmt: on
    return parser


def _dataset_of(args: Any, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The dataset, collected if need be, and what tells it."""
    if (args.load_buffer_name is None) == (args.market is None):
        raise command_line.CommandLineError("expected either --load-buffer-name or --market.")
    if args.load_buffer_name is not None:
        path = args.load_buffer_name.resolve()
        return path, fold_data.identity(path)
    flags = {
        "market": args.market, "task": args.task, "policy": args.policy, "epsilon": args.epsilon,
        "buffer_size": args.buffer_size, "episode_steps": args.episode_steps,
        "env": parse_env_arguments(args.env, args.env_config),
    }  # fmt: skip
    return collected(folder, flags), flags


def collected(folder: Path, flags: dict[str, Any]) -> Path:
    """Collect on a whole market into a folder, unless the file is there and of the same flags."""
    path, noted = folder / COLLECTED, folder / "collected.json"
    text = json.dumps(flags, indent=1, default=str) + "\n"
    if path.exists() and noted.exists() and noted.read_text() == text:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    collect(path, **flags, train_fraction=1.0, overwrite=True, progress=False, echo=say)
    with replacing(noted) as temporary:
        temporary.write_text(text)
    return path


def main(argv: list[str] | None = None) -> int:
    """The command line: 0, 1 where a training failed, 2 for bad input, 130 after Ctrl-C."""
    failed = False

    def command() -> None:
        nonlocal failed
        args = parser_().parse_args(argv)
        folder = args.folder.resolve()
        dataset, source = _dataset_of(args, folder)
        question = Question(
            folder, dataset, source, tuple(args.methods), args.seeds, args.folds, args.first,
            args.rolling, args.rule, tuple(shlex.split(args.flags)), args.trained_behaviour,
        )  # fmt: skip
        if args.dry_run:
            plan = make_plan(question)
            print(folds_table({"folds": [fold.to_dict() for fold in plan.folds]}))
            for work in plan.jobs:
                print(" ".join(work.command()))
            print(f"{len(plan.jobs)} trainings")
            return
        result = answer(question, engine=args.engine, jobs=args.jobs)
        result["machine"] = describe_machine()
        failed = bool(result["failed"])
        texts = [f"## {title}\n\n{text}\n" for title, text in walk_forward_tables(result).items()]
        for suffix, text in ((".json", json.dumps(result, allow_nan=False, indent=1) + "\n"),
                             (".md", "\n".join(texts))):  # fmt: skip
            with replacing(folder / (RESULT + suffix)) as temporary:
                temporary.write_text(text)
        print("\n".join(texts))
        print(f"{folder / (RESULT + '.json')}")

    stopped = "interrupted: the same command goes on with what is missing."
    return command_line.run(command, interrupted=stopped) or (FAILED if failed else 0)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
