"""Imitation learning (behaviour cloning): cross-entropy on the dataset's discrete actions.

python atari_style_il.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tianshou.algorithm.imitation.imitation_base import ImitationPolicy

from data_tools import command_line
from offline_algos import entrance, preparation, report, runner
from offline_algos.actors import Actor, GreedyActor
from offline_algos.arguments import training_parser
from offline_algos.imitation import DiscreteImitation
from offline_algos.legal_actions import LegalActions
from offline_algos.networks import ValueNetwork
from offline_algos.preparation import Setup
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    return training_parser(__doc__, lr=1e-4)


def build(args: argparse.Namespace, setup: Setup) -> tuple[DiscreteImitation, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions = setup.task.action_space
    network = ValueNetwork(setup.inputs, int(actions.n))
    policy = ImitationPolicy(
        actor=network,
        action_space=actions,
        observation_space=setup.task.observation_space,
        action_bound_method=None,
    )
    algorithm = DiscreteImitation(policy=policy, optim=FusedAdam(lr=args.lr))
    actor = GreedyActor(setup.normaliser, network, setup.task.action_masks)
    algorithm.legal = LegalActions.of(setup.task.action_masks, setup.normaliser)
    return algorithm.to(args.device), actor


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(args, imitates=True)
    algorithm, actor = build(args, setup)
    run = runner.start_run("il", args, setup)
    trainer = algorithm.create_trainer(runner.trainer_params(args, setup, run, actor))
    runner.train(trainer, run, actor)
    return report.finish_run(run, setup)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return entrance.run_script(make_parser, train, argv)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
