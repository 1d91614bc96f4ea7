"""The flags of scripts that learn from an environment, and the numbers that follow from them."""

from __future__ import annotations

import argparse

from data_tools.command_line import ArgumentParser, CommandLineError
from data_tools.environment import add_environment_flags, environment_help
from data_tools.training_span import DEFAULT_EPISODE_STEPS, DEFAULT_TASK, DEFAULT_TRAIN_FRACTION
from offline_algos.arguments import (
    add_evaluation,
    add_norm_reward,
    add_run,
    add_training,
    number,
    whole,
)
from offline_algos.tasks import TASKS

LANES_OF_A_MARKET = 10
MARKET_FLAGS = (
    "market", "env", "env_config", "episode_steps", "train_fraction", "start", "end",
    "test_market", "test_start", "test_end",
)  # fmt: skip
# Look no further for a number of steps that gives a whole number of updates.
LONGEST_COLLECT = 1000


def online_parser(
    description: str | None, *, lr: float, warmup: int, update_per_step: float
) -> ArgumentParser:
    """A parser with the flags that all online methods share; a script adds its own.

    Args:
        description: The script's docstring.
        lr: The method's default learning rate.
        warmup: The method's default random steps before learning.
        update_per_step: The method's default gradient steps a step of an environment.
    """
    parser = ArgumentParser(description=description, epilog=environment_help())
    _add_task(parser)
    _add_exploring(parser, warmup, update_per_step)
    training = add_training(parser, lr=lr, hidden_sizes=(256, 256), online=True)
    add_norm_reward(training, default=None)
    add_evaluation(parser, online=True)
    add_run(parser, online=True)
    return parser


def _add_task(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("task", "All but --task are for markets.")
    group.add_argument(
        "--task",
        required=True,
        help=f"{', '.join(TASKS)}, or any registered Gymnasium task",
    )
    add_environment_flags(group, default_market=False)
    group.add_argument(
        "--episode-steps",
        type=whole(1),
        metavar="N",
        help=f"steps an episode (default: {DEFAULT_EPISODE_STEPS}, or fewer, so that an epoch has "
        "whole ones)",
    )
    group.add_argument(
        "--train-fraction",
        type=number(0.0, 1.0, positive=True),
        metavar="F",
        help="share of the market's usable decisions to train on, from the first; the rest is "
        f"left for evaluation (default: {DEFAULT_TRAIN_FRACTION} unless --end is given)",
    )
    group.add_argument("--start", metavar="TIME", help="first decision instant to train on, UTC")
    group.add_argument(
        "--end", metavar="TIME", help="last instant to train on, UTC; instead of --train-fraction"
    )


def _add_exploring(parser: ArgumentParser, warmup: int, update_per_step: float) -> None:
    group = parser.add_argument_group("exploring")
    group.add_argument(
        "--num-train-envs",
        type=whole(1),
        metavar="N",
        help=f"environments stepped together (default: {LANES_OF_A_MARKET} of a market, else 1)",
    )
    group.add_argument(
        "--buffer-size",
        type=whole(1),
        default=1_000_000,
        metavar="N",
        help="transitions that are remembered (default %(default)s)",
    )
    group.add_argument(
        "--warmup",
        type=whole(1),
        default=warmup,
        metavar="N",
        help="random steps before learning, of all environments together (default %(default)s)",
    )
    group.add_argument(
        "--step-per-epoch",
        type=whole(1),
        default=10_000,
        metavar="N",
        help="steps of all environments in an epoch, after which the policy is validated; each "
        "epoch begins with new episodes (default %(default)s)",
    )
    group.add_argument(
        "--step-per-collect",
        type=whole(1),
        metavar="N",
        help="steps of all environments between updates (default: as few as give a whole number "
        "of updates)",
    )
    group.add_argument(
        "--update-per-step",
        type=number(0.0, positive=True),
        default=update_per_step,
        metavar="U",
        help="gradient steps for each step of an environment (default %(default)s)",
    )


def settle(args: argparse.Namespace) -> None:
    """Check the flags against each other, and fill in what follows from others.

    Raises:
        CommandLineError: They contradict each other.
    """
    market = args.task in TASKS
    _check_market(args, market)
    if args.num_train_envs is None:
        args.num_train_envs = LANES_OF_A_MARKET if market else 1
    if args.norm_reward is None:
        args.norm_reward = int(market)
    _settle_collect(args)
    lanes = args.num_train_envs
    if args.warmup > args.buffer_size // lanes * lanes:
        raise CommandLineError(
            f"--warmup {args.warmup} is more than --buffer-size {args.buffer_size} remembers in "
            f"whole steps of {lanes} environments. Raise --buffer-size, or lower --warmup."
        )
    if args.step_per_epoch < args.step_per_collect:
        raise CommandLineError(
            f"--step-per-epoch {args.step_per_epoch}: expected at least the "
            f"{args.step_per_collect} steps between updates (--step-per-collect, "
            "--num-train-envs, --update-per-step)."
        )


def _check_market(args: argparse.Namespace, market: bool) -> None:
    if market and args.market is None:
        raise CommandLineError(
            f"--task {args.task} needs a market: --market FILE, or synthetic:mean_reverting or "
            "another simulated one (--help lists them)."
        )
    if market:
        return
    for name in MARKET_FLAGS:
        if getattr(args, name):
            raise CommandLineError(
                f"--{name.replace('_', '-')} is for markets, and --task {args.task} is none. "
                f"Leave it out, or pass --task {DEFAULT_TASK}."
            )


def _settle_collect(args: argparse.Namespace) -> None:
    lanes, rate = args.num_train_envs, args.update_per_step
    if args.step_per_collect is None:
        choices = range(lanes, LONGEST_COLLECT + lanes, lanes)
        whole_ones = (n for n in choices if abs(rate * n - max(round(rate * n), 1)) < 1e-6)
        args.step_per_collect = next(whole_ones, choices[-1])
    if args.step_per_collect % lanes:
        raise CommandLineError(
            f"--step-per-collect {args.step_per_collect}: expected a multiple of the {lanes} "
            "environments (--num-train-envs), which step together."
        )
    if round(rate * args.step_per_collect) < 1:
        raise CommandLineError(
            f"--update-per-step {rate:g} gives no update in {args.step_per_collect} steps: raise "
            "it, or --step-per-collect."
        )
