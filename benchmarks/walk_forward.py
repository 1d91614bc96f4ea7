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
from pathlib import Path
from typing import Any

from benchmarks import fold_data
from benchmarks.folds import FIRST_SHARE
from benchmarks.machine import describe_machine
from benchmarks.walk_forward_run import Question, answer, collected, make_plan
from benchmarks.walk_forward_tables import folds_table, walk_forward_tables
from data_tools import command_line
from data_tools.environment import add_environment_flags, parse_env_arguments
from data_tools.files import replacing
from data_tools.training_span import DEFAULT_TASK

FAILED = 1
RESULT = "walk_forward"
COLLECTING = ("market", "task", "policy", "epsilon", "buffer_size", "episode_steps")


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
    add("--dry-run", action="store_true",
        help="only list folds and trainings (with --market the data are collected for it)")
    # fmt: on
    return parser


def question_of(args: Any, task: str | None = None) -> Question:
    """What flags ask; the dataset is collected if need be.

    Args:
        args: Of `parser_`.
        task: See `Question`.

    Raises:
        ValueError: Neither or both of --load-buffer-name and --market are given, or the data cannot
            be collected.
    """
    if (args.load_buffer_name is None) == (args.market is None):
        raise command_line.CommandLineError("expected either --load-buffer-name or --market.")
    folder = args.folder.resolve()
    if args.load_buffer_name is not None:
        path = args.load_buffer_name.resolve()
        source = fold_data.identity(path)
    else:
        source = {
            **{name: getattr(args, name) for name in COLLECTING},
            "env": parse_env_arguments(args.env, args.env_config),
        }
        path = collected(folder, source)
    return Question(
        folder, path, source, tuple(args.methods), args.seeds, args.folds, args.first,
        args.rolling, args.rule, tuple(shlex.split(args.flags)), args.trained_behaviour, task,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """The command line: 0, 1 where a training failed, 2 for bad input, 130 after Ctrl-C."""
    failed = False

    def command() -> None:
        nonlocal failed
        args = parser_().parse_args(argv)
        question = question_of(args)
        folder = question.folder
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
