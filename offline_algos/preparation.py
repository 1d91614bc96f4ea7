"""What the training scripts share before the first epoch: seeds, transitions, task, normaliser."""

from __future__ import annotations

import argparse
import ctypes
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from data_tools.buffers import TensorReplayBuffer
from offline_algos import compilation, sampling
from offline_algos.arguments import cut_into_epochs
from offline_algos.datasets import (
    Dataset,
    note_counterfactual,
    open_dataset,
    refuse_counterfactual,
)
from offline_algos.encoders import is_nature_image
from offline_algos.gym_task import GymTask
from offline_algos.networks import Inputs
from offline_algos.normalisation import Normaliser, bound_of
from offline_algos.reward_scaling import shape_rewards
from offline_algos.tasks import Task, open_task

PIXEL_SCALE = 255.0
# Options of glibc's mallopt, from malloc.h, and the largest block that is kept.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, KEPT_BYTES = -1, -3, 1 << 30


def seed_everything(seed: int, threads: int = 1) -> None:
    """Seed torch, NumPy and Python, and set torch's CPU threads."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)


def keep_memory() -> None:
    """Let glibc keep the memory of temporaries instead of returning it after each step.

    Tensors of some megabytes are mapped anew at every step otherwise, and each of their pages
    faults: a continuous CQL step takes a third longer. Elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
        mallopt(option, KEPT_BYTES)


@dataclass(frozen=True)
class Learning:
    """What every script needs to make an actor and to judge it.

    Attributes:
        dataset: Where the transitions come from; None where they are met in training.
        task: What is to be learned, and where it is judged.
        normaliser: For observations that come from an environment.
        inputs: What networks see.
    """

    dataset: Dataset | None
    task: Task | GymTask
    normaliser: Normaliser
    inputs: Inputs

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says about the transitions: JSON-able."""
        return {"dataset": None}

    def describe(self) -> str:
        """Where the transitions come from, for the first line that a script prints."""
        return ""


@dataclass(frozen=True)
class Setup(Learning):
    """What an offline script trains on.

    Attributes:
        buffer: The transitions as tensors on their device: observations normalised, continuous
            actions in [-1, 1].
    """

    dataset: Dataset
    buffer: TensorReplayBuffer

    def facts(self) -> dict[str, Any]:
        """See `Learning.facts`."""
        return {
            "dataset": {
                "path": self.dataset.path,
                "content_hash": self.dataset.content_hash,
                "transitions": len(self.dataset.buffer),
                "provenance": self.dataset.provenance,
            }
        }

    def describe(self) -> str:
        """See `Learning.describe`."""
        return f"{len(self.dataset.buffer)} transitions of {self.dataset.path}"


def prepare(
    args: argparse.Namespace,
    *,
    continuous: bool = False,
    imitates: bool = False,
    imitator: str | None = None,
) -> Setup:
    """Seed everything, load the dataset, find its task and normalise what is to be learned from.

    Args:
        args: Parsed flags, see `arguments.training_parser`.
        continuous: Which kind of actions the script learns.
        imitates: Whether it does what the data do and learns no values.
        imitator: Which part of a method that learns values does what the data do, for a note.

    Raises:
        ValueError: Dataset, task or flags do not fit each other; each message says what to do.
    """
    cut_into_epochs(args, "update_per_epoch")
    sampling.settle(args, args.epoch * args.update_per_epoch)
    args.compile = compilation.decide(args.compile, args.device)
    seed_everything(args.seed, args.threads)
    keep_memory()
    dataset = open_dataset(args, continuous=continuous)
    if imitates:
        refuse_counterfactual(dataset)
    elif imitator is not None:
        note_counterfactual(dataset, imitator)
    task = open_task(args, dataset.origin)
    shape_rewards(dataset.buffer, args)
    if continuous:
        if dataset.provenance is None:
            print(
                f"{dataset.path} does not say how it was made: its actions are taken as the "
                "environment's own"
            )
        scale_actions(dataset.buffer, task.action_space)
    buffer = dataset.buffer.to(args.data_device)
    normaliser = normalise(buffer, task.layout, bool(args.norm_obs))
    args.encoder = args.encoder or default_encoder(buffer, task.layout)
    if buffer.left_out:
        print(
            f"{dataset.path} stores no obs_next: {buffer.left_out} transitions are left out, since "
            "it does not say what they led to"
        )
    warn_of_one_action(buffer)
    inputs = Inputs([tuple(part) for part in task.layout], args.encoder, tuple(args.hidden_sizes))
    return Setup(dataset, task, normaliser.to(args.device), inputs, buffer)


def normalise(
    buffer: TensorReplayBuffer, layout: Sequence[Sequence[Any]], wanted: bool
) -> Normaliser:
    """Normalise what is learned from, and return the layer that does it to what is met later.

    Pixels have no statistics: they are divided by 255, or without `wanted` by nothing.
    """
    columns = layout[-1][2]
    if buffer.is_image:
        scale = PIXEL_SCALE if wanted else 1.0
        buffer.scale_pixels(scale)
        if wanted:
            print("observations are images: --norm-obs 1 divides pixels by 255")
        return Normaliser.pixels(columns, scale)
    if not wanted:
        return Normaliser.identity(columns)
    statistics = buffer.statistics()._replace(bound=bound_of(layout))
    buffer.normalise(statistics)
    return Normaliser(statistics)


def default_encoder(buffer: TensorReplayBuffer, layout: Sequence[Sequence[Any]]) -> str:
    """The encoder where none is named: "nature" for images that it can read, else "mlp"."""
    return "nature" if buffer.is_image and is_nature_image(layout) else "mlp"


def scale_actions(buffer: TensorReplayBuffer, box: gym.Space[Any]) -> None:
    """Map continuous actions from the environment's box to [-1, 1], in place."""
    assert isinstance(box, gym.spaces.Box)
    middle, half = (box.high + box.low) / 2, (box.high - box.low) / 2
    buffer.replace("act", (buffer.act.astype(np.float32) - middle) / half)


def warn_of_one_action(buffer: TensorReplayBuffer) -> None:
    """Say that data with a single action cannot teach which one is better."""
    actions = buffer.column("act")
    if len(actions) > 1 and bool((actions == actions[:1]).all()):
        print(
            "every transition of the dataset has the same action: nothing in it says what another "
            "one would earn",
            file=sys.stderr,
        )
