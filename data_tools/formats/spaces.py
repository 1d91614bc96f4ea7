"""Gymnasium spaces as Minari writes them down: JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from data_tools.flat_layout import DatasetError
from data_tools.formats.parts import Kind
from data_tools.formats.trajectories import Array, Trajectories

NESTED = ("Dict", "Tuple")
KINDS = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")


def parse(text: object, where: str) -> dict[str, Any]:
    """A space's JSON.

    Raises:
        DatasetError: It is no space.
    """
    try:
        space = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        space = None
    if not isinstance(space, dict) or "type" not in space:
        raise DatasetError(f"{where} is not a space that Minari writes down.")
    return space


def leaf_spaces(space: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Path -> space of every leaf; "" where the space itself is one. A tuple's parts are numbered.

    Raises:
        DatasetError: A leaf is not of numbers.
    """
    if space.get("type") not in NESTED:
        if space.get("type") not in KINDS:
            raise DatasetError(
                f"a space of type {space.get('type')} ({prefix or 'whole'}). Expected numbers: "
                f"{', '.join(KINDS)}, or Dict and Tuple of them."
            )
        return {prefix: space}
    inner = space["subspaces"]
    named = inner.items() if isinstance(inner, dict) else enumerate(inner)
    found: dict[str, dict[str, Any]] = {}
    for name, part in named:
        found |= leaf_spaces(part, f"{prefix}/{name}" if prefix else str(name))
    return found


def is_image(space: dict[str, Any]) -> bool:
    """Whether Minari encodes such observations as JPEG, where it does so at all."""
    shape = space.get("shape", ())
    bounds = np.asarray(space.get("low", -1)), np.asarray(space.get("high", -1))
    return (
        space["type"] == "Box" and len(shape) in (2, 3) and min(shape[:2]) >= 32
        and space["dtype"] == "uint8" and bool((bounds[0] == 0).all() and (bounds[1] == 255).all())
    )  # fmt: skip


def box(kind: Kind, low: float, high: float) -> dict[str, Any]:
    """A Box of these bounds in every number."""
    shape, dtype = kind
    return {
        "type": "Box", "dtype": str(dtype), "shape": list(shape),
        "low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist(),
    }  # fmt: skip


def observation_space(given: Trajectories) -> dict[str, Any]:
    """The space of flat observations; bytes are images, or at least 0 to 255."""
    shape, dtype = given.columns["obs"]
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        return box((shape, dtype), bounds.min, bounds.max)
    return box((shape, dtype), -np.inf, np.inf)


class ActionSpace:
    """The space of actions, told from those that pass."""

    def __init__(self, given: Trajectories) -> None:
        self._kind, self._discrete = given.columns["act"], given.discrete
        self._low, self._high = np.inf, -np.inf

    def add(self, actions: Array) -> None:
        """See some more."""
        self._low = min(self._low, float(actions.min()))
        self._high = max(self._high, float(actions.max()))

    def space(self, levels: int | None = None) -> dict[str, Any]:
        """As many choices as there are levels, or as were seen; a box of -1 to 1 if all fit."""
        if self._discrete and self._low >= 0:
            number = max(int(self._high) + 1, levels or 0)
            return {"type": "Discrete", "dtype": "int64", "start": 0, "n": number}
        if self._kind[1].kind in "iu":
            bounds = np.iinfo(self._kind[1])
            return box(self._kind, bounds.min, bounds.max)
        inside = self._low >= -1.0 and self._high <= 1.0
        return box(self._kind, -1.0, 1.0) if inside else box(self._kind, -np.inf, np.inf)
