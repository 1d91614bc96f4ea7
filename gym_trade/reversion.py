"""Learnable markets whose optimal policy can be computed: a fair game plus a decaying deviation.

The log close is ``log m_t + x_t``. ``m_t`` is a martingale of constant volatility (its increments
have E[exp] = 1), ``x_t = decay x_{t-1} + shock`` a stationary Gaussian AR(1) process. A bar opens
at the last close times a gap, a part of the martingale's increment that is independent of x, and
closes after the rest of that increment and the whole of the deviation's:

    log open_t  - log close_{t-1} = gap_t                       ~ N(-gap_variance/2, gap_variance)
    log close_t - log open_t      = y_t = move_t + x_t - x_{t-1},
                             move_t ~ N(-move_variance/2, move_variance)

so that y_t is, given x_{t-1}, normal around -(1 - decay) x_{t-1} - move_variance/2.

**What bars tell of x.** High and low are drawn, given open and close, from the law of a bridge
whose variance is the same constant in every bar; gaps and volumes are independent of everything.
So, given the moves y_1 ... y_t, nothing else in the bars depends on x: the moves are a sufficient
statistic, and since all laws are Gaussian with constant parameters, the law of x_t given them is
normal with the Kalman filter's mean and variance. The variance does not depend on the data and
converges quickly: the mean alone is the state on which an optimal policy has to act. Where the
deviation is shown (``feature_deviation``, its value at each bar's close), it is the state itself.
Of the hidden kinds here an observer of the last 16 bars alone would know 99.4% of what the filter
knows (as the deviation of the best belief), of the last 32 more than 99.99%.

`benchmarks.reversion_optimum` computes the optimum from this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gym_trade.simulated_bars import START_PRICE, autoregression, bar_times, prices_of
from gym_trade.types import Float64

START_TIME = "2015-01-01"
INTERVAL = "1h"
DEFAULT_BARS = 100_000
MEAN_VOLUME = 20.0
DEVIATION_COLUMN = "feature_deviation"


@dataclass(frozen=True)
class Belief:
    """What is known of the deviation at a decision, once the filter's variance has converged.

    The belief b is normal around 0 with deviation `spread` and follows
    ``b' = decay b + surprise``, the surprise being normal with deviation `innovation`, independent
    of b. Of x is known that it is normal around b with variance `error_variance`.

    Attributes:
        gain: Of the filter: what b learns of a unit of surprise in the move; 0 where x is shown.
        memory: How much of b the next b keeps: ``b' = memory b + gain (y - drift)``.
        drift: Mean move where b is 0.
        error_variance: 0 where x is shown.
        innovation: See above.
        spread: See above.
    """

    gain: float
    memory: float
    drift: float
    error_variance: float
    innovation: float
    spread: float


@dataclass(frozen=True)
class Reversion:
    """A market's parameters, by bar and in log prices.

    Attributes:
        decay: Of the deviation, in (0, 1).
        deviation: Stationary standard deviation of x, >= 0.
        volatility: Standard deviation of the martingale's increment, gap included, > 0.
        gap_share: Of its variance that falls between the last close and the open, in [0, 1).
        shown: Whether bars carry x in a column `DEVIATION_COLUMN`.

    Raises:
        ValueError: A parameter is out of range.
    """

    decay: float
    deviation: float
    volatility: float
    gap_share: float = 0.1
    shown: bool = False

    def __post_init__(self) -> None:
        possible = {
            "decay": 0.0 < self.decay < 1.0,
            "deviation": 0.0 <= self.deviation < math.inf,
            "volatility": 0.0 < self.volatility < math.inf,
            "gap_share": 0.0 <= self.gap_share < 1.0,
        }
        for name, fits in possible.items():
            if not fits:
                raise ValueError(f"{name}={getattr(self, name)} is out of range; see `Reversion`.")

    @property
    def gap_variance(self) -> float:
        """Variance of a gap."""
        return self.gap_share * self.volatility**2

    @property
    def move_variance(self) -> float:
        """Variance of the martingale's part of a bar's move."""
        return (1.0 - self.gap_share) * self.volatility**2

    @property
    def shock_variance(self) -> float:
        """Variance of what is new in the deviation."""
        return self.deviation**2 * (1.0 - self.decay**2)

    @property
    def bridge_variance(self) -> float:
        """Variance of a bar's move given the deviation before it."""
        return self.move_variance + self.shock_variance

    def belief(self) -> Belief:
        """The law of what is known at a decision.

        Hidden, the error variance P is the fixed point of the filter's Riccati equation. State and
        observation share a shock, see e.g. Anderson and Moore 1979, "Optimal filtering", section
        5.4: with c = (1 - decay),
        S = c^2 P + bridge variance, C = shock variance - decay c P, gain = C / S,
        P = decay^2 P + shock variance - C^2 / S.
        """
        drift = -0.5 * self.move_variance
        if self.shown or self.deviation == 0.0:
            innovation = math.sqrt(self.shock_variance)
            return Belief(0.0, self.decay, drift, 0.0, innovation, self.deviation)
        decay, rest = self.decay, 1.0 - self.decay
        # With P from the quadratic that the Riccati equation is: no iteration, no tolerance.
        shock, bridge = self.shock_variance, self.bridge_variance
        a = rest**2
        b = bridge * (1.0 - decay**2) - shock * rest**2 - 2.0 * shock * decay * rest
        c = -shock * (bridge - shock)
        error = 2.0 * -c / (b + math.sqrt(b * b - 4.0 * a * c))
        scale = rest**2 * error + bridge
        gain = (shock - decay * rest * error) / scale
        innovation = gain * math.sqrt(scale)
        spread = innovation / math.sqrt(1.0 - decay**2)
        return Belief(gain, decay + gain * rest, drift, error, innovation, spread)


# Named by how hard they are to learn. The first two differ in what is shown alone, so that their
# optima differ by what the observer's uncertainty costs.
MODELS: dict[str, Reversion] = {
    "reversion_easy": Reversion(decay=0.75, deviation=0.007, volatility=0.003, shown=True),
    "reversion_medium": Reversion(decay=0.75, deviation=0.007, volatility=0.003),
    "reversion_hard": Reversion(decay=0.75, deviation=0.004, volatility=0.004),
}
KINDS = tuple(MODELS)


@dataclass(frozen=True)
class ReversionPath:
    """A simulated market with what its bars may hide.

    Attributes:
        frame: open, high, low, close, volume and, where it is shown, the deviation, by bar.
        deviation: x at each bar's close, float64 (bars,).
    """

    frame: pd.DataFrame
    deviation: Float64


def simulate(model: Reversion, n_bars: int = DEFAULT_BARS, seed: int = 0) -> ReversionPath:
    """Simulate a market.

    Args:
        model: Its parameters.
        n_bars: Number of bars, >= 2.
        seed: Seed; the same arguments give the same bars.

    Raises:
        ValueError: Fewer than two bars.
    """
    if n_bars < 2:
        raise ValueError(f"n_bars={n_bars}: expected at least 2.")
    rng = np.random.Generator(np.random.Philox(seed))
    gaps, moves = (
        math.sqrt(variance) * rng.standard_normal(n_bars) - 0.5 * variance
        for variance in (model.gap_variance, model.move_variance)
    )
    start = model.deviation * rng.standard_normal()
    shocks = math.sqrt(model.shock_variance) * rng.standard_normal(n_bars)
    deviation = autoregression(shocks, model.decay, start)
    # bar 0 moves from the deviation before it, as every other bar does
    log_close = math.log(START_PRICE) + np.cumsum(gaps + moves) + deviation - start
    bridge = math.sqrt(model.bridge_variance)
    columns = prices_of(log_close, gaps, bridge, rng.random((2, n_bars)))
    columns["volume"] = MEAN_VOLUME * rng.gamma(2.0, 0.5, n_bars)
    if model.shown:
        columns[DEVIATION_COLUMN] = deviation
    frame = pd.DataFrame(columns, index=bar_times(START_TIME, n_bars, INTERVAL))
    return ReversionPath(frame, deviation)
