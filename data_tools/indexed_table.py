"""A dataset's observations, each as a decision instant and the account there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.market_windows import MarketWindows
from gym_trade.types import Bool, Float32, Float64, Int64


@dataclass(frozen=True)
class IndexedTable:
    """What every transition showed, and where the observation after it is.

    As in `observations.ObservationTable` an observation's *place* is its transition's row, or a
    number behind all rows for those that stand before no transition.

    Attributes:
        windows: The market's.
        decisions: Integers (rows,).
        accounts: float32 (rows, 6).
        last_decisions: Integers (others,).
        last_accounts: float32 (others, 6).
        apart: The transitions that lead to one of the others, bool (rows,).
    """

    windows: MarketWindows
    decisions: npt.NDArray[Any]
    accounts: Float32
    last_decisions: npt.NDArray[Any]
    last_accounts: Float32
    apart: Bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "_apart_rows", np.flatnonzero(self.apart))

    def __len__(self) -> int:
        """Transitions."""
        return len(self.decisions)

    def in_memory(self) -> IndexedTable:
        """The same, read from the file that it is mapped from."""
        return replace(self, decisions=np.array(self.decisions), accounts=np.array(self.accounts))

    def following(self, rows: Int64) -> Int64:
        """The places of the observations after transitions, int64 (n,)."""
        places = rows + 1
        apart = np.flatnonzero(self.apart[rows])
        if len(apart):
            marked: Int64 = self.__dict__["_apart_rows"]
            places[apart] = len(self) + np.searchsorted(marked, rows[apart])
        return places

    def observations(
        self,
        places: Int64,
        moments: tuple[Float64, Float64] | None = None,
    ) -> Float32:
        """The observations at some places, float32 (n, width), normalised by `moments` if given."""
        shown = (self.decisions, self.accounts, self.last_decisions, self.last_accounts)
        return self.windows.gather(places, shown, moments)
