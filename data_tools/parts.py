"""One file of recorded transitions: what is recorded, and the loop that writes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from data_tools.command_line import sure_interrupts
from data_tools.driving import Behaviour, drive, flat, unchanged
from data_tools.environment import reopen_market
from data_tools.episodes import Episodes
from data_tools.flat_skeleton import Columns
from data_tools.flat_writer import FlatBufferWriter
from data_tools.indexed_lanes import IndexedLanes, seeing
from data_tools.indexed_writer import IndexedWriter
from data_tools.lane_writer import LaneWriter
from data_tools.provenance import (
    ACTION_MASK,
    LOG_PROBABILITY,
    describe_collection,
    describe_columns,
    describe_episodes,
)
from data_tools.reference import EPISODES, reference_returns
from data_tools.training_span import FULL, INDEXED, make_training_env
from gym_trade import Market, VectorTradeEnv

DEFAULT_LANES, LAYOUTS = 64, (FULL, INDEXED)
# Makes the policy for the environment that it will act in, with a seed of its own.
MakeBehaviour = Callable[[VectorTradeEnv, int], Behaviour]


@dataclass(frozen=True)
class Recording:
    """What is recorded, by whom and where: everything that decides about the rows but their seed.

    Attributes:
        make_behaviour: Makes the policy; other processes need one that can be pickled.
        task: A trading environment's id.
        market_spec: The market, as `environment.open_market` describes it.
        arguments: Of the environment, from `training_span.combine_arguments`.
        train_fraction: As for `collect.collect`.
        num_envs: As for `collect.collect`.
        layout: As for `collect.collect`.
    """

    make_behaviour: MakeBehaviour
    task: str
    market_spec: dict[str, Any]
    arguments: dict[str, Any]
    train_fraction: float | None = None
    num_envs: int | None = None
    layout: str = FULL

    def environment(self, market: Market, lanes: int) -> VectorTradeEnv:
        """The environment that the policy acts in.

        Raises:
            ValueError: An argument is out of range, or the market is too short.
        """
        return make_training_env(
            self.task, market, lanes, self.arguments, self.train_fraction, layout=self.layout
        )

    def lanes(self, rows: int) -> int:
        """How many lanes share so many rows."""
        lanes = self.num_envs or _default_lanes(rows, self.arguments.get("episode_steps"))
        return min(lanes, rows)

    def describe(
        self, venv: VectorTradeEnv, behaviour: Behaviour, seed: int, rows: int
    ) -> dict[str, Any]:
        """The provenance of so many rows, without their episodes."""
        described = describe_collection(
            self.task, venv, self.market_spec, behaviour.description, seed, rows
        )
        return described | describe_columns(
            continuous=isinstance(venv.single_action_space, gym.spaces.Box),
            masked=venv.direction_masks is not None,
            known=behaviour.log_probability is not None,
        )

    def references(self, market: Market, seed: int) -> dict[str, Any]:
        """What simple policies earn there; see `reference.reference_returns`."""
        with (
            sure_interrupts() as check,
            contextlib.closing(self.environment(market, EPISODES)) as venv,
        ):
            return reference_returns(venv, seed, check)


@dataclass(frozen=True)
class Part:
    """The rows of one file.

    Attributes:
        path: The file.
        rows: Transitions, exactly.
        seed: Lane i is the environment seeded with ``seed + i``; the policy has the same.
        more: Further members of its provenance.
    """

    path: Path
    rows: int
    seed: int
    more: dict[str, Any]


def record_part(
    recording: Recording,
    part: Part,
    market: Market | None = None,
    *,
    overwrite: bool = False,
    progress: bool | tqdm[Any] = False,
    references: bool = False,
) -> tuple[Episodes, dict[str, Any]]:
    """Write one file, whole or not at all.

    Args:
        recording: What is recorded.
        part: Which rows.
        market: The market; None: the one that `recording` describes is opened.
        overwrite: Replace an existing file.
        progress: As for `driving.drive`.
        references: Add what simple policies earn to the provenance.

    Returns:
        What the episodes were like, and the provenance.

    Raises:
        ValueError: An argument is out of range, the market is too short or has changed, or the file
            cannot be written (`hdf5.DatasetError`).
    """
    if market is None:
        market = reopen_market(recording.market_spec, echo=None)
    lanes = recording.lanes(part.rows)
    with sure_interrupts() as check_interrupts, contextlib.ExitStack() as stack:
        venv = recording.environment(market, lanes)
        stack.callback(venv.close)
        behaviour = recording.make_behaviour(venv, part.seed)
        description = recording.describe(venv, behaviour, part.seed, part.rows) | part.more
        with open_writer(part, venv, behaviour, lanes, overwrite=overwrite) as writer:
            simple = {"returns": recording.references(market, part.seed)} if references else {}
            indexed = isinstance(writer, IndexedWriter)
            episodes = drive(
                IndexedLanes(venv) if indexed else venv, writer,
                seeing(behaviour, venv) if indexed else behaviour, part.seed,
                see=unchanged if indexed else flat, check=check_interrupts,
                note=_note(venv, behaviour), progress=progress,
            )  # fmt: skip
            provenance = description | {"reference": describe_episodes(episodes) | simple}
            writer.finish(provenance)
    return episodes, provenance


def open_writer(
    part: Part, venv: VectorTradeEnv, behaviour: Behaviour, lanes: int, **options: Any
) -> LaneWriter:
    """The writer of a part, of the layout that `venv` was made for, with `options` of the writer.

    Raises:
        DatasetError: The file exists or cannot be written, or the disk is too small.
    """
    space = venv.single_action_space
    options |= {
        "size": part.rows,
        "num_lanes": lanes,
        "action_shape": space.shape or (),
        "action_dtype": space.dtype or np.int64,
        "extra": _further_columns(venv, behaviour),
    }
    if venv.config.observation != "index":
        return FlatBufferWriter(part.path, observation_size=venv.layout[-1].stop, **options)
    actions = int(space.n) if isinstance(space, gym.spaces.Discrete) else None
    return IndexedWriter(part.path, decisions=len(venv.decision_times), actions=actions, **options)


def _further_columns(venv: VectorTradeEnv, behaviour: Behaviour) -> Columns:
    columns: Columns = {}
    if behaviour.log_probability is not None:
        columns[LOG_PROBABILITY] = (), np.dtype(np.float32)
    masks = venv.direction_masks
    if masks is not None:
        columns[ACTION_MASK] = (masks.shape[1],), np.dtype(np.bool_)
    return columns


def _note(
    venv: VectorTradeEnv, behaviour: Behaviour
) -> Callable[[npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """The further columns, a step before the environment takes it."""
    masks, log_probability = venv.direction_masks, behaviour.log_probability

    def note(actions: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        made: dict[str, npt.NDArray[Any]] = {}
        if log_probability is not None:
            made[LOG_PROBABILITY] = log_probability(actions)
        if masks is not None:
            made[ACTION_MASK] = masks[venv.directions] != 0
        return made

    return note


def _default_lanes(buffer_size: int, episode_steps: object) -> int:
    """As many lanes as get a whole episode each, up to 64."""
    if not isinstance(episode_steps, int) or episode_steps < 1:
        return DEFAULT_LANES  # unknown, or refused where it is checked
    return max(1, min(DEFAULT_LANES, buffer_size // episode_steps))
