"""What ``python -m benchmarks.scores`` refuses before it trains anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.scores_cell import Work
from benchmarks.scores_config import Suite, cells_of
from benchmarks.suite_manifest import read_manifest
from data_tools.command_line import CommandLineError
from data_tools.engines import import_ray


def check_flags(args: Any, suite: Suite) -> None:
    """Refuse flags that some stage would refuse hours later, or that name nothing.

    Args:
        args: The command line's.
        suite: The one that is run.

    Raises:
        CommandLineError: One is out of range, names what the suite does not have, or needs Ray,
            which is not installed.
    """
    for flag, value, least in (("jobs", args.jobs, 1), ("folds", args.folds, 0)):
        if value is not None and value < least:
            raise CommandLineError(f"--{flag} {value}: expected a whole number >= {least}.")
    every = cells_of(suite)
    _check_names("tasks", args.tasks, [cell.task for cell in every], args.suite)
    _check_names("methods", args.methods, [cell.method for cell in every], args.suite)
    if args.folder.exists() and not args.folder.is_dir():
        raise CommandLineError(f"--folder {args.folder} is a file: expected a folder.")
    if args.engine == "ray" and not args.dry_run:
        import_ray()


def _check_names(flag: str, given: Sequence[str] | None, known: Sequence[str], suite: str) -> None:
    for name in given or ():
        if known and name not in known:
            raise CommandLineError(
                f"--{flag} {name}: --suite {suite} has {', '.join(dict.fromkeys(known))}."
            )


def check_data(works: Sequence[Work], folder: Path) -> None:
    """Refuse finished cells of other data than is there now.

    Args:
        works: The cells.
        folder: The benchmark's, its datasets made.

    Raises:
        CommandLineError: A dataset was made anew, by another recipe, after cells had learned from
            it: their results are not those of one benchmark.
    """
    files = (read_manifest(folder / "datasets") or {"files": {}})["files"]
    other = [work.name for work in works if work.is_done and _learned_elsewhere(work, files)]
    if other:
        raise CommandLineError(
            f"{len(other)} finished cells, such as {other[0]}, learned from datasets that were "
            f"made otherwise than those of {folder / 'datasets'} now. Name another --folder, or "
            f"delete {folder / 'cells'} to train anew."
        )


def _learned_elsewhere(work: Work, files: dict[str, Any]) -> bool:
    made = json.loads(work.result.read_text())["dataset"]["content_hash"]
    entry = files.get(work.cell.dataset)
    return entry is not None and made != entry["sha256"]
