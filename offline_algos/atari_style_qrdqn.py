"""Q-learning by quantile regression, QR-DQN (Dabney et al. 2017, arXiv:1710.10044), online.

The discrete expert: it learns quantiles of each action's return, takes the action with the highest
mean, and explores epsilon-greedily.

    python atari_style_qrdqn.py --task CartPole-v1 --epoch 5
    python atari_style_qrdqn.py --task Trade-Sequential-v0 --market FILE
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy

from data_tools import command_line
from offline_algos import entrance, online, online_setup
from offline_algos.actors import Actor, GreedyActor
from offline_algos.arguments import add_discount, number, whole
from offline_algos.legal_actions import LegalActions
from offline_algos.networks import ValueNetwork
from offline_algos.online_arguments import online_parser
from offline_algos.preparation import Learning
from offline_algos.qrdqn import QRDQN
from offline_algos.sampling import add_priorities
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = online_parser(__doc__, lr=5e-4, warmup=1000, update_per_step=0.25)
    add_priorities(parser)
    group = parser.add_argument_group("QR-DQN")
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
        "--eps-train",
        type=number(0.0, 1.0),
        default=1.0,
        help="share of random actions in the beginning (default %(default)s)",
    )
    group.add_argument(
        "--eps-train-final",
        type=number(0.0, 1.0),
        default=0.05,
        help="share of random actions in the end (default %(default)s)",
    )
    group.add_argument(
        "--eps-decay-steps",
        type=whole(0),
        metavar="N",
        help="steps from the one to the other, evenly (default: half of the run's)",
    )
    return parser


def build(args: argparse.Namespace, setup: Learning) -> tuple[QRDQN, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions = setup.task.action_space
    network = ValueNetwork(setup.inputs, int(actions.n), args.num_quantiles)
    policy = QRDQNPolicy(
        model=network,
        action_space=actions,
        observation_space=setup.task.observation_space,
    )
    algorithm = QRDQN(
        policy=policy,
        optim=FusedAdam(lr=args.lr),
        gamma=args.gamma,
        num_quantiles=args.num_quantiles,
        n_step_return_horizon=args.n_step,
        target_update_freq=args.target_update_freq,
        eps_first=args.eps_train,
        eps_last=args.eps_train_final,
        eps_steps=args.eps_decay_steps,
    )
    actor = GreedyActor(setup.normaliser, network, setup.task.action_masks)
    algorithm.legal = LegalActions.of(setup.task.action_masks, setup.normaliser)
    return algorithm.to(args.device), actor


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Explore and learn, validate after each epoch, test, and return what result.json holds."""
    if args.eps_decay_steps is None:
        args.eps_decay_steps = args.epoch * args.step_per_epoch // 2
    setup = online_setup.prepare(args, n_step=args.n_step)
    return online.train("qrdqn", args, setup, *build(args, setup))


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return entrance.run_script(make_parser, train, argv)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
