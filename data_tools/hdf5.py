"""Datasets on disk, without pickle: `FlatBufferWriter` makes them, `load_buffer` reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from data_tools.flat_layout import (
    COLUMNS,
    FLAGS,
    DatasetError,
    FlatDataset,
    lacks,
    read_into,
    read_provenance,
    read_rows,
    row_chunks,
)
from data_tools.flat_writer import FlatBufferWriter
from data_tools.indexed_layout import IndexedDataset, open_dataset
from data_tools.observations import ObservationTable, held_as
from data_tools.provenance_schema import FORMAT_VERSION
from gym_trade import Market

if TYPE_CHECKING:
    from tianshou.data import ReplayBuffer

__all__ = [
    "FORMAT_VERSION",
    "DatasetError",
    "FlatBufferWriter",
    "load_buffer",
    "load_table",
    "read_provenance",
]

OBSERVATIONS = ("obs", "obs_next")
SPARE_ROWS = 8  # a file may end within an episode, and a ring buffer begin within one


def load_buffer(
    path: str | os.PathLike[str],
    *,
    market: Market | str | None = None,
    features: Any = None,
    echo: Callable[[str], object] | None = print,
) -> tuple[ReplayBuffer, dict[str, Any] | None]:
    """Load a dataset as Tianshou's ``ReplayBuffer``, holding one copy of it.

    The arrays are those of the file: nothing is converted or dropped. A buffer that was saved
    part-filled comes back with just its filled rows.

    Args:
        path: A file in the flat ``ReplayBuffer`` layout, from `data_tools.collect` or Tianshou; in
            Tianshou's ``VectorReplayBuffer`` layout, see `vector_layout`; or in the indexed layout,
            whose observations are then made from its market.
        market: Of an indexed file, as for `market_windows.open_windows`.
        features: As for `market_windows.open_windows`.
        echo: Receives a line about a file of another layout than the flat one.

    Returns:
        The buffer and the file's provenance (None in a foreign file).

    Raises:
        DatasetError: The file is missing, of another layout, has pickled parts, or holds NaN or
            infinite numbers, contradicting flags or actions that the task does not have; or an
            indexed file's market cannot be used.
    """
    with _open_checked(path, market, features) as dataset:
        if isinstance(dataset, IndexedDataset) and echo is not None:
            width = dataset.table.windows.width
            echo(
                f"{path} is indexed: its observations, {width} numbers each, are made from its "
                f"market and held, {2 * 4 * width * dataset.size / 2**20:,.0f} MiB; "
                "data_tools.buffers.TensorReplayBuffer.load gathers them as they are drawn instead"
            )
        elif dataset.kind != FlatDataset.kind and echo is not None:
            echo(f"{path}: {dataset.kind}")
        if not dataset.has_next:
            raise lacks(dataset.path, dataset.meta, "obs_next")
        return fill_buffer(dataset, read_columns(dataset, dataset.meta)), dataset.provenance


def load_table(
    path: str | os.PathLike[str],
) -> tuple[ReplayBuffer, ObservationTable, dict[str, Any] | None]:
    """Load a dataset like `load_buffer`, its observations apart and each held once.

    A file without ``obs_next`` (Tianshou's ``ignore_obs_next``) is read as well. What a transition
    led to is then the row after it. Of one that a time limit or the end of the file cut nothing
    says where it led: it is left out, and the one before ends the episode, truncated.

    Returns:
        The buffer, without ``obs`` and ``obs_next``; the observations, images as uint8 and others
        as float32; the provenance.

    Raises:
        DatasetError: As for `load_buffer`.
    """
    with _open_checked(path) as dataset:
        columns = read_columns(dataset, dataset.meta, without=OBSERVATIONS)
        obs = dataset.column("obs")
        episodes = int(np.count_nonzero(columns["done"]))
        table = ObservationTable(
            dataset.size,
            obs.shape[1:],
            held_as(obs.dtype, obs.shape[1:]),
            spare=episodes + SPARE_ROWS if dataset.has_next else 0,
        )
        for start, part in _checked_parts(dataset, "obs"):
            table.before[start : start + len(part)] = part
        if not dataset.has_next:
            buffer = fill_buffer(dataset, columns)
            return _infer_next(dataset, buffer, table), table, dataset.provenance
        for start, part in _checked_parts(dataset, "obs_next"):
            table.add(start, part)
        return fill_buffer(dataset, columns), table, dataset.provenance


@contextmanager
def _open_checked(
    path: str | os.PathLike[str], market: Market | str | None = None, features: Any = None
) -> Iterator[FlatDataset]:
    with open_dataset(path, market=market, features=features) as dataset:
        try:
            yield dataset
        except MemoryError:
            raise DatasetError(
                f"{path} does not fit into memory: {dataset.size} transitions."
            ) from None


def fill_buffer(dataset: FlatDataset, columns: dict[str, Any]) -> ReplayBuffer:
    """Tianshou's buffer of these columns, once they are checked against each other."""
    from tianshou.data import Batch, ReplayBuffer

    _check_flags(dataset, columns)
    _check_actions(dataset, columns["act"])
    buffer = ReplayBuffer(dataset.size, stack_num=dataset.stack_num)
    buffer._meta = Batch(columns)
    buffer._size = dataset.size
    buffer._insertion_idx = dataset.insertion_index % dataset.size
    buffer.last_index = np.array([dataset.last_index])
    return buffer


def _infer_next(
    dataset: FlatDataset, buffer: ReplayBuffer, table: ObservationTable
) -> ReplayBuffer:
    """The transitions whose next observation is in the file; `table` learns where."""
    columns = dict(buffer._meta.items())
    terminated, truncated, done = (columns[name] for name in FLAGS)
    lost = truncated & ~terminated
    lost[dataset.last_index] |= not done[dataset.last_index]
    if lost.all():
        raise DatasetError(
            f"{dataset.path} stores no obs_next, and none of its {len(lost)} transitions has a "
            "next one in its episode: nothing can be learned from it."
        )
    before = np.roll(lost, -1) & ~done
    before[dataset.last_index] = False
    table.infer(lost, terminated)
    columns |= {"truncated": truncated | before, "done": done | before}
    kept = np.flatnonzero(~lost)
    insertion = int((~lost[: buffer._insertion_idx]).sum()) % len(kept)
    shorter = replace(
        dataset, size=len(kept), insertion_index=insertion, last_index=(insertion - 1) % len(kept)
    )
    return fill_buffer(shorter, {name: _rows(values, kept) for name, values in columns.items()})


def _rows(values: Any, rows: np.ndarray[Any, Any]) -> Any:
    """These rows of a column, or of every column of a group."""
    if hasattr(values, "items"):
        return {name: _rows(inner, rows) for name, inner in values.items()}
    return values[rows]


def read_columns(dataset: FlatDataset, group: Any, without: Sequence[str] = ()) -> dict[str, Any]:
    """Read a group's filled rows: name -> array, or a dictionary for a group inside."""
    columns: dict[str, Any] = {}
    for name, item in group.items():
        if name in without:
            continue
        if isinstance(item, h5py.Group | dict):
            columns[name] = read_columns(dataset, item)
            continue
        values = np.empty((dataset.size, *item.shape[1:]), item.dtype)
        checked = group == dataset.meta and name in COLUMNS and item.dtype.kind == "f"
        for start, stop in row_chunks(item, dataset.size):
            read_into(item, values[start:stop], start)
            if checked:
                _check_finite(dataset.path, name, values[start:stop], start)
        columns[name] = values
    return columns


def _checked_parts(dataset: FlatDataset, name: str) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """One column's parts: first row and finite rows."""
    column = dataset.column(name)
    for start, stop in row_chunks(column, dataset.size):
        part = read_rows(column, start, stop)
        if column.dtype.kind == "f":
            _check_finite(dataset.path, name, part, start)
        yield start, part


def _check_finite(path: Path, name: str, rows: np.ndarray[Any, Any], start: int) -> None:
    finite = np.isfinite(rows)
    if not finite.all():
        place = np.unravel_index(int(np.argmin(finite)), rows.shape)
        raise DatasetError(
            f"{path}: {name} of transition {start + int(place[0])} is {rows[place]}. Expected "
            "finite numbers; make the dataset anew."
        )


def _check_flags(dataset: FlatDataset, columns: dict[str, Any]) -> None:
    terminated, truncated, done = (columns[name] for name in FLAGS)
    wrong = done != (terminated | truncated)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(
            f"{dataset.path}: transition {row} has done={done[row]}, terminated={terminated[row]}, "
            f"truncated={truncated[row]}. Expected done = terminated or truncated."
        )


def _check_actions(dataset: FlatDataset, actions: np.ndarray[Any, Any]) -> None:
    levels = dataset.provenance["action"].get("levels") if dataset.provenance else None
    if levels is None or actions.dtype.kind not in "iu":
        return
    wrong = (actions < 0) | (actions >= len(levels))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(
            f"{dataset.path}: act of transition {row} is {actions[row]}. Expected 0 to "
            f"{len(levels) - 1}, as the task has {len(levels)} actions."
        )
