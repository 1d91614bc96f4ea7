"""A trading dataset's rows with each observation reduced to its decision instant and account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.column_rows import row_chunks
from data_tools.episode_scan import EpisodeTable
from data_tools.flat_layout import DatasetError
from data_tools.indexed_format import shown_dtype
from data_tools.market_windows import MarketWindows
from data_tools.stored_rows import IndexedRows, Rows, StoredRows
from data_tools.training_span import takes_one_step
from data_tools.window_search import WindowSearch
from gym_trade.types import ACCOUNT_STATE_WIDTH, Bool, Int64

Records = npt.NDArray[Any]  # of `indexed_format.shown_dtype`


def require_market(source: StoredRows, command: str) -> dict[str, Any]:
    """The provenance of a dataset that was collected on a market.

    Raises:
        DatasetError: It was not, or says nothing about itself.
    """
    known = source.provenance
    if known is None:
        raise DatasetError(
            f"{source.path} has no provenance, which names its market: {command} is for datasets "
            "that data_tools.collect has made."
        )
    if "market" not in known:
        raise DatasetError(
            f"{source.path} is of {known['task']}, which has no market: {command} is for datasets "
            "of trading tasks."
        )
    return known


class MarketRows:
    """Rows whose ``obs`` and ``obs_next`` are records, whichever layout they are stored in.

    Args:
        source: The dataset.
        windows: Its market's.

    Raises:
        DatasetError: Its observations are no windows and accounts.
    """

    def __init__(self, source: StoredRows, windows: MarketWindows) -> None:
        self.source, self.windows = source, windows
        self.path, self.size = source.path, source.size
        self.shown = shown_dtype(windows.decisions)
        self._search: WindowSearch | None = None
        if isinstance(source, IndexedRows):
            return
        if source.observed != ((windows.width,), np.dtype(np.float32)):
            raise DatasetError(
                f"{source.path} has observations of {source.observed[1]} {source.observed[0]}, and "
                f"its market gives float32 ({windows.width},). Make the dataset anew."
            )
        self._search = WindowSearch(windows)

    def read(self, start: int, stop: int) -> Rows:
        """The rows [start, stop).

        Raises:
            DatasetError: An observation shows windows that the market does not have.
        """
        if self._search is None:
            return self.source.read(start, stop)
        parts = [self._reduced(a, b) for a, b in self._pieces(start, stop)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def restore(self, records: Records) -> npt.NDArray[Any]:
        """Observations as the dataset stores them."""
        if self._search is None:
            return records
        decisions = np.ascontiguousarray(records["decision"])
        return self.windows.observations(decisions, np.ascontiguousarray(records["account_state"]))

    def alike(self, first: Int64, second: Int64) -> Bool:
        """Where two decisions show the same windows, bit by bit, bool (n,).

        Those of a full dataset were found by their windows, which may repeat.
        """
        same: Bool = first == second
        if self._search is None or same.all():
            return same
        other = np.flatnonzero(~same)
        account = np.zeros((len(other), ACCOUNT_STATE_WIDTH), np.float32)
        one, two = (self.windows.observations(x[other], account) for x in (first, second))
        same[other] = (one.view(np.uint32) == two.view(np.uint32)).all(axis=1)
        return same

    def chunks(self) -> Iterator[tuple[int, int]]:
        """As `stored_rows.StoredRows.chunks`."""
        return self.source.chunks()

    def starts(self, table: EpisodeTable, check: Callable[[], object]) -> Int64:
        """The decision instant at which each episode begins, int64 (episodes,).

        Windows may repeat where prices stand still, so that those of a full dataset do not always
        tell when they were; but an episode takes one decision after the other, and a single row
        whose windows stand at one instant alone dates them all.

        Args:
            table: All episodes; they take single steps.
            check: Called once in a while; may raise.

        Raises:
            DatasetError: An episode cannot be dated.
        """
        begins = table.stops - table.lengths
        if isinstance(self.source, IndexedRows):
            return self.source.dataset.table.shown_at(begins)[0].astype(np.int64)
        assert self._search is not None
        most = np.iinfo(np.int64).max
        low, high = np.full(len(begins), most), np.full(len(begins), -1)
        for start, stop in self.chunks():
            check()
            part = self.read(start, stop)
            rows = np.arange(start, stop)
            episode = np.searchsorted(begins, rows, side="right") - 1
            for name, more in (("obs", 0), ("obs_next", 1)):
                decisions = part[name]["decision"].astype(np.int64)
                sure = self._search.are_unique(decisions)
                first = (decisions - (rows - begins[episode]) - more)[sure]
                np.minimum.at(low, episode[sure], first)
                np.maximum.at(high, episode[sure], first)
        wrong = low != high
        if wrong.any():
            self._refuse_date(int(begins[np.argmax(wrong)]))
        return low

    def dates(
        self, table: EpisodeTable, task: str, check: Callable[[], object]
    ) -> Iterator[tuple[int, int, Int64, Int64]]:
        """When transitions begin and end.

        Yields:
            (first row, row behind the last, decisions before and after each, int64 (n,)).

        Raises:
            DatasetError: A transition cannot be dated.
        """
        if self._search is not None and not takes_one_step(task):
            starts, begins = self.starts(table, check), table.stops - table.lengths
            for start, stop in self.chunks():
                rows = np.arange(start, stop)
                episode = np.searchsorted(begins, rows, side="right") - 1
                here = starts[episode] + rows - begins[episode]
                yield start, stop, here, here + 1
            return
        for start, stop in self.chunks():
            check()
            part = self.read(start, stop)
            here, there = (part[n]["decision"].astype(np.int64) for n in ("obs", "obs_next"))
            if self._search is not None:
                sure = self._search.are_unique(here) & self._search.are_unique(there)
                if not sure.all():
                    self._refuse_date(start + int(np.argmin(sure)))
            yield start, stop, here, there

    def _refuse_date(self, row: int) -> None:
        raise DatasetError(
            f"{self.path}: it cannot be told when the episode of transition {row} was, since its "
            "windows stand at several instants of the market. Collect with --layout indexed."
        )

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        for a, b in row_chunks(self.source.dataset.column("obs"), stop - start):
            yield start + a, start + b

    def _reduced(self, start: int, stop: int) -> Rows:
        assert self._search is not None
        rows = self.source.read(start, stop)
        found = self._search.find(rows["obs"], rows["obs_next"])
        for name, decisions in zip(("obs", "obs_next"), found, strict=True):
            missing = decisions < 0
            if missing.any():
                raise DatasetError(
                    f"{self.path}: {name} of transition {start + int(missing.argmax())} shows "
                    "windows that its market does not have. Make the dataset anew."
                )
            records: Records = np.zeros(stop - start, self.shown)
            records["decision"] = decisions
            records["account_state"] = rows[name][:, -ACCOUNT_STATE_WIDTH:]
            rows[name] = records
        return rows
