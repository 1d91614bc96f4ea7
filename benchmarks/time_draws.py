"""Scores of methods on resampled time and seeds, for `benchmarks.time_bootstrap`'s intervals.

Returns are **simple returns** per decision, one a step, of the same instants in every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.aggregate import interquartile_mean
from benchmarks.blocks import Indices, block_length, circular_indices, stationary_indices
from benchmarks.intervals import CHUNK, Array, Seed, checked

# Of returns (..., steps); its result is (...).
PathScore = Callable[[Array], npt.NDArray[np.float64]]
DRAWS: dict[str, Callable[[int, float, int, np.random.Generator], Indices]] = {
    "stationary": stationary_indices,
    "circular": circular_indices,
}


def total_log_return(returns: npt.ArrayLike) -> Array:
    """The logarithm of last equity over first; simple returns (..., steps) to (...)."""
    return np.log1p(np.asarray(returns, dtype=np.float64)).sum(axis=-1)


def mean_over_seeds(scores: npt.ArrayLike) -> Array:
    """(..., seeds) to (...)."""
    return np.asarray(scores, dtype=np.float64).mean(axis=-1)


def interquartile_mean_over_seeds(scores: npt.ArrayLike) -> Array:
    """(..., seeds) to (...), as `benchmarks.aggregate.interquartile_mean` of one task."""
    return interquartile_mean(np.asarray(scores, dtype=np.float64)[..., None])


def common_block_length(series: Sequence[Array], kind: str = "stationary") -> float:
    """The longest of all series' automatic block lengths, in steps.

    One length must serve them all. Blocks longer than needed cost a little precision; shorter ones
    make the interval too short.

    Args:
        series: Each (seeds, steps), the same steps.
        kind: "stationary" or "circular".

    Raises:
        ValueError: No such kind, or fewer than 20 steps.
    """
    _draw_of(kind)
    rows = np.concatenate(list(series))
    return float(max(getattr(block_length(row), kind) for row in rows))


def _draw_of(kind: str) -> Callable[[int, float, int, np.random.Generator], Indices]:
    if kind not in DRAWS:
        raise ValueError(f"kind must be one of {', '.join(DRAWS)}, got {kind!r}.")
    return DRAWS[kind]


def joint_draws(
    methods: Sequence[npt.ArrayLike],
    score: PathScore = total_log_return,
    *,
    over_seeds: PathScore = mean_over_seeds,
    kind: str = "stationary",
    length: float | None = None,
    resamples: int = 2_000,
    seed: Seed = 0,
) -> Array:
    """Scores of methods on resampled time and seeds, the same blocks of time for all of them.

    For a normalised score give its references as further methods, and combine the columns: then it
    is normalised by what the references did on the same blocks.

    Args:
        methods: Each the simple returns of a method, (seeds, steps), or (steps,) where it has no
            seeds, as buy-and-hold. The steps are the same instants in all.
        score: Of one path: (..., steps) to (...).
        over_seeds: Of the seeds' scores: (..., seeds) to (...).
        kind: "stationary" or "circular" blocks.
        length: Of the blocks, in steps; None for the automatic one.
        resamples: Draws.
        seed: Of the random numbers.

    Returns:
        (resamples, methods).

    Raises:
        ValueError: Returns that are not finite, not above -1, or of different lengths; a `kind` or
            `length` that is none; fewer than 20 steps without a `length`.
    """
    paths = paths_of(methods)
    draw = _draw_of(kind)
    steps = paths[0].shape[1]
    block = common_block_length(paths, kind) if length is None else length
    random = np.random.default_rng(seed)
    part = max(1, CHUNK // (steps * max(len(rows) for rows in paths)))
    draws = np.empty((resamples, len(paths)))
    for start in range(0, resamples, part):
        count = min(part, resamples - start)
        time = draw(steps, block, count, random)
        for column, rows in enumerate(paths):
            # by seed, so that each gather walks one row
            scores = np.stack([score(row[time]) for row in rows], axis=1)
            chosen = random.integers(len(rows), size=scores.shape)
            drawn = over_seeds(np.take_along_axis(scores, chosen, axis=1))
            draws[start : start + count, column] = drawn
    return draws


def paths_of(methods: Sequence[npt.ArrayLike]) -> list[Array]:
    """Each method's returns as (seeds, steps)."""
    if not len(methods):
        raise ValueError("no method's returns were given.")
    paths = []
    for number, returns in enumerate(methods):
        flat = np.ndim(returns) == 1
        axes = ("steps",) if flat else ("seeds", "steps")
        rows = np.atleast_2d(checked(returns, f"returns of method {number}", axes))
        if rows.min() <= -1.0:
            raise ValueError(
                f"returns of method {number}: {rows.min()} loses everything. Give simple returns, "
                "and end a series before its ruin."
            )
        paths.append(rows)
    lengths = sorted({rows.shape[1] for rows in paths})
    if len(lengths) > 1:
        raise ValueError(
            f"the methods' returns have {', '.join(map(str, lengths))} steps: give all of them "
            "over the same instants."
        )
    return paths
