"""Discrete Conservative Q-Learning (Kumar et al. 2020, arXiv:2006.04779).

Tianshou's DiscreteCQL: the quantile loss of QR-DQN (Dabney et al. 2017, arXiv:1710.10044) plus

    min_q_weight * E_D[ log sum_a exp Q(s, a) - Q(s, a_D) ]

which pushes down the value of actions that the data does not show.

    python atari_style_cql.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from gymnasium import spaces
from tianshou.algorithm import DiscreteCQL
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.trainer import OfflineTrainerParams

from data_tools import command_line
from offline_algos import report, runner
from offline_algos.arguments import number, training_parser, whole
from offline_algos.datasets import load_dataset
from offline_algos.networks import NormalisedNet
from offline_algos.normalisation import Normaliser, scale_rewards
from offline_algos.tasks import open_task


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=1e-4)
    group = parser.add_argument_group("CQL")
    group.add_argument("--gamma", type=number(0.0, 1.0), default=0.99, help="default %(default)s")
    group.add_argument("--n-step", type=whole(1), default=1, help="default %(default)s")
    group.add_argument(
        "--num-quantiles",
        type=whole(2),
        default=32,
        help="of each action's return distribution; QR-DQN's 200 take 30 times as long as 32 "
        "(default %(default)s)",
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
    group.add_argument(
        "--norm-reward",
        type=int,
        choices=(0, 1),
        default=1,
        help="divide rewards by their standard deviation: beside the conservative term, log "
        "returns of a few basis points would not be heard (default %(default)s)",
    )
    return parser


def build(
    args: argparse.Namespace,
    observation_space: spaces.Box,
    action_space: spaces.Discrete,
    normaliser: Normaliser,
) -> DiscreteCQL:
    """The algorithm, untrained, on ``args.device``."""
    network = NormalisedNet(
        normaliser,
        state_shape=observation_space.shape,
        action_shape=int(action_space.n),
        hidden_sizes=args.hidden_sizes,
        num_atoms=args.num_quantiles,
    )
    policy = QRDQNPolicy(
        model=network,
        action_space=action_space,
        observation_space=observation_space,
        eps_training=0.0,
        eps_inference=0.0,
    )
    return DiscreteCQL(
        policy=policy,
        optim=AdamOptimizerFactory(lr=args.lr),
        min_q_weight=args.min_q_weight,
        gamma=args.gamma,
        num_quantiles=args.num_quantiles,
        n_step_return_horizon=args.n_step,
        target_update_freq=args.target_update_freq,
    ).to(args.device)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    runner.seed_everything(args.seed, args.threads)
    dataset = load_dataset(args.load_buffer_name, args.seed)
    task = open_task(args, dataset)
    normaliser = runner.make_normaliser(dataset, args.norm_obs)
    if args.norm_reward:
        scale_rewards(dataset.buffer)
    algorithm = build(args, task.observation_space, task.action_space, normaliser)
    network = algorithm.policy.model
    run = runner.start_run("cql", args, dataset, task)
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
