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
