"""TD3+BC (Fujimoto and Gu 2021, arXiv:2106.06860).

TD3 (Fujimoto et al. 2018, arXiv:1802.09477) whose actor also stays near the data's actions:

    max over pi of E_D[ lambda Q(s, pi(s)) - (pi(s) - a)^2 ],  lambda = alpha / mean |Q|

    python d4rl_style_td3_bc.py --load-buffer-name trades.hdf5
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy

from data_tools import command_line
from offline_algos import entrance, preparation, report, runner
from offline_algos.actors import Actor, DeterministicActor
from offline_algos.arguments import (
    add_discount,
    add_learning_rates,
    add_tau,
    number,
    training_parser,
    whole,
)
from offline_algos.networks import Critic, DeterministicNetwork
from offline_algos.preparation import Setup
from offline_algos.sampling import add_priorities
from offline_algos.td3_bc import TD3BC
from offline_algos.updates import FusedAdam


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=3e-4, d4rl=True)
    add_priorities(parser)
    group = parser.add_argument_group("TD3+BC")
    add_discount(group, n_step=True)
    group.add_argument(
        "--alpha",
        type=number(0.0),
        default=2.5,
        help="weight of the critic beside the data's actions; 0 is imitation (default %(default)s)",
    )
    add_tau(group)
    group.add_argument(
        "--policy-noise",
        type=number(0.0),
        default=0.2,
        help="deviation of the noise on a target's action in [-1, 1] (default %(default)s)",
    )
    group.add_argument(
        "--noise-clip",
        type=number(0.0),
        default=0.5,
        help="bound of that noise; 0 for none (default %(default)s)",
    )
    group.add_argument(
        "--update-actor-freq",
        type=whole(1),
        default=2,
        help="critic steps for each of the actor and the targets (default %(default)s)",
    )
    add_learning_rates(group, "actor", "critic")
    return parser


def build(args: argparse.Namespace, setup: Setup) -> tuple[TD3BC, Actor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions = setup.task.action_space
    width = actions.shape[0]
    network = DeterministicNetwork(setup.inputs, width)
    policy = ContinuousDeterministicPolicy(
        actor=network,
        action_space=actions,
        observation_space=setup.task.observation_space,
        action_scaling=False,
        action_bound_method=None,
    )
    algorithm = TD3BC(
        policy=policy,
        policy_optim=FusedAdam(lr=args.actor_lr or args.lr),
        critic=Critic(setup.inputs, width),
        critic_optim=FusedAdam(lr=args.critic_lr or args.lr),
        critic2=Critic(setup.inputs, width),
        tau=args.tau,
        gamma=args.gamma,
        policy_noise=args.policy_noise,
        update_actor_freq=args.update_actor_freq,
        noise_clip=args.noise_clip,
        alpha=args.alpha,
        n_step_return_horizon=args.n_step,
    )
    actor = DeterministicActor(setup.normaliser, network, **setup.task.bounds)
    return algorithm.to(args.device), actor.to(args.device)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(
        args,
        continuous=True,
        imitates=args.alpha == 0.0,
        imitator="the term that stays near the data's actions",
    )
    algorithm, actor = build(args, setup)
    run = runner.start_run("td3_bc", args, setup)
    trainer = algorithm.create_trainer(runner.trainer_params(args, setup, run, actor))
    runner.train(trainer, run, actor)
    return report.finish_run(run, setup)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return entrance.run_script(make_parser, train, argv)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
