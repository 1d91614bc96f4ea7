"""What the scores benchmark asks of trained policies again: other fees, other target returns.

**Costs.** The best checkpoints of some datasets are walked over the same test period at other fees.
Nothing is trained anew. A policy reads its account, so that its decisions may depend on the fee:
every fee is a walk. Beside them stand the controls, walked too; the optimum is computed anew at
each fee, as ``optimum``, or stays that of the fee that was trained with, as ``optimum-kept``.

The break-even cost is the lowest fee at which the growth falls to 0. Between walked fees growth is
taken for a straight line: without leverage, who trades all of the equity and decides the same at
every fee pays log((1 + f)/(1 - f)) a round trip, which is 2f but for 2f^3/3 and less.

**Targets.** The Decision Transformers of some datasets are asked for other returns, in two ways.
``again``: of every so many decisions as the data's longest episode has, as the cell was tested;
then what it remembers ends too, but not the position. ``once``: of the whole test period, though
the data's episodes are shorter.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import scores_walks
from benchmarks.ranks import rank_correlation
from benchmarks.scores_cell import Work
from benchmarks.scores_config import TASKS, Suite
from benchmarks.scores_engine import run_jobs
from benchmarks.scores_walks import WAYS, ControlsAtFees, Job, PolicyAtFees, PolicyAtTargets
from offline_algos.report import CHECKPOINTS

FEES_BP = (0.0, 5.0, 10.0, 25.0)
MULTIPLES = (0.0, 0.5, 1.0, 2.0)
TRANSFORMER = "dt"
AT, ABOVE, NONE = "at", "above", "none"
Say = Callable[[str, str], object]
Result = dict[str, Any]


def costs(
    works: Sequence[Work],
    folder: Path,
    suite: Suite,
    *,
    engine: str = "local",
    jobs: int | None = None,
    say: Say = lambda *_: None,
) -> Result:
    """Walk the datasets that the suite names, and their controls, at `FEES_BP`.

    Args:
        works: The cells; those that are not done, ablations and later seeds are left out.
        folder: The benchmark's; what was walked before is not walked again.
        suite: Says which datasets, and how many seeds.
        engine: See `scores_engine.run_jobs`.
        jobs: Walkers at once.
        say: Told what came of each.

    Returns:
        ``fees_bp``; ``rows``, a cell's group to ``task``, ``kind``, ``size``, ``method``,
        ``seeds``, ``growth`` (mean log return a decision, [fee][seed]), ``turnover`` (alike),
        ``bankrupt`` (seeds a fee), ``trained_bp``, ``trained_growth`` (a seed each),
        ``break_even`` and ``break_even_bp`` (see `break_even`) of the seeds' mean, and
        ``break_even_seeds`` (such pairs); ``controls``, a task to names to growth, [fee];
        ``controls_break_even``, alike, pairs; ``optimum``, a task to its computed ``gain`` and
        whether it ``trades``, a fee each; ``missing``, names of what failed.
    """
    chosen = _chosen(works, suite, suite.swept)
    walks = {
        work: PolicyAtFees(f"costs/{work.cell.name}", folder, _checkpoint(work), FEES_BP)
        for work in chosen
    }
    controls = {
        work.cell.task: ControlsAtFees(
            f"costs/{work.cell.task}/controls", folder, _checkpoint(work), FEES_BP,
            TASKS[work.cell.task].sets.rule, f"datasets/{work.cell.task}/expert.pth",
        )
        for work in reversed(chosen)  # the first one of a task stays
    }  # fmt: skip
    missing = _run([*walks.values(), *controls.values()], engine, jobs, say)
    beside = {task: _answer(job) for task, job in controls.items() if job.is_done}
    growths = {
        task: {name: [walk["growth"] for walk in made] for name, made in found["walks"].items()}
        for task, found in sorted(beside.items())
    }
    return {
        "fees_bp": list(FEES_BP),
        "rows": {group: _cost_row(members) for group, members in _groups(walks).items()},
        "controls": growths,
        "controls_break_even": {
            task: {name: break_even(FEES_BP, made) for name, made in found.items()}
            for task, found in growths.items()
        },
        "optimum": {task: found["optimum"] for task, found in sorted(beside.items())},
        "missing": missing,
    }


def targets(
    works: Sequence[Work],
    folder: Path,
    suite: Suite,
    *,
    engine: str = "local",
    jobs: int | None = None,
    say: Say = lambda *_: None,
) -> Result:
    """Ask the Decision Transformers that the suite names for `MULTIPLES` of their own target.

    Args: as `costs`.

    Returns:
        ``multiples``; ``rows``, a cell's group to ``task``, ``kind``, ``size``, ``method``,
        ``seeds``, ``targets`` (sum of rewards), ``episode_steps`` (of the data) and, for each of
        `WAYS`, ``growth`` ([target][seed]), ``turnover`` (alike), ``bankrupt`` (seeds a target) and
        ``correlation`` (Spearman's, of target and growth, a seed each; None where growth is
        constant); ``missing``.
    """
    chosen = [w for w in _chosen(works, suite, suite.asked) if w.cell.method == TRANSFORMER]
    walks = {
        work: PolicyAtTargets(f"targets/{work.cell.name}", folder, _checkpoint(work), MULTIPLES)
        for work in chosen
    }
    missing = _run(list(walks.values()), engine, jobs, say)
    rows = {group: _target_row(members) for group, members in _groups(walks).items()}
    return {"multiples": list(MULTIPLES), "rows": rows, "missing": missing}


def break_even(fees: Sequence[float], growth: Sequence[float]) -> tuple[str, float | None]:
    """The lowest fee at which growth falls to 0, on straight lines between those given.

    Args:
        fees: Ascending, of one unit.
        growth: At each.

    Returns:
        `AT` and the fee; `ABOVE` and None where growth is above 0 at all of them; `NONE` and None
        where it is not above 0 at the lowest.
    """
    if growth[0] <= 0.0:
        return NONE, None
    for (low, before), (high, after) in itertools.pairwise(zip(fees, growth, strict=True)):
        if after <= 0.0:
            return AT, low + (high - low) * before / (before - after)
    return ABOVE, None


# --- jobs -------------------------------------------------------------------------------------


def _chosen(works: Iterable[Work], suite: Suite, datasets: Sequence[tuple[str, str]]) -> list[Work]:
    """Finished cells of some datasets, of the suite's largest size, as methods are by default."""
    return [
        work
        for work in works
        if (work.cell.task, work.cell.kind) in datasets
        and work.cell.size == suite.sizes[-1]
        and work.cell.seed < suite.swept_seeds
        and work.cell.norm_obs
        and not work.cell.variant
        and work.is_done
    ]


def _checkpoint(work: Work) -> str:
    """The cell's best checkpoint, below the folder."""
    directory = json.loads(work.result.read_text())["directory"]
    return f"{directory}/{CHECKPOINTS['best']}"


def _run(jobs: Sequence[Job], engine: str, workers: int | None, say: Say) -> list[str]:
    """Walk what was not; names of what failed."""
    waiting = [job for job in jobs if not job.is_done]
    run_jobs(scores_walks.run, waiting, engine=engine, workers=workers, say=say)
    return [job.name for job in jobs if not job.is_done]


def _answer(job: Job) -> Result:
    made: Result = json.loads(job.result.read_text())
    return made


# --- rows -------------------------------------------------------------------------------------


def _groups(walks: dict[Work, Any]) -> dict[str, list[tuple[Work, Result]]]:
    """A group's name to its cells with what was found of them."""
    made: dict[str, list[tuple[Work, Result]]] = {}
    for work, job in walks.items():
        if job.is_done:
            made.setdefault(work.cell.group, []).append((work, _answer(job)))
    return made


def _of(members: list[tuple[Work, Result]]) -> Result:
    """What all rows begin with."""
    cell = members[0][0].cell
    named = {key: getattr(cell, key) for key in ("task", "kind", "size", "method")}
    return named | {"seeds": [work.cell.seed for work, _ in members]}


def _walked(walks: list[list[Result]]) -> Result:
    """Of walks [seed][fee or target]: their numbers the other way round."""
    turned = list(zip(*walks, strict=True))
    made: Result = {key: [[walk[key] for walk in row] for row in turned]
                    for key in ("growth", "turnover")}  # fmt: skip
    return made | {"bankrupt": [sum(walk["bankrupt"] for walk in row) for row in turned]}


def _cost_row(members: list[tuple[Work, Result]]) -> Result:
    row = _of(members) | _walked([found["walks"] for _, found in members])
    row["trained_bp"] = members[0][1]["trained_bp"]
    row["trained_growth"] = [
        json.loads(work.result.read_text())["test"]["best"]["growth"] for work, _ in members
    ]
    # what the cell itself was tested at is one more point, for nothing
    points = dict(zip(FEES_BP, np.array(row["growth"]), strict=True))
    points.setdefault(row["trained_bp"], np.array(row["trained_growth"]))
    fees, growth = zip(*sorted(points.items()), strict=True)
    row["break_even"], row["break_even_bp"] = break_even(fees, np.mean(growth, axis=1))
    row["break_even_seeds"] = [break_even(fees, seed) for seed in np.transpose(growth)]
    return row


def _target_row(members: list[tuple[Work, Result]]) -> Result:
    row = _of(members)
    found = [answer for _, answer in members]
    row["targets"] = np.mean([answer["targets"] for answer in found], axis=0).tolist()
    row["episode_steps"] = max(answer["episode_steps"] for answer in found)
    for way in WAYS:
        row[way] = _walked([answer[way] for answer in found])
        row[way]["correlation"] = [
            _correlation(MULTIPLES, list(seed))
            for seed in zip(*row[way]["growth"], strict=True)
        ]  # fmt: skip
    return row


def _correlation(asked: Sequence[float], growth: Sequence[float]) -> float | None:
    """Spearman's, None where there is none."""
    found = rank_correlation(asked, growth, resamples=400).estimate
    return float(found) if np.isfinite(found) else None
