"""A dataset's observations, each as a decision instant and the account there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.market_windows import NOT_NORMALISED, MarketWindows
from data_tools.pieces import Pieces, ScatteredRows, parts_of
from gym_trade.types import Bool, Float32, Int64, Windows
from gym_trade.windows import Moments, Shown, following_places, gather_observations


@dataclass(frozen=True)
class IndexedTable:
    """What every transition showed, and where the observation after it is.

    As in `observations.ObservationTable` an observation's *place* is its transition's row, or a
    number behind all rows for those that stand before no transition.

    Attributes:
        windows: The market's.
        decisions: Integers (rows,), in one array, or in those of several files.
        accounts: float32 (rows, 6), likewise.
        last_decisions: Integers (others,).
        last_accounts: float32 (others, 6).
        apart: The transitions that lead to one of the others, bool (rows,).
    """

    windows: MarketWindows
    decisions: npt.NDArray[Any] | Pieces
    accounts: Float32 | Pieces
    last_decisions: npt.NDArray[Any]
    last_accounts: Float32
    apart: Bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "_apart_rows", np.flatnonzero(self.apart))
        scattered = None
        if isinstance(self.decisions, Pieces):  # what stands apart is one more piece
            last = self.last_decisions.astype(self.decisions.dtype, copy=False)
            scattered = ScatteredRows(
                (
                    Pieces([*self.decisions.parts, last]),
                    Pieces([*parts_of(self.accounts), self.last_accounts]),
                )
            )
        object.__setattr__(self, "_scattered", scattered)

    def __len__(self) -> int:
        """Transitions."""
        return len(self.decisions)

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last decision in it."""
        parts = [part for part in (self.decisions, self.last_decisions) if len(part)]
        return min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)

    def in_memory(self) -> IndexedTable:
        """The same, read from the file that it is mapped from."""
        return replace(self, decisions=np.array(self.decisions), accounts=np.array(self.accounts))

    def following(self, rows: Int64) -> Int64:
        """The places of the observations after transitions, int64 (n,)."""
        places = np.empty_like(rows)
        following_places(rows, self.apart, self.__dict__["_apart_rows"], places)
        return places

    def gather(self, places: Int64, windows: Windows, moments: Moments, out: Float32) -> None:
        """Write the observations at some places.

        Args:
            places: int64 (n,), which are not checked.
            windows: As `gym_trade.windows.gather_observations` takes them.
            moments: Likewise.
            out: float32 (n, width).
        """
        gather_observations(*self._shown(places), windows, moments, out)

    def _shown(self, places: Int64) -> tuple[Int64, Shown]:
        """As the kernel takes them: places, and decisions and accounts of all or of just those."""
        scattered = self.__dict__["_scattered"]
        if scattered is None:
            accounts, last = np.asarray(self.accounts), self.last_accounts
            shown = self.decisions, accounts.reshape(-1), self.last_decisions, last.reshape(-1)
            return places, shown  # type: ignore[return-value]
        decisions, accounts = scattered(places)
        flat = accounts.reshape(-1)
        return np.arange(len(places)), (decisions, flat, decisions[:0], flat[:0])

    def shown_at(self, places: Int64) -> tuple[npt.NDArray[Any], Float32]:
        """The decisions (n,) and the accounts (n, 6) of the observations at some places, copied."""
        scattered = self.__dict__["_scattered"]
        if scattered is not None:
            found: tuple[npt.NDArray[Any], Float32] = scattered(places)
            return found
        decisions = np.empty(len(places), self.decisions.dtype)
        accounts = np.empty((len(places), *self.last_accounts.shape[1:]), np.float32)
        before = places < len(self)
        rows, others = places[before], places[~before] - len(self)
        decisions[before], decisions[~before] = self.decisions[rows], self.last_decisions[others]  # type: ignore[index]
        accounts[before], accounts[~before] = self.accounts[rows], self.last_accounts[others]  # type: ignore[index]
        return decisions, accounts

    def observations(self, places: Int64) -> Float32:
        """The observations at some places, float32 (n, width)."""
        out = np.empty((len(places), self.windows.width), np.float32)
        self.gather(places, self.windows.arrays, NOT_NORMALISED, out)
        return out
