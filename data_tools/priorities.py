"""Prioritised experience replay, proportional (Schaul et al. 2016, arXiv:1511.05952)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data_tools.buffers import TensorReplayBuffer
from data_tools.sum_tree import SumTree

EPSILON = 1e-6  # keeps a transition without an error in the game
FIRST = 1.0  # priority of what was not drawn yet, until an error is larger


class Priorities:
    """How often each row is to be drawn, and what that is to be corrected by.

    Row i is drawn with probability ``P(i) = p_i / sum p`` where ``p = (|error| + EPSILON)^alpha``,
    and its loss is to be multiplied by the importance weight

        w_i = (rows P(i))^-beta,    beta from its first value evenly to 1

    With beta = 1 the mean weighted gradient is that of uniform sampling, to its scale. The paper
    divides by the largest weight as well. Here it is not done: losses have terms beside the
    temporal difference's, and the division would be another learning rate for each dataset.
    A batch is stratified as in the paper's appendix B.2.1: of n equal parts of the sum, each gives
    one row.

    Args:
        rows: How many can be held.
        alpha: 0 draws evenly, 1 in proportion to errors.
        beta: The first one, 0 to 1.
        steps: Batches until it is 1; 0: at once.
        filled: Rows there are; the others are added by `renew`. None: all.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        rows: int,
        *,
        alpha: float = 0.6,
        beta: float = 0.4,
        steps: int = 0,
        filled: int | None = None,
    ) -> None:
        for name, value, fits, allowed in (
            ("rows", rows, rows >= 1, "at least 1"),
            ("alpha", alpha, alpha >= 0.0, "at least 0"),
            ("beta", beta, 0.0 <= beta <= 1.0, "0 to 1"),
            ("steps", steps, steps >= 0, "at least 0"),
        ):
            if not fits:
                raise ValueError(f"{name}={value}: expected {allowed}.")
        self.alpha, self.steps, self._first_beta = alpha, steps, beta
        self.filled = rows if filled is None else filled
        self.drawn, self._largest = 0, FIRST  # batches; the largest |error| + EPSILON
        self._tree = SumTree(rows)
        self._tree.fill(np.where(np.arange(rows) < self.filled, FIRST, 0.0))

    @property
    def beta(self) -> float:
        """How much of the correction is made now."""
        done = min(self.drawn / self.steps, 1.0) if self.steps else 1.0
        return self._first_beta + (1.0 - self._first_beta) * done

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """P(i), float64 (rows,)."""
        return self._tree.values / self._tree.total

    def draw(self, count: int, random: np.random.RandomState) -> npt.NDArray[np.int64]:
        """Rows of a batch, int64 (count,), ascending, with repetition."""
        parts = (np.arange(count) + random.random_sample(count)) / count
        return self._tree.find(parts * self._tree.total)

    def weights(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Importance weights of rows, float32 (n,)."""
        share = self.filled * self._tree.values[rows] / self._tree.total
        return np.asarray(share**-self.beta, np.float32)

    def update(self, rows: npt.NDArray[np.int64], errors: npt.NDArray[Any]) -> None:
        """Take the errors, (n,), that rows have now; their sign has no meaning.

        Raises:
            ValueError: One is not finite.
        """
        size = np.abs(np.asarray(errors, np.float64)) + EPSILON
        if not np.isfinite(size).all():
            raise ValueError("an error of a transition is not finite: it cannot be its priority.")
        self._largest = max(self._largest, float(size.max()))
        self._tree.assign(rows, size**self.alpha)

    def renew(self, rows: npt.NDArray[np.int64]) -> None:
        """Rows have new content: they get the largest priority that there was, to be seen soon."""
        self._tree.assign(rows, np.full(len(rows), self._largest**self.alpha))

    def state(self) -> dict[str, Any]:
        """For a file: tensors and numbers."""
        return {
            "values": torch.from_numpy(self._tree.values.copy()),
            "largest": self._largest,
            "drawn": self.drawn,
            "filled": self.filled,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from such a state, of as many rows."""
        self._tree.fill(state["values"].numpy())
        self._largest, self.drawn = state["largest"], state["drawn"]
        self.filled = state["filled"]


class PrioritisedBuffer:
    """A finished dataset that is drawn from by priorities; a batch has ``weight`` too.

    Args:
        buffer: The dataset, its targets prepared.
        priorities: Of its rows.
    """

    def __init__(self, buffer: TensorReplayBuffer, priorities: Priorities) -> None:
        self._buffer, self.priorities = buffer, priorities

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def _random_state(self) -> np.random.RandomState:
        """What draws, under the name by which an interrupted run finds it in a Tianshou buffer."""
        state: np.random.RandomState = self._buffer._random_state
        return state

    def sample(self, batch_size: int) -> tuple[Any, npt.NDArray[np.int64]]:
        """Draw `batch_size` transitions: (batch, rows); ``weight`` is float32 (batch_size,)."""
        return sample_prioritised(self._buffer, self.priorities, batch_size)

    def update_weight(self, rows: npt.NDArray[np.int64], errors: torch.Tensor) -> None:
        """Take the errors, (n,), of a batch, under the name that Tianshou's buffers have for it."""
        self.priorities.update(rows, errors.cpu().numpy())


def sample_prioritised(
    buffer: Any, priorities: Priorities, batch_size: int
) -> tuple[Any, npt.NDArray[np.int64]]:
    """Draw from what has ``rows``, a ``device`` and a random state: (batch, rows)."""
    rows = priorities.draw(batch_size, buffer._random_state)
    batch = buffer.rows(rows)
    batch.__dict__["weight"] = torch.from_numpy(priorities.weights(rows)).to(buffer.device)
    priorities.drawn += 1
    return batch, rows
