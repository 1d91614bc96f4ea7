"""Scores of runs on tasks, in one number with its interval (Agarwal et al. 2021, arXiv:2108.13264).

A matrix of scores is (runs, tasks): a run is a seed, and its number means nothing across tasks. The
intervals are of a stratified bootstrap: in each task, as many runs as there were are drawn with
replacement, independently of the other tasks. They say how much the seeds matter, given the tasks
and given the price path that all seeds share: for the path see `benchmarks.time_bootstrap`.

**How far to trust them.** Measured on 1000 sets of normal scores, nominal 95% intervals of the
interquartile mean (of the mean) cover the truth in 75% (74%) with three runs of one task, 91% (84%)
with five, 94% (90%) with ten, and 94% (92%) with five runs of each of ten tasks: five seeds of one
task are too few for the number on the label.
"""

from __future__ import annotations

from collections.abc import Callable

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

# Of scores (..., runs, tasks); its result is (...).
Statistic = Callable[[Array], npt.NDArray[np.float64]]


def interquartile_mean(scores: npt.ArrayLike, *, fractional: bool = False) -> Array:
    """The mean of the middle half of all scores, whatever their task.

    Of n scores, sorted, the published package (rliable) leaves out ``floor(n / 4)`` at each end:
    that is ``scipy.stats.trim_mean(scores, 0.25, axis=None)``, and this function's default, so that
    its numbers can stand beside others'. Where n is not divisible by 4 that keeps more than half:
    of five scores three, of three all. `fractional` keeps exactly n / 2, by giving the outermost
    two kept the weight ``1 - (n / 4 - floor(n / 4))``. The two agree where 4 divides n.

    Args:
        scores: (..., runs, tasks), at least one of each.
        fractional: See above.

    Returns:
        (...), in the unit of the scores; of one matrix a NumPy float, as all statistics here.
    """
    values = np.asarray(scores, dtype=np.float64)
    flat = np.sort(values.reshape(*values.shape[:-2], -1), axis=-1)
    count = flat.shape[-1]
    whole, rest = divmod(count, 4)
    kept = flat[..., whole : count - whole]
    if not fractional or not rest:
        return kept.mean(axis=-1)
    if kept.shape[-1] == 1:
        return kept[..., 0]
    outer = (rest / 4.0) * (kept[..., 0] + kept[..., -1])
    return (kept.sum(axis=-1) - outer) / (count / 2.0)


def mean(scores: npt.ArrayLike) -> Array:
    """The mean over tasks of the mean over runs; (..., runs, tasks) to (...)."""
    return np.asarray(scores, dtype=np.float64).mean(axis=(-2, -1))


def median(scores: npt.ArrayLike) -> Array:
    """The median over tasks of the mean over runs, as rliable has it; (..., runs, tasks) to (...).

    On one task that is the mean: half of the tasks may be failures without its moving.
    """
    return np.median(np.asarray(scores, dtype=np.float64).mean(axis=-2), axis=-1)


def optimality_gap(scores: npt.ArrayLike, target: float = 100.0) -> Array:
    """How far the scores fall short of `target`, those above it counting as at it.

    Args:
        scores: (..., runs, tasks).
        target: In their unit; 100 is the expert, or the optimum where it is known.

    Returns:
        (...), 0 where every score reaches the target.
    """
    short = target - np.minimum(np.asarray(scores, dtype=np.float64), target)
    return short.mean(axis=(-2, -1))


def stratified_draws(
    scores: npt.ArrayLike, statistic: Statistic, *, resamples: int, seed: Seed
) -> Array:
    """The statistic of scores whose runs are drawn anew within each task.

    Args:
        scores: (runs, tasks).
        statistic: Of (..., runs, tasks).
        resamples: Draws.
        seed: Of the random numbers; the same seed gives the same draws.

    Returns:
        (resamples,).
    """
    values = checked(scores, "scores", ("runs", "tasks"))
    runs, tasks = values.shape
    random = np.random.default_rng(seed)
    part = max(1, CHUNK // values.size)
    draws = np.empty(resamples)
    for start in range(0, resamples, part):
        count = min(part, resamples - start)
        chosen = random.integers(runs, size=(count, runs, tasks))
        draws[start : start + count] = statistic(values[chosen, np.arange(tasks)])
    return draws


def stratified_bootstrap(
    scores: npt.ArrayLike,
    statistic: Statistic = interquartile_mean,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: Seed = 0,
) -> Interval:
    """An aggregate score with its stratified percentile bootstrap interval.

    Args:
        scores: (runs, tasks); one task is (runs, 1).
        statistic: Of (..., runs, tasks): `interquartile_mean`, `mean`, `median`, ...
        resamples: Draws.
        confidence: Nominal coverage. For k rows of which none may err, 1 - 0.05 / k (Bonferroni).
        seed: Of the random numbers.

    Returns:
        In the unit of the scores. With one run there is no interval: its bounds are NaN.

    Raises:
        ValueError: Scores are not a finite (runs, tasks); too few resamples.
    """
    values = checked(scores, "scores", ("runs", "tasks"))
    check_bootstrap(resamples, confidence)
    estimate = float(statistic(values))
    if len(values) < 2:
        return unknown(estimate, confidence)
    draws = stratified_draws(values, statistic, resamples=resamples, seed=seed)
    return percentile(estimate, draws, confidence)


def stratified_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    statistic: Statistic = interquartile_mean,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: Seed = 0,
) -> Interval:
    """How much higher the first method's aggregate score is, as `stratified_bootstrap`.

    Both methods' runs are drawn independently: equal seeds do not pair two methods' runs.

    Args:
        first: (runs, tasks).
        second: (runs of it, the same tasks).
        statistic: As there.
        resamples: As there.
        confidence: As there.
        seed: As there.

    Returns:
        In the unit of the scores; bounds are NaN where a method has one run.

    Raises:
        ValueError: Not finite matrices on the same tasks; too few resamples.
    """
    x, y = checked_pair(first, second)
    check_bootstrap(resamples, confidence)
    estimate = float(statistic(x)) - float(statistic(y))
    if min(len(x), len(y)) < 2:
        return unknown(estimate, confidence)
    random = np.random.default_rng(seed)
    above = stratified_draws(x, statistic, resamples=resamples, seed=random)
    below = stratified_draws(y, statistic, resamples=resamples, seed=random)
    return percentile(estimate, above - below, confidence)
