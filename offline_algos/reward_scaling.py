"""Rewards as a method learns from them: another unit, another zero."""

from __future__ import annotations

import argparse
import math

import numpy as np

from data_tools.buffers import TensorReplayBuffer
from offline_algos.datasets import episode_returns
from offline_algos.flag_types import number
from offline_algos.normalisation import scale_rewards

RETURNS = "returns"
RANGE = 1000.0  # of the returns afterwards, as IQL's authors have it


def scale(text: str) -> float | str:
    """An argparse type: a number above 0, or `RETURNS`."""
    try:
        return RETURNS if text == RETURNS else number(0.0, positive=True)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected a number above 0, or {RETURNS}, got {text!r}"
        ) from None


def shift(text: str) -> float:
    """An argparse type: a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def add_flags(group: argparse._ArgumentGroup) -> None:
    """Add ``--reward-scale`` and ``--reward-shift``."""
    group.add_argument(
        "--reward-scale",
        type=scale,
        default=1.0,
        metavar="{S,returns}",
        help="multiply rewards by S, after --norm-reward; returns: so that the best and the worst "
        f"whole episode of the dataset are {RANGE:g} apart (default %(default)s). What is shown "
        "keeps the environment's unit",
    )
    group.add_argument(
        "--reward-shift",
        type=shift,
        default=0.0,
        metavar="C",
        help="add C to rewards, after --reward-scale (default %(default)s)",
    )


def shape_rewards(buffer: TensorReplayBuffer, args: argparse.Namespace) -> None:
    """Divide, multiply and shift a buffer's rewards, in place, as the flags say.

    Raises:
        ValueError: The returns that are to be the measure do not differ.
    """
    if args.norm_reward:
        scale_rewards(buffer)
    asked, added = getattr(args, "reward_scale", 1.0), getattr(args, "reward_shift", 0.0)
    factor = RANGE / return_range(buffer) if asked == RETURNS else asked
    if asked == RETURNS:
        print(f"rewards are multiplied by {factor:.6g}: returns are then {RANGE:g} apart")
    if factor != 1.0 or added != 0.0:
        buffer.replace("rew", buffer.rew * factor + added)


def return_range(buffer: TensorReplayBuffer) -> float:
    """The largest less the smallest return of a buffer's whole episodes.

    Raises:
        ValueError: There are no two different ones.
    """
    returns = episode_returns(buffer)
    found = float(np.ptp(returns)) if len(returns) else 0.0
    if not found > 0.0:
        raise ValueError(
            f"--reward-scale {RETURNS}: the dataset has {len(returns)} whole episodes, and no two "
            "returns that differ. Pass a number."
        )
    return found
