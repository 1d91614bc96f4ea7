"""Observation and action spaces, and the layout of a flat observation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from gym_trade.engine import Engine
from gym_trade.observing import FLOAT32_MAX
from gym_trade.tables import Tables
from gym_trade.types import ACCOUNT_STATE_WIDTH, Float32

ACCOUNT_KEY = "account_state"


class Part(NamedTuple):
    """One part of a flat observation: ``observation[start:stop].reshape(shape)``."""

    key: str
    start: int
    stop: int
    shape: tuple[int, ...]


def flat_layout(engine: Engine) -> tuple[Part, ...]:
    """The parts of an engine's flat observation; with ``observation="index"`` the account only."""
    return window_layout(None if engine.indexed else engine.tables)


def window_layout(tables: Tables | None) -> tuple[Part, ...]:
    """The parts of a flat observation: each frame's window, oldest bar first, then the account."""
    parts, start = [], 0
    if tables is not None:
        for frame, window, width in zip(
            tables.time_frames, tables.window_sizes, tables.widths, strict=True
        ):
            parts.append(Part(frame.key, start, start + window * width, (window, width)))
            start += window * width
    parts.append(Part(ACCOUNT_KEY, start, start + ACCOUNT_STATE_WIDTH, (ACCOUNT_STATE_WIDTH,)))
    return tuple(parts)


def _box(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-FLOAT32_MAX, FLOAT32_MAX, shape, np.float32)


def observation_space(engine: Engine) -> spaces.Space[Any]:
    """The space of one lane's observation, with finite bounds."""
    if engine.config.observation == "flat":
        return _box((engine.width,))
    members: dict[str, spaces.Space[Any]] = {
        part.key: _box(part.shape) for part in flat_layout(engine)
    }
    if engine.indexed:
        longest = max(int(engine.ranges[:, 1].max()) + 1, 1)
        members["decision_index"] = spaces.Discrete(longest)
        if len(engine.markets) > 1:
            members["market"] = spaces.Discrete(len(engine.markets))
    return spaces.Dict(members)


def action_space(engine: Engine) -> spaces.Space[Any]:
    """The space of one lane's action."""
    if engine.config.continuous:
        low, high = engine.level_range
        return spaces.Box(low, high, (1,), np.float32)
    return spaces.Discrete(len(engine.choices))


def parts_dtype(layout: tuple[Part, ...]) -> np.dtype[Any]:
    """A flat observation as one record, a field a part: a field is read as a view at once."""
    return np.dtype([(part.key, np.float32, part.shape) for part in layout])


def split(engine: Engine, dtype: np.dtype[Any], flat: Float32) -> Any:
    """Observations as the environment returns them: views of `flat`.

    Args:
        engine: The engine; in index mode the whole batch's indices are added.
        dtype: See `parts_dtype`.
        flat: Contiguous float32 (width,) of a single lane (then the engine's first), or (n, width).
    """
    if engine.config.observation == "flat":
        return flat
    record: Any = np.ndarray(flat.shape[:-1], dtype, flat)
    members: dict[str, Any] = {key: record[key] for key in dtype.names or ()}
    if engine.indexed:
        index, lane = engine.decision_index(), ... if flat.ndim == 2 else 0
        members["decision_index"] = index[lane]
        if len(engine.markets) > 1:
            members["market"] = engine.lanes["market"].copy()[lane]
    return members
