"""Batch-Constrained deep Q-learning (Fujimoto et al. 2019, arXiv:1812.02900).

A VAE proposes actions like the data's, a perturbation moves each by at most phi, and the critic
chooses one:

    pi(s) = argmax over a_i + xi(s, a_i, phi) of Q1,  a_i ~ VAE(s),  i = 1 ... forward-sampled-times

    python d4rl_style_bcq.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tianshou.algorithm.imitation.bcq import BCQPolicy

from data_tools import command_line
from offline_algos import entrance, preparation, report, runner
from offline_algos.actors import Actor
from offline_algos.arguments import (
    add_discount,
    add_learning_rates,
    add_tau,
    number,
    training_parser,
    whole,
)
from offline_algos.bcq import BCQ, VAE, BatchConstrainedActor, Perturbation
from offline_algos.networks import Critic
from offline_algos.preparation import Setup
from offline_algos.sampling import add_priorities
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=1e-3, d4rl=True)
    add_priorities(parser)
    group = parser.add_argument_group("BCQ")
    add_discount(group)
    add_tau(group)
    group.add_argument(
        "--phi",
        type=number(0.0),
        default=0.05,
        help="how far an action in [-1, 1] may be moved (default %(default)s)",
    )
    group.add_argument(
        "--lmbda",
        type=number(0.0, 1.0),
        default=0.75,
        help="weight of the smaller of both target critics (default %(default)s)",
    )
    group.add_argument(
        "--num-sampled-action",
        type=whole(1),
        default=10,
        help="actions that a target chooses from (default %(default)s)",
    )
    group.add_argument(
        "--forward-sampled-times",
        type=whole(1),
        default=100,
        help="actions that the policy chooses from (default %(default)s)",
    )
    group.add_argument(
        "--latent-dim", type=whole(1), help="of the VAE (default: twice the numbers of an action)"
    )
    group.add_argument(
        "--vae-hidden-sizes",
        type=whole(1),
        nargs="+",
        metavar="N",
        help="default: those of --hidden-sizes",
    )
    add_learning_rates(group, "actor", "critic", "vae")
    return parser


def build(args: argparse.Namespace, setup: Setup) -> tuple[BCQ, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions, inputs = setup.task.action_space, setup.inputs
    width = actions.shape[0]
    vae_inputs = replace(inputs, hidden_sizes=args.vae_hidden_sizes or inputs.hidden_sizes)
    vae = VAE(vae_inputs, width, args.latent_dim or 2 * width)
    perturbation, critic = Perturbation(inputs, width, args.phi), Critic(inputs, width)
    policy = BCQPolicy(
        actor_perturbation=perturbation,
        action_space=actions,
        critic=critic,
        vae=vae,
        forward_sampled_times=args.forward_sampled_times,
        observation_space=setup.task.observation_space,
        action_bound_method=None,
    )
    algorithm = BCQ(
        policy=policy,
        actor_perturbation_optim=FusedAdam(lr=args.actor_lr or args.lr),
        critic_optim=FusedAdam(lr=args.critic_lr or args.lr),
        vae_optim=FusedAdam(lr=args.vae_lr or args.lr),
        critic2=Critic(inputs, width),
        gamma=args.gamma,
        tau=args.tau,
        lmbda=args.lmbda,
        num_sampled_action=args.num_sampled_action,
    )
    actor = BatchConstrainedActor(
        setup.normaliser,
        vae,
        perturbation,
        critic,
        **setup.task.bounds,
        samples=args.forward_sampled_times,
    )
    return algorithm.to(args.device), actor.to(args.device)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(
        args, continuous=True, imitator="the autoencoder that proposes actions"
    )
    algorithm, actor = build(args, setup)
    run = runner.start_run("bcq", args, setup)
    trainer = algorithm.create_trainer(runner.trainer_params(args, setup, run, actor))
    runner.train(trainer, run, actor)
    return report.finish_run(run, setup)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return entrance.run_script(make_parser, train, argv)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
