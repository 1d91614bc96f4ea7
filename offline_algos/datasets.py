"""A dataset in memory: transitions, where they come from, and what their policy earned."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from tianshou.data import ReplayBuffer

from data_tools.buffers import TensorReplayBuffer
from data_tools.content import content_hash
from data_tools.d4rl import read_d4rl
from data_tools.d4rl_tasks import default_folder, find_file, task_of
from data_tools.environment import parse_env_arguments
from data_tools.hdf5 import DatasetError
from data_tools.stored_rows import COUNTERFACTUAL
from offline_algos.origin import Origin


@dataclass(frozen=True)
class Dataset:
    """Transitions and where they come from.

    Attributes:
        buffer: The transitions, on the CPU, its sampling seeded.
        provenance: What `data_tools.collect` says about it; None for a foreign file.
        path: The file, or None for a buffer made in memory.
        content_hash: As `data_tools.content.content_hash` gives it, or None.
        returns: Returns of the whole episodes in it, float64 (episodes,).
    """

    buffer: TensorReplayBuffer
    provenance: dict[str, Any] | None
    path: str | None
    content_hash: str | None
    returns: npt.NDArray[np.float64]

    @property
    def origin(self) -> Origin:
        """What a task is built from again."""
        provenance, actions = self.provenance or {}, self.buffer.act[self.buffer.sample_indices(0)]
        shape, image = self.buffer.observation_shape, None
        if self.buffer.is_image:
            image = shape if len(shape) == 3 else (1, *shape)
        parts = [f"{part['key']} {part['shape']}" for part in provenance.get("layout", [])]
        return Origin(
            noun="the dataset",
            path=self.path,
            provenance=provenance,
            task=provenance.get("task"),
            config=provenance.get("config", {}),
            market=provenance.get("market"),
            evaluation=None,
            observation_shape=(math.prod(shape),),
            image_shape=image,
            parts=parts or None,
            action_shape=actions.shape[1:],
            action_range=(actions.min(), actions.max()),
            behavior_return=behaviour_reference(self)["behavior_return"],
            data_path=self.path,
        )


def open_dataset(args: argparse.Namespace, *, continuous: bool = False) -> Dataset:
    """Load the dataset that the flags name.

    Raises:
        DatasetError: It is missing, unreadable, or its actions are of the other kind.
    """
    name = getattr(args, "expert_data_task", None)  # only where actions are continuous
    mmap = bool(getattr(args, "mmap", False))
    folder = getattr(args, "dataset_dir", None)
    if name is None:
        if folder is not None:
            raise DatasetError(
                "--dataset-dir is where --expert-data-task NAME looks, and --load-buffer-name "
                "names a file. Leave it out."
            )
        given = parse_env_arguments(getattr(args, "env", []), getattr(args, "env_config", None))
        return load_dataset(
            args.load_buffer_name,
            args.seed,
            continuous=continuous,
            features=given.get("features"),
            mmap=mmap,
        )
    if mmap:
        raise DatasetError(
            f"--mmap 1: a dataset of D4RL holds whole observations, which are not mapped. Leave it "
            f"out with --expert-data-task {name}."
        )
    task = args.task or task_of(name)
    path = str(find_file(name, folder or default_folder()))
    registered = gym.registry.get(task)
    limit = registered.max_episode_steps if registered is not None else None
    buffer, facts = read_d4rl(path, time_limit=limit)
    print(facts.describe())
    provenance = facts.provenance(name, task, buffer)
    return make_dataset(buffer, provenance, args.seed, path, continuous=continuous)


def load_dataset(
    path: str,
    seed: int,
    *,
    continuous: bool = False,
    features: Any = None,
    mmap: bool = False,
) -> Dataset:
    """Load a dataset of the action kind that is asked for.

    Args:
        path: The file.
        seed: Of the sampling.
        continuous: Whether actions are.
        features: Of an indexed dataset, as for `market_windows.open_windows`.
        mmap: See `TensorReplayBuffer.load`.

    Raises:
        DatasetError: It is missing, unreadable, or its actions are of the other kind.
    """
    buffer, provenance = TensorReplayBuffer.load(path, features=features, mmap=mmap)
    return make_dataset(buffer, provenance, seed, path, continuous=continuous)


def make_dataset(
    buffer: ReplayBuffer | TensorReplayBuffer,
    provenance: dict[str, Any] | None,
    seed: int,
    path: str | None = None,
    *,
    continuous: bool = False,
) -> Dataset:
    """Wrap a buffer, loaded or made in memory, and seed its sampling.

    Raises:
        DatasetError: It is empty, or its actions are of the other kind.
    """
    if len(buffer) == 0:
        raise DatasetError(f"{path or 'the buffer'} holds no transitions: there is nothing to do.")
    discrete = buffer.act.ndim == 1 and buffer.act.dtype.kind in "iu"
    if discrete == continuous or (continuous and buffer.act.ndim != 2):
        other = "an atari_style" if discrete else "a d4rl_style"
        raise DatasetError(
            f"{path or 'the buffer'} holds {buffer.act.dtype} actions of shape "
            f"{buffer.act.shape[1:]}: this script trains on "
            f"{'continuous' if continuous else 'discrete'} actions. Take {other} script."
        )
    if not isinstance(buffer, TensorReplayBuffer):
        buffer = TensorReplayBuffer(buffer)
    # the state that ReplayBuffer(random_seed=...) makes
    buffer._random_state = np.random.RandomState(seed)
    digest = None if path is None else content_hash(path)
    return Dataset(buffer, provenance, path, digest, episode_returns(buffer))


def counterfactual(buffer: ReplayBuffer) -> npt.NDArray[np.bool_]:
    """Which rows are what another action than the logged one would have done, bool (rows,).

    `data_tools.relabel` adds them; other datasets have none.
    """
    if COUNTERFACTUAL not in buffer._meta.get_keys():
        return np.zeros(len(buffer), bool)
    return np.asarray(buffer._meta[COUNTERFACTUAL], bool)[: len(buffer)]


def refuse_counterfactual(dataset: Dataset) -> None:
    """Refuse data to a method that imitates: it would imitate what nobody did.

    Raises:
        DatasetError: It has counterfactual transitions.
    """
    count = int(counterfactual(dataset.buffer).sum())
    if count:
        raise DatasetError(
            f"{dataset.path} has {count} counterfactual transitions: values can be learned from "
            "them, imitation would copy actions that nobody took. Take the dataset that "
            "data_tools.relabel was given, or a method that learns values."
        )


def note_counterfactual(dataset: Dataset, imitator: str) -> None:
    """Say on stderr that a part of a method that learns values imitates what nobody did.

    Args:
        dataset: Of those without counterfactual transitions nothing is said.
        imitator: What that part is, for the message.
    """
    marked = counterfactual(dataset.buffer)
    if marked.any():
        print(
            f"note: {int(marked.sum())} of {len(marked)} transitions of {dataset.path} are "
            "counterfactual, with actions that nobody took: values learn from them, but "
            f"{imitator} imitates them too. The dataset that data_tools.relabel was given has "
            "none.",
            file=sys.stderr,
        )


def episode_returns(buffer: ReplayBuffer) -> npt.NDArray[np.float64]:
    """Undiscounted returns of a buffer's whole episodes, oldest first, float64 (episodes,).

    Counterfactual transitions, each an episode by itself, are none of them.
    """
    rows = buffer.sample_indices(0)
    rows = rows[~counterfactual(buffer)[rows]]
    totals = np.cumsum(buffer.rew[rows], dtype=np.float64)
    ends = np.flatnonzero(buffer.done[rows])
    returns: npt.NDArray[np.float64] = np.diff(totals[ends], prepend=0.0)
    return returns


def behaviour_reference(dataset: Dataset | None) -> dict[str, Any]:
    """What the behaviour policy earned an episode, as its provenance or else its rows say.

    Args:
        dataset: None where nothing was collected beforehand: all is then None.

    Returns:
        ``behavior_return`` and ``behavior_return_std`` (ddof 0), undiscounted sums of rewards, and
        ``behavior_episodes``; the returns are None without a whole episode.
    """
    if dataset is None:
        return dict.fromkeys(("behavior_return", "behavior_return_std", "behavior_episodes"))
    recorded = (dataset.provenance or {}).get("reference")
    if recorded is not None:
        return {
            "behavior_return": recorded["behavior_return"],
            "behavior_return_std": recorded["behavior_return_std"],
            "behavior_episodes": recorded["complete_episodes"] or recorded["cut_episodes"],
        }
    returns = dataset.returns
    return {
        "behavior_return": float(returns.mean()) if len(returns) else None,
        "behavior_return_std": float(returns.std()) if len(returns) else None,
        "behavior_episodes": len(returns),
    }
