"""The whole state of a training run, so that an interrupted one goes on bit for bit."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tianshou.trainer import OffPolicyTrainer, Trainer
from tianshou.utils import MovAvg

from offline_algos.checkpoint import TRAINING_FORMAT as FORMAT
from offline_algos.checkpoint import CheckpointError, write_tensors
from offline_algos.training_log import TrainingLog

FORMAT_VERSION = 2
FILE = "training.pth"
COUNTERS = (
    "_epoch", "_env_step", "_current_update_step", "_best_score", "_best_epoch", "_best_reward",
    "_best_reward_std", "_policy_update_time", "_env_episode",
)  # fmt: skip
# May differ between the two halves of a run.
FREE_ARGUMENTS = ("epoch", "resume", "logdir", "threads", "mmap", "prefetch")
# Beside the flags: the content hash of what is learned from.
SOURCE = "content_hash"


def save_training(
    path: Path,
    trainer: Trainer,
    log: TrainingLog,
    arguments: dict[str, Any],
    explorer: dict[str, Any] | None = None,
) -> None:
    """Write the state after an epoch, whole or not at all.

    Args:
        path: The file; an older one is replaced.
        trainer: Its algorithm's networks, target networks, optimisers, schedulers and counters,
            its own counters and averages, the priorities and the random states are saved.
        log: What was printed so far.
        arguments: The script's flags, to compare with those of the run that goes on.
        explorer: State of what an online method explores with.
    """
    algorithm, priorities = trainer.algorithm, _priorities(trainer)
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "arguments": arguments,
        "algorithm": algorithm.state_dict(),
        "counters": _counters(algorithm),
        "schedulers": [scheduler.state_dict() for scheduler in algorithm.lr_schedulers],
        "trainer": {k: float(v) for k, v in vars(trainer).items() if k in COUNTERS},
        "averages": {name: [*map(float, kept.cache)] for name, kept in trainer._stat.items()},
        "log": log.state(),
        "random": _random_states(trainer),
        "priorities": None if priorities is None else priorities.state(),
        "explorer": explorer,
    }
    write_tensors(path, content)


def restore_training(path: Path, trainer: Trainer, log: TrainingLog) -> dict[str, Any] | None:
    """Put a trainer that was just reset, its algorithm and its log into the state of a file.

    Returns:
        The explorer's state that `save_training` was given.

    Raises:
        CheckpointError: It is no such file, or of another method or version.
    """
    content = read_training(path)
    algorithm = trainer.algorithm
    try:
        algorithm.load_state_dict(dict(content["algorithm"]))
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} does not fit this method and its networks: {str(error).splitlines()[0]}"
        ) from error
    vars(algorithm).update(content["counters"])
    for scheduler, state in zip(algorithm.lr_schedulers, content["schedulers"], strict=True):
        scheduler.load_state_dict(state)
    for name, value in content["trainer"].items():
        kind = type(getattr(trainer, name))
        setattr(trainer, name, kind(value))
    for name, cache in content["averages"].items():
        trainer._stat[name] = MovAvg()
        trainer._stat[name].cache = [np.float64(value) for value in cache]
    log.restore(content["log"])
    _restore_random(content["random"], trainer)
    if content.get("priorities") is not None:
        _priorities(trainer).restore(content["priorities"])
    explorer: dict[str, Any] | None = content.get("explorer")
    return explorer


def read_training(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a training state.

    Raises:
        CheckpointError: No such file, not one of ours, damaged, or of another version.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"no training state at {path}. Training writes {FILE}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for what is not a checkpoint
        raise CheckpointError(
            f"{path} cannot be read as a training state ({type(error).__name__}): damaged, or of "
            "another program."
        ) from error
    known = isinstance(content, dict) and content.get("format") == FORMAT
    if not known or content["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} is no training state of this version. Expected {FILE} of a run's directory."
        )
    made: dict[str, Any] = content
    return made


def epochs(content: dict[str, Any]) -> int:
    """How many epochs were done when a training state was saved."""
    return int(content["trainer"]["_epoch"])


def check_arguments(path: Path, recorded: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Refuse to go on with other flags than a run began with.

    Raises:
        CheckpointError: A flag that decides the numbers differs.
    """
    for name in differing(recorded, arguments):
        if name == SOURCE:
            raise CheckpointError(
                f"the data is not what {path} began with, though it has the same name. Put the old "
                "file back, or start anew."
            )
        raise CheckpointError(
            f"--{name.replace('_', '-')} {arguments[name]} now, {recorded[name]} in {path}: a run "
            f"goes on with the flags that it began with. {_remedy(name, recorded[name])}, or start "
            "anew."
        )


def _remedy(name: str, value: Any) -> str:
    """How to have a flag's recorded value again: it may follow from others that were not given."""
    if value is None or isinstance(value, bool):
        return "Leave it as it was"
    words = value if isinstance(value, list) else [value]
    return f"Pass --{name.replace('_', '-')} {' '.join(map(str, words))}"


def differing(recorded: dict[str, Any], arguments: dict[str, Any]) -> list[str]:
    """Names of the flags that decide the numbers and are not the same."""
    return [
        name
        for name, value in arguments.items()
        if name not in FREE_ARGUMENTS and recorded.get(name, value) != value
    ]


def _counters(algorithm: Any) -> dict[str, Any]:
    """The plain numbers among an algorithm's attributes: step counters, the last actor loss."""
    return {
        name: value for name, value in vars(algorithm).items() if type(value) in (int, float, bool)
    }


def _buffer(trainer: Trainer) -> Any:
    """What the trainer samples."""
    online = isinstance(trainer, OffPolicyTrainer)
    return trainer.params.training_collector.buffer if online else trainer._buffer


def _priorities(trainer: Trainer) -> Any:
    """What transitions are drawn by; None where they are drawn evenly."""
    return getattr(_buffer(trainer), "priorities", None)


def _random_states(trainer: Trainer) -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": _numpy_state(np.random.get_state(legacy=True)),
        "buffer": _numpy_state(_buffer(trainer)._random_state.get_state(legacy=True)),
        "python": [random.getstate()[0], list(random.getstate()[1]), random.getstate()[2]],
    }


def _restore_random(states: dict[str, Any], trainer: Trainer) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    np.random.set_state(_as_numpy_state(states["numpy"]))
    _buffer(trainer)._random_state.set_state(_as_numpy_state(states["buffer"]))
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))


def _numpy_state(state: Any) -> list[Any]:
    name, keys, position, has_gauss, gauss = state
    return [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss]


def _as_numpy_state(state: list[Any]) -> Any:
    name, keys, *rest = state
    return (name, keys.numpy().astype(np.uint32), *rest)
