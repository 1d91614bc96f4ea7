"""What the benchmark's statistics share: an interval, and the checks of what they are given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Seed = int | np.random.Generator
# Resampled numbers held at once: 32 MB of float64.
CHUNK = 4_000_000


class Interval(NamedTuple):
    """An estimate with its interval.

    Attributes:
        estimate: The statistic of the data as they are.
        low: Lower bound; NaN where the data cannot tell (see the function that made it).
        high: Upper bound; NaN likewise.
        confidence: Nominal coverage, a fraction.
    """

    estimate: float
    low: float
    high: float
    confidence: float = 0.95

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def covers(self, value: float) -> bool:
        """Whether the interval holds `value`, bounds included.

        Raises:
            ValueError: There is no interval: its bounds are NaN.
        """
        if not self.known:
            raise ValueError(
                f"the estimate {self.estimate:.6g} has no interval to hold {value:.6g} or "
                "not. Give more seeds, or show the estimate alone."
            )
        return self.low <= value <= self.high


def unknown(estimate: float, confidence: float) -> Interval:
    """An estimate whose interval the data cannot tell."""
    return Interval(float(estimate), float("nan"), float("nan"), confidence)


def percentile(estimate: float, draws: Array, confidence: float) -> Interval:
    """The percentile interval of bootstrap draws, (resamples,) (Efron 1979).

    It is not centred on the estimate, and need not hold it. With few runs it is too short: drawn
    from n values, a mean's variance is (n - 1) / n of what it should be.
    """
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(float(estimate), float(low), float(high), confidence)


def check_bootstrap(resamples: int, confidence: float) -> None:
    """Refuse a number of resamples or a confidence that makes no interval.

    Raises:
        ValueError: `confidence` is not in (0, 1), or fewer than ten resamples are left in a tail.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}: 0.95 for 95%.")
    # the margin is for rounding: 2000 resamples at 0.99 are just enough
    if resamples * (1.0 - confidence) / 2.0 < 10.0 - 1e-9:
        needed = int(np.ceil(20.0 / (1.0 - confidence) - 1e-9))
        raise ValueError(
            f"resamples={resamples} leaves fewer than ten draws in each tail of a "
            f"{confidence:.4g} interval. Take at least {needed}."
        )


def checked(values: npt.ArrayLike, name: str, axes: tuple[str, ...]) -> Array:
    """The values as float64 with the named axes, none of them empty, every number finite.

    Raises:
        ValueError: Another number of axes, an empty one, or a number that is NaN or infinite.
    """
    try:
        array: Array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be a rectangle of numbers ({', '.join(axes)}): {error}. Where a run is "
            "missing, run it, or leave its row out."
        ) from error
    if array.ndim != len(axes) or 0 in array.shape:
        raise ValueError(
            f"{name} must have shape ({', '.join(axes)}), none of them 0, got {array.shape}."
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = ", ".join(f"{axis} {at}" for axis, at in zip(axes, bad[0], strict=True))
        raise ValueError(
            f"{name}: {array[tuple(bad[0])]} at {where} ({len(bad)} in all). Run what is missing, "
            "or leave it out; no statistic guesses it."
        )
    return array


def checked_pair(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Array, Array]:
    """Two matrices of scores on the same tasks."""
    x = checked(first, "the first scores", ("runs", "tasks"))
    y = checked(second, "the second scores", ("runs", "tasks"))
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"the scores are of {x.shape[1]} and of {y.shape[1]} tasks: compare two methods on the "
            "same tasks, in the same order."
        )
    return x, y
