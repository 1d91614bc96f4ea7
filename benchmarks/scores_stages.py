"""What the scores benchmark asks of policies once they are trained and tested.

| stage | question |
|---|---|
| ``costs`` | what they earn at other fees, and at which they earn nothing |
| ``targets`` | whether a Decision Transformer that is asked for more earns more |
| ``fqe`` | whether their own data would have told which of them are better |
| ``walk_forward`` | what methods earn that are trained again as time goes on |

Each keeps its files in the benchmark's folder and does not repeat what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scores_cell import Work
from benchmarks.scores_config import Suite
from benchmarks.scores_fqe import fqe
from benchmarks.scores_sweeps import costs, targets
from benchmarks.scores_walk_forward import STAGE, check_folds, folds_of, walk_forward, words_of


def check_stages(works: Sequence[Work], folder: Path, suite: Suite, folds: int | None) -> None:
    """See that what cannot be known of flags alone will be possible, before cells are trained.

    Raises:
        ValueError: The market is too short for so many walk-forward folds, or the folder holds
            others.
    """
    chosen = folds_of(suite, folds)
    if chosen is not None:
        check_folds(works, folder, chosen)


def run_stages(
    works: Sequence[Work],
    controls: dict[str, dict[str, Any]],
    folder: Path,
    suite: Suite,
    *,
    folds: int | None = None,
    engine: str = "local",
    jobs: int | None = None,
    say: Callable[[str], object],
) -> dict[str, Any]:
    """Do what is missing of every stage that the suite has.

    Args:
        works: The cells.
        controls: Task to what `scores_references.references` returned.
        folder: The benchmark's.
        suite: Which of its datasets each stage looks at.
        folds: Of the walk-forward stage, 0 for none; None: the suite's.
        engine: See `scores_engine.run_jobs`.
        jobs: At once.
        say: Told what comes of each.

    Returns:
        A stage's name to what it found, each with ``missing``: names of what could not be done.
    """
    made: dict[str, Any] = {}
    for name, sweep in (("costs", costs), ("targets", targets)):
        say(f"stage {name}")
        made[name] = sweep(works, folder, suite, engine=engine, jobs=jobs, say=_told(say, name))
    say("stage fqe")
    judged = suite.judged
    made["fqe"] = fqe(works, controls, judged, engine=engine, jobs=jobs, say=_told(say, "fqe"))
    chosen = folds_of(suite, folds)
    if chosen is not None:
        say("stage walk_forward")
        found = walk_forward(works, folder, chosen, engine=engine, jobs=jobs, say=say)
        made |= {STAGE: found} if found else {}
    return made


def described(works: Sequence[Work], folder: Path, suite: Suite, folds: int | None) -> list[str]:
    """What a dry run says of the stages."""
    swept = sum(
        (work.cell.task, work.cell.kind) in suite.swept and work.cell.seed < suite.swept_seeds
        for work in works
    )
    judged = sum((work.cell.task, work.cell.kind) in suite.judged for work in works)
    lines = [f"then up to {swept} policies at other fees, {judged} in fitted Q evaluation"]
    chosen = folds_of(suite, folds)
    words = None if chosen is None else words_of([work.cell for work in works], chosen, folder)
    if words is not None:
        lines.append("and python -m benchmarks.walk_forward " + " ".join(words))
    return lines


def missing_of(made: dict[str, Any]) -> list[str]:
    """What could not be done, of all stages."""
    return [
        f"{stage}: {name.removeprefix(f'{stage}/')}"
        for stage, found in made.items()
        for name in found["missing"]
    ]


def _told(say: Callable[[str], object], stage: str) -> Callable[[str, str], object]:
    return lambda name, text: say(f"{stage} {name}: {text}")
