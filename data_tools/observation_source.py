"""Where a buffer's observations come from, as tensors: a table of them, or a market's windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data_tools.gather import Rows
from data_tools.observations import ObservationTable
from data_tools.statistics import Statistics, column_statistics

Places = npt.NDArray[np.int64]
ROWS_A_PASS = 4096


def normalise_rows(table: torch.Tensor, statistics: Statistics) -> None:
    """Subtract the mean of each column, divide by its deviation and end at its limit, in place.

    Args:
        table: Observations, float32 (rows, D). The arithmetic is float64.
        statistics: Of the columns.
    """
    mean, std, limit = (
        torch.as_tensor(part, device=table.device)
        for part in (statistics.mean, statistics.std, statistics.limit)
    )
    for begin in range(0, len(table), ROWS_A_PASS):
        part = table[begin : begin + ROWS_A_PASS]
        part.copy_(((part - mean) / std).clamp(-limit, limit))


class ObservationSource(ABC):
    """Observations by their place: the row of the transition before which one stands, or a number
    behind all rows.

    Attributes:
        rows: Transitions.
        shape: Of one observation.
        dtype: Of the numbers in it.
        left_out: Transitions of the file that are not here.
    """  # noqa: D205

    rows: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    left_out: int = 0

    @abstractmethod
    def following(self, rows: Places) -> Places:
        """The places of the observations after transitions, int64 (n,)."""

    @abstractmethod
    def draw(self, places: Places, index: torch.Tensor | None = None) -> torch.Tensor:
        """The observations at some places, (n, *shape), on the device.

        Args:
            places: int64 (n,).
            index: The same on the device, where the caller has it.
        """

    @abstractmethod
    def arrays(self, places: Places) -> npt.NDArray[Any]:
        """The same as an array."""

    @abstractmethod
    def before(self) -> npt.NDArray[Any]:
        """Every transition's observation, (rows, *shape)."""

    @abstractmethod
    def column(self) -> torch.Tensor:
        """The same on the device."""

    @abstractmethod
    def to(self, device: torch.device) -> None:
        """Move to a device."""

    @abstractmethod
    def statistics(self) -> Statistics:
        """Mean and deviation of each column, of flat observations."""

    @abstractmethod
    def normalise(self, statistics: Statistics) -> None:
        """Let observations be drawn normalised from now on."""


class TableSource(ObservationSource):
    """Observations that are held, each once.

    Args:
        table: The table; it is taken over.
    """

    def __init__(self, table: ObservationTable) -> None:
        self._held = table
        self.rows, self.left_out = len(table.before), table.left_out
        self.shape, self.dtype = table.table.shape[1:], table.table.dtype
        self._tensor = torch.from_numpy(table.table)
        self._gather: Rows | None = None
        self.to(torch.device("cpu"))

    def following(self, rows: Places) -> Places:
        """As the table has them."""
        return self._held.following[rows]

    def draw(self, places: Places, index: torch.Tensor | None = None) -> torch.Tensor:
        """Rows of the table."""
        if self._gather is not None:
            return torch.from_numpy(self._gather(places))
        if index is None:
            index = torch.from_numpy(places).to(self._tensor.device)
        return self._tensor.index_select(0, index)

    def arrays(self, places: Places) -> npt.NDArray[Any]:
        """Rows of the table in the CPU's memory."""
        return self._held.table[places]

    def before(self) -> npt.NDArray[Any]:
        """A view of the table in the CPU's memory."""
        return self._held.before

    def column(self) -> torch.Tensor:
        """A view of the table."""
        return self._tensor[: self.rows]

    def to(self, device: torch.device) -> None:
        """Move the table; where it is within reach of the CPU, gather by asking ahead."""
        self._tensor = self._tensor.to(device)
        wide = self._tensor.ndim > 1
        self._gather = Rows(self._tensor.numpy()) if device.type == "cpu" and wide else None

    def statistics(self) -> Statistics:
        """Of the table in the CPU's memory."""
        before = self._held.before
        return column_statistics(before, np.arange(len(before)))

    def normalise(self, statistics: Statistics) -> None:
        """In place."""
        normalise_rows(self._tensor, statistics)
