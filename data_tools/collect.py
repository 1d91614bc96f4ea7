"""Collect trajectories of a scripted policy into a dataset that Tianshou opens.

Example: --market btc.csv.gz --policy ma-cross+random --epsilon 0.1 --buffer-size 1000000
--save-buffer-name trades.hdf5
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from data_tools.command_line import ArgumentParser, run, terminate_cleanly
from data_tools.engines import KINDS, Engine
from data_tools.environment import (
    add_environment_flags,
    environment_help,
    market_arguments,
    open_market,
    parse_env_arguments,
)
from data_tools.parts import LAYOUTS
from data_tools.policies import RULES
from data_tools.recording import DEFAULT_LANES, CollectSummary, check_counts, record_market
from data_tools.scripted import ScriptedBehaviour
from data_tools.training_span import (
    DEFAULT_EPISODE_STEPS,
    DEFAULT_TASK,
    DEFAULT_TRAIN_FRACTION,
    combine_arguments,
)


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
    layout: str = "full",
    shards: int | None = None,
    engine: str = "local",
    jobs: int | None = None,
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
        layout: "full", or "indexed": windows are left out and gathered from the market again.
        shards: Files that the rows are written to, each with random numbers of its own; see
            `shards`. 1: a single plain file; None: that, or 1 GiB a file from 4 GiB on.
        engine: Who writes several shards, "local" or "ray"; see `engines.Engine`.
        jobs: Processes that write them at once; None: one, or with Ray all cores.
        overwrite: Replace an existing file.
        progress: Show a progress bar on stderr.
        echo: Receives the lines that say what is done.

    Raises:
        ValueError: An argument is out of range or contradicts another, the market cannot be used or
            is too short, or the file cannot be written (`hdf5.DatasetError`).
    """
    check_counts(buffer_size, num_envs, seed)
    arguments = combine_arguments(env or {}, episode_steps, start, end, task=task)
    shared = market_arguments(arguments)
    opened, market_spec = open_market(market, market_arguments=shared, echo=echo)

    return record_market(
        save_buffer_name, ScriptedBehaviour(policy, epsilon), task=task, market=opened,
        market_spec=market_spec, arguments=arguments, train_fraction=train_fraction,
        buffer_size=buffer_size, num_envs=num_envs, seed=seed, layout=layout,
        shards=shards, engine=Engine(engine, jobs), overwrite=overwrite, progress=progress,
        echo=echo,
    )  # fmt: skip


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
        help="lane i of the environment gets SEED + i; the same seed, --num-envs and --shards give "
        "the same file, byte for byte (default: %(default)s)")
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
    add("--layout", choices=LAYOUTS, default=LAYOUTS[0],
        help="full: observations as they are, for any reader; indexed: some 40 bytes a transition, "
        "windows are gathered from the market when sampled (default: %(default)s)")
    add("--shards", type=int, metavar="N",
        help="write N files, joined by the named one: a kill loses at most one of them, and the "
        "same command goes on (default: one file, or from 4 GiB on one for each GiB)")
    add("--jobs", type=int, metavar="N",
        help="processes that write shards at once (default: 1, or with Ray all cores)")
    add("--engine", default="local", choices=KINDS,
        help="who writes shards: this machine, or Ray's workers (default: %(default)s)")
    add("--overwrite", action="store_true", help="replace an existing dataset")
    # fmt: on
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """

    def command() -> None:
        flags = vars(_parser().parse_args(argv))
        flags["env"] = parse_env_arguments(flags["env"], flags.pop("env_config"))
        print(collect(**flags).text)

    return run(command, interrupted="interrupted: nothing was written.")


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
