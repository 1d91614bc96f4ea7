"""Observations gathered from a market as they are drawn, as tensors on any device."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data_tools.indexed_table import IndexedTable
from data_tools.market_windows import NOT_NORMALISED
from data_tools.observation_source import ObservationSource, Places
from data_tools.pieces import parts_of
from data_tools.statistics import BLOCK_ROWS, RunningMoments, Statistics
from gym_trade.types import ACCOUNT_STATE_WIDTH
from gym_trade.windows import Moments

ROWS_A_PASS = 16 * BLOCK_ROWS  # whole blocks: the bits of a single pass
# Windows are normalised once for all where they take no more than this, else whenever they are
# drawn, which takes half as long again: a million decisions of minute data take half of it.
NORMALISED_BYTES = 2**30


class IndexedObservations(ObservationSource):
    """The observations of an `IndexedTable`, the same bits as those of a table of them all.

    Args:
        table: Decisions, accounts and the market's windows.
    """

    def __init__(self, table: IndexedTable) -> None:
        self._table = table
        self.rows, self.shape = len(table), (table.windows.width,)
        self.dtype = np.dtype(np.float32)
        self._moments: Moments | None = None
        # windows and moments that the kernel takes
        self._gathered = (table.windows.arrays, NOT_NORMALISED)
        self._resident: ResidentWindows | None = None

    def following(self, rows: Places) -> Places:
        """As the table has them."""
        return self._table.following(rows)

    def draw(self, places: Places, index: torch.Tensor | None = None) -> torch.Tensor:
        """Gathered by a compiled kernel, or with everything on a device there."""
        if self._resident is None:
            return torch.from_numpy(self.arrays(places))
        if index is None:
            index = torch.from_numpy(places).to(self._resident.device)
        return self._resident.draw(index)

    def arrays(self, places: Places) -> npt.NDArray[Any]:
        """Gathered by the compiled kernel."""
        made = np.empty((places.size, self.shape[0]), np.float32)
        self._table.gather(places.reshape(-1), *self._gathered, made)
        return made.reshape(*places.shape, *self.shape)

    def before(self) -> npt.NDArray[Any]:
        """A copy: as large as the full layout."""
        return self.arrays(np.arange(self.rows))

    def column(self) -> torch.Tensor:
        """A copy: as large as the full layout."""
        return self.draw(np.arange(self.rows))

    def to(self, device: torch.device) -> None:
        """Keep the table and the market's windows on a device as well."""
        cpu = device.type == "cpu"
        self._resident = None if cpu else ResidentWindows(self._table, device, self._moments)

    def statistics(self) -> Statistics:
        """In one pass over gathered parts."""
        moments = RunningMoments(self.shape[0])
        for begin in range(0, self.rows, ROWS_A_PASS):
            part = self.arrays(np.arange(begin, min(begin + ROWS_A_PASS, self.rows)))
            moments.add(part, np.arange(len(part)))
        return moments.statistics()

    def normalise(self, statistics: Statistics) -> None:
        """Windows overlap, so nothing is changed in place.

        Raises:
            ValueError: It was done before.
        """
        if self._moments is not None:
            raise ValueError(
                "observations of the indexed layout are normalised once, as they are drawn. Load "
                "the dataset anew."
            )
        self._moments = (statistics.mean, statistics.std, statistics.limit)
        windows, left = self._table.windows, self._moments
        ready = windows.normalised(self._table.span, self._moments, NORMALISED_BYTES)
        if ready is not None:  # the accounts are left
            account = slice(-ACCOUNT_STATE_WIDTH, None)
            mean, std, limit = (part[account].copy() for part in self._moments)
            windows, left = ready, (mean, std, limit)
        self._gathered = (windows.arrays, left)
        if self._resident is not None:
            self._resident.set_moments(self._moments)


class ResidentWindows:
    """Decisions, accounts and a market's windows on a device, and the gathering there.

    Args:
        table: Where they come from.
        device: Where they are to live.
        moments: See `IndexedTable.observations`.
    """

    def __init__(
        self,
        table: IndexedTable,
        device: torch.device,
        moments: Moments | None = None,
    ) -> None:
        self.device = device

        def take(*parts: npt.NDArray[Any]) -> torch.Tensor:
            return torch.cat([torch.tensor(part, device=device) for part in parts])

        starts, lengths, features = table.windows.arrays
        self._decisions = take(*parts_of(table.decisions), table.last_decisions)
        self._accounts = take(*parts_of(table.accounts), table.last_accounts)
        self._starts, self._features = take(starts), take(features)
        # of each column of the windows: which frame it is of, and its place in the frame's window
        self._frames = take(np.repeat(np.arange(len(lengths)), lengths))
        self._offsets = take(*(np.arange(length) for length in lengths))
        self.set_moments(moments)

    def set_moments(self, moments: Moments | None) -> None:
        """Normalise what is drawn from now on."""
        self._moments = moments and tuple(torch.tensor(part).to(self.device) for part in moments)

    def draw(self, places: torch.Tensor) -> torch.Tensor:
        """The observations at some places, float32 (n, width).

        Args:
            places: int64 (n,) on the device.
        """
        begins = self._starts.index_select(0, self._decisions.index_select(0, places))
        windows = self._features[begins.index_select(1, self._frames) + self._offsets]
        made = torch.cat((windows, self._accounts.index_select(0, places)), dim=1)
        if self._moments is None:
            return made
        mean, std, limit = self._moments
        return ((made - mean) / std).clamp(-limit, limit).to(torch.float32)
