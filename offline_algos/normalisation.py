"""Observation statistics of a dataset, and the layer that applies them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tianshou.data import ReplayBuffer
from torch import nn

ROWS_PER_CHUNK = 8192


class Statistics(NamedTuple):
    """Mean and standard deviation of each observation column, float64 (D,)."""

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]


def observation_statistics(buffer: ReplayBuffer) -> Statistics:
    """Mean and standard deviation of every observation column over a buffer's filled rows.

    Everything is float64: a running variance of float32 columns at price level is off by orders of
    magnitude. Chunks of rows are merged by the pairwise update of Chan, Golub and LeVeque (1983,
    "Algorithms for computing the sample variance"), so memory stays bounded. Deviations have
    ``ddof=0``. A column that never changes is left alone: mean 0, standard deviation 1.

    Args:
        buffer: Transitions with flat observations, (rows, D).

    Raises:
        ValueError: The buffer is empty, its observations are not flat, or one is not finite.
    """
    rows = buffer.sample_indices(0)
    if len(rows) == 0:
        raise ValueError("the dataset holds no transitions: there is nothing to train on.")
    if buffer.obs.ndim != 2:
        raise ValueError(
            f"observations of shape {buffer.obs.shape[1:]} cannot be normalised column by column. "
            "Expected flat observations (collect writes them so), or pass --norm-obs 0."
        )
    count = 0
    mean = squares = np.zeros(buffer.obs.shape[1])
    lowest, highest = np.full_like(mean, np.inf), np.full_like(mean, -np.inf)
    for start in range(0, len(rows), ROWS_PER_CHUNK):
        chunk = buffer.obs[rows[start : start + ROWS_PER_CHUNK]].astype(np.float64)
        chunk_mean = chunk.mean(axis=0)
        if not np.isfinite(chunk_mean).all():
            _refuse_non_finite(chunk, rows[start : start + ROWS_PER_CHUNK])
        total = count + len(chunk)
        shift = chunk_mean - mean
        squares = squares + ((chunk - chunk_mean) ** 2).sum(axis=0)
        squares = squares + shift**2 * (count * len(chunk) / total)
        mean = mean + shift * (len(chunk) / total)
        lowest = np.minimum(lowest, chunk.min(axis=0))
        highest = np.maximum(highest, chunk.max(axis=0))
        count = total
    constant = lowest == highest
    return Statistics(
        mean=np.where(constant, 0.0, mean), std=np.where(constant, 1.0, np.sqrt(squares / count))
    )


def _refuse_non_finite(chunk: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> None:
    row, column = np.argwhere(~np.isfinite(chunk))[0]
    raise ValueError(
        f"observation {chunk[row, column]} in row {rows[row]}, column {column} of the dataset is "
        "not finite. Drop such transitions before training."
    )


def scale_rewards(buffer: ReplayBuffer) -> float:
    """Divide a buffer's rewards, in place, by their standard deviation and return it.

    The mean stays, since moving it would change which episode lengths are good. Rewards that never
    change are left alone.
    """
    scale = float(np.std(buffer.rew[buffer.sample_indices(0)], dtype=np.float64))
    if scale == 0.0:
        return 1.0
    buffer.set_array_at_key(buffer.rew / scale, "rew")
    return scale


class Normaliser(nn.Module):
    """Subtracts each column's mean and divides by its standard deviation.

    It is the first layer of a network, so whoever loads the network has it too, and a target
    network shares it. The statistics are float64 buffers and so is the arithmetic; only the result
    is float32.

    Args:
        statistics: Mean and standard deviation, float64 (D,).
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
        self.register_buffer("std", torch.as_tensor(statistics.std, dtype=torch.float64))

    @classmethod
    def identity(cls, columns: int) -> Normaliser:
        """A normaliser that changes nothing, for `columns` columns."""
        return cls(Statistics(np.zeros(columns), np.ones(columns)))

    def forward(self, observations: npt.ArrayLike | torch.Tensor) -> torch.Tensor:
        """Normalise observations.

        Args:
            observations: (B, D), a NumPy array or a tensor.

        Returns:
            float32 (B, D), on the device of the statistics.
        """
        observations = torch.as_tensor(observations, device=self.mean.device)
        return ((observations - self.mean) / self.std).to(torch.float32)
