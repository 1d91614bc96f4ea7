"""Imitation learning (behaviour cloning): cross-entropy on the dataset's discrete actions.

python atari_style_il.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from gymnasium import spaces
from tianshou.algorithm.imitation.imitation_base import ImitationPolicy, OfflineImitationLearning
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.trainer import OfflineTrainerParams

from data_tools import command_line
from offline_algos import report, runner
from offline_algos.arguments import training_parser
from offline_algos.datasets import load_dataset
from offline_algos.networks import NormalisedNet
from offline_algos.normalisation import Normaliser
from offline_algos.tasks import open_task


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    return training_parser(__doc__, lr=1e-4)


def build(
    args: argparse.Namespace,
    observation_space: spaces.Box,
    action_space: spaces.Discrete,
    normaliser: Normaliser,
) -> OfflineImitationLearning:
    """The algorithm, untrained, on ``args.device``."""
    network = NormalisedNet(
        normaliser,
        state_shape=observation_space.shape,
        action_shape=int(action_space.n),
        hidden_sizes=args.hidden_sizes,
    )
    policy = ImitationPolicy(
        actor=network,
        action_space=action_space,
        observation_space=observation_space,
        action_bound_method=None,
    )
    return OfflineImitationLearning(policy=policy, optim=AdamOptimizerFactory(lr=args.lr)).to(
        args.device
    )


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    runner.seed_everything(args.seed, args.threads)
    dataset = load_dataset(args.load_buffer_name, args.seed)
    task = open_task(args, dataset)
    normaliser = runner.make_normaliser(dataset, args.norm_obs)
    algorithm = build(args, task.observation_space, task.action_space, normaliser)
    network = algorithm.policy.actor
    run = runner.start_run("il", args, dataset, task)
    with runner.saving_last(run, network):
        algorithm.run_training(
            OfflineTrainerParams(
                buffer=dataset.buffer,
                max_epochs=args.epoch,
                epoch_num_steps=args.update_per_epoch,
                batch_size=args.batch_size,
                test_collector=runner.validation_collector(algorithm, task),
                compute_score_fn=run.log.score,
                save_best_fn=lambda _: runner.save_best(run, network),
                logger=run.log,
                show_progress=runner.show_progress(),
                verbose=False,
            )
        )
    return report.finish_run(run, dataset, task)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""

    def command() -> None:
        train(make_parser().parse_args(argv))

    return command_line.run(command)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
