"""What the best of many trials is worth: Sharpe ratios deflated by how many were tried.

Ratios and variances are per step, as in `benchmarks.sharpe`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from benchmarks.intervals import checked
from benchmarks.sharpe import moments, probabilistic_sharpe, sharpe_ratio, sharpe_standard_error


def expected_maximum_sharpe(trial_variance: float, trials: int) -> float:
    """The Sharpe ratio that the best of some trials has when none is worth anything.

    Bailey and Lopez de Prado 2014, Journal of Portfolio Management 40(5), equation 1, with a mean
    of 0. It supposes independent, normal estimates; of correlated trials, as seeds of one method
    are, their number is an upper bound, and so is this.

    Args:
        trial_variance: Of the trials' ratios, in the squared unit of the result.
        trials: All that were tried, also those not shown; 1 gives 0.

    Raises:
        ValueError: A negative variance, or no trial.
    """
    if trials < 1 or not trial_variance >= 0.0:
        raise ValueError(
            f"trials must be at least 1 and their variance at least 0, got {trials} and "
            f"{trial_variance}."
        )
    if trials == 1:
        return 0.0
    upper = ndtri(1.0 - 1.0 / trials)
    further = ndtri(1.0 - 1.0 / (trials * math.e))
    mean = (1.0 - np.euler_gamma) * upper + np.euler_gamma * further
    return math.sqrt(trial_variance) * float(mean)


def deflated_sharpe(
    sharpe: float,
    observations: int,
    skew: float = 0.0,
    kurtosis: float = 3.0,
    *,
    trial_variance: float,
    trials: int,
) -> float:
    """The probability that the best of many trials has a true Sharpe ratio above what luck gives.

    `probabilistic_sharpe` with `expected_maximum_sharpe` for a benchmark. Source as there.

    Args:
        sharpe: Of the chosen one, per step.
        observations: Its steps.
        skew: Of its returns.
        kurtosis: Of its returns, 3 for normal ones.
        trial_variance: Of all trials' ratios per step.
        trials: How many there were.

    Returns:
        In [0, 1]; below 0.95 the choice is not established at 5%.

    Raises:
        ValueError: As those two.
    """
    luck = expected_maximum_sharpe(trial_variance, trials)
    return probabilistic_sharpe(sharpe, observations, skew, kurtosis, benchmark=luck)


class Deflated(NamedTuple):
    """The best of some trials.

    Attributes:
        best: Its row.
        sharpe: Its ratio per step.
        expected_maximum: What luck alone would give, per step.
        probability: The deflated Sharpe ratio.
        trials: How many it was chosen from.
    """

    best: int
    sharpe: float
    expected_maximum: float
    probability: float
    trials: int


def deflate_best(
    returns: npt.ArrayLike, *, trials: int | None = None, differing: bool = False
) -> Deflated:
    """The deflated Sharpe ratio of the best row.

    The source takes the variance of the found ratios for that of luck. Where trials truly differ,
    as good and bad methods do, that is not luck's: worthless ones of independent returns, whose
    true ratio is 0, have a variance of 1 / (steps - 1).

    Args:
        returns: Simple returns of every trial (trials, steps): every method, seed and setting that
            was tried on this period.
        trials: How many there were, if some have left no returns; by default the rows.
        differing: Take the lesser of both variances.

    Returns:
        Its probability is NaN with one row, whose spread is unknown, and for constant returns.

    Raises:
        ValueError: Not a finite (trials, steps) of two steps; fewer `trials` than rows.
    """
    rows = checked(returns, "returns", ("trials", "steps"))
    number = len(rows) if trials is None else trials
    if number < len(rows):
        raise ValueError(f"trials={number}, but there are returns of {len(rows)}.")
    ratios = sharpe_ratio(rows)
    best = int(np.argmax(ratios))
    found = moments(rows[best])
    if len(rows) < 2:
        return Deflated(best, found.sharpe, math.nan, math.nan, number)
    variance = float(ratios.var(ddof=1))
    if differing:
        variance = min(variance, sharpe_standard_error(0.0, found.observations) ** 2)
    luck = expected_maximum_sharpe(variance, number)
    chance = deflated_sharpe(*found, trial_variance=variance, trials=number)
    return Deflated(best, found.sharpe, luck, chance, number)
