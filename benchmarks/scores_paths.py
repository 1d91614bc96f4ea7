"""What policies earned step by step over a task's test period, and that period drawn anew.

All rows and controls of a task went through the same prices. Their growth is a mean of log returns,
so that a bootstrap draw of it is a product of how often each step was drawn with all of them: one
set of draws of `benchmarks.time_bootstrap`'s kind serves every interval and every difference, at
the resamples that hundreds of rows need.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.blocks import FEWEST_STEPS, stationary_indices
from benchmarks.intervals import CHUNK, Interval, percentile, unknown
from benchmarks.scores_cell import Work
from benchmarks.time_draws import common_block_length

Array = npt.NDArray[np.float64]
RUIN = -1.0 + 1e-6  # the return of a step that leaves nothing, or less
RESAMPLES = 2_000
ERROR = 0.05  # that any of a family's intervals may err with


@dataclass
class Paths:
    """A task's simple returns over the test period, and draws of their growth.

    Attributes:
        steps: Of the period.
        rows: Name of a row to the returns of its chosen checkpoints, (seeds, steps): 0 after a
            bankruptcy.
        controls: Name of a control to its returns, (1, steps) or (seeds, steps), likewise.
        ruined: Which of them went bankrupt: their growth has no interval.
        uneven: Which of the rows' curves have other steps, as where a policy's trades are the
            steps. They are in nothing else here.
        draws: Name to growth, (resamples,), of all that have an interval.
    """

    steps: int
    rows: dict[str, Array] = field(default_factory=dict)
    controls: dict[str, Array] = field(default_factory=dict)
    ruined: set[str] = field(default_factory=set)
    uneven: set[str] = field(default_factory=set)
    draws: dict[str, Array] = field(default_factory=dict)

    def growth(self, name: str) -> float:
        """Mean log return a step."""
        return float(np.log1p(self._returns(name)).mean())

    def interval(self, name: str, confidence: float = 0.95) -> Interval:
        """Of a growth, over time and seeds; bounds are NaN where there is none."""
        if name not in self.draws:
            return unknown(self.growth(name), confidence)
        return percentile(self.growth(name), self.draws[name], confidence)

    def difference(self, first: str, second: str, confidence: float = 0.95) -> Interval:
        """How much more the first grows, on the same blocks of time."""
        apart = self.growth(first) - self.growth(second)
        if first not in self.draws or second not in self.draws:
            return unknown(apart, confidence)
        return percentile(apart, self.draws[first] - self.draws[second], confidence)

    def _returns(self, name: str) -> Array:
        return self.rows[name] if name in self.rows else self.controls[name]


def family_confidence(members: int) -> float:
    """Of each interval of a family, none of which may err (Bonferroni)."""
    return 1.0 - ERROR / max(members, 1)


def family_resamples(members: int) -> int:
    """Draws that leave ten in each tail of such an interval."""
    return max(RESAMPLES, int(np.ceil(20.0 * members / ERROR)))


def simple_returns(equity: Array) -> Array:
    """Of an equity curve (steps + 1,): (steps,)."""
    return np.asarray(equity[1:] / equity[:-1] - 1.0)


def growth_of(returns: npt.ArrayLike) -> Array:
    """Mean log return of simple returns (..., steps)."""
    return np.asarray(np.log1p(np.asarray(returns)).mean(axis=-1))


def padded_returns(equity: npt.ArrayLike, steps: int) -> Array:
    """Simple returns of an equity curve, (steps,): 0 after its end.

    Args:
        equity: (at most steps + 1,), the first value above 0.
        steps: Of the period.
    """
    values = np.asarray(equity, dtype=np.float64)
    made = np.zeros(steps)
    returns = simple_returns(values)
    made[: len(returns)] = np.maximum(returns, RUIN)
    return made


def read_paths(found: dict[str, Any], groups: Mapping[str, Sequence[Work]]) -> Paths:
    """A task's paths, without draws.

    Args:
        found: What `scores_references.references` returned.
        groups: Name of each row to its cells, all done.
    """
    paths = Paths(int(found["test"]["steps"]))
    for name, walks in found["controls"].items():
        curves = [walk["equity"] for walk in walks]
        _take(paths, paths.controls, name, curves, [walk["terminated"] for walk in walks])
    for name, works in groups.items():
        curves, ends = [], []
        for work in works:
            with np.load(work.equity) as kept:
                curves.append(kept["best"])
            ends.append(json.loads(work.result.read_text())["test"]["best"]["terminated"])
        _take(paths, paths.rows, name, curves, ends)
    return paths


def _take(
    paths: Paths, into: dict[str, Array], name: str, curves: list[Any], ends: list[bool]
) -> None:
    longest = paths.steps + 1
    if any(len(c) > longest or (len(c) < longest and not e) for c, e in zip(curves, ends)):  # noqa: B905
        paths.uneven.add(name)
        return
    into[name] = np.stack([padded_returns(curve, paths.steps) for curve in curves])
    if any(ends):
        paths.ruined.add(name)


def draw(paths: Paths, resamples: int, *, length: float | None = None, seed: int = 0) -> None:
    """Fill the draws of all that did not go bankrupt.

    A row of one seed has none, which hides what seeds do; a control of one walk has them over time
    alone. A period of fewer than 20 steps has none.

    Args:
        paths: Filled.
        resamples: Draws.
        length: Mean length of the blocks, in steps; None for the longest automatic one.
        seed: Of the random numbers.
    """
    series = {
        name: np.log1p(returns)
        for name, returns in (paths.controls | paths.rows).items()
        if name not in paths.ruined and (len(returns) > 1 or name in paths.controls)
    }
    if not series or paths.steps < FEWEST_STEPS:
        return
    block = common_block_length(list(series.values())) if length is None else length
    paths.draws.update(growth_draws(series, resamples, block, seed))


def growth_draws(
    series: Mapping[str, Array], resamples: int, length: float, seed: int = 0
) -> dict[str, Array]:
    """Means of series on resampled time and seeds, as `time_draws.joint_draws` draws them.

    Args:
        series: Name to log returns (seeds, steps), the same steps in all.
        resamples: Draws.
        length: Mean length of the stationary bootstrap's blocks, in steps.
        seed: Of the random numbers.

    Returns:
        Name to (resamples,).
    """
    random = np.random.default_rng(seed)
    together = np.concatenate(list(series.values())).T
    steps = len(together)
    part = max(1, CHUNK // steps)
    made = {name: np.empty(resamples) for name in series}
    for start in range(0, resamples, part):
        count = min(part, resamples - start)
        means = _counts(stationary_indices(steps, length, count, random)) @ together / steps
        first = 0
        for name, rows in series.items():
            own = means[:, first : first + len(rows)]
            first += len(rows)
            chosen = random.integers(len(rows), size=own.shape)
            drawn = np.take_along_axis(own, chosen, axis=1).mean(axis=1)
            made[name][start : start + count] = drawn
    return made


def _counts(indices: npt.NDArray[np.int64]) -> Array:
    """How often each step was drawn, (draws, steps)."""
    draws, steps = indices.shape
    flat = (indices + steps * np.arange(draws)[:, None]).ravel()
    counts = np.bincount(flat, minlength=draws * steps).reshape(draws, steps)
    return counts.astype(np.float64)
