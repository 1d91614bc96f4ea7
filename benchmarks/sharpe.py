"""The Sharpe ratio and what may be concluded from it.

Unless a name says otherwise ratios are **per step**, not annualised: divide an annualised one by
the square root of the steps a year, and a variance of annualised ones by the steps a year. Kurtosis
is 3 for normal returns. The formulas suppose returns that do not depend on those before them; where
they do, as a position held over many steps makes them, take `benchmarks.time_bootstrap`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from benchmarks.intervals import Array, checked


def sharpe_ratio(returns: npt.ArrayLike, periods_per_year: float = 1.0) -> Array:
    """Mean over standard deviation (ddof 1), as `gym_trade.metrics` has it.

    Args:
        returns: Simple returns (..., steps); the risk-free rate is 0.
        periods_per_year: Steps a year, for the annualised ratio; 1 for that per step.

    Returns:
        (...), of one series a NumPy float; 0 for fewer than two returns, and where all are equal.
    """
    values = np.asarray(returns, dtype=np.float64)
    centre = values.mean(axis=-1)
    if values.shape[-1] < 2:
        return np.zeros_like(centre)[()]
    deviation = values.std(axis=-1, ddof=1)
    # a deviation that is rounding error beside the mean is none
    flat = deviation <= 1e-12 * np.abs(centre)
    ratio = np.divide(centre, deviation, out=np.zeros_like(centre), where=~flat)
    return ratio[()] * math.sqrt(periods_per_year)


class Moments(NamedTuple):
    """What the formulas below need of a series of returns.

    Attributes:
        sharpe: Per step.
        observations: Steps.
        skew: Third standardised moment, the population's form.
        kurtosis: Fourth, 3 for normal returns.
    """

    sharpe: float
    observations: int
    skew: float
    kurtosis: float


def moments(returns: npt.ArrayLike) -> Moments:
    """The moments of simple returns (steps,).

    Returns:
        Skew and kurtosis are NaN, and with them all that follows, where all returns are equal.

    Raises:
        ValueError: Not a finite (steps,), or fewer than two.
    """
    values = checked(returns, "returns", ("steps",))
    if len(values) < 2:
        raise ValueError("returns hold one step: a deviation needs two.")
    centred = values - values.mean()
    deviation = math.sqrt(float(np.mean(centred**2)))
    if deviation <= 1e-12 * abs(float(values.mean())) or deviation == 0.0:
        return Moments(0.0, len(values), math.nan, math.nan)
    standard = centred / deviation
    return Moments(
        float(sharpe_ratio(values)),
        len(values),
        float(np.mean(standard**3)),
        float(np.mean(standard**4)),
    )


def sharpe_standard_error(
    sharpe: float, observations: int, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """The standard error of a Sharpe ratio per step.

    ``sqrt((1 - skew SR + (kurtosis - 1) / 4 SR^2) / (T - 1))``: Mertens 2002; with normal returns
    that of Lo 2002, Financial Analysts Journal 58(4), who divides by T.

    Raises:
        ValueError: Fewer than two observations, or moments that no returns have.
    """
    if observations < 2:
        raise ValueError(f"a Sharpe ratio of {observations} observations has no standard error.")
    spread = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    # of any distribution kurtosis >= 1 + skew^2, and then the spread is a square and more
    if kurtosis < 1.0 + skew**2 - 1e-9 * (1.0 + skew**2):
        raise ValueError(
            f"no returns have skew {skew:.4g} and kurtosis {kurtosis:.4g}, which is at least "
            "1 + skew^2. Kurtosis is not in excess of 3 here."
        )
    return math.sqrt(max(spread, 0.0) / (observations - 1)) if not math.isnan(spread) else math.nan


def probabilistic_sharpe(
    sharpe: float,
    observations: int,
    skew: float = 0.0,
    kurtosis: float = 3.0,
    *,
    benchmark: float = 0.0,
) -> float:
    """The probability that the true Sharpe ratio is above `benchmark`, both per step.

    Bailey and Lopez de Prado 2012, "The Sharpe ratio efficient frontier", Journal of Risk 15(2).

    Returns:
        In [0, 1]; NaN where the moments are.

    Raises:
        ValueError: As `sharpe_standard_error`.
    """
    error = sharpe_standard_error(sharpe, observations, skew, kurtosis)
    if error == 0.0:
        return 0.5 if sharpe == benchmark else float(sharpe > benchmark)
    return float(ndtr((sharpe - benchmark) / error))


def minimum_track_record(
    sharpe: float,
    skew: float = 0.0,
    kurtosis: float = 3.0,
    *,
    benchmark: float = 0.0,
    confidence: float = 0.95,
) -> float:
    """How many observations it takes until `probabilistic_sharpe` is `confidence`.

    Source as there.

    Returns:
        Observations, not rounded; infinite where the ratio is not above the benchmark.

    Raises:
        ValueError: `confidence` is not in (0.5, 1), or as `sharpe_standard_error`.
    """
    if not 0.5 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0.5 and 1, got {confidence}.")
    spread = sharpe_standard_error(sharpe, 2, skew, kurtosis) ** 2  # times T - 1
    if sharpe <= benchmark:
        return math.inf
    return 1.0 + spread * float(ndtri(confidence) / (sharpe - benchmark)) ** 2


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
