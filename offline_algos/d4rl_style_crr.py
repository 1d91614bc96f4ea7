"""Critic Regularized Regression (Wang et al. 2020, arXiv:2006.15134), continuous actions.

Behaviour cloning that imitates an action the more, the better it is than the policy's own:

    minimise E_D[ -f(A) log pi(a|s) ],  A = Q(s, a) - mean of Q(s, a_j), a_j ~ pi(s)

It acts by its mean, or with --num-candidates by the best of some actions around it (`candidates`).

    python d4rl_style_crr.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tianshou.algorithm.modelfree.sac import SACPolicy

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
from offline_algos.candidates import SquashedCandidates, add_candidates
from offline_algos.crr import ADVANTAGES, CRR, MODES
from offline_algos.networks import Critic, GaussianNetwork
from offline_algos.preparation import Setup
from offline_algos.sampling import add_priorities
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=3e-4, d4rl=True)
    add_priorities(parser)
    group = parser.add_argument_group("CRR")
    add_discount(group)
    add_tau(group)
    group.add_argument(
        "--policy-improvement-mode",
        choices=MODES,
        default="exp",
        help="f: exp(A / beta), 1 where A is above 0, or 1, which is behaviour cloning "
        "(default %(default)s)",
    )
    group.add_argument(
        "--beta",
        type=number(0.0, positive=True),
        default=1.0,
        help="divides the advantage; a small one imitates the best only (default %(default)s)",
    )
    group.add_argument(
        "--ratio-upper-bound",
        type=number(0.0, positive=True),
        default=20.0,
        help="greatest weight of an action with exp (default %(default)s)",
    )
    group.add_argument(
        "--advantage",
        choices=ADVANTAGES,
        default="mean",
        help="relative to the mean or the greatest value of the policy's actions "
        "(default %(default)s)",
    )
    group.add_argument(
        "--num-samples",
        type=whole(1),
        default=4,
        help="actions of the policy that it is estimated from (default %(default)s)",
    )
    add_candidates(group)
    add_learning_rates(group, "actor", "critic")
    return parser


def build(args: argparse.Namespace, setup: Setup) -> tuple[CRR, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions, inputs = setup.task.action_space, setup.inputs
    width = actions.shape[0]
    network = GaussianNetwork(inputs, width)
    policy = SACPolicy(
        actor=network,
        action_space=actions,
        observation_space=setup.task.observation_space,
    )
    algorithm = CRR(
        policy=policy,
        policy_optim=FusedAdam(lr=args.actor_lr or args.lr),
        critic=Critic(inputs, width),
        critic2=Critic(inputs, width),
        critic_optim=FusedAdam(lr=args.critic_lr or args.lr),
        gamma=args.gamma,
        tau=args.tau,
        policy_improvement_mode=args.policy_improvement_mode,
        ratio_upper_bound=args.ratio_upper_bound,
        beta=args.beta,
        advantage=args.advantage,
        num_samples=args.num_samples,
    )
    actor = SquashedCandidates.instead_of(
        GaussianActor(setup.normaliser, network, **setup.task.bounds),
        (algorithm.critic_old.module, algorithm.critic2_old.module),
        setup.task.bounds, args.num_candidates,
    )  # fmt: skip
    return algorithm.to(args.device), actor.to(args.device)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(
        args,
        continuous=True,
        imitates=args.policy_improvement_mode == "all",
        imitator="the policy, weighted by advantage,",
    )
    algorithm, actor = build(args, setup)
    run = runner.start_run("crr", args, setup)
    trainer = algorithm.create_trainer(runner.trainer_params(args, setup, run, actor))
    runner.train(trainer, run, actor)
    return report.finish_run(run, setup)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return entrance.run_script(make_parser, train, argv)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
