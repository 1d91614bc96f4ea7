"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905), online: the continuous expert.

A stochastic policy that maximises its rewards and, weighted with a temperature, its entropy:

    sum of r(s, a) + alpha H(pi(. | s))

The temperature is learned, so that the entropy is minus the numbers of an action. Defaults are the
paper's.

    python d4rl_style_sac.py --task HalfCheetah-v5 --epoch 100
    python d4rl_style_sac.py --task Trade-Sequential-v0 --market FILE --env action_type=continuous
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy

from data_tools import command_line
from offline_algos import entrance, online, online_setup
from offline_algos.actors import Actor, GaussianActor
from offline_algos.arguments import add_discount, add_learning_rates, add_tau, number
from offline_algos.networks import Critic, GaussianNetwork
from offline_algos.online_arguments import online_parser
from offline_algos.preparation import Learning
from offline_algos.sac import SAC
from offline_algos.updates import FusedAdam

AUTO = "auto"


def temperature(text: str) -> float | str:
    """An argparse type: a number of at least 0, or "auto"."""
    if text == AUTO:
        return AUTO
    try:
        return number(0.0)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {AUTO}") from None


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = online_parser(__doc__, lr=3e-4, warmup=10_000, update_per_step=1.0)
    group = parser.add_argument_group("soft actor-critic")
    add_discount(group)
    add_tau(group)
    group.add_argument(
        "--alpha",
        type=temperature,
        default=AUTO,
        help="weight of the entropy; auto: learned, from 1 on (default %(default)s)",
    )
    add_learning_rates(group, "actor", "critic", "alpha")
    return parser


def build(args: argparse.Namespace, setup: Learning) -> tuple[SAC, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions, inputs = setup.task.action_space, setup.inputs
    width = actions.shape[0]
    network = GaussianNetwork(inputs, width)
    policy = SACPolicy(
        actor=network,
        action_space=actions,
        observation_space=setup.task.observation_space,
    )
    alpha: float | AutoAlpha = args.alpha
    if args.alpha == AUTO:
        alpha = AutoAlpha(-float(width), math.log(1.0), FusedAdam(lr=args.alpha_lr or args.lr))
    algorithm = SAC(
        policy=policy,
        policy_optim=FusedAdam(lr=args.actor_lr or args.lr),
        critic=Critic(inputs, width),
        critic2=Critic(inputs, width),
        critic_optim=FusedAdam(lr=args.critic_lr or args.lr),
        tau=args.tau,
        gamma=args.gamma,
        alpha=alpha,
    )
    actor = GaussianActor(setup.normaliser, network, **setup.task.bounds)
    return algorithm.to(args.device), actor.to(args.device)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Explore and learn, validate after each epoch, test, and return what result.json holds."""
    setup = online_setup.prepare(args, continuous=True)
    return online.train("sac", args, setup, *build(args, setup))


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return entrance.run_script(make_parser, train, argv)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
