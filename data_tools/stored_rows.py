"""The rows of a dataset as its layout stores them: read, and written again, some at a time.

Whoever edits a dataset handles rows as columns by name: ``act``, ``rew``, ``terminated``,
``truncated``, ``obs``, ``obs_next`` and further ones. Observations are numbers in the full layout;
in the indexed one they are records of decision and account, and ``apart`` says where ``obs_next``
is not the next row's ``obs``. Rows are in the order of time, also those of a wrapped ring buffer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data_tools.episode_scan import EpisodeScan, EpisodeTable
from data_tools.flat_layout import COLUMNS, DatasetError, FlatDataset, lacks, read_rows, row_chunks
from data_tools.flat_skeleton import Columns
from data_tools.flat_writer import FlatBufferWriter
from data_tools.indexed_format import EXTRA, pack_flags, shown_dtype
from data_tools.indexed_layout import IndexedDataset, open_dataset
from data_tools.indexed_writer import IndexedWriter
from data_tools.lane_writer import LaneWriter
from gym_trade import Market

Rows = dict[str, npt.NDArray[Any]]
PLAIN = ("act", "rew", "terminated", "truncated")
COUNTERFACTUAL = "counterfactual"  # marks transitions of which another action was logged


class StoredRows(ABC):
    """An open dataset's rows.

    Attributes:
        dataset: The dataset.
        path: Its file.
        size: Rows.
        extra: The further columns: name -> shape and dtype of one row.
        first: The row of the file that is the oldest: 0 but in a wrapped ring buffer.
    """

    def __init__(self, dataset: FlatDataset) -> None:
        self.dataset, self.path, self.size = dataset, dataset.path, dataset.size
        if not dataset.has_next:
            raise lacks(dataset.path, dataset.meta, "obs_next")
        self.first = dataset.insertion_index % dataset.size
        self.extra: Columns = dict(_further_columns(dataset))

    @property
    def provenance(self) -> dict[str, Any] | None:
        """What the dataset says about itself."""
        return self.dataset.provenance

    @property
    @abstractmethod
    def layout(self) -> str:
        """The layout's name."""

    @property
    @abstractmethod
    def observed(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of one stored observation."""

    @abstractmethod
    def read(self, start: int, stop: int) -> Rows:
        """The rows [start, stop), which follow one another in time."""

    @abstractmethod
    def writer(
        self, path: Path, size: int, extra: Columns, overwrite: bool, actions: int = 0
    ) -> LaneWriter:
        """A writer of `size` rows like these, with the further columns `extra`.

        There may be `actions` discrete actions or more, also where fewer are stored.

        Raises:
            DatasetError: The target exists or cannot be written, or the disk is too small.
        """

    @abstractmethod
    def write(self, writer: LaneWriter, rows: Rows) -> None:
        """Write rows as `read` returns them, the next ones of a writer.

        Raises:
            DatasetError: They cannot be written.
        """

    def spec(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of one row of a column."""
        if name == "obs":
            return self.observed
        column = self.dataset.column(name)
        return tuple(column.shape[1:]), column.dtype

    @property
    def stored_action(self) -> np.dtype[Any]:
        """Of which numbers actions are in the file."""
        return self.spec("act")[1]

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Cut the rows into ranges that fit memory."""
        shape, dtype = self.observed
        return row_chunks(_Sized((self.size, 2, *shape), dtype), self.size)

    def column(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """The rows [start, stop) of one column, in the order of time."""
        stored = self.dataset.meta
        for part in name.split("/"):
            stored = stored[part]
        begin, end = start + self.first, stop + self.first
        if end <= self.size:
            return read_rows(stored, begin, end)
        if begin >= self.size:
            return read_rows(stored, begin - self.size, end - self.size)
        older = read_rows(stored, begin, self.size)
        return np.concatenate((older, read_rows(stored, 0, end - self.size)))

    def scan(self) -> EpisodeTable:
        """Find all episodes.

        Raises:
            DatasetError: The flags contradict each other.
        """
        scan = EpisodeScan()
        for start, stop in row_chunks(self.dataset.column("rew"), self.size):
            flags = {name: self.column(name, start, stop) for name in (*PLAIN[1:], "done")}
            terminated, done = flags["terminated"], flags["done"]
            if (done != (terminated | flags["truncated"])).any():
                raise DatasetError(f"{self.path}: its flags contradict each other. Make it anew.")
            scan.add(flags["rew"], terminated, done)
        return scan.table()

    def _plain(self, start: int, stop: int) -> Rows:
        names = (*PLAIN, *self.extra)
        return {name: self.column(name, start, stop) for name in names}


class FullRows(StoredRows):
    """Rows of the full layout."""

    layout = "full"

    @property
    def observed(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """See `StoredRows.observed`."""
        column = self.dataset.column("obs")
        return tuple(column.shape[1:]), column.dtype

    def read(self, start: int, stop: int) -> Rows:
        """See `StoredRows.read`."""
        seen = {name: self.column(name, start, stop) for name in ("obs", "obs_next")}
        return self._plain(start, stop) | seen

    def writer(
        self, path: Path, size: int, extra: Columns, overwrite: bool, actions: int = 0
    ) -> LaneWriter:
        """See `StoredRows.writer`."""
        shape, dtype = self.observed
        action = self.spec("act")
        return FlatBufferWriter(
            path, size=size, num_lanes=1, observation_size=shape, observation_dtype=dtype,
            action_shape=action[0], action_dtype=action[1], reward_dtype=self.spec("rew")[1],
            stack_num=self.dataset.stack_num, extra=extra, overwrite=overwrite, block_bytes=1,
        )  # fmt: skip

    def write(self, writer: LaneWriter, rows: Rows) -> None:
        """See `StoredRows.write`."""
        kept = {name: values for name, values in rows.items() if name != "apart"}
        writer.add_rows({**kept, "done": rows["terminated"] | rows["truncated"]})


class IndexedRows(StoredRows):
    """Rows of the indexed layout."""

    layout = "indexed"
    dataset: IndexedDataset

    @property
    def observed(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """See `StoredRows.observed`."""
        return (), shown_dtype(self.dataset.table.windows.decisions)

    @property
    def stored_action(self) -> np.dtype[Any]:
        """See `StoredRows.stored_action`."""
        return self.dataset.stored_action

    def read(self, start: int, stop: int) -> Rows:
        """See `StoredRows.read`."""
        table = self.dataset.table
        self.dataset.checked_shown(start, min(stop + 1, self.size))
        shown = {
            "obs": self._records(np.arange(start, stop)),
            "obs_next": self._records(table.following(np.arange(start, stop))),
        }
        return self._plain(start, stop) | shown | {"apart": np.array(table.apart[start:stop])}

    def _records(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The observations at some places of the table."""
        made: npt.NDArray[Any] = np.zeros(len(places), self.observed[1])
        made["decision"], made["account_state"] = self.dataset.table.shown_at(places)
        return made

    def writer(
        self, path: Path, size: int, extra: Columns, overwrite: bool, actions: int = 0
    ) -> LaneWriter:
        """See `StoredRows.writer`."""
        shape, dtype = self.spec("act")
        stored = self.stored_action
        smaller = stored != dtype  # of whole numbers from 0 on
        return IndexedWriter(
            path, size=size, num_lanes=1, decisions=self.dataset.table.windows.decisions,
            action_shape=shape, action_dtype=dtype,
            actions=max(int(np.iinfo(stored).max) + 1, actions) if smaller else None,
            reward_dtype=self.spec("rew")[1], extra=extra, overwrite=overwrite, block_bytes=1,
        )  # fmt: skip

    def write(self, writer: LaneWriter, rows: Rows) -> None:
        """See `StoredRows.write`."""
        apart = rows["apart"] | rows["terminated"] | rows["truncated"]
        names = set(rows) - {*COLUMNS, "apart"}
        writer.add_rows({
            "decision": rows["obs"]["decision"],
            "account_state": rows["obs"]["account_state"],
            "act": rows["act"],
            "rew": rows["rew"],
            "flags": pack_flags(rows["terminated"], rows["truncated"], apart),
            "last": rows["obs_next"][apart],
            **{f"{EXTRA}/{name}": rows[name] for name in names},
        })  # fmt: skip


@contextmanager
def open_rows(
    path: str | Path, *, market: Market | str | None = None, features: Any = None
) -> Iterator[StoredRows]:
    """Open a dataset of either layout, in one file or in several that are joined.

    Args:
        path: The file.
        market: Of an indexed file, as for `market_windows.open_windows`.
        features: As for `market_windows.open_windows`.

    Raises:
        DatasetError: The file or its market cannot be used, or it stores no ``obs_next``.
    """
    with open_dataset(path, market=market, features=features) as dataset:
        yield IndexedRows(dataset) if isinstance(dataset, IndexedDataset) else FullRows(dataset)


class _Sized:
    """What `row_chunks` asks for."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype


def _further_columns(dataset: FlatDataset) -> Iterator[tuple[str, Any]]:
    """Names of the columns beside `COLUMNS`, with their shape and dtype.

    Raises:
        DatasetError: They lie in groups that no writer makes.
    """
    for name, column in dataset.meta.items():
        if name in COLUMNS:
            continue
        if name == "info":
            for inner, item in column.items():
                if isinstance(item, h5py.Group):
                    raise _in_groups(dataset, f"info/{inner}")
                yield f"info/{inner}", (item.shape[1:], item.dtype)
        elif isinstance(column, h5py.Group):
            raise _in_groups(dataset, name)
        else:
            yield name, (column.shape[1:], column.dtype)


def _in_groups(dataset: FlatDataset, name: str) -> DatasetError:
    return DatasetError(
        f"{dataset.path} has columns in the group {name}, which cannot be written again. Expected "
        "plain columns, or some in info."
    )
