"""Decision Transformer (Chen et al. 2021, arXiv:2106.01345), discrete actions.

A causal transformer reads (return-to-go, observation, action) of the last timesteps and learns the
action that the data took: cross-entropy on the dataset's actions. Asked for a high return,
it does what high returns followed.

    python atari_style_dt.py --load-buffer-name trades.hdf5 --target-return 0.2 0.1

On a market, where an evaluation is one pass that is longer than the episodes of the data, the
return is asked for anew every so many steps (``--target-steps``): else what was reached would leave
nothing to go.
"""

from __future__ import annotations

import data_tools.early_interrupts  # noqa: F401 - before what takes seconds to import

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch
from tianshou.algorithm.optim import TorchOptimizerFactory

from data_tools import command_line
from offline_algos import entrance, preparation, report, runner
from offline_algos.arguments import training_parser
from offline_algos.decision_transformer import (
    DecisionTransformer,
    SequencePolicy,
    Warmup,
    add_flags,
    compare_targets,
    target_returns,
    target_steps,
)
from offline_algos.legal_actions import LegalActions
from offline_algos.preparation import Setup
from offline_algos.sequence_buffer import SequenceBuffer
from offline_algos.transformer_actor import TransformerActor
from offline_algos.transformer_network import TransformerNetwork


def make_parser() -> command_line.ArgumentParser:
    """The flags of this script."""
    parser = training_parser(__doc__, lr=1e-4, scaled_rewards=False)
    add_flags(parser)
    return parser


def build(args: argparse.Namespace, setup: Setup) -> tuple[DecisionTransformer, TransformerActor]:
    """The algorithm, untrained, on ``args.device``, and the actor that it trains."""
    actions = setup.task.action_space
    windows = SequenceBuffer(setup.buffer, args.context_length)
    network = TransformerNetwork(
        setup.inputs,
        int(actions.n),
        continuous=False,
        context_length=args.context_length,
        layers=args.num_layers,
        heads=args.num_heads,
        embedding_size=args.embedding_size,
        dropout=args.dropout,
        timestep_embedding=args.timestep_embedding,
        longest=windows.longest,
        return_scale=args.return_scale or windows.largest_return or 1.0,
    )
    policy = SequencePolicy(
        model=network,
        action_space=actions,
        observation_space=setup.task.observation_space,
    )
    optimiser = TorchOptimizerFactory(
        torch.optim.AdamW, lr=args.lr, weight_decay=args.weight_decay, fused=True
    )
    algorithm = DecisionTransformer(
        policy=policy,
        optim=optimiser.with_lr_scheduler_factory(Warmup(args.warmup_steps)),
        max_grad_norm=args.max_grad_norm,
    )
    target = target_returns(args, setup)[0]
    anew = target_steps(args, setup, windows.longest)
    masks = setup.task.action_masks
    actor = TransformerActor(setup.normaliser, network, target, masks=masks, target_steps=anew)
    algorithm.legal = LegalActions.of(setup.task.action_masks, setup.normaliser)
    return algorithm.to(args.device), actor.to(args.device)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, validate after each epoch, test, and return what result.json holds."""
    setup = preparation.prepare(args, imitates=True)
    algorithm, actor = build(args, setup)
    run = runner.start_run("dt", args, setup)
    trainer = algorithm.create_trainer(runner.trainer_params(args, setup, run, actor))
    runner.train(trainer, run, actor)
    compared = compare_targets(run, setup, target_returns(args, setup))
    return report.finish_run(run, setup, **compared)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return entrance.run_script(make_parser, train, argv)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
