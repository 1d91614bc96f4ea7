"""Discrete Implicit Q-Learning (Kostrikov et al. 2021, arXiv:2110.06169).

The value is an expectile of the Q-values of the data's actions, so that no other action is ever
asked about; the actor imitates the data's actions, weighted by

    min(exp(temperature * (Q(s, a) - V(s))), advantage_clip)

    python atari_style_iql.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy

from data_tools import command_line
from offline_algos import entrance, preparation, report, runner
from offline_algos.actors import Actor, GreedyActor
from offline_algos.arguments import add_discount, add_tau, number, training_parser
from offline_algos.discrete_iql import DiscreteIQL
from offline_algos.legal_actions import LegalActions
from offline_algos.networks import ValueNetwork
from offline_algos.preparation import Setup
from offline_algos.sampling import add_priorities
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=3e-4)
    add_priorities(parser)
    group = parser.add_argument_group("IQL")
    add_discount(group)
    add_tau(group)
    group.add_argument(
        "--expectile",
        type=number(0.001, 0.999),
        default=0.7,
        help="0.5 is the value of the behaviour; towards 1 that of its best action "
        "(default %(default)s)",
    )
    group.add_argument(
        "--temperature",
        type=number(0.0),
        default=3.0,
        help="factor of the advantage; 0 is behaviour cloning (default %(default)s)",
    )
    group.add_argument(
        "--advantage-clip",
        type=number(0.0, positive=True),
        default=100.0,
        help="largest weight of an action (default %(default)s)",
    )
    return parser


def build(args: argparse.Namespace, setup: Setup) -> tuple[DiscreteIQL, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions = setup.task.action_space
    network = ValueNetwork(setup.inputs, int(actions.n))
    policy = DiscreteActorPolicy(
        actor=network,
        deterministic_eval=True,
        action_space=actions,
        observation_space=setup.task.observation_space,
    )
    algorithm = DiscreteIQL(
        policy=policy,
        policy_optim=FusedAdam(lr=args.lr),
        critic=ValueNetwork(setup.inputs, int(actions.n)),
        critic2=ValueNetwork(setup.inputs, int(actions.n)),
        critic_optim=FusedAdam(lr=args.lr),
        value=ValueNetwork(setup.inputs, 1),
        value_optim=FusedAdam(lr=args.lr),
        gamma=args.gamma,
        tau=args.tau,
        expectile=args.expectile,
        temperature=args.temperature,
        advantage_clip=args.advantage_clip,
    )
    actor = GreedyActor(setup.normaliser, network, setup.task.action_masks)
    algorithm.legal = LegalActions.of(setup.task.action_masks, setup.normaliser)
    return algorithm.to(args.device), actor


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(args, imitator="the policy, weighted by advantage,")
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
