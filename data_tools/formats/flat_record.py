"""What a flat file holds beyond its transitions: recorded, so that it can be made again."""

from __future__ import annotations

from typing import Any

import h5py

from data_tools.flat_layout import (
    DatasetError,
)
from data_tools.formats.scalars import (
    encode_attributes,
    leaves,
    read_plain,
    read_text,
)
from data_tools.formats.trajectories import (
    Source,
)


def describe_file(
    root: h5py.File, columns: dict[str, Any], capacity: int, first_row: int, last_index: int
) -> dict[str, Any]:
    """What rebuilding a flat file needs beyond its transitions, JSON-able."""
    groups = {"/": encode_attributes(root)}
    for name in ("options", "_meta"):
        groups[name] = encode_attributes(root[name]) if name in root else {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group):
            groups[f"_meta/{name}"] = encode_attributes(item)

    root["_meta"].visititems(visit)
    compressed = [
        name for name, item in columns.items()
        if isinstance(item, h5py.Dataset) and item.chunks is not None
    ]  # fmt: skip
    tensors = [
        name for name, item in columns.items()
        if isinstance(item, h5py.Dataset) and item.attrs.get("__data_type__") == "Tensor"
    ]  # fmt: skip
    return {
        "groups": groups, "capacity": capacity, "first_row": first_row, "last_index": last_index,
        "compressed": compressed, "tensors": tensors,
    }  # fmt: skip


def read_source(group: Any, rows: int) -> tuple[Source, dict[str, h5py.Dataset]]:
    """What the group ``source`` of a converted file holds, and its columns.

    Raises:
        DatasetError: It is damaged.
    """
    if not isinstance(group, h5py.Group):
        raise DatasetError(f"{group.file.filename}: source is no group.")
    arrays = leaves(group["arrays"]) if "arrays" in group else {}
    side = leaves(group["rows"]) if "rows" in group else {}
    for item in side.values():
        if item.shape[:1] != (rows,):
            raise DatasetError(
                f"{group.file.filename}: {item.name} has {len(item)} rows. Expected {rows}."
            )
    return Source(
        read_text(group, "json"), {name: read_plain(item) for name, item in arrays.items()}
    ), side
