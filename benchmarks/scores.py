"""The benchmark: tasks x datasets x sizes x methods x seeds, each cell run as a user runs it.

    python -m benchmarks.scores --suite small --folder scores --jobs 2

trains the experts and collects the datasets (``benchmarks.make_suite`` in ``scores/datasets``),
walks the controls over the test periods, trains and tests every cell of the suite, lets fitted Q
evaluation judge the policies of some datasets (``benchmarks.scores_fqe``), and writes
results/scores-<suite>.json, of which ``python -m benchmarks.report --write`` makes the README's
tables. What is finished is not done again: the same command goes on after an interrupt or a kill,
to the same result. ``--dry-run`` lists the cells and estimates how long they will take. The matrix
is ``benchmarks/scores_config.py``. What must hold of any result is checked at the end
(``benchmarks/scores_checks.py``): where it does not, the command says so and exits with 1.

``--market FILE`` runs the suite's datasets, methods and seeds on your own bars instead, and writes
scores-<suite>-market.json into the folder.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import scores_cell, suite_manifest
from benchmarks.machine import describe_machine, read_result, write_result
from benchmarks.scores_arguments import chosen, parser_, suite_of
from benchmarks.scores_cell import Cell, Work
from benchmarks.scores_checks import failed as failed_checks
from benchmarks.scores_checks import stages_check
from benchmarks.scores_config import SUITES, TASKS, cells_of
from benchmarks.scores_curves import equity_curves
from benchmarks.scores_door import check_data, check_flags
from benchmarks.scores_engine import Outcome, run_jobs
from benchmarks.scores_html import check_place, write_html
from benchmarks.scores_references import references
from benchmarks.scores_result import gather
from benchmarks.scores_stages import check_stages, described, missing_of, run_stages
from benchmarks.scores_tables import scores_tables
from benchmarks.scores_text import missing_text
from benchmarks.suite_plan import Step, make_plan
from benchmarks.suite_run import Maker
from data_tools import command_line

FAILED = 1


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def works_of(cells: Sequence[Cell], folder: Path) -> list[Work]:
    """Cells with their commands."""
    made = []
    for cell in cells:
        task = TASKS[cell.task]
        words = list(task.words(cell.method))
        if not cell.norm_obs:
            words += ["--norm-obs", "0"]
        made.append(Work(cell, task.script(cell.method), tuple(words), folder))
    return made


# --- datasets ---------------------------------------------------------------------------------


def plan_datasets(cells: Sequence[Cell]) -> list[Step]:
    """The files of the suite that cells need, experts included."""
    plan = []
    for name in dict.fromkeys(cell.task for cell in cells):
        own = [cell for cell in cells if cell.task == name]
        # the expert and the medium policy are rows of every table
        kinds = {*(cell.kind for cell in own), "medium", "expert"}
        steps = make_plan([TASKS[name].sets], sorted(kinds), sorted({c.size for c in own}), 0)
        wanted = {cell.dataset for cell in own}
        for step in reversed(steps):  # each stands after those that it needs
            if step.is_policy or step.path in wanted:
                wanted |= {step.path, *step.needs}
        plan += [step for step in steps if step.path in wanted]
    return plan


def workers_of(args: Any) -> int:
    """How many processes this machine runs at once: with Ray and no ``--jobs``, one a core."""
    if args.jobs or args.engine != "ray":
        return args.jobs or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_datasets(cells: Sequence[Cell], folder: Path, jobs: int) -> None:
    """Make what is missing of the datasets.

    Raises:
        SuiteError: One cannot be made.
    """
    place = folder / "datasets"
    place.mkdir(parents=True, exist_ok=True)
    manifest = suite_manifest.read_manifest(place) or suite_manifest.empty()
    Maker(place, manifest, jobs=jobs, echo=say).make(plan_datasets(cells))


def make_references(cells: Sequence[Cell], folder: Path) -> dict[str, dict[str, Any]]:
    """The controls of every task."""
    made = {}
    for name in dict.fromkeys(cell.task for cell in cells):
        task, cell = TASKS[name], next(cell for cell in cells if cell.task == name)
        say(f"controls of {name}")
        made[name] = references(
            folder / "references" / f"{name}.json",
            folder / "datasets" / cell.dataset,
            task.sets.rule,
            continuous=task.continuous,
        )
    return made


# --- cells ------------------------------------------------------------------------------------


def estimate(works: Sequence[Work], workers: int) -> str:
    """How long cells will take, for people: by those of their methods that were run before."""
    known = _known_seconds(works)
    waiting = [work for work in works if not work.is_done]
    timed = [known[work.script] for work in waiting if work.script in known]
    if not waiting:
        return "all of them done"
    if not timed:
        return f"{len(waiting)} to run; no cell was run before that would say how long one takes"
    seconds = statistics.fmean(timed) * len(waiting)
    return (
        f"{len(waiting)} to run, about {seconds / 3600:.1f} core hours: "
        f"{seconds / workers / 60:.0f} minutes with {workers} at once, experts, datasets and later "
        "stages not counted"
    )


def _known_seconds(works: Sequence[Work]) -> dict[str, float]:
    """Script to the median seconds of its cells here, or else in the committed results."""
    found: dict[str, list[float]] = {}
    for suite in SUITES:
        for row in (read_result(f"scores-{suite}") or {"rows": {}})["rows"].values():
            script = TASKS[row["task"]].script(row["method"])
            found.setdefault(script, []).append(row["seconds"])
    here: dict[str, list[float]] = {}
    for work in works:
        if work.is_done:
            here.setdefault(work.script, []).append(json.loads(work.result.read_text())["seconds"])
    return {script: statistics.median(times) for script, times in (found | here).items()}


def run_cells(works: Sequence[Work], engine: str, jobs: int | None) -> Outcome:
    """Run what is not done."""
    waiting = [work for work in works if not work.is_done]
    say(f"{len(works)} cells, {len(works) - len(waiting)} of them done")
    begin, count = time.monotonic(), 0

    def told(name: str, text: str) -> None:
        nonlocal count
        count += text == "done" or text.startswith("FAILED")
        passed = time.monotonic() - begin
        left = passed / max(count, 1) * (len(waiting) - count)
        say(f"[{count}/{len(waiting)}] {name}: {text} ({left / 60:.0f} minutes left)")

    return run_jobs(scores_cell.run, waiting, engine=engine, workers=jobs, say=told)


def main(argv: list[str] | None = None) -> int:
    """The command line: 0, 1 where a cell or a check failed, 2 for bad input, 130 after Ctrl-C."""
    failed = False

    def command() -> None:
        nonlocal failed
        args = parser_(__doc__).parse_args(argv)
        if args.html is not None:
            check_place(args.html, args.folder)
        suite, market = suite_of(args)
        check_flags(args, suite)
        cells = chosen(suite, args)
        folder = args.folder.resolve()
        works = works_of(cells, folder)
        workers = workers_of(args)
        if args.dry_run:
            for work in works:
                print(" ".join(work.command()))
            print(f"{len(works)} cells: {estimate(works, workers)}")
            print("\n".join(described(works, folder, suite, args.folds)))
            return
        if market is not None:
            market.keep_to(folder)
        check_stages(works, folder, suite, args.folds)
        make_datasets(cells, folder, workers)
        check_data(works, folder)
        controls = make_references(cells, folder)
        outcome = run_cells(works, args.engine, args.jobs)
        for name, text in outcome.failed.items():
            say(f"{name}: {text}; see {folder / 'logs' / (name + '.txt')}")
        result = gather(works, controls) | {"suite": args.suite, "machine": describe_machine()}
        stages = run_stages(
            works, controls, folder, suite,
            folds=args.folds, engine=args.engine, jobs=args.jobs, say=say,
        )  # fmt: skip
        result |= stages
        result["missing_jobs"] = missing_of(stages)
        result["checks"].append(stages_check(result["missing_jobs"]))
        lacking = missing_text(result)
        failed = bool(lacking)
        if failed:
            say(f"{lacking}: the logs below {folder} say why; the same command tries again")
        result["curves"] = equity_curves(works, controls)
        for title, text in scores_tables(result).items():
            print(f"\n{title}\n\n{text}")
        if market is not None:
            result["own_market"] = market.facts
        whole = set(cells) == set(cells_of(SUITES[args.suite])) and args.folds is None
        if market is not None and not args.no_write:
            print(write_result(f"scores-{args.suite}-market", result, folder))
        elif whole and not lacking and not args.no_write:
            print(write_result(f"scores-{args.suite}", result))
        elif not args.no_write:
            say(f"{lacking or 'a part of the suite, or more than it'}: results are not written")
        if args.html is not None:
            write_html(result, args.html)
            print(args.html)
        for text in failed_checks(result["checks"]):
            failed = True
            say(f"CHECK FAILED: {text}")

    stopped = "interrupted: the same command goes on with what is missing."
    return command_line.run(command, interrupted=stopped) or (FAILED if failed else 0)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
