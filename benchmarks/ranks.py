"""Whether rankings hold: between seeds, and between an estimate and the truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit
from scipy.stats import rankdata

from benchmarks.intervals import (
    Array,
    Interval,
    Seed,
    check_bootstrap,
    checked,
    percentile,
    unknown,
)

# A mean rank correlation between seeds from which a ranking is called stable.
STABLE = 0.7


def row_correlation(first: Array, second: Array) -> Array:
    """Spearman's rank correlation of rows, equal values sharing their mean rank.

    Args:
        first: (..., values).
        second: Likewise.

    Returns:
        (...), NaN where a row is constant.
    """
    x, y = (rankdata(rows, axis=-1) for rows in (first, second))
    x, y = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (x, y))
    scale = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    nothing = np.full(np.shape(scale), np.nan)
    return np.divide((x * y).sum(axis=-1), scale, out=nothing, where=scale > 0.0)[()]


def rank_correlation(
    estimates: npt.ArrayLike,
    truths: npt.ArrayLike,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: Seed = 0,
) -> Interval:
    """Spearman's correlation of estimated and true scores, as of fitted Q evaluation.

    Points are drawn in pairs. They must be independent: seeds of one method resemble each other,
    so give one point a method, such as its seeds' mean, or the interval is too short.

    Args:
        estimates: (policies,).
        truths: (policies,), in the same order.
        resamples: Draws; those with a constant side, which have no correlation, are left out.
        confidence: Nominal coverage of the percentile interval.
        seed: Of the random numbers.

    Returns:
        In [-1, 1]; NaN where a side is constant. Bounds are NaN with fewer than five policies.

    Raises:
        ValueError: Not finite, or of different lengths; fewer than two policies.
    """
    x = checked(estimates, "estimates", ("policies",))
    y = checked(truths, "truths", ("policies",))
    check_bootstrap(resamples, confidence)
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(
            f"{len(x)} estimates and {len(y)} truths: a correlation needs one of each for at least "
            "two policies."
        )
    estimate = float(row_correlation(x, y))
    if len(x) < 5 or np.isnan(estimate):
        return unknown(estimate, confidence)
    chosen = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    draws = row_correlation(x[chosen], y[chosen])
    return percentile(estimate, draws[~np.isnan(draws)], confidence)


class Stability(NamedTuple):
    """How far seeds agree on the order of methods.

    Attributes:
        agreement: Mean Spearman correlation of two seeds' rankings; 1 is the same order, 0 chance.
            Its bounds are NaN with fewer than three seeds.
        concordance: Kendall's W in [0, 1], 1 the same order. Without ties
            ``agreement = (seeds W - 1) / (seeds - 1)``.
        chance: Probability of so high a W if every seed ranked at random.
        verdict: "stable", "unstable" or "undecided", see `verdict`.
    """

    agreement: Interval
    concordance: float
    chance: float
    verdict: str


def concordance(scores: npt.ArrayLike) -> float:
    """Kendall's W of the order of methods between seeds, corrected for ties.

    ``12 S / (m^2 (n^3 - n) - m T)``: Kendall and Babington Smith 1939; ties as in Siegel and
    Castellan 1988.

    Args:
        scores: (seeds, methods), two of each.

    Returns:
        In [0, 1]; NaN where every seed has all methods equal.

    Raises:
        ValueError: Not a finite (seeds, methods) of two of each.
    """
    values = checked(scores, "scores", ("seeds", "methods"))
    if min(values.shape) < 2:
        raise ValueError(f"scores must hold two seeds and two methods, got {values.shape}.")
    ranks = rankdata(values, axis=1)
    return float(_concordance(ranks, _ties(ranks)))


def _ties(ranks: Array) -> float:
    """Sum over seeds and groups of t equal methods of t^3 - t."""
    sizes = (ranks[:, :, None] == ranks[:, None, :]).sum(axis=2)
    return float((sizes**2 - 1).sum())  # each of t members adds t^2 - 1


def _concordance(ranks: Array, ties: float) -> Array:
    """Kendall's W of ranks (..., seeds, methods)."""
    seeds, methods = ranks.shape[-2:]
    totals = ranks.sum(axis=-2)
    spread = ((totals - totals.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    most = seeds**2 * (methods**3 - methods) - seeds * ties
    return 12.0 * spread / most if most > 0.0 else np.full(spread.shape, np.nan)


def rank_stability(
    scores: npt.ArrayLike,
    *,
    threshold: float = STABLE,
    confidence: float = 0.95,
    permutations: int = 10_000,
    seed: Seed = 0,
) -> Stability:
    """Whether methods keep their order from seed to seed.

    The interval is the jackknife's over seeds with Student's t (Arvesen 1969, Annals of
    Mathematical Statistics 40(6)), cut to [-1, 1]. A bootstrap would not do: a seed that is drawn
    twice agrees with itself. Where every pair of seeds agrees alike it has no width.

    Args:
        scores: (seeds, methods): on one task, or aggregated over tasks.
        threshold: See `verdict`.
        confidence: Nominal coverage.
        permutations: Random rankings for `Stability.chance`.
        seed: Of the random numbers.

    Returns:
        Seeds that have all methods equal are left out of the agreement; it is NaN without two
        others. It says nothing about another price path: all seeds share one.

    Raises:
        ValueError: Not a finite (seeds, methods) of two of each.
    """
    found = concordance(scores)
    values = checked(scores, "scores", ("seeds", "methods"))
    ranks = rankdata(values, axis=1)
    telling = values[np.ptp(ranks, axis=1) > 0.0]
    agreement = _agreement(telling, confidence)
    random = np.random.default_rng(seed)
    shuffled = random.permuted(np.broadcast_to(ranks, (permutations, *ranks.shape)), axis=2)
    drawn = _concordance(shuffled, _ties(ranks))
    chance = (1.0 + float((drawn >= found - 1e-12).sum())) / (permutations + 1.0)
    chance = float("nan") if np.isnan(found) else chance
    return Stability(agreement, found, chance, verdict(agreement, threshold))


def _agreement(values: Array, confidence: float) -> Interval:
    """Mean correlation of all pairs of rows, none constant, with its jackknife interval."""
    seeds = len(values)
    if seeds < 2:
        return unknown(float("nan"), confidence)
    pairs = row_correlation(values[:, None, :], values[None, :, :])
    total = float(pairs.sum() - np.trace(pairs))
    estimate = total / (seeds * (seeds - 1))
    if seeds < 3:
        return unknown(estimate, confidence)
    without = (total - 2.0 * (pairs.sum(axis=1) - 1.0)) / ((seeds - 1) * (seeds - 2))
    error = np.sqrt((seeds - 1) / seeds * ((without - without.mean()) ** 2).sum())
    margin = float(stdtrit(seeds - 1, (1.0 + confidence) / 2.0) * error)
    low, high = max(estimate - margin, -1.0), min(estimate + margin, 1.0)
    return Interval(estimate, low, high, confidence)


def verdict(agreement: Interval, threshold: float = STABLE) -> str:
    """What the table says of its ranking.

    Args:
        agreement: Mean rank correlation between seeds.
        threshold: In [-1, 1].

    Returns:
        "stable" where the whole interval is at or above the threshold, "unstable" where it is
        below, "undecided" where it is on both sides or unknown.
    """
    if not agreement.known:
        return "undecided"
    if agreement.low >= threshold:
        return "stable"
    return "unstable" if agreement.high < threshold else "undecided"


def holm(p_values: npt.ArrayLike) -> Array:
    """P-values adjusted for how many there are (Holm 1979, Scandinavian Journal of Statistics 6).

    Rejecting those at or below 0.05 errs at all with at most 5%, however the tests depend on each
    other. For the false discovery rate instead, `scipy.stats.false_discovery_control`.

    Args:
        p_values: (tests,), in [0, 1].

    Returns:
        (tests,), in their order.

    Raises:
        ValueError: Not a finite (tests,), or outside [0, 1].
    """
    values = checked(p_values, "p_values", ("tests",))
    if values.min() < 0.0 or values.max() > 1.0:
        raise ValueError(f"p-values lie between 0 and 1, got {values.min()} to {values.max()}.")
    order = np.argsort(values, kind="stable")
    grown = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(grown, 1.0)
    return adjusted
