"""Recording a policy on the first part of a market, whoever the policy is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.command_line import CommandLineError
from data_tools.engines import Engine
from data_tools.episodes import Episodes
from data_tools.parts import DEFAULT_LANES, MakeBehaviour, Part, Recording, open_writer, record_part
from data_tools.provenance import usable_span
from data_tools.shards import ShardedCollection
from data_tools.training_span import FULL
from gym_trade import Market, VectorTradeEnv

__all__ = ["DEFAULT_LANES", "CollectSummary", "check_counts", "episodes_text", "record_market"]

# A file up to this size is written in a minute or so, which is little to lose.
LARGEST_FILE, SHARD_BYTES = 4 * 2**30, 2**30


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
    make_behaviour: MakeBehaviour,
    *,
    task: str,
    market: Market,
    market_spec: dict[str, Any],
    arguments: dict[str, Any],
    train_fraction: float | None,
    buffer_size: int,
    seed: int,
    num_envs: int | None = None,
    layout: str = FULL,
    shards: int | None = None,
    engine: Engine | None = None,
    overwrite: bool = False,
    progress: bool = True,
    echo: Callable[[str], object] | None = print,
) -> CollectSummary:
    """Drive the vector environment with a policy and write what happens.

    One file is written as it is; several lie in a folder beside the one that joins them, see
    `shards`.

    Args:
        path: The file to write.
        make_behaviour: Makes the policy for the environment that it will act in, with a seed.
        task: A trading environment's id.
        market: The market.
        market_spec: As `environment.open_market` describes it.
        arguments: Of the environment, from `training_span.combine_arguments`.
        train_fraction: As for `collect.collect`.
        buffer_size: Transitions, exactly.
        seed: Lane i is the environment seeded with ``seed + i``.
        num_envs: As for `collect.collect`.
        layout: As for `collect.collect`.
        shards: As for `collect.collect`.
        engine: Who writes the shards; None: this process, one after the other.
        overwrite: Replace an existing file.
        progress: Show a progress bar on stderr.
        echo: Receives the lines that say what is done.

    Raises:
        ValueError: An argument is out of range, the market is too short, or the file cannot be
            written (`hdf5.DatasetError`).
    """
    check_counts(buffer_size, num_envs, seed, shards=shards)
    recording = Recording(
        make_behaviour, task, market_spec, arguments, train_fraction, num_envs, layout
    )
    whole = Part(Path(path), buffer_size, seed, {})
    lanes = recording.lanes(buffer_size)
    with contextlib.closing(recording.environment(market, lanes)) as venv:
        behaviour = make_behaviour(venv, seed)
        writer = open_writer(whole, venv, behaviour, lanes, overwrite=overwrite, check_room=False)
        expected = writer.expected_bytes
        count = shards or (1 if expected <= LARGEST_FILE else -(-expected // SHARD_BYTES))
        if count > buffer_size:
            raise CommandLineError(
                f"--shards {count}: expected no more than there are transitions, {buffer_size}."
            )
        _say_where(recording, venv, buffer_size // count, echo)
        description = recording.describe(venv, behaviour, seed, buffer_size)
    if count == 1:
        episodes, provenance = record_part(
            recording, whole, market, overwrite=overwrite, progress=progress, references=True
        )
    else:
        sharded = ShardedCollection(recording, whole.path, description, count, expected)
        episodes, provenance = sharded.write(
            market, engine or Engine(), overwrite=overwrite, progress=progress, echo=echo
        )
    return CollectSummary(whole.path, buffer_size, episodes, provenance)


def _say_where(
    recording: Recording, venv: VectorTradeEnv, rows: int, echo: Callable[[str], object] | None
) -> None:
    """Say what is about to be collected, and if episodes will be cut."""
    if echo is None:
        return
    first, last = usable_span(venv)
    echo(f"collecting between {first} and {last}, of {venv.markets[0]}")
    lanes = recording.lanes(rows)
    steps = 1 if venv.config.rollout else venv.config.episode_steps
    if steps is None or rows // lanes >= steps:
        return
    remedy = f"--num-envs {rows // steps} gives whole ones" if rows >= steps else "collect more"
    echo(
        f"note: a lane's share of {rows // lanes} rows is shorter than an episode of {steps} "
        f"steps: episodes will be cut; {remedy}"
    )


def check_counts(buffer_size: int, num_envs: int | None, seed: int, **others: int | None) -> None:
    """Refuse numbers that are too small; `others` are at least 1, by the names of their flags.

    Raises:
        CommandLineError: One of them is.
    """
    counts = {"buffer-size": (buffer_size, 1), "num-envs": (num_envs, 1), "seed": (seed, 0)}
    for flag, (value, low) in (counts | {name: (v, 1) for name, v in others.items()}).items():
        if value is not None and value < low:
            raise CommandLineError(f"--{flag} {value}: expected a whole number >= {low}.")
