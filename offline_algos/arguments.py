"""The flags that every training script has, with their checks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from data_tools.command_line import ArgumentParser
from data_tools.d4rl_tasks import FOLDER, FOLDER_VARIABLE
from data_tools.environment import environment_help
from offline_algos import reward_scaling, sampling
from offline_algos.encoders import ENCODERS
from offline_algos.flag_types import device, number, whole
from offline_algos.loggers import LOGGERS, logger_name

Group = argparse._ArgumentGroup
LARGEST_SEED = 2**32 - 1  # that NumPy's RandomState takes


def training_parser(
    description: str | None, *, lr: float, scaled_rewards: bool = True, d4rl: bool = False
) -> ArgumentParser:
    """A parser with the flags that all methods share; a script adds its own.

    Args:
        description: The script's docstring.
        lr: The method's default learning rate.
        scaled_rewards: Whether there is ``--norm-reward``, on by default: log returns of a few
            basis points would not be heard beside most methods' other terms.
        d4rl: Whether datasets of D4RL can be named: they have continuous actions.
    """
    parser = ArgumentParser(description=description, epilog=environment_help())
    data = parser.add_argument_group("data")
    source = data.add_mutually_exclusive_group(required=True) if d4rl else data
    source.add_argument(
        "--load-buffer-name",
        metavar="FILE",
        required=not d4rl,
        help="the dataset, HDF5, as data_tools.collect writes it",
    )
    if d4rl:
        source.add_argument(
            "--expert-data-task",
            metavar="NAME",
            help="or one of D4RL, such as halfcheetah-medium-v2",
        )
        data.add_argument(
            "--dataset-dir",
            metavar="FOLDER",
            help=f"where D4RL's files are (default: {FOLDER}, or what the environment variable "
            f"{FOLDER_VARIABLE} says)",
        )
    data.add_argument("--task", help="environment id (default: the one the dataset was made in)")
    sampling.add_source(data)
    training = add_training(parser, lr=lr)
    if scaled_rewards:
        add_norm_reward(training, default=1)
        reward_scaling.add_flags(training)
    parser.set_defaults(norm_reward=int(scaled_rewards))
    add_evaluation(parser)
    add_run(parser)
    return parser


def add_training(
    parser: ArgumentParser,
    *,
    lr: float,
    hidden_sizes: Sequence[int] = (64, 64),
    online: bool = False,
) -> Group:
    """Add the group of flags that every training has.

    Args:
        parser: Where to.
        lr: The method's default learning rate.
        hidden_sizes: The method's default widths.
        online: Whether it learns from an environment instead of from a dataset.

    Returns:
        The group.
    """
    training = parser.add_argument_group("training")
    training.add_argument(
        "--seed",
        type=whole(0, LARGEST_SEED),
        default=0,
        help="of weights, of what is drawn, and of episodes (default %(default)s)",
    )
    training.add_argument(
        "--epoch",
        type=whole(1),
        default=10,
        help="how often to train and then to validate (default %(default)s)",
    )
    if not online:
        training.add_argument(
            "--update-per-epoch",
            type=whole(1),
            default=2000,
            help="gradient steps in an epoch, after each of which the policy is validated "
            "(default %(default)s)",
        )
    training.add_argument(
        "--eval-freq",
        type=whole(1),
        metavar="N",
        help=f"{'steps' if online else 'gradient steps'} between validations, in the place of "
        f"{'--step-per-epoch' if online else '--update-per-epoch'}: the run stays as long and is "
        "cut into epochs of N",
    )
    training.add_argument(
        "--batch-size",
        type=whole(1),
        default=256,
        help="transitions, of dt contexts, a gradient step (default %(default)s)",
    )
    training.add_argument(
        "--lr", type=number(0, positive=True), default=lr, help="learning rate, default %(default)s"
    )
    training.add_argument(
        "--hidden-sizes",
        type=whole(1),
        nargs="+",
        default=list(hidden_sizes),
        metavar="N",
        help="widths of the hidden layers; on price data wider ones overfit sooner "
        "(default %(default)s)",
    )
    training.add_argument(
        "--norm-obs",
        type=int,
        choices=(0, 1),
        default=1,
        help="normalise observations with the mean and deviation of the "
        f"{'random steps before learning' if online else 'dataset'}, up to five deviations in a "
        "market and ten elsewhere; pixels are divided by 255 instead (default %(default)s)",
    )
    training.add_argument(
        "--encoder",
        choices=ENCODERS,
        help="how windows are read: mlp all columns alike; cnn, gru and transformer each window by "
        "itself, 8 to 30 times slower; nature images (default: nature for images, else mlp)",
    )
    return training


def cut_into_epochs(args: argparse.Namespace, per_epoch: str) -> None:
    """Let an epoch be what lies between two validations, where ``--eval-freq`` says so.

    Args:
        args: Parsed flags: ``epoch`` and `per_epoch` are changed.
        per_epoch: The flag that says how long an epoch is.

    Raises:
        ValueError: The run is not a whole number of such epochs.
    """
    if args.eval_freq is None:
        return
    total = args.epoch * getattr(args, per_epoch)
    if total % args.eval_freq:
        raise ValueError(
            f"--eval-freq {args.eval_freq} does not divide the {total} steps of --epoch "
            f"{args.epoch} times --{per_epoch.replace('_', '-')} {getattr(args, per_epoch)}."
        )
    args.epoch = total // args.eval_freq
    setattr(args, per_epoch, args.eval_freq)


def add_norm_reward(group: Group, default: int | None) -> None:
    """Add ``--norm-reward``; without a default it depends on the task."""
    known = "1 on a market, 0 elsewhere" if default is None else "%(default)s"
    group.add_argument(
        "--norm-reward",
        type=int,
        choices=(0, 1),
        default=default,
        help=f"divide rewards by their standard deviation (default {known})",
    )


def add_evaluation(parser: ArgumentParser, *, online: bool = False) -> None:
    """Add the flags of validation and test; `online`: without those of the environment."""
    span = "training" if online else "dataset's collection"
    default_market = "that of training" if online else "the dataset's market"
    group = parser.add_argument_group(
        "evaluation",
        f"After the {span} span an embargo of the longest window, 30% for\n"
        "validation, which chooses the checkpoint, another embargo, and the rest for the test.",
    )
    group.add_argument(
        "--test-market",
        metavar="FILE",
        help=f"a market file or synthetic:<kind> to evaluate on (default: {default_market})",
    )
    group.add_argument(
        "--test-start",
        metavar="TIME",
        help=f"the test begins here (UTC); what lies between the {span} span and here validates, "
        "or where that is too little the first 30%% from here; with --eval-only nothing does",
    )
    group.add_argument("--test-end", metavar="TIME", help="the test ends here (UTC)")
    group.add_argument(
        "--allow-overlap",
        action="store_true",
        help=f"evaluate on dates inside the {span.split()[-1]} span as well; such results prove "
        "nothing",
    )
    group.add_argument(
        "--num-test-envs",
        type=whole(1),
        default=10,
        metavar="N",
        help="episodes of a validation and of the test, in tasks that are not markets "
        "(default %(default)s)",
    )
    if online:
        return
    group.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change an argument of the evaluation environment, such as transaction_fee=0.001",
    )
    group.add_argument(
        "--env-config", metavar="FILE", help="such changes from a JSON file; --env goes first"
    )


def add_run(parser: ArgumentParser, *, online: bool = False) -> None:
    """Add the flags of a run: where it writes and on what it computes."""
    longer = "" if online else ", with a larger --epoch also with one that has ended"
    group = parser.add_argument_group("run")
    group.add_argument(
        "--logdir",
        default="log",
        help="results go to <logdir>/<task>/<method>/seed<seed>-<time>, of continuous actions in a "
        "market to <method>-continuous (default %(default)s)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with the newest interrupted run of this task, method and seed below --logdir, "
        f"bit for bit, after its last whole epoch; give the same flags{longer}",
    )
    group.add_argument(
        "--logger",
        type=logger_name,
        metavar="{" + ",".join(LOGGERS) + "}",
        default="tensorboard",
        help="training curves; csv writes progress.csv into the run's directory, wandb needs the "
        "extra of that name (default %(default)s)",
    )
    group.add_argument(
        "--device",
        type=device,
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu or cuda[:index] (default: cuda where torch finds it)",
    )
    group.add_argument(
        "--threads",
        type=whole(1),
        default=1,
        help="CPU threads; more seldom pay for networks this small (default %(default)s)",
    )
    group.add_argument(
        "--compile",
        type=int,
        choices=(0, 1),
        help="networks through torch.compile (default: 1 on a GPU where a compiler is found; 0 on "
        "the CPU, where a step then takes as long or up to twice as long)",
    )


def add_discount(group: Group, *, n_step: bool = False) -> None:
    """Add ``--gamma`` and, for methods that have targets of several rewards, ``--n-step``."""
    group.add_argument(
        "--gamma",
        type=number(0.0, 1.0),
        default=0.99,
        help="what the next step's reward counts for (default %(default)s)",
    )
    if n_step:
        group.add_argument(
            "--n-step",
            type=whole(1),
            default=1,
            help="rewards in a target before a value stands for the rest (default %(default)s)",
        )


def add_tau(group: Group) -> None:
    """Add ``--tau``."""
    group.add_argument(
        "--tau",
        type=number(0.0, 1.0, positive=True),
        default=0.005,
        help="how far target networks move at a time (default %(default)s)",
    )


def add_learning_rates(group: Group, *names: str) -> None:
    """Add ``--NAME-lr`` for each of `names`, which default to ``--lr``."""
    for name in names:
        group.add_argument(
            f"--{name}-lr", type=number(0, positive=True), help="default: that of --lr"
        )
