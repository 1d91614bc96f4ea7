"""Datasets of any Gymnasium task, from a policy that is a function."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from data_tools.driving import Behaviour, drive
from data_tools.episodes import Episodes
from data_tools.hdf5 import FORMAT_VERSION, FlatBufferWriter
from data_tools.provenance import describe_episodes

# Observations, float32 (n, D), and a generator, to actions (n,) or (n, A).
Act = Callable[[npt.NDArray[np.float32], np.random.Generator], npt.NDArray[Any]]


def record(
    task: str,
    act: Act | Behaviour,
    path: str | os.PathLike[str],
    *,
    buffer_size: int,
    policy: dict[str, Any] | None = None,
    num_envs: int = 8,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
    make_arguments: dict[str, Any] | None = None,
) -> Episodes:
    """Roll a policy out and write its transitions, as `collect` does for markets.

    Args:
        task: A registered Gymnasium task with a Box of observations, which are stored flat.
        act: The policy: a function, or what is told of episodes and rewards as well.
        path: The dataset to write.
        buffer_size: Transitions, exactly.
        policy: What the provenance says about a function, with a ``name``.
        num_envs: Environments stepped together, no more than `buffer_size`.
        seed: Environment i begins with seed + i; the generator has a seed of its own from it.
        overwrite: Replace an existing file.
        progress: Show a progress bar on stderr.
        make_arguments: Further keywords of ``gym.make``.

    Returns:
        What the episodes were like.

    Raises:
        ValueError: The file cannot be written.
    """
    lanes = min(num_envs, buffer_size)
    makers = [lambda: gym.make(task, **(make_arguments or {}))] * lanes
    env = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    space = env.single_action_space
    width = int(np.prod(env.single_observation_space.shape or ()))
    if isinstance(act, Behaviour):
        behaviour = act
    else:
        function, generator = act, np.random.default_rng(seed)
        behaviour = Behaviour(lambda seen: function(seen, generator), description=policy or {})
    try:
        with FlatBufferWriter(
            path, size=buffer_size, num_lanes=lanes, observation_size=width,
            action_shape=space.shape or (), action_dtype=space.dtype or np.int64,
            overwrite=overwrite,
        ) as writer:  # fmt: skip
            episodes = drive(env, writer, behaviour, seed, progress=progress)
            about = behaviour.description
            writer.finish(_provenance(task, env, about, seed, buffer_size, episodes))
    finally:
        env.close()
    return episodes


def _provenance(
    task: str,
    env: SyncVectorEnv,
    policy: dict[str, Any],
    seed: int,
    rows: int,
    episodes: Episodes,
) -> dict[str, Any]:
    """What the dataset says about itself."""
    space, shape = env.single_action_space, env.single_observation_space.shape or ()
    discrete = isinstance(space, gym.spaces.Discrete)
    return {
        "format_version": FORMAT_VERSION,
        "task": task,
        "policy": policy,
        "seed": seed,
        "num_envs": env.num_envs,
        "buffer_size": rows,
        "layout": [
            {"key": "observation", "start": 0, "stop": int(np.prod(shape)), "shape": list(shape)}
        ],
        "action": {"type": "discrete" if discrete else "continuous", "levels": None},
        "reference": describe_episodes(episodes),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("gymnasium", "numpy")},
        },
    }
