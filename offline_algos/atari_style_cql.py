"""Discrete Conservative Q-Learning (Kumar et al. 2020, arXiv:2006.04779).

Tianshou's DiscreteCQL: the quantile loss of QR-DQN (Dabney et al. 2017, arXiv:1710.10044) plus

    min_q_weight * E_D[ log sum_a exp Q(s, a) - Q(s, a_D) ]

which pushes down the value of actions that the data does not show.

    python atari_style_cql.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy

from data_tools import command_line
from offline_algos import entrance, preparation, report, runner
from offline_algos.actors import Actor, GreedyActor
from offline_algos.arguments import add_discount, number, training_parser, whole
from offline_algos.discrete_cql import DiscreteCQL
from offline_algos.legal_actions import LegalActions
from offline_algos.networks import ValueNetwork
from offline_algos.preparation import Setup
from offline_algos.sampling import add_priorities
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=1e-4)
    add_priorities(parser)
    group = parser.add_argument_group("CQL")
    add_discount(group, n_step=True)
    group.add_argument(
        "--num-quantiles",
        type=whole(2),
        default=32,
        help="of each action's return distribution (default %(default)s)",
    )
    group.add_argument(
        "--target-update-freq",
        type=whole(1),
        default=500,
        help="gradient steps between copies to the target network (default %(default)s)",
    )
    group.add_argument(
        "--min-q-weight",
        type=number(0.0),
        default=1.0,
        help="weight of the conservative term; 0 is plain QR-DQN (default %(default)s)",
    )
    return parser


def build(args: argparse.Namespace, setup: Setup) -> tuple[DiscreteCQL, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions = setup.task.action_space
    network = ValueNetwork(setup.inputs, int(actions.n), args.num_quantiles)
    policy = QRDQNPolicy(
        model=network,
        action_space=actions,
        observation_space=setup.task.observation_space,
        eps_training=0.0,
        eps_inference=0.0,
    )
    algorithm = DiscreteCQL(
        policy=policy,
        optim=FusedAdam(lr=args.lr),
        min_q_weight=args.min_q_weight,
        gamma=args.gamma,
        num_quantiles=args.num_quantiles,
        n_step_return_horizon=args.n_step,
        target_update_freq=args.target_update_freq,
    )
    actor = GreedyActor(setup.normaliser, network, setup.task.action_masks)
    algorithm.legal = LegalActions.of(setup.task.action_masks, setup.normaliser)
    return algorithm.to(args.device), actor


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(args)
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
