"""The layer that normalises observations, and the scaling of rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data_tools.buffers import TensorReplayBuffer
from data_tools.statistics import LIMIT, Statistics

# Robots fall: what is rare in their data is what they must see to stand up again. No such state
# of a market is worth the harm that a count of held steps does; see `data_tools.statistics`.
BOUND_ELSEWHERE = 10.0


def bound_of(layout: Sequence[Sequence[Any]]) -> float:
    """How many deviations normalised observations of this layout can reach."""
    market = any(part[0] == "account_state" for part in layout)
    return LIMIT if market else BOUND_ELSEWHERE


def scale_rewards(buffer: TensorReplayBuffer) -> float:
    """Divide a buffer's rewards, in place, by their standard deviation and return it.

    The mean stays, since moving it would change which episode lengths are good. Rewards that never
    change are left alone.
    """
    scale = deviation(buffer.rew[buffer.sample_indices(0)])
    if scale != 1.0:
        buffer.replace("rew", buffer.rew / scale)
    return scale


def deviation(rewards: npt.NDArray[Any]) -> float:
    """The standard deviation of rewards, (n,); 1 where they never change.

    Whether they do is asked of the rewards: rounding gives equal ones a deviation above zero.
    """
    if rewards.min() == rewards.max():
        return 1.0
    return float(np.std(rewards, dtype=np.float64))


class Normaliser(nn.Module):
    """Subtracts each column's mean, divides by its standard deviation and ends at its limit.

    It is the first layer of a network, so whoever loads the network has it too, and a target
    network shares it. The statistics are float64 buffers and so is the arithmetic; only the result
    is float32.

    Args:
        statistics: Mean and standard deviation, float64 (D,).
    """

    mean: torch.Tensor
    std: torch.Tensor
    limit: torch.Tensor

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        for name in ("mean", "std", "limit"):
            values = torch.as_tensor(getattr(statistics, name), dtype=torch.float64)
            self.register_buffer(name, values)

    @classmethod
    def identity(cls, columns: int) -> Normaliser:
        """A normaliser that changes nothing, for `columns` columns."""
        return cls(Statistics(np.zeros(columns), np.ones(columns)))

    @classmethod
    def pixels(cls, columns: int, scale: float) -> Normaliser:
        """A normaliser that divides all of `columns` pixels by `scale`."""
        return cls(Statistics(np.zeros(columns), np.full(columns, scale)))

    def fill(self, statistics: Statistics) -> None:
        """Take other statistics, in place."""
        self.mean.copy_(torch.as_tensor(statistics.mean))
        self.std.copy_(torch.as_tensor(statistics.std))
        self.limit.copy_(torch.as_tensor(statistics.limit))

    def forward(self, observations: npt.ArrayLike | torch.Tensor) -> torch.Tensor:
        """Normalise observations.

        Args:
            observations: (B, D), a NumPy array or a tensor.

        Returns:
            float32 (B, D), on the device of the statistics.
        """
        if not isinstance(observations, torch.Tensor):
            observations = torch.as_tensor(observations)
        observations = observations.to(self.mean.device)
        normalised = (observations - self.mean) / self.std
        return normalised.clamp(-self.limit, self.limit).to(torch.float32)

    def column(self, values: torch.Tensor, column: int) -> torch.Tensor:
        """What `forward` makes of other values, (n,), of one column: float32 (n,)."""
        limit = self.limit[column]
        normalised = (values - self.mean[column]) / self.std[column]
        return normalised.clamp(-limit, limit).to(torch.float32)
