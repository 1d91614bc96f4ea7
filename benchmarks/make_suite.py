"""Make a folder of datasets: random, medium, expert, mixed and rule-based, for each task and size.

``python -m benchmarks.make_suite --out FOLDER`` trains the experts with the training scripts,
records every set with the public commands, and writes manifest.json and a card beside each. The
configuration, all of it, is ``benchmarks/suite_config.py``. On one machine the same call gives the
same bytes. What is whole is not made again, so that an interrupted call goes on where it was.

``--check FOLDER`` compares a folder with its manifest and opens every file with stock Tianshou.
``--market FILE`` makes the sets of your own market, with levels and with continuous exposure.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import suite_check, suite_manifest
from benchmarks.suite_config import (
    DEFAULT_SIZES,
    KINDS,
    QUICK_SIZES,
    SIZES,
    TASKS,
    TaskSets,
    market_tasks,
    quickened,
    size_name,
)
from benchmarks.suite_manifest import SuiteError, command_text
from benchmarks.suite_plan import WORK, Step, make_plan
from benchmarks.suite_run import Launch, Maker, launch
from benchmarks.suite_texts import texts
from data_tools import command_line
from data_tools.environment import open_market, parse_env_arguments
from data_tools.files import replacing

FAULTY = 1
UNITS = {"k": 1_000, "M": 1_000_000}
# Of one transition with the default windows; others' are told by the first file that is made.
MARKET_BYTES, TASK_BYTES = 2_200, 100


def transitions(text: str) -> int:
    """An argparse type: a number of transitions, such as 500, 10k or 1M."""
    factor = UNITS.get(text[-1:], 1)
    digits = text[:-1] if factor > 1 else text
    if not digits.isdigit() or int(digits) < 1:
        raise argparse.ArgumentTypeError(f"expected such as 10k, 100k or 1M, got {text!r}")
    return int(digits) * factor


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the flags.

    Raises:
        CommandLineError: They cannot be read, or contradict each other.
    """
    parser = command_line.ArgumentParser(
        prog="python -m benchmarks.make_suite", description=__doc__
    )
    names = [task.name for task in (*TASKS, *market_tasks("FILE", ()))]
    # fmt: off
    add = parser.add_argument
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="FOLDER", help="where the suite is made")
    where.add_argument("--check", type=Path, metavar="FOLDER",
                       help="compare a suite with its manifest; 1 where something differs")
    add("--tasks", nargs="+", choices=names, metavar="TASK",
        help=f"of {', '.join(names)} (default: all; with --market: those of the market)")
    add("--sizes", nargs="+", type=transitions, metavar="N",
        help=f"transitions (default: {' '.join(map(size_name, DEFAULT_SIZES))}; all: "
        f"{' '.join(map(size_name, SIZES))})")
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND",
        help=f"of {', '.join(KINDS)}; mixed brings what it is made of (default: all)")
    add("--market", metavar="FILE", help="a market of your own, for the tasks market-*")
    add("--env", action="append", default=[], metavar="KEY=VALUE",
        help="an argument of its environment, as in data_tools.collect")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--jobs", type=int, default=1, metavar="N",
        help="commands at once, a thread each (default: %(default)s)")
    add("--quick", action="store_true", help="budgets of seconds, to try the whole line")
    add("--dry-run", action="store_true", help="only say what would be made, and how")
    # fmt: on
    args = parser.parse_args(argv)
    if args.jobs < 1 or not 0 <= args.seed <= 100:
        parser.error("expected --jobs >= 1 and --seed between 0 and 100")
    if args.env and args.market is None:
        parser.error("--env is for the environment of --market")
    if args.check is not None and args.dry_run:
        parser.error("--dry-run belongs to --out")
    return args


def chosen_tasks(args: argparse.Namespace) -> list[TaskSets]:
    """The tasks that the flags ask for.

    Raises:
        ValueError: The market cannot be read, or is needed and not given.
    """
    known = {task.name: task for task in TASKS}
    names = list(known)
    if args.market is not None:
        parse_env_arguments(args.env)  # what cannot be read is found now
        path, environment = args.market, [word for pair in args.env for word in ("--env", pair)]
        if not path.startswith("synthetic:"):
            path = str(Path(path).absolute())
        open_market(path)
        own = {task.name: task for task in market_tasks(path, tuple(environment))}
        known, names = known | own, list(own)
    names = list(dict.fromkeys(args.tasks)) if args.tasks else names
    missing = [name for name in names if name not in known]
    if missing:
        raise command_line.CommandLineError(f"--tasks {missing[0]} needs a market: --market FILE.")
    return [quickened(known[name]) if args.quick else known[name] for name in names]


def begin(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The manifest to go on with.

    Raises:
        SuiteError: The folder is not one, or holds a suite made otherwise.
    """
    if folder.exists() and not folder.is_dir():
        raise SuiteError(f"--out {folder} is a file. Name a folder.")
    manifest = suite_manifest.read_manifest(folder) or suite_manifest.empty()
    for name, value in (("seed", args.seed), ("quick", args.quick)):
        if manifest.setdefault(name, value) != value:
            raise SuiteError(
                f"{folder} holds a suite with --{name} {manifest[name]}, and {value} is asked for. "
                "Name another folder."
            )
    return manifest


def check_room(plan: list[Step], folder: Path, manifest: dict[str, Any]) -> None:
    """Refuse to begin what the disk cannot hold, by a rough count.

    Raises:
        SuiteError: It cannot.
    """
    needed = sum(
        (step.size or 0) * (TASK_BYTES if step.task.market is None else MARKET_BYTES)
        for step in plan
        if step.path not in manifest["files"]
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SuiteError(
            f"{folder}: about {needed / 1e9:.1f} GB are to be written and {free / 1e9:.1f} GB are "
            "free. Make room, or ask for fewer --sizes, --kinds or --tasks."
        )


def show(plan: list[Step], manifest: dict[str, Any], folder: Path) -> None:
    """Print what would be made, and the commands."""
    rows = sum(step.size or 0 for step in plan)
    print(f"{len(plan)} files with {rows:,} transitions, in {folder}:")
    for step in plan:
        print(f"{step.path}\n    {command_text(step.command(manifest))}")


def make(args: argparse.Namespace, start: Launch = launch) -> None:
    """Make a suite, or what is missing of it.

    Raises:
        ValueError: A flag does not fit, or something cannot be made.
    """
    folder = args.out.absolute()
    sizes = sorted(set(args.sizes or (QUICK_SIZES if args.quick else DEFAULT_SIZES)))
    tasks = chosen_tasks(args)
    plan, manifest = make_plan(tasks, args.kinds, sizes, args.seed), begin(folder, args)
    if args.dry_run:
        show(plan, manifest, folder)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"--out {folder} cannot be made: {error.strerror}.") from None
    check_room(plan, folder, manifest)
    made = Maker(folder, manifest, jobs=args.jobs, launch=start).make(plan)
    suite_manifest.add_references(manifest)
    suite_manifest.write_manifest(folder, manifest)
    written = texts(manifest, {task.name: task for task in (*TASKS, *tasks)})
    for name, text in written.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    shutil.rmtree(folder / WORK, ignore_errors=True)
    print(f"{made} files made, {len(plan) - made} were there\n{folder / suite_manifest.NAME}")


def main(argv: Sequence[str] | None = None, start: Launch = launch) -> int:
    """The command line.

    Args:
        argv: Its words; None: those of the process.
        start: Starts a command.

    Returns:
        0; 1 where a check finds something; 2 for bad input or a failure, 130 after Ctrl-C.
    """
    faults: list[str] = []

    def command() -> None:
        args = parse(argv)
        if args.check is None:
            make(args, start)
            return
        faults.extend(suite_check.check(args.check))
        print(f"{len(faults)} faults" if faults else "everything is as the manifest says")

    code = command_line.run(
        command, interrupted="interrupted: what is whole stays; the same command goes on."
    )
    return code or (FAULTY if faults else 0)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
