"""The folder that a dataset's shards lie in, which goes when the dataset is replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_tools.flat_layout import DatasetError, read_provenance


def folder_prefix(path: Path) -> str:
    """How the names of a dataset's folders begin; HDF5 gives a meaning to %."""
    return f"{path.name.replace('%', '_')}.shards-"


def folder_of(path: Path) -> Path | None:
    """The folder of a dataset's shards; None where it has none of its own."""
    try:
        name = ((read_provenance(path) or {}).get("shards") or {}).get("folder")
    except DatasetError:
        return None
    if not isinstance(name, str) or not name.startswith(folder_prefix(path)) or os.sep in name:
        return None
    return path.with_name(name)


@contextmanager
def without_older_shards(path: Path, keep: Path | None = None) -> Iterator[None]:
    """Remove the shards of the dataset that the block replaces, once another is in its place.

    Args:
        path: The dataset.
        keep: The folder of the new one's shards, if it has any.
    """
    older = folder_of(path) if path.is_file() else None
    yield
    if older is not None and older != keep:
        shutil.rmtree(older, ignore_errors=True)
