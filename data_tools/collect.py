"""Collect trajectories of a scripted policy into a dataset that Tianshou opens.

Example: --market btc.csv.gz --policy ma-cross+random --epsilon 0.1 --buffer-size 1000000
--save-buffer-name trades.hdf5
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.command_line import (
    ArgumentParser,
    CommandLineError,
    run,
    sure_interrupts,
    terminate_cleanly,
)
from data_tools.driving import drive
from data_tools.environment import (
    add_environment_flags,
    environment_help,
    market_arguments,
    open_market,
    parse_env_arguments,
)
from data_tools.episodes import Episodes
from data_tools.hdf5 import FlatBufferWriter
from data_tools.policies import RULES, make_policy
from data_tools.provenance import describe_collection, describe_episodes, usable_span
from data_tools.training_span import (
    DEFAULT_EPISODE_STEPS,
    DEFAULT_TRAIN_FRACTION,
    combine_arguments,
    make_training_env,
)

DEFAULT_TASK = "Trade-Sequential-v0"
DEFAULT_LANES = 64


@dataclass(frozen=True)
class CollectSummary:
    """What `collect` wrote.

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


def collect(
    save_buffer_name: str | os.PathLike[str],
    *,
    buffer_size: int,
    task: str = DEFAULT_TASK,
    market: str | None = None,
    policy: str = "random",
    epsilon: float = 0.0,
    seed: int = 0,
    num_envs: int | None = None,
    episode_steps: int | None = None,
    train_fraction: float | None = None,
    start: str | None = None,
    end: str | None = None,
    env: dict[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    echo: Callable[[str], object] | None = print,
) -> CollectSummary:
    """Drive the vector environment with a scripted policy and write what happens.

    Lane i is the environment seeded with ``seed + i``; it fills
    ``buffer_size // lanes`` rows (one more in the first lanes, for the remainder), whole episodes
    one behind the other. An episode that is running when the rows are full is marked truncated.

    Args:
        save_buffer_name: The file to write.
        buffer_size: Transitions, exactly.
        task: A trading environment's id.
        market: As in `environment.open_market`.
        policy: As in `policies.make_policy`.
        epsilon: Probability that an action is replaced by a random one.
        seed: Seed of the environment and, independently, of the policy.
        num_envs: Lanes, no more than there are rows; the same data needs the same number. None:
            64, or as many as get a whole episode each.
        episode_steps: Steps an episode; None: from `env`, else 2,000.
        train_fraction: Share of the usable decision instants to collect on, from the first; the
            rest is left for evaluation. None: 0.7, or all of them if `end` is given.
        start: First decision instant to use.
        end: Last instant to use, instead of `train_fraction`.
        env: Arguments of the environment.
        overwrite: Replace an existing file.
        progress: Show a progress bar on stderr.
        echo: Receives the lines that say what is done.

    Raises:
        ValueError: An argument is out of range or contradicts another, the market cannot be used or
            is too short, or the file cannot be written (`hdf5.DatasetError`).
    """
    _check_counts(buffer_size, num_envs, seed)
    arguments = combine_arguments(env or {}, episode_steps, start, end)
    shared = market_arguments(arguments)
    opened, market_spec = open_market(market, market_arguments=shared, echo=echo)
    lanes = num_envs or _default_lanes(buffer_size, arguments.get("episode_steps"))
    lanes = min(lanes, buffer_size)
    with sure_interrupts() as check_interrupts, contextlib.ExitStack() as stack:
        venv = make_training_env(task, opened, lanes, arguments, train_fraction)
        stack.callback(venv.close)
        actor = make_policy(policy, venv, epsilon=epsilon, seed=seed)
        description = describe_collection(task, venv, market_spec, actor, seed, buffer_size)
        if echo is not None:
            first, last = usable_span(venv)
            echo(f"collecting between {first} and {last}, of {opened}")
            _note_short_shares(buffer_size, lanes, venv.config.episode_steps, echo)
        with FlatBufferWriter(
            save_buffer_name,
            size=buffer_size,
            num_lanes=lanes,
            observation_size=venv.layout[-1].stop,
            action_shape=venv.single_action_space.shape or (),
            action_dtype=venv.single_action_space.dtype or np.int64,
            overwrite=overwrite,
        ) as writer:
            episodes = drive(
                venv, writer, lambda _: actor.act(), seed,
                begin=actor.begin, check=check_interrupts, progress=progress,
            )  # fmt: skip
            provenance = description | {"reference": describe_episodes(episodes)}
            path = writer.finish(provenance)
    return CollectSummary(path, buffer_size, episodes, provenance)


def _default_lanes(buffer_size: int, episode_steps: object) -> int:
    """As many lanes as get a whole episode each, up to 64."""
    if not isinstance(episode_steps, int) or episode_steps < 1:
        return DEFAULT_LANES  # unknown, or refused where it is checked
    return max(1, min(DEFAULT_LANES, buffer_size // episode_steps))


def _check_counts(buffer_size: int, num_envs: int | None, seed: int) -> None:
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


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m data_tools.collect", description=__doc__, epilog=environment_help()
    )
    # fmt: off
    add = parser.add_argument
    add("--save-buffer-name", required=True, metavar="FILE", help="the dataset to write, .hdf5")
    add("--buffer-size", type=int, default=100_000, metavar="N",
        help="transitions to collect, exactly (default: %(default)s)")
    add("--task", default=DEFAULT_TASK, help="environment id (default: %(default)s)")
    add_environment_flags(parser)
    add("--policy", default="random", metavar="NAME",
        help=f"one of {', '.join(RULES)}, with parameters if any (ma-cross:fast=12,slow=48), or "
        "several joined by +: each lane's each episode draws one (default: %(default)s)")
    add("--epsilon", type=float, default=0.0, metavar="P",
        help="probability that an action is replaced by a random one (default: %(default)s)")
    add("--seed", type=int, default=0,
        help="lane i of the environment gets SEED + i; the same seed and --num-envs give the same "
        "file, byte for byte (default: %(default)s)")
    add("--num-envs", type=int, metavar="N",
        help=f"lanes stepped together (default: {DEFAULT_LANES}, or fewer, so that each fills a "
        "whole episode)")
    add("--episode-steps", type=int, metavar="N",
        help=f"steps an episode (default: {DEFAULT_EPISODE_STEPS})")
    add("--train-fraction", type=float, metavar="F",
        help="share of the market's usable decisions to collect on, from the first; the rest is "
        f"left for evaluation (default: {DEFAULT_TRAIN_FRACTION} unless --end is given)")
    add("--start", metavar="TIME", help="first decision instant to use, UTC")
    add("--end", metavar="TIME", help="last instant to use, UTC; instead of --train-fraction")
    add("--overwrite", action="store_true", help="replace an existing dataset")
    # fmt: on
    return parser


def _report(summary: CollectSummary) -> None:
    episodes = summary.episodes
    kind = "complete" if episodes.complete else "cut"
    print(
        f"{summary.transitions} transitions, {episodes.complete} complete episodes "
        f"({episodes.terminated} terminated) and {episodes.cut} cut at the end\n"
        f"return of {kind} episodes: mean {episodes.mean_return:.6g}, std {episodes.std_return:.6g}"
        f", min {episodes.min_return:.6g}, max {episodes.max_return:.6g}; mean length "
        f"{episodes.mean_length:.6g} steps\n{summary.path}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """

    def command() -> None:
        flags = vars(_parser().parse_args(argv))
        flags["env"] = parse_env_arguments(flags["env"], flags.pop("env_config"))
        _report(collect(**flags))

    return run(command, interrupted="interrupted: nothing was written.")


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
