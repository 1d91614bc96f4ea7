"""Discrete Batch-Constrained Q-learning (Fujimoto et al. 2019, arXiv:1910.01708).

Double Q-learning whose policy, and whose target, choose the best of the likely actions only:

    argmax_a Q(s, a) over the a with G(a|s) >= threshold * max_b G(b|s)

where the imitator G learns the data's actions beside the values.

    python atari_style_bcq.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQPolicy

from data_tools import command_line
from offline_algos import entrance, preparation, report, runner
from offline_algos.actors import Actor
from offline_algos.arguments import add_discount, number, training_parser, whole
from offline_algos.discrete_bcq import ConstrainedActor, DiscreteBCQ
from offline_algos.legal_actions import LegalActions
from offline_algos.networks import ValueNetwork
from offline_algos.preparation import Setup
from offline_algos.sampling import add_priorities
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=1e-4)
    add_priorities(parser)
    group = parser.add_argument_group("BCQ")
    add_discount(group, n_step=True)
    group.add_argument(
        "--target-update-freq",
        type=whole(0),
        default=500,
        help="gradient steps between copies to the target network; 0: none (default %(default)s)",
    )
    group.add_argument(
        "--unlikely-action-threshold",
        type=number(0.0, 0.999),
        default=0.3,
        help="an action counts if its probability in the data is this share of the likeliest "
        "one's; 0 is plain Q-learning (default %(default)s)",
    )
    group.add_argument(
        "--imitation-logits-penalty",
        type=number(0.0),
        default=0.01,
        help="weight of the imitator's squared logits (default %(default)s)",
    )
    return parser


def build(args: argparse.Namespace, setup: Setup) -> tuple[DiscreteBCQ, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions, threshold = setup.task.action_space, args.unlikely_action_threshold
    network = ValueNetwork(setup.inputs, int(actions.n))
    imitator = ValueNetwork(setup.inputs, int(actions.n))
    policy = DiscreteBCQPolicy(
        model=network,
        imitator=imitator,
        unlikely_action_threshold=threshold,
        action_space=actions,
        observation_space=setup.task.observation_space,
    )
    algorithm = DiscreteBCQ(
        policy=policy,
        optim=FusedAdam(lr=args.lr),
        gamma=args.gamma,
        n_step_return_horizon=args.n_step,
        target_update_freq=args.target_update_freq,
        imitation_logits_penalty=args.imitation_logits_penalty,
    )
    actor = ConstrainedActor(
        setup.normaliser, network, imitator, threshold, setup.task.action_masks
    )
    algorithm.legal = LegalActions.of(setup.task.action_masks, setup.normaliser)
    return algorithm.to(args.device), actor


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(args, imitator="the model of which actions are likely")
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
