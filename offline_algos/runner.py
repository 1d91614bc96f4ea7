"""What the training scripts share: plain functions, in the order in which they are called."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tianshou.data import Collector, ReplayBuffer
from tianshou.utils import TensorboardLogger
from torch.utils.tensorboard import SummaryWriter

from data_tools.command_line import INTERRUPTED
from offline_algos.checkpoint import save_policy
from offline_algos.datasets import Dataset
from offline_algos.evaluation import EVALUATION_SEED, evaluation_environment
from offline_algos.networks import NormalisedNet
from offline_algos.normalisation import Normaliser, observation_statistics
from offline_algos.tasks import Task
from offline_algos.training_log import TrainingLog
from offline_algos.vector_env import TradeVectorEnv


def seed_everything(seed: int, threads: int = 1) -> None:
    """Seed torch, NumPy and Python, and set torch's CPU threads."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)


def make_normaliser(dataset: Dataset, norm_obs: int) -> Normaliser:
    """The layer that normalises observations with the dataset's statistics, or changes nothing."""
    if norm_obs:
        return Normaliser(observation_statistics(dataset.buffer))
    return Normaliser.identity(int(np.prod(dataset.buffer.obs.shape[1:])))


@dataclass(frozen=True)
class Run:
    """One training run: where it writes and what it knows about itself.

    Attributes:
        directory: ``<logdir>/<task>/<method>/seed<seed>-<time>``.
        about: What its checkpoints carry.
        log: Losses, validation returns and times.
    """

    directory: Path
    about: dict[str, Any]
    log: TrainingLog


def start_run(method: str, args: argparse.Namespace, dataset: Dataset, task: Task) -> Run:
    """Make the run's directory and its logger, and say what will be done."""
    parent = Path(args.logdir) / task.name / method
    name = f"seed{args.seed}-{datetime.now():%Y%m%d-%H%M%S}"
    directory = _new_directory(parent, name)
    about = {
        "method": method,
        "task": task.name,
        "seed": args.seed,
        "arguments": vars(args),
        "observation_space": {"shape": list(task.observation_space.shape), "dtype": "float32"},
        "action_space": {"n": int(task.action_space.n), "levels": list(task.config.levels)},
        "layout": [list(part) for part in task.layout],
        "configuration": json.loads(task.config.to_json()),
        "dataset": {
            "path": dataset.path,
            "content_hash": dataset.content_hash,
            "transitions": len(dataset.buffer),
            "provenance": dataset.provenance,
        },
        "evaluation": {
            "market": task.market,
            "validation": task.validation.to_dict(),
            "test": task.test.to_dict(),
        },
    }
    print(f"{task.name}, {method}: {len(dataset.buffer)} transitions of {dataset.path}")
    print(f"validation {task.validation}\ntest       {task.test}")
    writer = None
    if args.logger == "tensorboard":
        writer = TensorboardLogger(SummaryWriter(str(directory)), update_interval=100)
    return Run(directory, about, TrainingLog(writer))


def _new_directory(parent: Path, name: str) -> Path:
    """A directory of our own: two runs that start in the same second get two."""
    directory = parent / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while directory.exists():
            number += 1
            directory = parent / f"{name}-{number}"
        directory.mkdir()
    except OSError as error:
        raise ValueError(
            f"--logdir: {directory} cannot be made: {error.strerror}. Pass a folder that can be "
            "written."
        ) from error
    return directory


def validation_collector(algorithm: Any, task: Task) -> Collector:
    """Tianshou's Collector for one deterministic pass over the validation period."""
    environment = evaluation_environment(task.config, task.validation.start, task.validation.end)
    return Collector(
        algorithm,
        TradeVectorEnv(environment, replay_seed=EVALUATION_SEED),
        ReplayBuffer(task.validation.steps + 1, ignore_obs_next=True),
    )


def show_progress() -> bool:
    """Whether progress bars can be read: stderr is a terminal."""
    return sys.stderr.isatty()


def save_best(run: Run, network: NormalisedNet) -> None:
    """Write policy.pth; Tianshou's trainer asks for it after the best validation so far."""
    if run.log.epoch > 0:
        save_policy(run.directory / "policy.pth", network, run.about | {"epoch": run.log.epoch})


@contextmanager
def saving_last(run: Run, network: NormalisedNet) -> Iterator[None]:
    """Write last.pth when the block ends, also when Ctrl-C or SIGTERM ends it.

    Raises:
        SystemExit: After Ctrl-C, with code 130, once the weights are saved.
    """
    path = run.directory / "last.pth"
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        save_policy(path, network, run.about | {"epoch": run.log.epoch})
        print(
            f"interrupted after {run.log.updates} updates: the weights are in {path}",
            file=sys.stderr,
        )
        raise SystemExit(getattr(stop, "code", INTERRUPTED)) from None
    finally:
        run.log.finalize()
    save_policy(path, network, run.about | {"epoch": run.log.epoch})
