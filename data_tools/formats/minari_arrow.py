"""The episodes of Minari's Arrow and Parquet forms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.flat_layout import DatasetError
from data_tools.formats import spaces
from data_tools.formats.minari_episodes import Episode, decoded
from data_tools.formats.parts import Kind
from data_tools.formats.trajectories import PLAIN_KINDS, Array

PADDED = ("actions", "rewards", "terminations", "truncations")  # one row longer than the episode


class ArrowEpisodes:
    """The episodes, one folder each.

    Args:
        folder: Where they are.
        form: "arrow" or "parquet".
        number: How many.
        space: "observation" and "action" -> space.
        jpeg: Whether images are encoded.
    """

    def __init__(
        self, folder: Path, form: str, number: int, space: dict[str, dict[str, Any]], jpeg: bool
    ) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise DatasetError(
                f"{folder} is in Minari's {form} form, which needs pyarrow: "
                "python -m pip install pyarrow"
            ) from None
        self._folder, self._form, self._number, self._jpeg = folder, form, number, jpeg
        self._leaves = {f"{role}s": spaces.leaf_spaces(space[role]) for role in space}

    def __iter__(self) -> Iterator[Episode]:
        """All of them, in order."""
        for number in range(self._number):
            yield self._episode(self._folder / str(number))

    def _episode(self, folder: Path) -> Episode:
        import pyarrow as pa
        import pyarrow.dataset as ds

        files = sorted(str(file) for file in folder.glob(f"*.{self._form}"))
        if not files:
            raise DatasetError(f"{folder} holds no {self._form} file of an episode.")
        try:
            table = ds.dataset(files, format=self._form).to_table().combine_chunks()
            about = json.loads((folder / "metadata.json").read_text())
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DatasetError(f"{folder} cannot be read: {reason}") from None
        missing = [n for n in ("observations", *PADDED) if n not in table.column_names]
        if missing:
            raise DatasetError(f"{folder} lacks {', '.join(missing)}.")
        whole = {name: _one(table[name]) for name in table.column_names}
        rows = len(whole["rewards"]) - 1
        for name in PADDED:
            whole[name] = whole[name].slice(0, rows)
        parts = {
            role: {k: self._part(whole[role], k, s, folder) for k, s in found.items()}
            for role, found in self._leaves.items()
        }
        rewards = np.asarray(whole["rewards"].to_numpy(zero_copy_only=False))
        attributes = {
            name: _attribute(value) for name, value in _flattened(about)
            if isinstance(value, int | float | str | bool)
        }  # fmt: skip
        return Episode(
            str(folder), rows, attributes, parts,
            lambda name: np.asarray(whole[name].to_numpy(zero_copy_only=False)), rewards.dtype,
            _infos(whole.get("infos"), str(folder)),
        )  # fmt: skip

    def _part(
        self, array: Any, key: str, space: dict[str, Any], folder: Path
    ) -> tuple[Kind, Callable[[], Array]]:
        for name in key.split("/") if key else ():
            array = array.field(name)
        if self._jpeg and spaces.is_image(space):
            kind = (tuple(space["shape"]), np.dtype(np.uint8))
            return kind, lambda: decoded(array.to_pylist(), space, str(folder))
        shape = tuple(space.get("shape", ())) or _shape(space)
        values = _numbers(array, shape, f"{folder}: {key or 'the whole'}")
        return (shape, values.dtype), lambda: values


def _shape(space: dict[str, Any]) -> tuple[int, ...]:
    if space["type"] == "MultiDiscrete":
        return np.shape(space["nvec"])
    if space["type"] == "MultiBinary":
        return tuple(np.atleast_1d(space["n"]).tolist())
    return ()


def _one(column: Any) -> Any:
    """A chunked column as one array."""
    import pyarrow as pa

    return column if not isinstance(column, pa.ChunkedArray) else (
        column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    )  # fmt: skip


def _numbers(array: Any, shape: tuple[int, ...], where: str) -> Array:
    import pyarrow as pa

    rows = len(array)
    if pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    try:
        values = np.asarray(array.to_numpy(zero_copy_only=False))
        if values.dtype.kind not in PLAIN_KINDS:
            raise ValueError(f"{values.dtype} values")
        return values.reshape(rows, *shape)
    except (ValueError, pa.ArrowException) as error:
        raise DatasetError(f"{where} holds no numbers of shape {shape}: {error}.") from None


def _infos(
    array: Any, where: str, prefix: str = ""
) -> dict[str, tuple[Kind, Callable[[], Array]]] | None:
    import pyarrow as pa

    found: dict[str, tuple[Kind, Callable[[], Array]]] = {}
    if array is None:
        return found
    for field in array.type:
        part, name = array.field(field.name), f"{prefix}{field.name}"
        if pa.types.is_struct(field.type):
            inner = _infos(part, where, f"{name}/")
            if inner is None:
                return None
            found |= inner
            continue
        width = field.type.list_size if pa.types.is_fixed_size_list(field.type) else None
        text = (field.metadata or {}).get(b"shape")
        shape: tuple[int, ...] = () if width is None else (width,)
        if text is not None:
            shape = tuple(int(n) for n in text.split(b",") if n)
        try:
            values = _numbers(part, shape, f"{where}: {name}")
        except DatasetError:
            return None
        found[name] = ((shape, values.dtype), lambda values=values: values)  # type: ignore[misc]
    return found


def _flattened(about: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in about.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _attribute(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"text": value}
    scalar = np.asarray(value)
    return {"dtype": scalar.dtype.str, "shape": [], "hex": scalar.tobytes().hex()}
