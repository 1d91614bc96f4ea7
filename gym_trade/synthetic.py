"""The embedded market: simulated minute bars, learnable or not by construction.

The log price is ``log m_t + x_t``. ``m_t`` is a martingale whose volatility switches between a
calm and a nervous regime (a two-state Markov chain). ``x_t`` is the learnable part: a deviation
that decays with a half-life of `HALF_LIFE` minutes (a Gaussian AR(1) process, the discrete
Ornstein-Uhlenbeck process), so that after a rise above the martingale a fall is to be expected and
the other way round. The "martingale" market has no ``x_t``: its price is a fair game, every
strategy's expected profit before costs is zero, and nothing can be learned on it.

Each bar's open gaps away from the previous close; for high and low see `simulated_bars`. Further
kinds, learnable with an optimum that can be computed, are those of `gym_trade.reversion`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gym_trade import reversion
from gym_trade.jit import allocating_jit
from gym_trade.market import Market
from gym_trade.simulated_bars import START_PRICE, autoregression, bar_times, prices_of
from gym_trade.types import Float64, Int64

REGIME_KINDS = ("mean_reverting", "martingale")  # minute bars, of this module
KINDS = (*REGIME_KINDS, *reversion.KINDS)
DEFAULT_BARS = 400_000  # of the former; see `reversion.DEFAULT_BARS`

START_TIME = "2020-01-01"
CALM_VOLATILITY = 2e-4  # per square root of a minute
NERVOUS_VOLATILITY = 6e-4
CALM_MINUTES = 1440.0  # mean stay in each regime
NERVOUS_MINUTES = 360.0
GAP_SHARE = 0.05  # of a bar's variance that falls between the last close and the open
HALF_LIFE = 20.0  # minutes
DEVIATION = 0.0025  # stationary standard deviation of x
MEAN_VOLUME = 20.0


@dataclass(frozen=True)
class SyntheticPath:
    """A simulated market with what its bars hide.

    Attributes:
        frame: open, high, low, close, volume by minute.
        deviation: x at each bar's close, float64 (bars,); zeros on the martingale market.
        nervous: Whether each bar is in the nervous regime, int64 (bars,).
    """

    frame: pd.DataFrame
    deviation: Float64
    nervous: Int64


@allocating_jit
def regimes(draws: Float64, leave_calm: float, leave_nervous: float) -> Int64:
    """A two-state Markov chain that starts calm (0), int64 like `draws`."""
    states = np.zeros(len(draws), np.int64)
    state = 0
    for step in range(len(draws)):
        if draws[step] < (leave_nervous if state == 1 else leave_calm):
            state = 1 - state
        states[step] = state
    return states


def simulate(
    kind: str = "mean_reverting", n_bars: int = DEFAULT_BARS, seed: int = 0
) -> SyntheticPath:
    """Simulate a market of one-minute bars.

    Args:
        kind: "mean_reverting" (learnable) or "martingale" (a fair game).
        n_bars: Number of bars, >= 2.
        seed: Seed; the same arguments give the same bars.

    Raises:
        ValueError: Unknown kind, or fewer than two bars.
    """
    if kind not in REGIME_KINDS:
        raise ValueError(f"kind={kind!r}: expected one of {', '.join(REGIME_KINDS)}.")
    if n_bars < 2:
        raise ValueError(f"n_bars={n_bars}: expected at least 2.")
    rng = np.random.Generator(np.random.Philox(seed))
    nervous = regimes(rng.random(n_bars), 1.0 / CALM_MINUTES, 1.0 / NERVOUS_MINUTES)
    sigma = np.where(nervous == 1, NERVOUS_VOLATILITY, CALM_VOLATILITY)
    gap_sigma, bar_sigma = sigma * np.sqrt(GAP_SHARE), sigma * np.sqrt(1.0 - GAP_SHARE)
    gaps = gap_sigma * rng.standard_normal(n_bars) - 0.5 * gap_sigma**2
    moves = bar_sigma * rng.standard_normal(n_bars) - 0.5 * bar_sigma**2
    deviation = np.zeros(n_bars)
    if kind == "mean_reverting":
        decay = 0.5 ** (1.0 / HALF_LIFE)
        scale = DEVIATION * np.sqrt(1.0 - decay**2)
        start = DEVIATION * rng.standard_normal()
        deviation = autoregression(scale * rng.standard_normal(n_bars), decay, start)
        bar_sigma = np.sqrt(bar_sigma**2 + scale**2)
    log_close = np.log(START_PRICE) + np.cumsum(gaps + moves) + deviation
    columns = prices_of(log_close, gaps, bar_sigma, rng.random((2, n_bars)))
    columns["volume"] = MEAN_VOLUME * (1.0 + 2.0 * nervous) * rng.gamma(2.0, 0.5, n_bars)
    frame = pd.DataFrame(columns, index=bar_times(START_TIME, n_bars, "1min"))
    return SyntheticPath(frame, deviation, nervous)


def make_frame(
    kind: str = "mean_reverting", n_bars: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """A simulated market's bars: open, high, low, close, volume and ready features, if any.

    Args:
        kind: One of `KINDS`.
        n_bars: Number of bars, >= 2; None: the kind's own.
        seed: Seed; the same arguments give the same bars.

    Returns:
        By minute or, of the markets of `reversion`, by hour; UTC without a zone.

    Raises:
        ValueError: Unknown kind, or fewer than two bars.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: expected one of {', '.join(KINDS)}.")
    if kind in reversion.MODELS:
        count = reversion.DEFAULT_BARS if n_bars is None else n_bars
        return reversion.simulate(reversion.MODELS[kind], count, seed).frame
    return simulate(kind, DEFAULT_BARS if n_bars is None else n_bars, seed).frame


@functools.lru_cache(maxsize=8)
def embedded_market(
    kind: str = "mean_reverting", n_bars: int | None = None, seed: int = 0
) -> Market:
    """The market that an environment trades when it is given none; made once per process."""
    return Market(make_frame(kind, n_bars, seed))
