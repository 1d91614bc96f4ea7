"""Discrete Critic Regularized Regression (Wang et al. 2020, arXiv:2006.15134).

The actor imitates the data's actions, weighted by what its critic thinks of them:

    E_D[ f(A(s, a)) log pi(a|s) ],    A(s, a) = Q(s, a) - sum_b pi(b|s) Q(s, b)

where f is exp(A / beta), an indicator of A > 0, or 1.

    python atari_style_crr.py --load-buffer-name trades.hdf5
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
from offline_algos.arguments import add_discount, number, training_parser, whole
from offline_algos.discrete_crr import MODES, DiscreteCRR
from offline_algos.legal_actions import LegalActions
from offline_algos.networks import ValueNetwork
from offline_algos.preparation import Setup
from offline_algos.sampling import add_priorities
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=1e-4)
    add_priorities(parser)
    group = parser.add_argument_group("CRR")
    add_discount(group)
    group.add_argument(
        "--target-update-freq",
        type=whole(0),
        default=500,
        help="gradient steps between copies to the target networks; 0: none (default %(default)s)",
    )
    group.add_argument(
        "--policy-improvement-mode",
        choices=MODES,
        default="exp",
        help="how an advantage becomes a weight; all is behaviour cloning (default %(default)s)",
    )
    group.add_argument(
        "--beta",
        type=number(0.0, positive=True),
        default=1.0,
        help="divisor of the advantage in mode exp (default %(default)s)",
    )
    group.add_argument(
        "--ratio-upper-bound",
        type=number(0.0, positive=True),
        default=20.0,
        help="largest weight in mode exp (default %(default)s)",
    )
    group.add_argument(
        "--min-q-weight",
        type=number(0.0),
        default=0.0,
        help="weight of a conservative term as in CQL; 0 is plain CRR (default %(default)s)",
    )
    return parser


def build(args: argparse.Namespace, setup: Setup) -> tuple[DiscreteCRR, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions = setup.task.action_space
    network = ValueNetwork(setup.inputs, int(actions.n))
    policy = DiscreteActorPolicy(
        actor=network,
        deterministic_eval=True,
        action_space=actions,
        observation_space=setup.task.observation_space,
    )
    algorithm = DiscreteCRR(
        policy=policy,
        critic=ValueNetwork(setup.inputs, int(actions.n)),
        optim=FusedAdam(lr=args.lr),
        gamma=args.gamma,
        policy_improvement_mode=args.policy_improvement_mode,
        ratio_upper_bound=args.ratio_upper_bound,
        beta=args.beta,
        min_q_weight=args.min_q_weight,
        target_update_freq=args.target_update_freq,
    )
    actor = GreedyActor(setup.normaliser, network, setup.task.action_masks)
    algorithm.legal = LegalActions.of(setup.task.action_masks, setup.normaliser)
    return algorithm.to(args.device), actor


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(
        args,
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
