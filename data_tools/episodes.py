"""Returns and lengths of episodes, counted as they come, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass
class RunningStatistics:
    """Mean, deviation and extremes of numbers seen one by one (Welford 1962).

    Attributes:
        count: Numbers seen.
        mean: Their mean; 0 before the first.
        minimum: The smallest; infinity before the first.
        maximum: The largest; minus infinity before the first.
    """

    count: int = 0
    mean: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    _squares: float = 0.0

    def add(self, value: float) -> None:
        """See one more number."""
        self.count += 1
        difference = value - self.mean
        self.mean += difference / self.count
        self._squares += difference * (value - self.mean)
        self.minimum, self.maximum = min(self.minimum, value), max(self.maximum, value)

    @property
    def std(self) -> float:
        """Standard deviation, ddof 0; 0 before the first number."""
        return math.sqrt(self._squares / self.count) if self.count else 0.0


@dataclass(frozen=True)
class Episodes:
    """What collected episodes were like.

    Attributes:
        complete: Episodes that the environment ended.
        cut: Episodes that were still running when their lane's share was full.
        terminated: Complete episodes that were terminated; the others were truncated.
        mean_return: Mean sum of rewards, over complete episodes or, without any, over the cut ones.
        std_return: Their standard deviation, ddof 0.
        min_return: Their smallest.
        max_return: Their largest.
        mean_length: Their mean length in steps.
    """

    complete: int
    cut: int
    terminated: int
    mean_return: float
    std_return: float
    min_return: float
    max_return: float
    mean_length: float


def join_episodes(parts: Sequence[Episodes]) -> Episodes:
    """What several collections' episodes were like together, in the order given."""
    complete, cut = sum(part.complete for part in parts), sum(part.cut for part in parts)
    weights = [part.complete if complete else part.cut for part in parts]
    # a part without complete episodes tells of cut ones, which the others' do not compare to
    counted = [(w, p) for w, p in zip(weights, parts, strict=True) if w]
    total = max(1, sum(w for w, _ in counted))
    mean = sum(w * p.mean_return for w, p in counted) / total
    squares = sum(w * (p.std_return**2 + (p.mean_return - mean) ** 2) for w, p in counted)
    return Episodes(
        complete=complete,
        cut=cut,
        terminated=sum(part.terminated for part in parts),
        mean_return=mean,
        std_return=math.sqrt(squares / total),
        min_return=min((p.min_return for _, p in counted), default=math.inf),
        max_return=max((p.max_return for _, p in counted), default=-math.inf),
        mean_length=sum(w * p.mean_length for w, p in counted) / total,
    )


class EpisodeLog:
    """Running returns per lane, and statistics of the episodes that are over.

    Args:
        lanes: Number of lanes.
    """

    def __init__(self, lanes: int) -> None:
        self._returns = np.zeros(lanes)
        self._lengths = np.zeros(lanes, np.int64)
        self._complete = RunningStatistics(), RunningStatistics()  # returns, lengths
        self._cut = RunningStatistics(), RunningStatistics()
        self._terminated = 0

    def add(
        self,
        reward: npt.NDArray[np.float64],
        terminated: npt.NDArray[np.bool_],
        ended: npt.NDArray[np.bool_],
        stopped: npt.NDArray[np.bool_],
        running: npt.NDArray[np.bool_],
    ) -> None:
        """Count one step of every lane.

        Args:
            reward: float64 (lanes,).
            terminated: Where the environment terminated an episode, bool (lanes,).
            ended: Where it ended one, for whichever reason.
            stopped: Where collecting stops after this step.
            running: Where collecting had not stopped before it.
        """
        self._returns += reward
        self._lengths += 1
        over = (ended | stopped) & running
        if over.any():
            for lane in np.flatnonzero(over).tolist():
                returns, lengths = self._complete if ended[lane] else self._cut
                returns.add(float(self._returns[lane]))
                lengths.add(float(self._lengths[lane]))
            self._terminated += int((terminated & over).sum())
        if ended.any():
            self._returns[ended], self._lengths[ended] = 0.0, 0

    def episodes(self) -> Episodes:
        """Statistics of what was counted so far."""
        returns, lengths = self._complete if self._complete[0].count else self._cut
        return Episodes(
            complete=self._complete[0].count,
            cut=self._cut[0].count,
            terminated=self._terminated,
            mean_return=returns.mean,
            std_return=returns.std,
            min_return=returns.minimum,
            max_return=returns.maximum,
            mean_length=lengths.mean,
        )
