"""The flags of ``python -m benchmarks.scores``, and the part of a suite that they name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.scores_cell import Cell
from benchmarks.scores_config import SUITES, TASKS, Suite, cells_of
from benchmarks.scores_market import NAMES, OwnMarket, on_own_market, open_own_market
from data_tools import command_line


def parser_(description: str | None = None) -> command_line.ArgumentParser:
    """The flags, under a description of the command."""
    parser = command_line.ArgumentParser(
        prog="python -m benchmarks.scores", description=description
    )
    # fmt: off
    add = parser.add_argument
    add("--suite", choices=list(SUITES), default="quick", help="default: %(default)s")
    add("--folder", type=Path, default=Path("scores"), help="default: %(default)s/")
    add("--engine", choices=("local", "ray"), default="local",
        help="processes of this machine, or a Ray cluster (extra ray)")
    add("--jobs", type=int, metavar="N",
        help="cells at once, a thread each (default: 1; with Ray all cores)")
    add("--market", metavar="FILE",
        help="bars of your own, as in data_tools.collect: their tasks in the place of the suite's")
    add("--market-env", action="append", default=[], metavar="NAME=VALUE",
        help="an argument of their environment, as --env of data_tools.collect")
    add("--tasks", nargs="+", choices=list(dict.fromkeys([*TASKS, *NAMES])), metavar="TASK",
        help="a part of the suite")
    add("--methods", nargs="+", metavar="METHOD", help="a part of the suite")
    add("--seeds", type=int, help="another number of seeds than the suite's")
    add("--folds", type=int, metavar="K",
        help="walk-forward folds of a market of the suite, 0 for none (default: the suite's)")
    add("--dry-run", action="store_true", help="only list the cells and their time")
    add("--no-write", action="store_true", help="print the tables only")
    add("--html", type=Path, metavar="FILE",
        help="also write tables and pictures as one HTML file")
    # fmt: on
    return parser


def suite_of(args: Any) -> tuple[Suite, OwnMarket | None]:
    """The suite that the flags name, and the market in the place of its tasks' own.

    Raises:
        ValueError: The market cannot be opened, or its flags contradict each other.
    """
    suite = SUITES[args.suite]
    if args.seeds is not None:
        suite = replace(suite, seeds=args.seeds)
    if args.market is None:
        if args.market_env:
            raise command_line.CommandLineError("--market-env is for the bars of --market.")
        return suite, None
    market = open_own_market(args.market, args.market_env)
    return on_own_market(suite), market


def chosen(suite: Suite, args: Any) -> list[Cell]:
    """The suite's cells that the flags leave.

    Raises:
        CommandLineError: None are left.
    """
    cells = [
        cell
        for cell in cells_of(suite)
        if (args.tasks is None or cell.task in args.tasks)
        and (args.methods is None or cell.method in args.methods)
    ]
    if not cells:
        raise command_line.CommandLineError(
            f"--suite {args.suite} has no cells of these --tasks, --methods and --seeds."
        )
    return cells
