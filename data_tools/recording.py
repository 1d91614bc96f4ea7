"""Recording a policy on the first part of a market, whoever the policy is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.command_line import CommandLineError, sure_interrupts
from data_tools.driving import Behaviour, drive
from data_tools.episodes import Episodes
from data_tools.provenance import describe_collection, describe_episodes, usable_span
from data_tools.recorded_layouts import open_recording
from data_tools.training_span import make_training_env
from gym_trade import Market, VectorTradeEnv

DEFAULT_LANES = 64


@dataclass(frozen=True)
class CollectSummary:
    """What was written.

    Attributes:
        path: The dataset.
        transitions: Number of rows.
        episodes: Their statistics.
        provenance: What the dataset says about itself.
    """

    path: Path
    transitions: int
    episodes: Episodes
    provenance: dict[str, Any]

    @property
    def text(self) -> str:
        """Lines of text, the path on the last one."""
        return f"{episodes_text(self.transitions, self.episodes)}\n{self.path}"


def episodes_text(transitions: int, episodes: Episodes) -> str:
    """What recorded episodes were like, as lines of text."""
    kind = "complete" if episodes.complete else "cut"
    return (
        f"{transitions} transitions, {episodes.complete} complete episodes "
        f"({episodes.terminated} terminated) and {episodes.cut} cut at the end\n"
        f"return of {kind} episodes: mean {episodes.mean_return:.6g}, std {episodes.std_return:.6g}"
        f", min {episodes.min_return:.6g}, max {episodes.max_return:.6g}; mean length "
        f"{episodes.mean_length:.6g} steps"
    )


def record_market(
    path: str | os.PathLike[str],
    make_behaviour: Callable[[VectorTradeEnv], Behaviour],
    *,
    task: str,
    market: Market,
    market_spec: dict[str, Any],
    arguments: dict[str, Any],
    train_fraction: float | None,
    buffer_size: int,
    seed: int,
    num_envs: int | None = None,
    layout: str = "full",
    overwrite: bool = False,
    progress: bool = True,
    echo: Callable[[str], object] | None = print,
) -> CollectSummary:
    """Drive the vector environment with a policy and write what happens.

    Args:
        path: The file to write.
        make_behaviour: Makes the policy for the environment that it will act in.
        task: A trading environment's id.
        market: The market.
        market_spec: As `environment.open_market` describes it.
        arguments: Of the environment, from `training_span.combine_arguments`.
        train_fraction: As for `collect.collect`.
        buffer_size: Transitions, exactly.
        seed: Lane i is the environment seeded with ``seed + i``.
        num_envs: As for `collect.collect`.
        layout: As for `collect.collect`.
        overwrite: Replace an existing file.
        progress: Show a progress bar on stderr.
        echo: Receives the lines that say what is done.

    Raises:
        ValueError: An argument is out of range, the market is too short, or the file cannot be
            written (`hdf5.DatasetError`).
    """
    check_counts(buffer_size, num_envs, seed)
    lanes = num_envs or _default_lanes(buffer_size, arguments.get("episode_steps"))
    lanes = min(lanes, buffer_size)
    with sure_interrupts() as check_interrupts, contextlib.ExitStack() as stack:
        venv = make_training_env(task, market, lanes, arguments, train_fraction, layout=layout)
        stack.callback(venv.close)
        behaviour = make_behaviour(venv)
        about = behaviour.description
        description = describe_collection(task, venv, market_spec, about, seed, buffer_size)
        if echo is not None:
            first, last = usable_span(venv)
            echo(f"collecting between {first} and {last}, of {market}")
            _note_short_shares(buffer_size, lanes, venv.config.episode_steps, echo)
        recording = open_recording(layout, venv, behaviour, path, buffer_size, overwrite)
        with recording.writer as writer:
            episodes = drive(
                recording.env, writer, recording.behaviour, seed, see=recording.see,
                check=check_interrupts, progress=progress,
            )  # fmt: skip
            provenance = description | {"reference": describe_episodes(episodes)}
            written = writer.finish(provenance)
    return CollectSummary(written, buffer_size, episodes, provenance)


def _default_lanes(buffer_size: int, episode_steps: object) -> int:
    """As many lanes as get a whole episode each, up to 64."""
    if not isinstance(episode_steps, int) or episode_steps < 1:
        return DEFAULT_LANES  # unknown, or refused where it is checked
    return max(1, min(DEFAULT_LANES, buffer_size // episode_steps))


def check_counts(buffer_size: int, num_envs: int | None, seed: int) -> None:
    """Refuse numbers that are too small.

    Raises:
        CommandLineError: One of them is.
    """
    for flag, value, low in (
        ("--buffer-size", buffer_size, 1),
        ("--num-envs", 1 if num_envs is None else num_envs, 1),
        ("--seed", seed, 0),
    ):
        if value < low:
            raise CommandLineError(f"{flag} {value}: expected a whole number >= {low}.")


def _note_short_shares(
    size: int, lanes: int, steps: int | None, echo: Callable[[str], object]
) -> None:
    if steps is None or size // lanes >= steps:
        return
    remedy = f"--num-envs {size // steps} gives whole ones" if size >= steps else "collect more"
    echo(
        f"note: a lane's share of {size // lanes} rows is shorter than an episode of {steps} "
        f"steps: episodes will be cut; {remedy}"
    )
