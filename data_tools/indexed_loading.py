"""Loading an indexed dataset: Tianshou's buffer without observations, and where those come from."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from data_tools.flat_layout import DatasetError
from data_tools.hdf5 import OBSERVATIONS, fill_buffer, read_columns
from data_tools.indexed_layout import IndexedDataset, open_dataset
from data_tools.indexed_table import IndexedTable
from gym_trade import Market

if TYPE_CHECKING:
    from tianshou.data import ReplayBuffer


def load_indexed(
    path: str | os.PathLike[str],
    *,
    market: Market | str | None = None,
    features: Any = None,
    mmap: bool = False,
) -> tuple[ReplayBuffer, IndexedTable, dict[str, Any] | None]:
    """Load a dataset of the indexed layout.

    Args:
        path: The file.
        market: As for `market_windows.open_windows`.
        features: As for `market_windows.open_windows`.
        mmap: Leave decisions and accounts where they lie in the file, which must not change while
            they are used.

    Returns:
        The buffer, without ``obs`` and ``obs_next``; decisions and accounts; the provenance.

    Raises:
        DatasetError: The file is damaged, or its market cannot be used.
    """
    with open_dataset(path, market=market, features=features) as dataset:
        assert isinstance(dataset, IndexedDataset)
        try:
            columns = read_columns(dataset, dataset.meta, without=OBSERVATIONS)
            dataset.check_rows()
            table = dataset.table if mmap else dataset.table.in_memory()
            buffer = fill_buffer(dataset, columns)
        except MemoryError:
            raise DatasetError(
                f"{path} does not fit into memory: {dataset.size} transitions. Map it: --mmap 1 of "
                "a training script, mmap=True in Python."
            ) from None
        if np.array_equal(table.apart, columns["done"]):
            table = replace(table, apart=columns["done"])  # one array for both
        return buffer, table, dataset.provenance
