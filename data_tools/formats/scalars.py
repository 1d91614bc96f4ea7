"""Attributes of HDF5 objects as JSON and back, to the bit."""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data_tools.flat_layout import DatasetError
from data_tools.formats.trajectories import PLAIN_KINDS

LARGEST_TEXT = 64 * 2**20


def encode_attributes(item: Any) -> dict[str, Any]:
    """The attributes of a group or dataset, JSON-able; those that are not plain are left out."""
    encoded: dict[str, Any] = {}
    for name, value in item.attrs.items():
        if isinstance(value, str):
            encoded[name] = {"text": value}
        elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind in PLAIN_KINDS + "S":
            encoded[name] = {
                "dtype": value.dtype.str, "shape": list(value.shape), "hex": value.tobytes().hex()
            }  # fmt: skip
    return encoded


def decode_attribute(encoded: Any, where: str) -> Any:
    """What `encode_attributes` made of one attribute.

    Raises:
        DatasetError: It is not from there.
    """
    try:
        if "text" in encoded:
            return str(encoded["text"])
        dtype = np.dtype(str(encoded["dtype"]))
        if dtype.kind not in PLAIN_KINDS + "S":
            raise ValueError(f"dtype {dtype}")
        values = np.frombuffer(bytes.fromhex(encoded["hex"]), dtype).reshape(encoded["shape"])
        return values if values.shape else values[()]
    except (TypeError, ValueError, KeyError) as error:
        raise DatasetError(f"{where}: a recorded attribute is damaged: {error}.") from None


def same_attribute(first: Any, second: Any) -> bool:
    """Whether two attributes are equal in type, shape and bits."""
    if isinstance(first, str) or isinstance(second, str):
        return type(first) is type(second) and bool(first == second)
    left, right = np.asarray(first), np.asarray(second)
    return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


def write_text(group: h5py.Group, name: str, document: Any) -> None:
    """Store a JSON document as a dataset of bytes: an attribute may hold 64 KiB at most."""
    text = json.dumps(document, allow_nan=False).encode()
    item = group.create_dataset(name, data=np.frombuffer(text, np.uint8), track_times=False)
    item.attrs["__data_type__"] = "ndarray"


def read_text(group: h5py.Group, name: str) -> dict[str, Any]:
    """Read what `write_text` stored.

    Raises:
        DatasetError: It is not there, or no JSON object.
    """
    where = f"{group.file.filename}: {group.name}/{name}"
    item = plain(group, name, ("u",))
    if item.ndim != 1 or item.dtype != np.uint8 or item.shape[0] > LARGEST_TEXT:
        raise DatasetError(f"{where} is {item.dtype} {item.shape}. Expected bytes of text.")
    try:
        document = json.loads(item[()].tobytes())
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise DatasetError(f"{where} is no JSON object.")
    return document


def plain(
    group: h5py.Group, name: str, kinds: tuple[str, ...] = tuple(PLAIN_KINDS)
) -> h5py.Dataset:
    """A dataset of numbers that lies in this very file.

    Raises:
        DatasetError: It is missing, a link, a group, or holds objects or text.
    """
    where = f"{group.file.filename}: {group.name.rstrip('/')}/{name}"
    holder = group
    *folders, leaf = name.split("/")
    for part in (*folders, leaf):
        link = holder.get(part, getlink=True) if isinstance(holder, h5py.Group) else None
        if link is None:
            raise DatasetError(f"{where} is missing.")
        if not isinstance(link, h5py.HardLink):
            raise DatasetError(f"{where} is a link. Expected the data itself.")
        holder = holder[part]
    external = isinstance(holder, h5py.Dataset) and (holder.external or holder.is_virtual)
    if not isinstance(holder, h5py.Dataset) or external or holder.dtype.kind not in kinds:
        kind = "a link" if external else getattr(holder, "dtype", "a group")
        raise DatasetError(f"{where} is {kind}. Expected plain numbers.")
    return holder


def leaves(group: h5py.Group, prefix: str = "") -> dict[str, h5py.Dataset]:
    """All datasets of numbers below a group: path -> dataset.

    Raises:
        DatasetError: One is a link or holds objects or text.
    """
    found: dict[str, h5py.Dataset] = {}
    for name in group:
        path = f"{prefix}{name}"
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.HardLink) and isinstance(group[name], h5py.Group):
            found |= leaves(group[name], f"{path}/")
        else:
            found[path] = plain(group, name)
    return found


def read_plain(item: h5py.Dataset) -> npt.NDArray[Any]:
    """A whole small dataset.

    Raises:
        DatasetError: It is larger than any that this package writes, or damaged.
    """
    if item.size * item.dtype.itemsize > 2**32:
        raise DatasetError(f"{item.file.filename}: {item.name} claims {item.size} numbers.")
    try:
        return np.asarray(item[()])
    except (OSError, RuntimeError) as error:
        raise DatasetError(
            f"{item.file.filename}: {item.name} cannot be read: {error}. The file is damaged."
        ) from None
