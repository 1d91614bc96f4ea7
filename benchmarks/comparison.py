"""How often one method's runs beat another's, and how many runs reach a score.

Both after Agarwal et al. 2021, arXiv:2108.13264, with intervals of the stratified bootstrap of
`benchmarks.aggregate`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.intervals import (
    CHUNK,
    Array,
    Interval,
    Seed,
    check_bootstrap,
    checked,
    checked_pair,
    percentile,
    unknown,
)


def _counts(random: np.random.Generator, runs: int, tasks: int, resamples: int) -> Array:
    """How often each run is drawn within each task: (resamples, tasks, runs), float64."""
    drawn = random.multinomial(runs, np.full(runs, 1.0 / runs), size=(resamples, tasks))
    return drawn.astype(np.float64)


def probability_of_improvement(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: Seed = 0,
) -> Interval:
    """How likely a run of the first method beats one of the second on a task drawn at random.

    The mean over tasks of the Mann-Whitney statistic over the number of pairs: a pair counts 1
    where the first is greater, 1/2 where they are equal. It does not say by how much.

    Args:
        first: (runs, tasks).
        second: (runs of it, the same tasks).
        resamples: Draws of both methods' runs, within each task.
        confidence: Nominal coverage.
        seed: Of the random numbers.

    Returns:
        In [0, 1], 0.5 for equals. Bounds are NaN where a method has one run.

    Raises:
        ValueError: Not finite matrices on the same tasks; too few resamples.
    """
    x, y = checked_pair(first, second)
    check_bootstrap(resamples, confidence)
    gap = x.T[:, :, None] - y.T[:, None, :]
    wins = (np.sign(gap) + 1.0) / 2.0  # (tasks, runs, runs of the other)
    estimate = float(wins.mean())
    if min(len(x), len(y)) < 2:
        return unknown(estimate, confidence)
    random = np.random.default_rng(seed)
    tasks = x.shape[1]
    part = max(1, CHUNK // (x.size + y.size))
    draws = np.empty(resamples)
    for start in range(0, resamples, part):
        count = min(part, resamples - start)
        of_x = _counts(random, len(x), tasks, count)
        of_y = _counts(random, len(y), tasks, count)
        # (tasks, count, runs) @ (tasks, runs, runs of the other), then those of the other
        beaten = np.swapaxes(np.swapaxes(of_x, 0, 1) @ wins, 0, 1)
        draws[start : start + count] = (beaten * of_y).sum(axis=(1, 2))
    return percentile(estimate, draws / (len(x) * len(y) * tasks), confidence)


class Profile(NamedTuple):
    """A performance profile; each (thresholds,).

    Attributes:
        thresholds: Scores.
        estimate: Fraction of runs above each.
        low: Lower bound of it at that threshold; NaN with one run.
        high: Upper bound likewise. The band is pointwise: it covers each point, not the curve.
        confidence: Nominal coverage.
    """

    thresholds: Array
    estimate: Array
    low: Array
    high: Array
    confidence: float


def performance_profile(
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    *,
    resamples: int = 2_000,
    confidence: float = 0.95,
    seed: Seed = 0,
) -> Profile:
    """The fraction of runs that score above each threshold, the mean over tasks.

    Args:
        scores: (runs, tasks).
        thresholds: (thresholds,), in their unit.
        resamples: Draws of runs within each task.
        confidence: Nominal coverage of the pointwise band.
        seed: Of the random numbers.

    Returns:
        The run-score distribution with its band.

    Raises:
        ValueError: Scores or thresholds are not finite, or of another shape; too few resamples.
    """
    values = checked(scores, "scores", ("runs", "tasks"))
    points = checked(thresholds, "thresholds", ("thresholds",))
    check_bootstrap(resamples, confidence)
    above = (values.T[:, :, None] > points).astype(np.float64)  # (tasks, runs, thresholds)
    estimate = above.mean(axis=(0, 1))
    if len(values) < 2:
        nothing = np.full(len(points), np.nan)
        return Profile(points, estimate, nothing, nothing.copy(), confidence)
    random = np.random.default_rng(seed)
    drawn = _counts(random, len(values), values.shape[1], resamples).reshape(resamples, -1)
    draws = drawn @ above.reshape(values.size, -1) / values.size
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    return Profile(points, estimate, low, high, confidence)
