"""Observations of several parts, laid side by side in one flat array, and taken apart again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from data_tools.flat_layout import DatasetError
from data_tools.formats.trajectories import Array, exactly, held_dtype

Kind = tuple[tuple[int, ...], np.dtype[Any]]  # shape and dtype of one row


class Parts:
    """How observations, or actions, are held as one array.

    One that is a plain array is held as it is, a scalar one as an array of one. Several parts are
    flattened, one behind the other, in the smallest dtype that holds them all.

    Args:
        kinds: Key -> shape and dtype of one row's part; the key of a plain array is "".
        role: "obs" or "act".

    Attributes:
        layout: key, start, stop, shape and dtype of each part, JSON-able.
        held: Shape and dtype of one row as it is held.
    """

    def __init__(self, kinds: dict[str, Kind], role: str) -> None:
        if not kinds:
            raise DatasetError(f"the dataset's {role} has no parts.")
        self.role, self.layout, column = role, [], 0
        for key, (shape, dtype) in kinds.items():
            if dtype.kind not in "fiub":
                raise DatasetError(f"{role} {key!r} is {dtype}. Expected numbers.")
            width = math.prod(shape)
            self.layout.append(
                {"key": key or "observation", "start": column, "stop": column + width,
                 "shape": list(shape), "dtype": dtype.str}
            )  # fmt: skip
            column += width
        self._kinds = kinds
        self.single = list(kinds) == [""]
        dtype = np.result_type(*(dtype for _, dtype in kinds.values()))
        shape = next(iter(kinds.values()))[0] if self.single else (column,)
        if role == "obs" and not shape:
            shape = (1,)
        self.held: Kind = (shape, held_dtype(dtype, role if self.single else "obs"))

    def hold(self, values: dict[str, Array], where: str) -> Array:
        """One array of the parts, (rows, ...) each.

        Raises:
            DatasetError: A number would change, or the parts are not as they were announced.
        """
        if values.keys() != self._kinds.keys():
            raise DatasetError(
                f"{where}: {self.role} has the parts {', '.join(values)}, but elsewhere "
                f"{', '.join(self._kinds)}. Expected the same in every episode."
            )
        for key, (shape, _) in self._kinds.items():
            if values[key].shape[1:] != shape:
                raise DatasetError(
                    f"{where}: {self.role} {key} has shape {values[key].shape[1:]}, but elsewhere "
                    f"{shape}. Expected the same in every episode."
                )
        shape, dtype = self.held
        if self.single:
            return exactly(values[""], dtype, f"{where}: {self.role}").reshape(-1, *shape)
        rows = len(next(iter(values.values())))
        flat = [
            exactly(part, dtype, f"{where}: {self.role} {key}").reshape(rows, -1)
            for key, part in values.items()
        ]
        return np.concatenate(flat, 1)


def apart(values: Array, layout: list[dict[str, Any]]) -> dict[str, Array]:
    """The parts, (rows, ...) each, in the dtypes that they had.

    Raises:
        DatasetError: The layout does not fit.
    """
    flat = values.reshape(len(values), -1)
    try:
        found = {
            str(part["key"]): flat[:, part["start"] : part["stop"]]
            .astype(np.dtype(str(part["dtype"])))
            .reshape(len(values), *part["shape"])
            for part in layout
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"the recorded layout does not fit: {error}.") from None
    return found
