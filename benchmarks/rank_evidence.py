"""How much a rank correlation of a few policies says."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.intervals import Interval, Seed, check_bootstrap, checked, percentile, unknown
from benchmarks.ranks import row_correlation

PERMUTATIONS = 10_000
MOST = 7  # policies of which all orders are tried
RESAMPLES = 2_000
FEWEST = 5  # clusters of which a bootstrap can be made


def chance_of(estimates: npt.ArrayLike, truths: npt.ArrayLike, *, seed: Seed = 0) -> float:
    """Probability that so high a rank correlation comes of estimates in random order.

    All orders of up to `MOST` policies are tried, else `PERMUTATIONS` random ones.

    Args:
        estimates: (policies,), independent of each other.
        truths: (policies,), in the same order.
        seed: Of the random orders.

    Returns:
        One-sided; NaN where a side is constant.
    """
    x = checked(estimates, "estimates", ("policies",))
    y = checked(truths, "truths", ("policies",))
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return float("nan")
    exact = len(x) <= MOST
    if exact:
        orders = x[np.array(list(itertools.permutations(range(len(x)))))]
    else:
        random = np.random.default_rng(seed)
        orders = random.permuted(np.broadcast_to(x, (PERMUTATIONS, len(x))), axis=1)
    drawn = row_correlation(orders, np.broadcast_to(y, orders.shape))
    higher = int((drawn >= row_correlation(x, y) - 1e-12).sum())
    # the found order counts as one of the random ones, so that nothing is impossible
    return higher / len(orders) if exact else (higher + 1) / (len(orders) + 1)


def clustered_rank_correlation(
    estimates: npt.ArrayLike,
    truths: npt.ArrayLike,
    clusters: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: Seed = 0,
) -> Interval:
    """Spearman's correlation of policies some of which resemble each other, as seeds of one method.

    The interval is a cluster bootstrap's: those that resemble each other are drawn together. With
    few clusters it is too short.

    Args:
        estimates: (policies,).
        truths: (policies,).
        clusters: A label for each policy.
        resamples: Draws.
        confidence: Nominal coverage.
        seed: Of the draws.

    Returns:
        As `ranks.rank_correlation`; bounds are NaN with fewer than five clusters.

    Raises:
        ValueError: Not finite, or of different lengths.
    """
    x = checked(estimates, "estimates", ("policies",))
    y = checked(truths, "truths", ("policies",))
    if not len(x) == len(y) == len(clusters):
        raise ValueError(f"{len(x)} estimates, {len(y)} truths and {len(clusters)} clusters.")
    check_bootstrap(resamples, confidence)
    estimate = float(row_correlation(x, y))
    labels = np.array(clusters)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if len(members) < FEWEST or np.isnan(estimate):
        return unknown(estimate, confidence)
    random = np.random.default_rng(seed)
    draws = np.empty(resamples)
    for draw in range(resamples):
        chosen = random.integers(len(members), size=len(members))
        drawn = np.concatenate([members[k] for k in chosen])
        draws[draw] = row_correlation(x[drawn], y[drawn])
    return percentile(estimate, draws[~np.isnan(draws)], confidence)
