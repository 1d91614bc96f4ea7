"""Whether the strategy that won so far would have been a good choice.

Combinatorially symmetric cross-validation: Bailey, Borwein, Lopez de Prado and Zhu 2017, "The
probability of backtest overfitting", Journal of Computational Finance 20(4).
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from benchmarks.intervals import Array, checked

PERFORMANCES = ("sharpe", "mean")
# 48,620 splits; every two blocks more take four times as many.
MOST_BLOCKS = 18


class Overfitting(NamedTuple):
    """What choosing the best in one half of the blocks leads to in the other.

    Attributes:
        probability: Of overfitting: the fraction of splits whose chosen strategy is at or below the
            median of all in the other half. About 1/2 for noise, 0 for one that is always best.
        logits: (splits,) logarithm of the odds of the chosen one's relative rank there; 0 is the
            median.
        chosen: (splits,) performance of the chosen one where it was chosen.
        later: (splits,) its performance in the other half.
        loss_probability: The fraction of splits whose chosen strategy loses in the other half.
    """

    probability: float
    logits: Array
    chosen: Array
    later: Array
    loss_probability: float


def backtest_overfitting(
    returns: npt.ArrayLike, *, blocks: int = 16, performance: str = "sharpe"
) -> Overfitting:
    """The probability of backtest overfitting of the choice among strategies.

    Time is cut into `blocks` parts. For each half of them the strategy that is best there is
    chosen, and ranked among all in the other half: with rank r of N, 1 the worst, its logit is
    ``log(r / (N + 1 - r))``. A logit of 0, the median, counts as overfitting, as in the paper's sum
    up to 0: noise among an odd number N of strategies so has (N + 1) / 2N, not 1/2. Equal
    performances share their mean rank; where several are best, all are chosen in equal parts.

    Args:
        returns: Simple returns of all strategies that were tried (strategies, steps), one a step.
        blocks: Even, 2 to 18; the paper takes 16. Where the steps are not divisible, the first
            blocks are a step longer. A block should hold many times the steps that a position does.
        performance: "sharpe" (mean over standard deviation; 0 where nothing varies) or "mean".

    Returns:
        Its probability is NaN where all strategies have the same returns: there is no choice.

    Raises:
        ValueError: Not a finite (strategies, steps) of two strategies and two steps a block; blocks
            that are odd or out of range; no such performance.
    """
    rows = checked(returns, "returns", ("strategies", "steps"))
    if len(rows) < 2:
        raise ValueError("returns hold one strategy: there is no choice to overfit.")
    if blocks % 2 or not 2 <= blocks <= MOST_BLOCKS:
        raise ValueError(f"blocks must be even and between 2 and {MOST_BLOCKS}, got {blocks}.")
    if rows.shape[1] < 2 * blocks:
        raise ValueError(
            f"returns hold {rows.shape[1]} steps, fewer than two for each of {blocks} blocks. Take "
            "fewer blocks."
        )
    if performance not in PERFORMANCES:
        raise ValueError(
            f"performance must be one of {', '.join(PERFORMANCES)}, got {performance!r}."
        )
    inside = _halves(blocks)
    early, late = (_performance(rows, half, performance) for half in (inside, ~inside))
    if (rows == rows[0]).all():
        return Overfitting(
            float("nan"), np.zeros(len(inside)), early[:, 0], late[:, 0], float("nan")
        )
    # of what rounding alone tells apart none is better
    margin = 1e-12 * np.abs(early).max(axis=1, keepdims=True)
    best = early >= early.max(axis=1, keepdims=True) - margin
    share = best / best.sum(axis=1, keepdims=True)
    rank = rankdata(late, axis=1)
    chosen_rank = (share * rank).sum(axis=1)
    return Overfitting(
        float((share * (rank <= (len(rows) + 1) / 2.0)).sum(axis=1).mean()),
        np.log(chosen_rank / (len(rows) + 1.0 - chosen_rank)),
        (share * early).sum(axis=1),
        (share * late).sum(axis=1),
        float((share * (late < 0.0)).sum(axis=1).mean()),
    )


def _halves(blocks: int) -> npt.NDArray[np.bool_]:
    """Every half of the blocks, (splits, blocks)."""
    members = np.array(list(combinations(range(blocks), blocks // 2)))
    inside = np.zeros((len(members), blocks), dtype=bool)
    np.put_along_axis(inside, members, True, axis=1)
    return inside


def _performance(rows: Array, inside: npt.NDArray[np.bool_], performance: str) -> Array:
    """Each strategy's performance in each half, (splits, strategies), from sums over blocks."""
    steps, blocks = rows.shape[1], inside.shape[1]
    lengths = np.full(blocks, steps // blocks)
    lengths[: steps % blocks] += 1
    edges = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    half = inside.astype(np.float64)
    count = (half @ lengths)[:, None]
    # around each strategy's own mean, so that squares of it do not eat the digits of the variance
    centre = rows.mean(axis=1)
    shifted = rows - centre[:, None]
    mean = half @ np.add.reduceat(shifted, edges, axis=1).T / count
    level = mean + centre
    if performance == "mean":
        return level
    squares = half @ np.add.reduceat(shifted**2, edges, axis=1).T
    deviation = np.sqrt(np.maximum(squares - count * mean**2, 0.0) / (count - 1.0))
    flat = deviation <= 1e-9 * np.maximum(np.abs(level), np.abs(mean))
    return np.divide(level, deviation, out=np.zeros_like(level), where=~flat)
