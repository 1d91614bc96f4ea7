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
from gym_trade.types import LANE_DTYPE, Bool, Float64, Record

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
LARGEST_FLOAT = sys.float_info.max


@jit
def start_moments(lane: Record) -> None:
    """Begin the running moments at the lane's present equity."""
    lane.n_returns = 0
    lane.first_return = 0.0
    lane.return_total = 0.0
    lane.return_squares = 0.0
    lane.downside_squares = 0.0
    lane.peak_equity = lane.equity
    lane.max_drawdown = 0.0
    lane.drawdown_steps = 0
    lane.max_drawdown_steps = 0
    lane.exposure_total = 0.0
    lane.equity_total = 0.0


@jit
def observe_return(lane: Record, growth: float, equity: float, exposure: float) -> None:
    """Add one decision's outcome to the running moments.

    The variance is that of the returns less the first one: such shifted sums lose no digits that
    matter (Chan, Golub and LeVeque 1983), are exactly 0 where all returns are equal, and, unlike
    Welford's, let the next decision begin before this one's division is done.

    Args:
        lane: The lane record.
        growth: Equity after the step over equity before it.
        equity: Equity after it.
        exposure: Notional over equity after it.
    """
    simple = growth - 1.0
    lane.n_returns += 1
    if lane.n_returns == 1:
        lane.first_return = simple
    shifted = simple - lane.first_return
    lane.return_total += shifted
    lane.return_squares += shifted * shifted
    # Nothing below branches: whether a return is a loss cannot be predicted, and a processor that
    # guesses wrong loses more than all of these operations take.
    loss = min(simple, 0.0)
    lane.downside_squares += loss * loss
    peak = max(lane.peak_equity, equity)
    lane.drawdown_steps = 0 if equity == peak else lane.drawdown_steps + 1
    lane.max_drawdown_steps = max(lane.max_drawdown_steps, lane.drawdown_steps)
    lane.max_drawdown = max(lane.max_drawdown, 1.0 - equity / peak)
    lane.peak_equity = peak
    lane.exposure_total += exposure
    lane.equity_total += equity


@jit
def ratio(numerator: float, denominator: float) -> float:
    """A quotient; 0.0 where there is nothing to divide by, and never infinite."""
    if denominator <= 0.0:
        return 0.0
    # An annualised return near its cap over a tiny drawdown would overflow.
    if denominator < 1.0 and abs(numerator) >= LARGEST_FLOAT * denominator:
        return math.copysign(LARGEST_FLOAT, numerator)
    return numerator / denominator


@jit
def write_metrics(lane: Record, periods_per_year: float, out: Float64) -> None:
    """Write the metrics of one lane record into `out`, float64 (metrics,), as `NAMES` orders."""
    count = lane.n_returns
    total = lane.equity / lane.initial_cash - 1.0 if count > 0 else 0.0
    growth = math.log1p(total) * periods_per_year / count if count > 0 and total > -1.0 else 0.0
    annual = math.expm1(min(growth, LARGEST_LOG_RETURN)) if total > -1.0 else -1.0
    offset = lane.return_total / count if count > 0 else 0.0
    squares = max(lane.return_squares - lane.return_total * offset, 0.0)
    deviation = math.sqrt(squares / (count - 1)) if count > 1 else 0.0
    downside = math.sqrt(lane.downside_squares / count) if count > 0 else 0.0
    root_year = math.sqrt(periods_per_year)
    mean = lane.first_return + offset
    # A deviation that is rounding error beside the mean is none.
    deviation = deviation if deviation > 1e-12 * abs(mean) else 0.0
    out[0] = total
    out[1] = annual
    out[2] = deviation * root_year
    out[3] = ratio(mean, deviation) * root_year
    out[4] = ratio(mean, downside) * root_year
    out[5] = ratio(annual, lane.max_drawdown)
    out[6] = lane.max_drawdown
    out[7] = lane.max_drawdown_steps
    out[8] = ratio(lane.n_wins, lane.n_trades)
    out[9] = ratio(lane.gross_profit, lane.gross_loss)
    out[10] = ratio(lane.turnover * count, lane.equity_total)
    out[11] = ratio(lane.exposure_total, count)
    out[12] = lane.n_trades
    out[13] = lane.fees
    out[14] = ratio(lane.price, lane.initial_price) - 1.0 if count > 0 else 0.0


@jit
def write_all_metrics(
    lanes: Record, mask: Bool, periods_per_year: Float64, row: Float64, out: Float64
) -> None:
    """Write the metrics of the lanes of `mask` into their columns of `out`.

    Args:
        lanes: Structured (n,), `types.LANE_DTYPE`.
        mask: bool (n,).
        periods_per_year: float64 (markets,).
        row: float64 (metrics,), overwritten.
        out: float64 (metrics, n).
    """
    for i in range(lanes.shape[0]):
        if mask[i]:
            write_metrics(lanes[i], periods_per_year[lanes[i].market], row)
            for number in range(row.shape[0]):
                out[number, i] = row[number]


def summarise(lane: Any, periods_per_year: float) -> dict[str, float]:
    """The metrics of one lane record.

    Args:
        lane: A record of `types.LANE_DTYPE` whose moments are complete.
        periods_per_year: Decisions a year.

    Returns:
        The metrics named in `NAMES`: plain floats; returns, drawdown and exposure as fractions,
        `max_drawdown_steps` in decisions, `fees_paid` in quote currency.
    """
    out = np.zeros(len(NAMES))
    write_metrics(lane, float(periods_per_year), out)
    return dict(zip(NAMES, out.tolist(), strict=True))


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
            observe_return(lane, curve[step] / curve[step - 1], curve[step], exposures[step])
        lane.equity = curve[-1]
    return summarise(lane, periods_per_year)
