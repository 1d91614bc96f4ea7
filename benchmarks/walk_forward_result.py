"""What walk-forward folds say of methods: fold by fold, and as one account through all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.folds import Fold
from benchmarks.scores_cell import CHECKPOINTS, Work
from benchmarks.scores_paths import Array, growth_of, simple_returns
from benchmarks.scores_result import listed
from benchmarks.time_bootstrap import joint_bootstrap, joint_difference
from gym_trade.metrics import from_equity

RESAMPLES = 1_000
MOST_STEPS = 20_000  # of a path that is resampled; more are taken together
POINTS = 200  # of an equity curve that is kept
LEAST = 1e-6  # what is left of a bankrupt account
LARGEST = 700.0  # logarithm of an equity: an oracle's would overflow
HOLD = "buy-and-hold"
YEAR = pd.Timedelta(days=365.25)

# Of each fold the walks of each seed, as dictionaries of metrics, ``terminated`` and ``equity``.
Walks = list[list[dict[str, Any]]]


def read_walks(works: Sequence[Sequence[Work]], checkpoint: str) -> Walks:
    """The tests of a method's cells.

    Args:
        works: Of each fold those of each seed, all of them done.
        checkpoint: "best" or "last".
    """
    made = []
    for cells in works:
        made.append([])
        for work in cells:
            test = json.loads(work.result.read_text())["test"][checkpoint]
            with np.load(work.equity) as curves:
                made[-1].append({**test, "equity": curves[checkpoint].tolist()})
    return made


def fold_returns(equity: npt.ArrayLike, steps: int) -> Array:
    """Simple returns (steps,) of an equity curve that ends earlier after a bankruptcy.

    The account then keeps what it has, or at least a millionth, and does nothing any more.
    """
    curve = np.asarray(equity, np.float64)
    returns = simple_returns(np.maximum(curve, LEAST * curve[0]))
    return np.concatenate([returns, np.zeros(steps - len(returns))])


def chained(walks: Walks, steps: Sequence[int]) -> Array:
    """Returns through all folds, (seeds, decisions): each fold begins flat, with all there is."""
    seeds = zip(*walks, strict=True)
    return np.stack(
        [
            np.concatenate(
                [fold_returns(walk["equity"], n) for walk, n in zip(each, steps, strict=True)]
            )
            for each in seeds
        ]
    )


def growth_until_bankrupt(folds: Sequence[dict[str, Any]]) -> float:
    """Mean log return a decision of a seed's tests, each up to where it was bankrupt, if it was."""
    walked = [len(fold["equity"]) - 1 for fold in folds]
    total = sum(fold["growth"] * n for fold, n in zip(folds, walked, strict=True))
    return float(total / max(sum(walked), 1))


def thickened(paths: Array) -> tuple[Array, float]:
    """Paths of some thousand steps, several decisions in each, and how many (the mean)."""
    steps = paths.shape[1]
    starts = np.arange(0, steps, -(-steps // MOST_STEPS))
    summed = np.add.reduceat(np.log1p(paths), starts, axis=1)
    return np.asarray(np.expm1(summed)), steps / len(starts)


def summarise(
    walks: Walks, steps: Sequence[int], periods_per_year: float, hold: Array | None = None
) -> dict[str, Any]:
    """A policy in numbers.

    Args:
        walks: Its tests.
        steps: Decisions of each fold.
        periods_per_year: Decisions.
        hold: Returns of buy-and-hold, (1, decisions), to be compared with.

    Returns:
        Means over seeds of the whole account's metrics (a ratio is one a year), its growth by seed
        and how far it is above `hold`, each with its interval over seeds and time unless a test
        was bankrupt, the folds' growths by seed and the equity (mean of logarithms over seeds), of
        `POINTS`.
    """
    paths = chained(walks, steps)
    logs = np.pad(np.cumsum(np.log1p(paths), axis=1), ((0, 0), (1, 0)))
    whole = np.exp(np.minimum(logs, LARGEST))
    metrics = [from_equity(row, periods_per_year=periods_per_year) for row in whole]
    bankrupt = sum(walk["terminated"] for fold in walks for walk in fold)
    made: dict[str, Any] = {
        **{name: _mean([each[name] for each in metrics])
           for name in ("total_return", "sharpe", "max_drawdown")},
        **{name: _mean([walk[name] for fold in walks for walk in fold]) * len(walks)
           for name in ("turnover", "n_trades", "fees_paid")},
        "bankrupt": bankrupt,
        "tests": sum(len(fold) for fold in walks),
        "growth": [growth_until_bankrupt(each) for each in zip(*walks, strict=True)],
        "folds": [[walk["growth"] for walk in fold] for fold in walks],
        "equity": [float(f"{value:.6g}") for value in np.exp(_thin(np.log(whole).mean(0)))],
    }  # fmt: skip
    interval = above = None
    if not bankrupt:
        few, share = thickened(paths)
        given = few if len(few) > 1 or hold is not None else few[0]
        interval = _scaled(listed(joint_bootstrap(given, growth_of, resamples=RESAMPLES)), share)
        if hold is not None:
            apart = joint_difference(few, thickened(hold)[0][0], growth_of, resamples=RESAMPLES)
            above = _scaled(listed(apart), share)
    return made | {"growth_interval": interval, "above_hold": above}


def _scaled(interval: list[float | None], share: float) -> list[float | None]:
    return [None if value is None else value / share for value in interval]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _thin(values: Array) -> Array:
    return values[np.linspace(0, len(values) - 1, min(POINTS, len(values))).round().astype(int)]


def gather(
    folds: Sequence[Fold],
    works: dict[str, list[list[Work]]],
    controls: Sequence[dict[str, list[dict[str, Any]]]],
) -> dict[str, Any]:
    """Everything that tables show, as JSON.

    Args:
        folds: In the order of time.
        works: Method to its cells, of each fold those of each seed. Seeds of which a fold is
            missing are left out.
        controls: Of each fold, control to its walks.
    """
    steps = [fold.test.steps for fold in folds]
    first, last = (pd.Timestamp(text) for text in (folds[0].test.start, folds[-1].test.end))
    yearly = sum(steps) / ((last - first) / YEAR)
    walks = {name: [each[name] for each in controls] for name in controls[0]}
    hold = chained(walks[HOLD], steps)
    made: dict[str, Any] = {
        "folds": [fold.to_dict() for fold in folds],
        "decisions": sum(steps),
        "controls": {name: summarise(each, steps, yearly) for name, each in walks.items()},
        "methods": {},
        "missing": [
            work.name for each in works.values() for cells in each for work in cells
            if not work.is_done
        ],
    }  # fmt: skip
    for method, each in works.items():
        whole = [cells for cells in zip(*each, strict=True) if all(w.is_done for w in cells)]
        if not whole:
            continue
        by_fold = list(zip(*whole, strict=True))
        row = {
            name: summarise(read_walks(by_fold, name), steps, yearly, hold) for name in CHECKPOINTS
        }
        row["last"].pop("equity")
        row["seeds"] = [work.cell.seed for work in by_fold[0]]
        row["rows"] = [
            json.loads(cells[0].result.read_text())["dataset"]["transitions"] for cells in by_fold
        ]
        made["methods"][method] = row
    _add_scores(made)
    return made


def _add_scores(made: dict[str, Any]) -> None:
    """0 is the random policy's growth, 100 the computed optimum's; only where that is above."""
    controls = made["controls"]
    if "optimum" not in controls:
        return
    low, high = (_mean(controls[name]["growth"]) for name in ("random", "optimum"))
    if high <= low:
        return
    score: Callable[[dict[str, Any]], float] = lambda row: (  # noqa: E731
        100.0 * (_mean(row["growth"]) - low) / (high - low)
    )
    for row in controls.values():
        row["score"] = score(row)
    for method in made["methods"].values():
        for checkpoint in CHECKPOINTS:
            method[checkpoint]["score"] = score(method[checkpoint])
