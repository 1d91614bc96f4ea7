"""A memory of what an online method has met that is drawn from by priorities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data_tools.priorities import Priorities, sample_prioritised
from offline_algos.replay_memory import ReplayMemory


class PrioritisedMemory(ReplayMemory):
    """A `ReplayMemory` whose newest transitions come first until their errors are known.

    Attributes:
        priorities: Of its rows, none of them filled in the beginning; to be set before use, and
            saved beside the memory's own state.
    """

    priorities: Priorities

    def add(self, *step: Any, **named: Any) -> None:
        """See `ReplayMemory.add`."""
        rows = np.arange(self._head, self._head + self.lanes)
        super().add(*step, **named)
        self.priorities.filled = len(self)
        self.priorities.renew(rows)

    def sample(self, batch_size: int) -> tuple[Any, npt.NDArray[np.int64]]:
        """Draw by priorities, with repetition: (batch, rows); the batch has ``weight`` too."""
        return sample_prioritised(self, self.priorities, batch_size)

    def update_weight(self, rows: npt.NDArray[np.int64], errors: torch.Tensor) -> None:
        """Take the errors, (n,), of a batch."""
        self.priorities.update(rows, errors.cpu().numpy())
