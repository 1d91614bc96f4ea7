"""Observation and action spaces, and the layout of a flat observation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from gym_trade.engine import Engine
from gym_trade.observing import FLOAT32_MAX
from gym_trade.types import ACCOUNT_STATE_WIDTH, Float32, Int64

ACCOUNT_KEY = "account_state"


class Part(NamedTuple):
    """One part of a flat observation: ``observation[start:stop].reshape(shape)``."""

    key: str
    start: int
    stop: int
    shape: tuple[int, ...]


def flat_layout(engine: Engine) -> tuple[Part, ...]:
    """The parts of a flat observation: each frame's window, oldest bar first, then the account."""
    parts, start = [], 0
    if not engine.indexed:
        tables = engine.tables
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
    if engine.levels is not None:
        return spaces.Discrete(len(engine.levels))
    low, high = engine.level_range
    return spaces.Box(low, high, (1,), np.float32)


def batch_observation(engine: Engine, layout: tuple[Part, ...], flat: Float32) -> Any:
    """All lanes' observations as the environment returns them: views of `flat` (n, width)."""
    if engine.config.observation == "flat":
        return flat
    count = len(flat)
    members: dict[str, Any] = {
        part.key: flat[:, part.start : part.stop].reshape(count, *part.shape) for part in layout
    }
    if engine.indexed:
        members["decision_index"] = engine.decision_index()
        if len(engine.markets) > 1:
            members["market"] = engine.lanes.market.copy()
    return members


def single_observation(engine: Engine, layout: tuple[Part, ...], flat: Float32) -> Any:
    """One lane's observation from its flat row, shape (width,); see `batch_observation`."""
    if engine.config.observation == "flat":
        return flat
    members: dict[str, Any] = {
        part.key: flat[part.start : part.stop].reshape(part.shape) for part in layout
    }
    if engine.indexed:
        index: Int64 = engine.decision_index()
        members["decision_index"] = index[0]
        if len(engine.markets) > 1:
            members["market"] = engine.lanes.market[0]
    return members
