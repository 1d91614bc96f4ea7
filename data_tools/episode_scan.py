"""Where the episodes of rows begin and end, and what each one earned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_tools.episodes import Episodes

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class EpisodeTable:
    """Episodes, in the order of their rows.

    Attributes:
        lengths: Rows of each, int64 (episodes,).
        returns: Sums of their rewards, float64 (episodes,).
        terminated: Which were terminated, bool (episodes,).
        cut: Which were still running at their last row, bool (episodes,).
    """

    lengths: Int64
    returns: Float64
    terminated: Bool
    cut: Bool

    @property
    def stops(self) -> Int64:
        """The row behind each episode, int64 (episodes,)."""
        return np.cumsum(self.lengths)

    def summary(self, longest: int | None = None) -> Episodes:
        """What they were like together.

        Args:
            longest: Steps after which the task truncates an episode, where that is known: one that
                was truncated sooner was cut.
        """
        cut = self.cut.copy()
        if longest is not None:
            cut |= ~self.terminated & (self.lengths < longest)
        counted = cut if cut.all() else ~cut
        returns = self.returns[counted]
        return Episodes(
            complete=int((~cut).sum()),
            cut=int(cut.sum()),
            terminated=int((self.terminated & ~cut).sum()),
            mean_return=float(returns.mean()),
            std_return=float(returns.std()),
            min_return=float(returns.min()),
            max_return=float(returns.max()),
            mean_length=float(self.lengths[counted].mean()),
        )


class EpisodeScan:
    """Takes rows as they come and remembers their episodes."""

    def __init__(self) -> None:
        self._parts: list[tuple[Int64, Float64, Bool, Bool]] = []
        self._length, self._return = 0, 0.0

    def add(
        self,
        reward: npt.NDArray[np.floating],
        terminated: Bool,
        done: Bool,
        cut: Bool | None = None,
    ) -> None:
        """Take the next rows.

        Args:
            reward: (n,).
            terminated: bool (n,).
            done: Where an episode ends, bool (n,).
            cut: Where one ends that was still running, bool (n,); None: nowhere.
        """
        ends = np.flatnonzero(done)
        bounds = np.concatenate([[0], ends + 1, [len(reward)]])
        lengths = np.diff(bounds)
        # one by one, so that it makes no difference where the rows were cut in pieces
        sums = np.zeros(len(lengths))
        sums[0] = self._return
        np.add.at(sums, np.repeat(np.arange(len(lengths)), lengths), reward.astype(np.float64))
        lengths[0] += self._length
        # what lies behind the last end goes on in the next rows
        self._return, self._length = float(sums[-1]), int(lengths[-1])
        stopped = np.zeros(len(ends), np.bool_) if cut is None else cut[ends]
        self._parts.append((lengths[:-1], sums[:-1], terminated[ends], stopped))

    def table(self) -> EpisodeTable:
        """The episodes so far; one that has not ended counts as cut."""
        parts = list(self._parts)
        if self._length:
            last = np.array([self._length]), np.array([self._return])
            parts.append((*last, np.zeros(1, np.bool_), np.ones(1, np.bool_)))
        lengths, returns, terminated, cut = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        return EpisodeTable(lengths, returns, terminated, cut)
