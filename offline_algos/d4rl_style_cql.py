"""Conservative Q-Learning (Kumar et al. 2020, arXiv:2006.04779), continuous actions.

Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905) whose critics also minimise

    cql_weight * E_D[ log integral exp Q(s, a) da - Q(s, a_D) ]

which pushes down the value of actions that the data does not show. The authors' code for MuJoCo
also has --actor-lr 1e-4 --hidden-sizes 256 256 256 --max-grad-norm 0 --cloning-steps 40000 (10,000
do as well, it says). With --calibrated it is Cal-QL (Nakamoto et al. 2023, arXiv:2303.05479).

    python d4rl_style_cql.py --load-buffer-name trades.hdf5
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
from offline_algos import entrance, preparation, report, runner
from offline_algos.actors import Actor, GaussianActor
from offline_algos.arguments import (
    add_discount,
    add_learning_rates,
    add_tau,
    number,
    training_parser,
    whole,
)
from offline_algos.cql import CQL
from offline_algos.networks import Critic, GaussianNetwork
from offline_algos.preparation import Setup
from offline_algos.sampling import add_priorities
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=3e-4, d4rl=True)
    add_priorities(parser)
    _add_conservatism(parser)
    group = parser.add_argument_group("soft actor-critic")
    add_discount(group)
    add_tau(group)
    group.add_argument(
        "--alpha",
        type=number(0.0, positive=True),
        default=1.0,
        help="weight of the policy's entropy, or what it begins with (default %(default)s)",
    )
    group.add_argument(
        "--auto-alpha",
        type=int,
        choices=(0, 1),
        default=1,
        help="learn --alpha, so that the entropy is minus the numbers of an action "
        "(default %(default)s)",
    )
    group.add_argument(
        "--soft-backup",
        type=int,
        choices=(0, 1),
        default=0,
        help="1: the entropy to come is in the targets, as in soft actor-critic "
        "(default %(default)s)",
    )
    group.add_argument(
        "--cloning-steps",
        type=whole(0),
        default=0,
        metavar="N",
        help="gradient steps in which the policy clones the data's actions, until it asks the "
        "critics (default %(default)s)",
    )
    group.add_argument(
        "--max-grad-norm",
        type=number(0.0),
        default=1.0,
        help="critics' gradients are clipped to it; 0: never (default %(default)s)",
    )
    add_learning_rates(group, "actor", "critic", "alpha")
    return parser


def _add_conservatism(parser: command_line.ArgumentParser) -> None:
    group = parser.add_argument_group("CQL")
    group.add_argument(
        "--cql-weight",
        "--min-q-weight",
        type=number(0.0),
        default=5.0,
        help="weight of the conservative term (default %(default)s)",
    )
    group.add_argument(
        "--with-lagrange",
        type=int,
        choices=(0, 1),
        default=0,
        help="multiply the weighted term by a learnt factor that keeps it at --lagrange-threshold "
        "(default %(default)s)",
    )
    group.add_argument(
        "--lagrange-threshold",
        type=number(0.0),
        default=10.0,
        help="what --with-lagrange keeps the weighted term at (default %(default)s)",
    )
    group.add_argument(
        "--cql-alpha-lr",
        type=number(0, positive=True),
        default=1e-4,
        help="learning rate of that factor (default %(default)s)",
    )
    group.add_argument(
        "--num-repeat-actions",
        type=whole(1),
        default=10,
        help="actions drawn at random, from the policy, and from it in the next state, of each so "
        "many (default %(default)s)",
    )
    group.add_argument(
        "--temperature",
        type=number(0.0, positive=True),
        default=1.0,
        help="of the log-sum-exp; a low one is close to the maximum (default %(default)s)",
    )
    group.add_argument(
        "--calibrated",
        action="store_true",
        help="Cal-QL: do not push the policy's values below the recorded return",
    )


def build(args: argparse.Namespace, setup: Setup) -> tuple[CQL, Actor]:
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
    if args.auto_alpha:
        optimiser = FusedAdam(lr=args.alpha_lr or args.lr)
        alpha = AutoAlpha(-float(width), math.log(args.alpha), optimiser)
    algorithm = CQL(
        policy=policy,
        policy_optim=FusedAdam(lr=args.actor_lr or args.lr),
        critic=Critic(inputs, width),
        critic2=Critic(inputs, width),
        critic_optim=FusedAdam(lr=args.critic_lr or args.lr),
        cql_alpha_lr=args.cql_alpha_lr,
        cql_weight=args.cql_weight,
        tau=args.tau,
        gamma=args.gamma,
        alpha=alpha,
        temperature=args.temperature,
        with_lagrange=bool(args.with_lagrange),
        lagrange_threshold=args.lagrange_threshold,
        num_repeat_actions=args.num_repeat_actions,
        max_grad_norm=args.max_grad_norm or None,
        calibrated=args.calibrated,
        soft_backup=bool(args.soft_backup),
        cloning_steps=args.cloning_steps,
    )
    actor = GaussianActor(setup.normaliser, network, **setup.task.bounds)
    return algorithm.to(args.device), actor.to(args.device)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(
        args,
        continuous=True,
        imitator=f"--cloning-steps {args.cloning_steps}" if args.cloning_steps else None,
    )
    algorithm, actor = build(args, setup)
    run = runner.start_run("cql", args, setup)
    trainer = algorithm.create_trainer(runner.trainer_params(args, setup, run, actor))
    runner.train(trainer, run, actor)
    return report.finish_run(run, setup)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return entrance.run_script(make_parser, train, argv)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
