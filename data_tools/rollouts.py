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

from data_tools.driving import Behaviour, drive, flat, newest_frame, unchanged
from data_tools.episodes import Episodes
from data_tools.gym_environments import make_environment, recorded_shape
from data_tools.hdf5 import FORMAT_VERSION, FlatBufferWriter
from data_tools.provenance import describe_episodes

# Observations, float32 (n, D) or uint8 (n, frames, height, width), and a generator, to actions (n,)
# or (n, A).
Act = Callable[[npt.NDArray[Any], np.random.Generator], npt.NDArray[Any]]


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
    frame_stack: int = 4,
) -> Episodes:
    """Roll a policy out and write its transitions, as `collect` does for markets.

    Args:
        task: A registered Gymnasium task with a Box of observations, which are stored flat. Those
            of an image task (uint8) are stored as they are: Atari games gray, 84 by 84, each frame
            by itself, with the number of frames that a reader stacks.
        act: The policy: a function, or what is told of episodes and rewards as well.
        path: The dataset to write.
        buffer_size: Transitions, exactly.
        policy: What the provenance says about a function, with a ``name``; None: its own name.
        num_envs: Environments stepped together, no more than `buffer_size`.
        seed: Environment i begins with seed + i; the generator has a seed of its own from it.
        overwrite: Replace an existing file.
        progress: Show a progress bar on stderr.
        make_arguments: Further keywords of ``gym.make``.
        frame_stack: How many frames the policy sees, in an image task of single ones.

    Returns:
        What the episodes were like.

    Raises:
        ValueError: The file cannot be written, or the task cannot be made.
    """
    lanes = min(num_envs, buffer_size)
    made_with = make_arguments or {}
    shape = recorded_shape(task, frame_stack, **made_with)
    makers = [lambda: make_environment(task, shape, **made_with)] * lanes
    env = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    space = env.single_action_space
    stored, stack_num = _stored(env, shape, frame_stack)
    if isinstance(act, Behaviour):
        behaviour = act
    else:
        function, generator = act, np.random.default_rng(seed)
        behaviour = Behaviour(
            lambda seen: function(seen, generator), description=policy or named(function)
        )
    try:
        with FlatBufferWriter(
            path, size=buffer_size, num_lanes=lanes, observation_size=stored,
            observation_dtype=np.float32 if shape is None else np.uint8, stack_num=stack_num,
            action_shape=space.shape or (), action_dtype=space.dtype or np.int64,
            overwrite=overwrite,
        ) as writer:  # fmt: skip
            episodes = drive(
                env,
                writer,
                behaviour,
                seed,
                see=flat if shape is None else unchanged,
                keep=newest_frame if stack_num > 1 else unchanged,
                progress=progress,
            )
            about = behaviour.description
            made = _provenance(task, env, about, seed, buffer_size, episodes)
            writer.finish(made | _image_layout(stored, stack_num) if shape is not None else made)
    finally:
        env.close()
    return episodes


def _stored(
    env: SyncVectorEnv, shape: tuple[int, ...] | None, frame_stack: int
) -> tuple[int | tuple[int, ...], int]:
    """What is stored of an observation: its length or the shape of a frame, and frames stacked."""
    if shape is None:
        return int(np.prod(env.single_observation_space.shape or ())), 1
    stacked = isinstance(env.envs[0], gym.wrappers.FrameStackObservation)
    return (shape[1:], frame_stack) if stacked else (shape, 1)


def _image_layout(frame: Any, stack_num: int) -> dict[str, Any]:
    """What a dataset of images says in the place of its flat layout."""
    part = {"key": "observation", "start": 0, "stop": int(np.prod(frame)), "shape": list(frame)}
    return {"layout": [part], "frame_stack": stack_num}


def named(function: Act) -> dict[str, Any]:
    """What a provenance says about a function that nobody described."""
    return {"name": getattr(function, "__name__", type(function).__name__)}


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
