"""Small datasets and stock updates, to compare algorithms with."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step

from data_tools.buffers import TensorReplayBuffer

COLUMNS = 6


def dataset(
    rows: int = 200, *, actions: int = 3, action_width: int = 0, seed: int = 0, ends: int = 10
) -> ReplayBuffer:
    """Random transitions: an episode every `ends` rows, terminated and truncated in turn.

    Discrete actions, or continuous ones of `action_width` numbers.
    """
    rng = np.random.default_rng(seed)
    number = np.arange(rows)
    last = number % ends == ends - 1
    terminated = last & (number // ends % 2 == 0)
    act: Any = rng.integers(0, actions, rows)
    if action_width:
        act = rng.uniform(-1.0, 1.0, (rows, action_width)).astype(np.float32)
    made = ReplayBuffer(rows, random_seed=seed)
    made._meta = Batch(
        obs=rng.normal(size=(rows, COLUMNS)).astype(np.float32),
        obs_next=rng.normal(size=(rows, COLUMNS)).astype(np.float32),
        act=act, rew=rng.normal(size=rows), terminated=terminated, truncated=last & ~terminated,
        done=last, info=Batch(), policy=Batch(),
    )  # fmt: skip
    made._size, made._insertion_idx = rows, 0
    made.last_index = np.array([rows - 1])
    return made


def short_episodes(rows: int = 40, columns: int = 4, actions: int = 3) -> ReplayBuffer:
    """Episodes of five steps that terminate and are truncated in turn; the last is unfinished."""
    rng = np.random.default_rng(0)
    made = ReplayBuffer(rows, random_seed=1)
    for row in range(rows):
        end = ["terminated", "truncated"][row // 5 % 2] if row % 5 == 4 and row < rows - 1 else ""
        made.add(
            Batch(
                obs=rng.normal(size=columns).astype(np.float32),
                obs_next=rng.normal(size=columns).astype(np.float32),
                act=int(rng.integers(actions)), rew=float(rng.normal()), info={},
                terminated=end == "terminated", truncated=end == "truncated", done=end != "",
            )
        )  # fmt: skip
    return made


def without_truncation(buffer: ReplayBuffer) -> ReplayBuffer:
    """The same with every end a termination: masks by `done` and by `terminated` agree."""
    made = copy.deepcopy(buffer)
    made._meta.terminated = made._meta.done.copy()
    made._meta.truncated = made._meta.done & False
    return made


class FromNumpy(torch.nn.Module):
    """A network of ours for Tianshou's algorithms, which hand it NumPy arrays."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Any, *arguments: Any, **keywords: Any) -> Any:
        """What the network returns for the same numbers as a tensor."""
        return self.network(torch.as_tensor(obs), *arguments, **keywords)


def run_ours(algorithm: Any, buffer: ReplayBuffer, steps: int, batch_size: int = 32) -> list[Any]:
    """Take gradient steps; what each returned."""
    prepared = algorithm.process_buffer(TensorReplayBuffer(copy.deepcopy(buffer)))
    with policy_within_training_step(algorithm.policy):
        return [algorithm.update(prepared, batch_size) for _ in range(steps)]


def run_stock(algorithm: Any, buffer: ReplayBuffer, steps: int, batch_size: int = 32) -> list[Any]:
    """Take gradient steps with Tianshou's own algorithm; what each returned."""
    prepared = algorithm.process_buffer(copy.deepcopy(buffer))
    with policy_within_training_step(algorithm.policy):
        return [algorithm.update(prepared, batch_size) for _ in range(steps)]
