"""The scores benchmark's walk-forward stage: a suite's methods on folds of one of its markets.

It is ``python -m benchmarks.walk_forward`` on data that are collected on the whole market: the
suite's own leave out its last part, and their experts have seen what early folds are tested on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import fold_data
from benchmarks.scores_cell import Cell, Work
from benchmarks.scores_config import TASKS, Suite
from benchmarks.walk_forward import parser_, question_of
from benchmarks.walk_forward_run import Question, answer, make_plan, say

STAGE = "walk_forward"
Folds = tuple[tuple[str, str], int]


def folds_of(suite: Suite, count: int | None) -> Folds | None:
    """The suite's folds, with another number of them where a flag says so; None for none."""
    if count == 0 or (count is None and suite.folds is None):
        return None
    where, number = suite.folds or ((suite.tasks[0], "random"), 0)
    return where, number if count is None else count


def words_of(cells: Sequence[Cell], folds: Folds, folder: Path) -> list[str] | None:
    """The flags of ``benchmarks.walk_forward``; None where no cell is of the task.

    Args:
        cells: The suite's, of which methods, seeds and the largest size are taken.
        folds: Task, kind ("random" or "rule-based") and number.
        folder: The benchmark's.
    """
    (name, kind), count = folds
    own = [c for c in cells if c.task == name and c.norm_obs and not c.variant]
    if not own:
        return None
    sets = TASKS[name].sets
    policy = {"random": ("random", 0.0), "rule-based": (sets.rule, sets.epsilon)}[kind]
    return [
        *("--task", sets.task, *sets.environment, "--rule", sets.rule),
        *("--policy", policy[0], "--epsilon", f"{policy[1]:g}"),
        *("--buffer-size", str(max(cell.size for cell in own))),
        *("--methods", *dict.fromkeys(cell.method for cell in own)),
        *("--seeds", str(1 + max(cell.seed for cell in own)), "--folds", str(count)),
        *("--folder", str(folder / STAGE / f"{name}-{kind}")),
    ]


def _question(works: Sequence[Work], folder: Path, folds: Folds) -> Question | None:
    """What is asked, its data collected; None where no cell is of the task."""
    words = words_of([work.cell for work in works], folds, folder)
    return None if words is None else question_of(parser_().parse_args(words), folds[0][0])


def check_folds(works: Sequence[Work], folder: Path, folds: Folds) -> None:
    """Find the folds, and no more.

    Raises:
        ValueError: The market is too short for so many, or the folder holds other folds.
    """
    question = _question(works, folder, folds)
    if question is not None:
        make_plan(question)
        fold_data.ask(question.folder, question.about())


def walk_forward(
    works: Sequence[Work],
    folder: Path,
    folds: Folds,
    *,
    engine: str = "local",
    jobs: int | None = None,
    say: Callable[[str], object] = say,
) -> dict[str, Any]:
    """Run what is missing of the stage; see `walk_forward_run.answer`, {} where it is not asked.

    Raises:
        ValueError: The market is too short for so many folds.
    """
    question = _question(works, folder, folds)
    if question is None:
        return {}
    made = answer(question, engine=engine, jobs=jobs, say=say)
    return made | {"task": folds[0][0], "kind": folds[0][1]}
