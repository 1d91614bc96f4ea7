"""One episode of a Minari dataset, and the episodes of its HDF5 form."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import h5py
import numpy as np

from data_tools.flat_layout import DatasetError
from data_tools.formats import spaces
from data_tools.formats.parts import Kind
from data_tools.formats.scalars import encode_attributes, leaves, plain, read_plain
from data_tools.formats.trajectories import Array

Readers = dict[str, tuple[Kind, Callable[[], Array]]]
LARGEST_IMAGE = 64 * 2**20  # pixels


class Episode:
    """One episode.

    Args:
        where: For messages.
        rows: Steps.
        attributes: Of the episode, as `scalars.encode_attributes` makes them.
        parts: ("observations" or "actions") -> path -> (shape and dtype of a row, reader).
        outcome: Reads ("rewards", "terminations" or "truncations").
        reward_dtype: Of the rewards.
        info: Path -> (shape and dtype of a row, reader); None where some are no numbers.
    """

    def __init__(
        self,
        where: str,
        rows: int,
        attributes: dict[str, Any],
        parts: dict[str, Readers],
        outcome: Callable[[str], Array],
        reward_dtype: np.dtype[Any],
        info: Readers | None,
    ) -> None:
        self.where, self.rows, self.attributes = where, rows, attributes
        self.reward_dtype = reward_dtype
        self._parts, self._outcome, self._info = parts, outcome, info

    def kinds(self, role: str) -> dict[str, Kind]:
        """Shape and dtype of one row of each part."""
        return {key: kind for key, (kind, _) in self._parts[role].items()}

    def arrays(self, role: str, rows: int) -> dict[str, Array]:
        """The parts.

        Raises:
            DatasetError: They have another number of rows.
        """
        found = {key: read() for key, (_, read) in self._parts[role].items()}
        for key, values in found.items():
            if len(values) != rows:
                raise DatasetError(
                    f"{self.where}: {role} {key} has {len(values)} rows for {self.rows} steps. "
                    f"Expected {rows}."
                )
        return found

    def outcomes(self) -> tuple[Array, Array, Array]:
        """Rewards, terminations and truncations, (rows,) each."""
        values = [self._outcome(name) for name in ("rewards", "terminations", "truncations")]
        for part in values:
            if part.size != self.rows:
                raise DatasetError(f"{self.where}: {part.size} outcomes for {self.rows} steps.")
        rewards, *flags = (part.reshape(self.rows) for part in values)
        return rewards, flags[0].astype(np.bool_), flags[1].astype(np.bool_)

    def info_kinds(self) -> dict[str, Kind] | None:
        """Shape and dtype of one row of each info; None where one is no numbers."""
        return None if self._info is None else {key: kind for key, (kind, _) in self._info.items()}

    def infos(self, names: list[str]) -> dict[str, Array]:
        """The infos, (rows + 1, ...) each: the first is the reset's."""
        found = {name: self._info[name][1]() for name in names if self._info is not None}
        for name, values in found.items():
            if len(values) != self.rows + 1:
                raise DatasetError(
                    f"{self.where}: info {name} has {len(values)} rows for {self.rows} steps."
                )
        return found


def decoded(pictures: list[bytes], space: dict[str, Any], where: str) -> Array:
    """JPEG pictures as one array.

    Raises:
        DatasetError: One is no picture of the space's shape.
    """
    from PIL import Image

    frames = np.empty((len(pictures), *space["shape"]), np.uint8)
    for i, picture in enumerate(pictures):
        try:
            image = Image.open(io.BytesIO(picture))
            if image.width * image.height > LARGEST_IMAGE:
                raise ValueError(f"{image.width} by {image.height} pixels")
            frames[i] = np.asarray(image, np.uint8)
        except (OSError, ValueError, SyntaxError) as error:
            raise DatasetError(f"{where}: picture {i} cannot be read: {error}.") from None
    return frames


class Hdf5Episodes:
    """The episodes of Minari's HDF5 form.

    Args:
        root: The open file.
        space: "observation" and "action" -> space.
        jpeg: Whether images are encoded.
    """

    def __init__(self, root: h5py.File, space: dict[str, dict[str, Any]], jpeg: bool) -> None:
        self._root = root
        self._leaves = {f"{role}s": spaces.leaf_spaces(space[role]) for role in space}
        self._jpeg = jpeg
        self._names = [f"episode_{i}" for i in range(len(root))]
        missing = [name for name in self._names if name not in root]
        if missing:
            seen = ", ".join(list(root)[:8])
            raise DatasetError(
                f"{root.filename} lacks {missing[0]}. Keys seen: {seen or '(none)'}."
            )

    def __iter__(self) -> Iterator[Episode]:
        """All of them, in order."""
        for name in self._names:
            if not isinstance(self._root.get(name, getlink=True), h5py.HardLink):
                raise DatasetError(f"{self._root.filename}: {name} is a link.")
            yield self._episode(self._root[name], f"{self._root.filename}: {name}")

    def _episode(self, group: h5py.Group, where: str) -> Episode:
        rewards = plain(group, "rewards")
        parts = {
            role: {key: self._part(group, role, key, space, where) for key, space in found.items()}
            for role, found in self._leaves.items()
        }
        try:
            infos = leaves(group["infos"]) if isinstance(group.get("infos"), h5py.Group) else {}
            info: Readers | None = {
                name: ((item.shape[1:], item.dtype), partial(read_plain, item))
                for name, item in infos.items()
            }
        except DatasetError:
            info = None
        return Episode(
            where, int(rewards.size), encode_attributes(group), parts,
            lambda name: read_plain(plain(group, name)), rewards.dtype, info,
        )  # fmt: skip

    def _part(
        self, group: h5py.Group, role: str, key: str, space: dict[str, Any], where: str
    ) -> tuple[Kind, Callable[[], Array]]:
        path = role
        if key:  # a tuple's parts are named after their place
            for name in key.split("/"):
                tupled = f"{path}/_index_{name}"
                path = tupled if tupled in group else f"{path}/{name}"
        if self._jpeg and spaces.is_image(space):
            kind = (tuple(space["shape"]), np.dtype(np.uint8))
            return kind, lambda: decoded(self._pictures(group, path, where), space, where)
        item = plain(group, path)
        return (item.shape[1:], item.dtype), lambda: read_plain(item)

    def _pictures(self, group: h5py.Group, path: str, where: str) -> list[bytes]:
        link = group.get(path, getlink=True)
        item = group.get(path)
        inner = h5py.check_vlen_dtype(item.dtype) if isinstance(item, h5py.Dataset) else None
        rows = isinstance(item, h5py.Dataset) and (inner == np.uint8 or item.dtype == np.uint8)
        if not isinstance(link, h5py.HardLink) or not rows:
            raise DatasetError(f"{where}: {path} holds no pictures.")
        return [np.asarray(picture, np.uint8).tobytes() for picture in item[()]]
