"""Performance metrics, as running moments of a lane and as a summary of any equity curve.

There is one set of formulas: the kernel feeds `observe_return` step by step, and `from_equity`
feeds it an array. Returns are simple returns per decision, the risk-free rate is 0, deviations
have ``ddof=1``, and a year holds as many periods as the market has decision instants a year. A
trade is a round trip; turnover is traded notional over mean equity. A ratio whose denominator is
zero is 0.0, so every metric is a finite float for empty, one-element and constant input.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from gym_trade.jit import jit
from gym_trade.types import LANE_DTYPE, Float64, Record

NAMES = (
    "total_return",
    "annualised_return",
    "annualised_volatility",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "max_drawdown_steps",
    "win_rate",
    "profit_factor",
    "turnover",
    "mean_exposure",
    "n_trades",
    "fees_paid",
    "buy_and_hold_return",
)
# exp() of more than this overflows; an annualised return that large says only "too short a span".
LARGEST_LOG_RETURN = 700.0


@jit
def start_moments(lane: Record) -> None:
    """Begin the running moments at the lane's present equity."""
    lane.n_returns = 0
    lane.return_mean = 0.0
    lane.return_squares = 0.0
    lane.downside_squares = 0.0
    lane.peak_equity = lane.equity
    lane.max_drawdown = 0.0
    lane.drawdown_steps = 0
    lane.max_drawdown_steps = 0
    lane.exposure_total = 0.0
    lane.equity_total = 0.0


@jit
def observe_return(lane: Record, previous: float, equity: float, exposure: float) -> None:
    """Add one decision's outcome to the running moments (Welford 1962 for the variance).

    Args:
        lane: The lane record.
        previous: Equity before the step, > 0.
        equity: Equity after it.
        exposure: Notional over equity after it.
    """
    simple = equity / previous - 1.0
    lane.n_returns += 1
    delta = simple - lane.return_mean
    lane.return_mean += delta / lane.n_returns
    lane.return_squares += delta * (simple - lane.return_mean)
    if simple < 0.0:
        lane.downside_squares += simple * simple
    if equity >= lane.peak_equity:
        lane.peak_equity = equity
        lane.drawdown_steps = 0
    else:
        lane.drawdown_steps += 1
        lane.max_drawdown_steps = max(lane.max_drawdown_steps, lane.drawdown_steps)
        lane.max_drawdown = max(lane.max_drawdown, 1.0 - equity / lane.peak_equity)
    lane.exposure_total += exposure
    lane.equity_total += equity


def _ratio(numerator: float, denominator: float) -> float:
    if denominator <= 0.0:
        return 0.0
    # An annualised return near its cap over a tiny drawdown would overflow.
    return max(-sys.float_info.max, min(numerator / denominator, sys.float_info.max))


def summarise(lane: Any, periods_per_year: float) -> dict[str, float]:
    """The metrics of one lane record.

    Args:
        lane: A record of `types.LANE_DTYPE` whose moments are complete.
        periods_per_year: Decisions a year.

    Returns:
        The metrics named in `NAMES`: plain floats; returns, drawdown and exposure as fractions,
        `max_drawdown_steps` in decisions, `fees_paid` in quote currency.
    """
    count = int(lane["n_returns"])
    total = float(lane["equity"] / lane["initial_cash"]) - 1.0 if count else 0.0
    growth = math.log1p(total) * periods_per_year / count if count and total > -1.0 else 0.0
    annual = math.expm1(min(growth, LARGEST_LOG_RETURN)) if total > -1.0 else -1.0
    deviation = math.sqrt(lane["return_squares"] / (count - 1)) if count > 1 else 0.0
    downside = math.sqrt(lane["downside_squares"] / count) if count else 0.0
    root_year = math.sqrt(periods_per_year)
    mean = float(lane["return_mean"])
    # A deviation that is rounding error beside the mean is none.
    deviation = deviation if deviation > 1e-12 * abs(mean) else 0.0
    return {
        "total_return": total,
        "annualised_return": annual,
        "annualised_volatility": deviation * root_year,
        "sharpe": _ratio(mean, deviation) * root_year,
        "sortino": _ratio(mean, downside) * root_year,
        "calmar": _ratio(annual, float(lane["max_drawdown"])),
        "max_drawdown": float(lane["max_drawdown"]),
        "max_drawdown_steps": float(lane["max_drawdown_steps"]),
        "win_rate": _ratio(float(lane["n_wins"]), float(lane["n_trades"])),
        "profit_factor": _ratio(float(lane["gross_profit"]), float(lane["gross_loss"])),
        "turnover": _ratio(float(lane["turnover"]) * count, float(lane["equity_total"])),
        "mean_exposure": _ratio(float(lane["exposure_total"]), float(count)),
        "n_trades": float(lane["n_trades"]),
        "fees_paid": float(lane["fees"]),
        "buy_and_hold_return": _ratio(float(lane["price"]), float(lane["initial_price"])) - 1.0
        if count
        else 0.0,
    }


def from_equity(
    equity: npt.ArrayLike,
    *,
    periods_per_year: float,
    exposure: npt.ArrayLike | None = None,
    price: npt.ArrayLike | None = None,
) -> dict[str, float]:
    """The metrics of an equity curve that was recorded elsewhere.

    Args:
        equity: Equity at each decision, shape (T,), all but the last > 0; may be empty.
        periods_per_year: Decisions a year.
        exposure: Notional over equity after each step, shape (T,) with the first unused.
        price: Marks, shape (T,), for the buy-and-hold return.

    Returns:
        As `summarise`; what an equity curve cannot tell (trades, turnover, fees) is 0.0.

    Raises:
        ValueError: Shapes differ, or an equity before the last is not positive and finite.
    """
    curve: Float64 = np.asarray(equity, dtype=np.float64)
    steps = len(curve) if curve.ndim == 1 else -1
    exposures = np.zeros(max(steps, 0)) if exposure is None else np.asarray(exposure, np.float64)
    marks = np.ones(max(steps, 0)) if price is None else np.asarray(price, np.float64)
    if steps < 0 or exposures.shape != curve.shape or marks.shape != curve.shape:
        raise ValueError(
            f"equity, exposure and price must be one-dimensional and equally long, got shapes "
            f"{curve.shape}, {exposures.shape}, {marks.shape}."
        )
    if not (np.isfinite(curve).all() and (curve[:-1] > 0.0).all()):
        raise ValueError("equity must be finite, and positive before its last element.")
    lane = np.zeros(1, LANE_DTYPE).view(np.recarray)[0]
    if steps:
        lane.initial_cash = lane.equity = curve[0]
        lane.initial_price, lane.price = marks[0], marks[-1]
        start_moments(lane)
        for step in range(1, steps):
            observe_return(lane, curve[step - 1], curve[step], exposures[step])
        lane.equity = curve[-1]
    return summarise(lane, periods_per_year)
