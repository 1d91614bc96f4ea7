"""Implicit Q-Learning (Kostrikov et al. 2021, arXiv:2110.06169), continuous actions.

The value of a state is an upper expectile of its recorded actions' values, so that no other action
is ever valued; the policy imitates actions with weights

    exp(temperature (Q(s, a) - V(s))), at most advantage-clip

It acts by its mean, or with --num-candidates by the best of some actions around it (`candidates`).

    python d4rl_style_iql.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from data_tools import command_line
from offline_algos import entrance, preparation, report, runner
from offline_algos.actors import Actor, DeterministicActor
from offline_algos.arguments import (
    add_discount,
    add_learning_rates,
    add_tau,
    number,
    training_parser,
)
from offline_algos.candidates import ClippedCandidates, add_candidates
from offline_algos.iql import IQL, IQLPolicy
from offline_algos.networks import Critic, DeterministicNetwork
from offline_algos.preparation import Setup
from offline_algos.sampling import add_priorities
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=3e-4, d4rl=True)
    add_priorities(parser)
    group = parser.add_argument_group("IQL")
    add_discount(group)
    add_tau(group)
    group.add_argument(
        "--expectile",
        type=number(0.01, 0.99),
        default=0.7,
        help="of the actions' values; towards 1 that of the best one (default %(default)s)",
    )
    group.add_argument(
        "--temperature",
        type=number(0.0),
        default=3.0,
        help="multiplies the advantage; 0 is behaviour cloning (default %(default)s)",
    )
    group.add_argument(
        "--advantage-clip",
        type=number(0.0, positive=True),
        default=100.0,
        help="greatest weight of an action (default %(default)s)",
    )
    add_candidates(group)
    add_learning_rates(group, "actor", "critic", "value")
    return parser


def build(args: argparse.Namespace, setup: Setup) -> tuple[IQL, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions, inputs = setup.task.action_space, setup.inputs
    width = actions.shape[0]
    network = DeterministicNetwork(inputs, width)
    policy = IQLPolicy(
        actor=network,
        action_space=actions,
        observation_space=setup.task.observation_space,
    )
    algorithm = IQL(
        policy=policy,
        policy_optim=FusedAdam(lr=args.actor_lr or args.lr),
        critic=Critic(inputs, width),
        critic2=Critic(inputs, width),
        critic_optim=FusedAdam(lr=args.critic_lr or args.lr),
        value=Critic(inputs, 0),
        value_optim=FusedAdam(lr=args.value_lr or args.lr),
        gamma=args.gamma,
        tau=args.tau,
        expectile=args.expectile,
        temperature=args.temperature,
        advantage_clip=args.advantage_clip,
    )
    actor = ClippedCandidates.instead_of(
        DeterministicActor(setup.normaliser, network, **setup.task.bounds),
        (algorithm.critic_old.module, algorithm.critic2_old.module),
        setup.task.bounds, args.num_candidates, log_std=policy.log_std,
    )  # fmt: skip
    return algorithm.to(args.device), actor.to(args.device)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(
        args, continuous=True, imitator="the policy, weighted by advantage,"
    )
    algorithm, actor = build(args, setup)
    run = runner.start_run("iql", args, setup)
    trainer = algorithm.create_trainer(runner.trainer_params(args, setup, run, actor))
    runner.train(trainer, run, actor)
    return report.finish_run(run, setup)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return entrance.run_script(make_parser, train, argv)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
