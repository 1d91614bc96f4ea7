"""Time resampled in blocks, so that what returns have to do with those before them is kept.

Draws are indices into a series, (resamples, steps), and one draw serves every series of the same
instants: seeds and methods that went through the same market stay side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.intervals import checked

# Fewer returns than these have no autocorrelation worth estimating.
FEWEST_STEPS = 20
Indices = npt.NDArray[np.int64]


class BlockLength(NamedTuple):
    """Block lengths that suit a series' mean, in steps, at least 1.

    Attributes:
        stationary: Mean length of the stationary bootstrap's blocks.
        circular: Length of the circular bootstrap's; round it up.
    """

    stationary: float
    circular: float


def block_length(series: npt.ArrayLike) -> BlockLength:
    """The block length that makes the bootstrap's variance of a mean most accurate.

    Politis and White 2004, Econometric Reviews 23(1), with the correction of Patton, Politis and
    White 2009, Econometric Reviews 28(4): ``b = (2 G^2 / D)^(1/3) n^(1/3)`` with autocovariances R
    and the flat-top window w over lags up to M, ``G = sum w |k| R(k)`` and ``D`` 2 (stationary) or
    4/3 (circular) times the square of ``sum w R(k)``. M is twice the first lag from which five (or
    log10 n, if that is more) autocorrelations in a row are within 2 sqrt(log10(n) / n) of 0, as the
    authors' own program counts it; the text of 2004 begins one lag earlier. Lengths end at
    min(3 sqrt(n), n / 3), rounded up.

    It is made for the mean; a Sharpe ratio's is close to it where the ratio per step is small.

    Args:
        series: (steps,), at least 20.

    Returns:
        Both lengths; 1 for a constant series.

    Raises:
        ValueError: Not a finite (steps,), or fewer than 20 steps.
    """
    values = checked(series, "series", ("steps",))
    steps = len(values)
    if steps < FEWEST_STEPS:
        raise ValueError(
            f"series has {steps} steps: too few to tell how they depend on each other. Give at "
            f"least {FEWEST_STEPS}, or a block length of your own."
        )
    centred = values - values.mean()
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        return BlockLength(1.0, 1.0)
    longest = int(np.ceil(min(3.0 * np.sqrt(steps), steps / 3.0)))
    in_a_row = max(5, int(np.log10(steps)))
    furthest = min(int(np.ceil(np.sqrt(steps))) + in_a_row, steps - 1)
    covariance = np.array([centred[lag:] @ centred[: steps - lag] for lag in range(furthest + 1)])
    covariance /= steps
    small = np.abs(covariance[1:] / covariance[0]) < 2.0 * np.sqrt(np.log10(steps) / steps)
    runs = np.lib.stride_tricks.sliding_window_view(small, in_a_row).all(axis=1)
    if runs.any():
        first = int(np.argmax(runs)) + 1
    else:
        first = int(np.flatnonzero(~small)[-1]) + 1
    lags = np.arange(1, min(2 * first, furthest) + 1)
    window = np.minimum(1.0, 2.0 * (1.0 - lags / lags[-1]))
    spread = 2.0 * (window * lags) @ covariance[lags]
    density = covariance[0] + 2.0 * window @ covariance[lags]
    if density == 0.0:
        return BlockLength(float(longest), float(longest))
    scale = (2.0 * (spread / density) ** 2 * steps) ** (1.0 / 3.0)
    lengths = np.clip([scale * 0.5 ** (1 / 3), scale * 0.75 ** (1 / 3)], 1.0, longest)
    return BlockLength(*lengths.tolist())


def stationary_indices(
    steps: int, length: float, resamples: int, random: np.random.Generator
) -> Indices:
    """Draws of the stationary bootstrap (Politis and Romano 1994, JASA 89(428)).

    Blocks begin anywhere, have geometric lengths, and go on from the last step to the first.

    Args:
        steps: Length of the series and of each draw.
        length: Mean length of the blocks in steps, at least 1; 1 draws single steps.
        resamples: Draws.
        random: Where the random numbers come from.

    Returns:
        int64 (resamples, steps), each in [0, steps).

    Raises:
        ValueError: `length` is below 1 or above the number of steps.
    """
    _check_length(length, steps)
    begins = random.random((resamples, steps), dtype=np.float32) < 1.0 / length
    begins[:, 0] = True
    at = np.flatnonzero(begins)
    lengths = np.diff(at, append=begins.size)
    # within a block the source goes on as the place in the draw does
    shift = random.integers(steps, size=len(at)) - at
    source = np.repeat(shift, lengths) + np.arange(begins.size)
    wrapped = np.where(source < steps, source, source - steps)  # a block ends with its draw
    return np.asarray(wrapped.reshape(resamples, steps))


def circular_indices(
    steps: int, length: float, resamples: int, random: np.random.Generator
) -> Indices:
    """Draws of the circular block bootstrap (Politis and Romano 1992): blocks of one length.

    Args:
        steps: Length of the series and of each draw.
        length: Of the blocks in steps, at least 1; rounded up. The last block of a draw is cut.
        resamples: Draws.
        random: Where the random numbers come from.

    Returns:
        int64 (resamples, steps), each in [0, steps).

    Raises:
        ValueError: `length` is below 1 or above the number of steps.
    """
    _check_length(length, steps)
    whole = int(np.ceil(length))
    starts = random.integers(steps, size=(resamples, -(-steps // whole)))
    source = (starts[:, :, None] + np.arange(whole)).reshape(resamples, -1)[:, :steps]
    return np.asarray(np.where(source < steps, source, source - steps))


def _check_length(length: float, steps: int) -> None:
    if not 1.0 <= length <= steps:
        raise ValueError(
            f"block length must lie between 1 and the number of steps, {steps}, got {length}. "
            "Leave it out for the automatic one."
        )
