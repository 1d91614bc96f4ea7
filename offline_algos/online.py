"""What the online scripts share from the first step on: exploring, learning, checkpoints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tianshou.trainer import OffPolicyTrainer, OffPolicyTrainerParams
from tqdm import tqdm

from data_tools.command_line import sure_interrupts
from offline_algos import compilation, report, resume, runner
from offline_algos.actors import Actor
from offline_algos.normalisation import bound_of
from offline_algos.online_setup import OnlineSetup


class Trainer(OffPolicyTrainer):
    """Tianshou's trainer, whose bar of gradient steps is silent where bars are not asked for."""

    @property
    def _pbar(self) -> Callable[..., Any]:
        def bar(*arguments: Any, disable: bool = False, **keywords: Any) -> Any:
            silent = disable or not self.params.show_progress
            return tqdm(*arguments, dynamic_ncols=True, ascii=True, disable=silent, **keywords)

        return bar


def train(
    method: str, args: argparse.Namespace, setup: OnlineSetup, algorithm: Any, actor: Actor
) -> dict[str, Any]:
    """Explore and learn epoch by epoch, validate after each, test, and return the result.

    Args:
        method: Its name in the path of the results.
        args: The flags.
        setup: What `online_setup.prepare` returned.
        algorithm: A Tianshou algorithm with an ``explore``, see `exploring.Explore`.
        actor: The actor that shares its networks.

    Raises:
        SystemExit: After Ctrl-C, with code 130, once the weights are saved.
    """
    run = runner.start_run(method, args, setup)
    explorer, state = setup.explorer, run.directory / resume.FILE
    arguments = runner.state_arguments(run.about)
    explorer.explore = algorithm.explore
    trainer = Trainer(algorithm, _trainer_params(args, setup, run, actor))
    if args.compile:
        compilation.compile_networks(algorithm)
    with runner.saving_last(run, actor), sure_interrupts() as check:
        explorer.check = check
        if run.resumed:
            explorer.restore(resume.restore_training(state, trainer, run.log))
            print(f"going on after epoch {run.log.epoch}, {run.log.updates} updates")
        else:
            explorer.warm_up(
                args.warmup,
                norm_obs=bool(args.norm_obs),
                bound=bound_of(setup.task.layout),
                norm_reward=bool(args.norm_reward),
                show_progress=trainer.params.show_progress,
            )
            trainer.reset()
            resume.save_training(state, trainer, run.log, arguments, explorer.state())
        while trainer._epoch < args.epoch:
            explorer.begin_epoch(trainer._epoch + 1)
            with runner.finite(run.log, actor):
                trainer.execute_epoch()
            resume.save_training(state, trainer, run.log, arguments, explorer.state())
    explorer.close()
    result = report.finish_run(run, setup, env_steps=trainer._env_step + warmup_steps(args))
    forget(state)
    return result


def warmup_steps(args: argparse.Namespace) -> int:
    """Random steps that were taken: whole steps of all environments."""
    return int(-(-args.warmup // args.num_train_envs) * args.num_train_envs)


def forget(state: Path) -> None:
    """Remove a state that nobody can go on from: with its memory it may be large."""
    state.unlink(missing_ok=True)


def _trainer_params(
    args: argparse.Namespace, setup: OnlineSetup, run: runner.Run, actor: Actor
) -> OffPolicyTrainerParams:
    return OffPolicyTrainerParams(
        training_collector=setup.explorer,
        max_epochs=args.epoch,
        epoch_num_steps=args.step_per_epoch,
        collection_step_num_env_steps=args.step_per_collect,
        update_step_num_gradient_steps_per_sample=args.update_per_step,
        batch_size=args.batch_size,
        test_collector=setup.task.validation_collector(actor),
        test_step_num_episodes=setup.task.validation_episodes,
        compute_score_fn=run.log.score,
        save_best_fn=lambda _: runner.save_best(run, actor),
        logger=run.log,
        show_progress=sys.stderr.isatty(),
        verbose=False,
    )
