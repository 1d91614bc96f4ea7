"""What the training scripts share from the first epoch on: directory, validation, checkpoints."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import gymnasium as gym
from tianshou.trainer import OfflineTrainer, OfflineTrainerParams

from data_tools.command_line import INTERRUPTED
from offline_algos import resume, sampling
from offline_algos.actors import Actor
from offline_algos.checkpoint import save_policy
from offline_algos.compilation import compile_networks
from offline_algos.gym_task import GymTask
from offline_algos.loggers import Progress, make_logger
from offline_algos.preparation import Learning, Setup
from offline_algos.tasks import Task
from offline_algos.training_log import TrainingLog

CONTINUOUS, RESULT = "-continuous", "result.json"


@dataclass(frozen=True)
class Run:
    """One training run: where it writes and what it knows about itself.

    Attributes:
        directory: ``<logdir>/<task>/<method>/seed<seed>-<time>``, see `folder_of`.
        about: What its checkpoints carry.
        log: Losses, validation returns and times.
        resumed: Whether it goes on with one that was interrupted.
    """

    directory: Path
    about: dict[str, Any]
    log: TrainingLog
    resumed: bool = False


def start_run(method: str, args: argparse.Namespace, setup: Learning) -> Run:
    """Make the run's directory and its logger, or find those to go on with; say what is done.

    Raises:
        ValueError: The directory cannot be made, there is nothing to go on with, or the logger
            cannot start.
    """
    task = setup.task
    parent = folder_of(args.logdir, method, task)
    name = f"seed{args.seed}-{datetime.now():%Y%m%d-%H%M%S}"
    facts = setup.facts()
    source = content_hash(facts)
    directory = _unfinished(parent, args, source) if args.resume else new_directory(parent, name)
    about = {
        "method": method,
        "task": task.name,
        "seed": args.seed,
        "arguments": vars(args),
        "observation_space": {"shape": list(task.observation_space.shape), "dtype": "float32"},
        "layout": [list(part) for part in task.layout],
        **facts,
        **task.facts(),
    }
    print(f"{task.name}, {method}: {setup.describe()}")
    print(task.describe())
    logger = make_logger(args.logger, directory, about)
    progress = Progress(directory) if args.logger == "csv" else None
    return Run(directory, about, TrainingLog(logger, progress=progress), bool(args.resume))


def folder_of(logdir: str, method: str, task: Task | GymTask) -> Path:
    """Where a method's runs go: ``<logdir>/<task>/<method>``.

    A market's actions can be of either kind, and a method may have a script for each: what learns
    continuous ones goes to ``<method>-continuous`` there.
    """
    continuous = isinstance(task, Task) and isinstance(task.action_space, gym.spaces.Box)
    return Path(logdir) / task.name / (f"{method}{CONTINUOUS}" if continuous else method)


def content_hash(about: dict[str, Any]) -> str | None:
    """Of the dataset, or of the market that an online method explores; None where there is none."""
    source = about.get("dataset") or (about.get("training") or {}).get("market") or {}
    found: str | None = source.get("content_hash")
    return found


def state_arguments(about: dict[str, Any]) -> dict[str, Any]:
    """What a run that goes on must have in common with its beginning."""
    return about["arguments"] | {resume.SOURCE: content_hash(about)}


def new_directory(parent: Path, name: str) -> Path:
    """A directory of our own: two runs that start in the same second get two."""
    directory, number = parent / name, 1
    while True:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            directory.mkdir()
            return directory
        except FileExistsError as error:
            if not parent.is_dir():
                raise _not_writable(directory, error) from error
            number += 1
            directory = parent / f"{name}-{number}"
        except OSError as error:
            raise _not_writable(directory, error) from error


def _not_writable(directory: Path, error: OSError) -> ValueError:
    return ValueError(
        f"--logdir: {directory} cannot be made: {error.strerror}. Pass a folder that can be "
        "written."
    )


def _unfinished(parent: Path, args: argparse.Namespace, source: str | None) -> Path:
    """The newest run with these flags and data that was interrupted or has epochs yet to do.

    One that was interrupted goes first.
    """
    states = list(parent.glob(f"seed{args.seed}-*/{resume.FILE}"))
    states.sort(key=lambda path: (_ended(path), -path.stat().st_mtime))
    if not states:
        raise ValueError(
            f"--resume: no interrupted run with seed {args.seed} below {parent}. Start one without "
            "the flag."
        )
    given = json.loads(json.dumps(vars(args))) | {resume.SOURCE: source}
    done = None
    for path in states:
        content = resume.read_training(path)
        if resume.differing(content["arguments"], given):
            continue
        if not _ended(path) or resume.epochs(content) < args.epoch:
            return path.parent
        done = done or (path.parent, resume.epochs(content))
    if done is None:
        resume.check_arguments(states[0], resume.read_training(states[0])["arguments"], given)
    assert done is not None
    raise ValueError(
        f"--resume: no interrupted run with seed {args.seed}, and {done[0]} has ended after its "
        f"{done[1]} epochs. A larger --epoch goes on with it."
    )


def _ended(state: Path) -> bool:
    return (state.parent / RESULT).exists()


def trainer_params(
    args: argparse.Namespace, setup: Setup, run: Run, actor: Actor
) -> OfflineTrainerParams:
    """What Tianshou's `OfflineTrainer` runs by: epochs of gradient steps, each then validated.

    The actor is validated, not the algorithm's policy: its networks are the same.
    """
    return OfflineTrainerParams(
        buffer=setup.buffer,
        max_epochs=args.epoch,
        epoch_num_steps=args.update_per_epoch,
        batch_size=args.batch_size,
        test_collector=setup.task.validation_collector(actor),
        test_step_num_episodes=setup.task.validation_episodes,
        compute_score_fn=run.log.score,
        save_best_fn=lambda _: save_best(run, actor),
        logger=run.log,
        show_progress=sys.stderr.isatty(),
        verbose=False,
    )


def save_best(run: Run, actor: Actor) -> None:
    """Write policy.pth; Tianshou's trainer asks for it after the best validation so far."""
    if run.log.epoch > 0:
        save_policy(run.directory / "policy.pth", actor, run.about | {"epoch": run.log.epoch})


def train(trainer: OfflineTrainer, run: Run, actor: Actor) -> None:
    """Run Tianshou's trainer epoch by epoch, each of which can be resumed after.

    Writes last.pth when it ends, also when Ctrl-C or SIGTERM ends it.

    Raises:
        SystemExit: After Ctrl-C, with code 130, once the weights are saved.
    """
    state = run.directory / resume.FILE
    if run.about["arguments"].get("compile"):
        compile_networks(trainer.algorithm)
    with saving_last(run, actor), sampling.arranged(trainer, run.about["arguments"]):
        trainer.reset()
        if run.resumed:
            resume.restore_training(state, trainer, run.log)
            # what an ended run came to is not that of the longer one
            (run.directory / RESULT).unlink(missing_ok=True)
            print(f"going on after epoch {run.log.epoch}, {run.log.updates} updates")
        else:  # a disk without room for it is better found now
            resume.save_training(state, trainer, run.log, state_arguments(run.about))
        while trainer._epoch < trainer.params.max_epochs:
            with finite(run.log, actor):
                trainer.execute_epoch()
            resume.save_training(state, trainer, run.log, state_arguments(run.about))


@contextmanager
def finite(log: TrainingLog, actor: Actor) -> Iterator[None]:
    """One epoch, after which losses and weights must be finite; whatever else fails then is why.

    Raises:
        ValueError: One is not.
    """
    epoch = log.epoch + 1
    try:
        yield
    except ValueError as error:
        _check_finite(epoch, log, actor, error)
        raise
    _check_finite(epoch, log, actor, None)


def _check_finite(epoch: int, log: TrainingLog, actor: Actor, error: Exception | None) -> None:
    wrong = [name for name, value in log.losses.items() if not math.isfinite(value)]
    wrong += [
        name for name, values in actor.named_parameters() if not bool(values.isfinite().all())
    ]
    if wrong:
        raise ValueError(
            f"training diverged in epoch {epoch}: {wrong[0]} is not finite. Lower --lr, or look at "
            "the dataset's rewards and observations: python -m data_tools.describe."
        ) from error


@contextmanager
def saving_last(run: Run, actor: Actor) -> Iterator[None]:
    """Write last.pth when the block ends, also when Ctrl-C or SIGTERM ends it.

    Raises:
        SystemExit: After Ctrl-C, with code 130, once the weights are saved.
    """
    path = run.directory / "last.pth"
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        save_policy(path, actor, run.about | {"epoch": run.log.epoch})
        print(
            f"interrupted after {run.log.updates} updates: the weights are in {path}; --resume "
            "goes on after the last whole epoch",
            file=sys.stderr,
        )
        raise SystemExit(getattr(stop, "code", INTERRUPTED)) from None
    finally:
        run.log.finalize()
    save_policy(path, actor, run.about | {"epoch": run.log.epoch})
