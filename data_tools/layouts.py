"""Datasets of one layout made to the other, without losing a bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data_tools.collected_files import in_one_file
from data_tools.content import check_shards
from data_tools.flat_layout import COLUMNS, DatasetError, FlatDataset, read_rows, row_chunks
from data_tools.flat_skeleton import Columns
from data_tools.flat_writer import FlatBufferWriter
from data_tools.indexed_format import EXTRA, pack_flags
from data_tools.indexed_layout import IndexedDataset, open_dataset
from data_tools.indexed_writer import IndexedWriter
from data_tools.market_windows import open_windows
from data_tools.window_search import WindowSearch
from gym_trade import Market
from gym_trade.types import ACCOUNT_STATE_WIDTH

Path_ = str | os.PathLike[str]
Rows = dict[str, npt.NDArray[Any]]


def _nothing() -> None:
    pass


def to_full(
    path: Path_,
    target: Path_,
    *,
    market: Market | str | None = None,
    features: Any = None,
    overwrite: bool = False,
    check: Callable[[], object] = _nothing,
) -> Path:
    """Write an indexed dataset with its observations, in the layout that Tianshou opens.

    Args:
        path: The indexed dataset.
        target: The file to write.
        market: As for `market_windows.open_windows`.
        features: As for `market_windows.open_windows`.
        overwrite: Replace an existing target.
        check: Called once in a while; may raise.

    Raises:
        DatasetError: A file or the market cannot be used, or the dataset is not indexed.
    """
    _refuse_itself(path, target)
    check_shards(path)
    with open_dataset(path, market=market, features=features) as dataset:
        if not isinstance(dataset, IndexedDataset):
            raise DatasetError(_full_already(dataset))
        act = dataset.column("act")
        with FlatBufferWriter(
            target, size=dataset.size, num_lanes=1, observation_size=dataset.table.windows.width,
            action_shape=act.shape[1:], action_dtype=act.dtype,
            reward_dtype=dataset.column("rew").dtype, extra=_extra(dataset),
            overwrite=overwrite, block_bytes=1,
        ) as writer:  # fmt: skip
            for rows in _chunks(dataset):
                check()
                writer.add_rows(rows)
            return writer.finish(_provenance(dataset))


def to_indexed(
    path: Path_,
    target: Path_,
    *,
    market: Market | str | None = None,
    features: Any = None,
    overwrite: bool = False,
    check: Callable[[], object] = _nothing,
) -> Path:
    """Write a dataset that was collected on a market without its observations.

    Args:
        path: A dataset of the full layout, with provenance.
        target: The file to write.
        market: As for `market_windows.open_windows`.
        features: As for `market_windows.open_windows`.
        overwrite: Replace an existing target.
        check: Called once in a while; may raise.

    Raises:
        DatasetError: A file or the market cannot be used, an observation is no window of the
            market, or the dataset holds what the indexed layout does not.
    """
    _refuse_itself(path, target)
    check_shards(path)
    with open_dataset(path) as dataset:
        _refuse_unfit(dataset)
        windows = open_windows(path, dataset.provenance, market=market, features=features)
        act = dataset.column("act")
        with IndexedWriter(
            target, size=dataset.size, num_lanes=1, decisions=windows.decisions,
            action_shape=act.shape[1:], action_dtype=act.dtype, actions=_actions(dataset),
            reward_dtype=dataset.column("rew").dtype, extra=_extra(dataset),
            overwrite=overwrite, block_bytes=1,
        ) as writer:  # fmt: skip
            search, start = WindowSearch(windows), 0
            for rows in _chunks(dataset):
                check()
                writer.add_rows(_reduced(dataset, rows, start, search, writer.shown))
                start += len(rows["obs"])
            return writer.finish(_provenance(dataset))


def _chunks(dataset: FlatDataset) -> Iterator[Rows]:
    """All columns, some rows at a time."""
    names = (*COLUMNS, *_extra(dataset))
    for start, stop in row_chunks(dataset.column("obs"), dataset.size):
        yield {name: read_rows(dataset.column(name), start, stop) for name in names}


def _extra(dataset: FlatDataset) -> Columns:
    """The further columns."""
    others = {name: dataset.meta[name] for name in dataset.meta if name not in (*COLUMNS, "info")}
    return {name: (column.shape[1:], column.dtype) for name, column in others.items()}


def _reduced(
    dataset: FlatDataset,
    rows: Rows,
    start: int,
    search: WindowSearch,
    shown: np.dtype[Any],
) -> Rows:
    """Rows, from `start` on, as the indexed layout stores them."""
    obs, after, stop = rows["obs"], rows["obs_next"], start + len(rows["obs"])
    decisions, following = search.find(obs, after)
    missing = (decisions < 0) | (following < 0)
    if missing.any():
        raise DatasetError(
            f"{dataset.path}: transition {start + int(np.argmax(missing))} shows windows that its "
            "market does not have. Only observations of that market can be left out; keep the full "
            "layout."
        )
    done = rows["terminated"] | rows["truncated"]
    if (done != rows["done"]).any():
        raise DatasetError(f"{dataset.path}: its flags contradict each other. Make it anew.")
    if stop < dataset.size:
        next_row = read_rows(dataset.column("obs"), stop, stop + 1)
    else:
        next_row = ~after[-1:].view(np.uint32)  # nothing follows: differs
    successors = np.concatenate((obs[1:].view(np.uint32), next_row.view(np.uint32)))
    apart = done | (after.view(np.uint32) != successors).any(axis=1)
    last = np.zeros(int(apart.sum()), shown)
    last["decision"] = following[apart]
    last["account_state"] = after[apart, -ACCOUNT_STATE_WIDTH:]
    return {
        "decision": decisions,
        "account_state": obs[:, -ACCOUNT_STATE_WIDTH:],
        "act": rows["act"],
        "rew": rows["rew"],
        "flags": pack_flags(rows["terminated"], rows["truncated"], apart),
        "last": last,
        **{f"{EXTRA}/{name}": rows[name] for name in rows if name not in COLUMNS},
    }


def _refuse_unfit(dataset: FlatDataset) -> None:
    """Refuse what an indexed file could not give back."""
    file, meta = dataset.path, dataset.meta
    if isinstance(dataset, IndexedDataset):
        raise DatasetError(
            f"{file} has the indexed layout already: there is nothing to do. --layout full stores "
            "its observations."
        )
    if not (dataset.provenance or {}).get("market"):
        raise DatasetError(
            f"{file} names no market, so its observations are not known to be windows of one. The "
            "indexed layout is for what data_tools.collect made on a market; keep the full one."
        )
    groups = [name for name in meta if name != "info" and isinstance(meta[name], h5py.Group)]
    others = groups + [f"info/{name}" for name in meta.get("info", {})]
    faults = {
        "stores no obs_next": not dataset.has_next,
        "stacks frames": dataset.stack_num != 1,
        "is a ring buffer that has wrapped, or is part-filled": (
            dataset.insertion_index != 0 or dataset.last_index != dataset.size - 1
        ),
        f"has columns in groups: {', '.join(others)}": bool(others),
        f"has observations of {dataset.column('obs').dtype}": (
            dataset.column("obs").dtype != np.float32 or len(dataset.column("obs").shape) != 2
        ),
    }
    for fault, found in faults.items():
        if found:
            raise DatasetError(
                f"{file} {fault}: the indexed layout has no room for that. Keep the full one."
            )


def _full_already(dataset: FlatDataset) -> str:
    """What there is to be done with a file that stores its observations."""
    if dataset.kind != FlatDataset.kind:
        return (
            f"{dataset.path} stores its observations already, in {dataset.kind}. To flatten it: "
            f"python -m data_tools.convert {dataset.path} FLAT.hdf5"
        )
    return (
        f"{dataset.path} has the full layout already: there is nothing to do. --layout indexed "
        "leaves its windows out."
    )


def _actions(dataset: FlatDataset) -> int | None:
    """How many discrete actions there are at least; None for continuous ones."""
    act = dataset.column("act")
    if act.dtype.kind == "f":
        return None
    parts = [read_rows(act, *chunk) for chunk in row_chunks(act, dataset.size)]
    if min(int(part.min()) for part in parts) < 0:
        return None
    levels = (dataset.provenance or {}).get("action", {}).get("levels") or []
    return max(len(levels), *(int(part.max()) + 1 for part in parts))


def _provenance(dataset: FlatDataset) -> dict[str, Any]:
    """What the dataset says about itself, but for the shards that the target has none of."""
    assert dataset.provenance is not None
    return in_one_file(dataset.path, dataset.provenance)


def _refuse_itself(path: Path_, target: Path_) -> None:
    if Path(target).exists() and Path(path).exists() and Path(path).samefile(target):
        raise DatasetError(f"{target} is the dataset itself. Choose another name.")
