"""What a collection of each layout drives and writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from data_tools.driving import Behaviour, flat, unchanged
from data_tools.flat_writer import FlatBufferWriter
from data_tools.indexed_lanes import IndexedLanes, seeing
from data_tools.indexed_writer import IndexedWriter
from data_tools.lane_writer import LaneWriter
from data_tools.training_span import FULL, INDEXED
from gym_trade import VectorTradeEnv

LAYOUTS = (FULL, INDEXED)


@dataclass(frozen=True)
class Recording:
    """What `driving.drive` takes.

    Attributes:
        env: The environment.
        writer: Takes the transitions.
        behaviour: Chooses the actions.
        see: What a batch of the environment's observations is made to.
    """

    env: Any
    writer: LaneWriter
    behaviour: Behaviour
    see: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def open_recording(
    layout: str,
    venv: VectorTradeEnv,
    behaviour: Behaviour,
    path: str | os.PathLike[str],
    size: int,
    overwrite: bool,
) -> Recording:
    """Choose how a market is recorded.

    Args:
        layout: "full" or "indexed", as `venv` was made for.
        venv: The environment.
        behaviour: Chooses the actions, by flat observations.
        path: The file to write.
        size: Transitions, exactly.
        overwrite: Replace an existing file.

    Raises:
        DatasetError: The file cannot be written.
    """
    space = venv.single_action_space
    shape, dtype = space.shape or (), space.dtype or np.int64
    if layout == FULL:
        flat_writer = FlatBufferWriter(
            path, size=size, num_lanes=venv.num_envs, observation_size=venv.layout[-1].stop,
            action_shape=shape, action_dtype=dtype, overwrite=overwrite,
        )  # fmt: skip
        return Recording(venv, flat_writer, behaviour, flat)
    writer = IndexedWriter(
        path, size=size, num_lanes=venv.num_envs, decisions=len(venv.decision_times),
        action_shape=shape, action_dtype=dtype, overwrite=overwrite,
        actions=int(space.n) if isinstance(space, spaces.Discrete) else None,
    )  # fmt: skip
    return Recording(IndexedLanes(venv), writer, seeing(behaviour, venv), unchanged)
