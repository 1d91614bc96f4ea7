"""Steps a vector of environments until a dataset is full: what every collection does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from data_tools.episodes import EpisodeLog, Episodes
from data_tools.lane_writer import LaneWriter

Observations = npt.NDArray[Any]
Extra = Mapping[str, npt.NDArray[Any]]


def _nothing(*_: Any) -> None:
    pass


def flat(observations: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """A batch of observations as datasets hold it, float32 (n, D)."""
    return np.ascontiguousarray(observations, np.float32).reshape(len(observations), -1)


def newest_frame(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of a batch of stacks, (n, frames, ...), what datasets hold: (n, ...)."""
    return observations[:, -1]


def unchanged(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A batch of observations as it is."""
    return observations


@dataclass(frozen=True)
class Behaviour:
    """What acts on all lanes while data is made.

    Attributes:
        act: Observations, float32 (lanes, D), to actions, (lanes,) or (lanes, A).
        begin: Told which lanes begin an episode, bool (lanes,).
        observe: Told what each lane's action has earned, float64 (lanes,), before `begin`.
        log_probability: Of the actions that `act` has just chosen, float32 (lanes,); None where it
            is not known.
        description: What the provenance says about it, with a ``name``.
        looks: Whether `act` looks at the observations that it is given.
    """

    act: Callable[[Observations], npt.NDArray[Any]]
    begin: Callable[[npt.NDArray[np.bool_]], object] = _nothing
    observe: Callable[[npt.NDArray[np.float64]], object] = _nothing
    log_probability: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]] | None = None
    description: dict[str, Any] = field(default_factory=dict)
    looks: bool = True


def transitions_bar(total: int, show: bool) -> tqdm[Any]:
    """A bar on stderr that counts transitions."""
    return tqdm(total=total, unit=" transitions", unit_scale=True, disable=not show)


def _bar(total: int, progress: bool | tqdm[Any]) -> AbstractContextManager[tqdm[Any]]:
    if isinstance(progress, bool):
        return transitions_bar(total, progress)
    return nullcontext(progress)


def drive(
    env: Any,
    writer: LaneWriter,
    behaviour: Behaviour,
    seed: int,
    *,
    check: Callable[[], None] = _nothing,
    see: Callable[[Observations], Observations] = flat,
    keep: Callable[[Observations], Observations] = unchanged,
    note: Callable[[npt.NDArray[Any]], Extra] | None = None,
    progress: bool | tqdm[Any] = False,
) -> Episodes:
    """Step until every lane's share is full.

    Args:
        env: A Gymnasium vector environment that resets in the step that ends an episode
            ("SameStep").
        writer: Takes the transitions.
        behaviour: Chooses the actions, by observations as `see` makes them.
        seed: Of the first reset.
        check: Called after each step; may raise.
        see: What the policy sees of a batch of the environment's observations.
        keep: What is written of what the policy sees.
        note: The writer's further columns, from the actions about to be taken.
        progress: Show a progress bar on stderr, or the bar to use.

    Returns:
        What the episodes were like.
    """
    log = EpisodeLog(env.num_envs)
    observation = see(env.reset(seed=seed)[0])
    writer.start(keep(observation))
    behaviour.begin(np.ones(env.num_envs, np.bool_))
    with _bar(writer.size, progress) as bar:
        for step in range(writer.num_steps):
            actions = behaviour.act(observation)
            extra = None if note is None else note(actions)
            following, reward, terminated, truncated, info = env.step(actions)
            check()
            behaviour.observe(reward)
            observation, ended, finals = see(following), terminated | truncated, None
            if ended.any():
                rows = info["final_obs"]
                finals = {
                    lane: keep(see(rows[lane][None]))[0] for lane in np.flatnonzero(ended).tolist()
                }
                behaviour.begin(ended)
            running, stopped = writer.shares > step, writer.shares == step + 1
            # A lane's last row ends an episode in any case: the next row is another lane's.
            marked = (truncated | stopped) & ~terminated
            writer.add(actions, reward, terminated, marked, keep(observation), finals, extra)
            log.add(reward, terminated, ended, stopped, running)
            bar.update(int(running.sum()))
    return log.episodes()
