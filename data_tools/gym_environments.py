"""Gymnasium tasks made as a dataset's observations want them: stacked frames, Atari games."""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import Any

import gymnasium as gym
import numpy as np

ATARI_NAMESPACE = "ALE/"
# Frames an action is repeated for, as in Mnih et al. 2015 (doi:10.1038/nature14236).
ATARI_FRAME_SKIP = 4
ATARI_SIZE = 84
COLOURS = 3


def make_environment(
    task: str, observation_shape: tuple[int, ...] | None = None, **arguments: Any
) -> gym.Env[Any, Any]:
    """Make a registered task.

    Atari games get Gymnasium's ``AtariPreprocessing`` (gray frames, four of them an action), and
    frames are stacked where stacks are asked for.

    Args:
        task: Its id.
        observation_shape: What observations are to look like: a single frame, (height, width), or
            several, (frames, height, width). None: as the task's own.
        **arguments: Of ``gym.make``.

    Raises:
        ValueError: There is no such task, something that it needs is not installed, or its
            observations cannot be made to look so.
    """
    try:
        return _make(task, observation_shape, arguments)
    except (gym.error.Error, ImportError) as error:
        raise ValueError(f"--task {task}: {_missing(task, error)}") from error


def is_atari(task: str) -> bool:
    """Whether a registered task is a game of the Arcade Learning Environment.

    Raises:
        gymnasium.error.Error: There is no such task.
    """
    if task not in gym.registry and importlib.util.find_spec("ale_py") is not None:
        import ale_py  # registers its games

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # else it greets on stderr
    return str(gym.spec(task).entry_point).startswith("ale_py")


def quiet_mujoco() -> None:
    """Let MuJoCo say on standard error, once each, what a user can do something about.

    Left to itself it says at every environment that Gymnasium's models use a deprecated attribute,
    and also writes that into a file MUJOCO_LOG.TXT in the current folder.
    """
    if importlib.util.find_spec("mujoco") is None:
        return  # whoever makes the task is told
    import mujoco

    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_mujoco_warning)


def _mujoco_warning(text: str) -> None:
    kind = re.sub(r"[\d.]+", "", text)  # an unstable simulation says at what time it became so
    if "is deprecated" not in text and kind not in _MUJOCO_SAID:
        _MUJOCO_SAID.add(kind)
        print(f"MuJoCo: {text}", file=sys.stderr)


_MUJOCO_SAID: set[str] = set()


def _make(task: str, shape: tuple[int, ...] | None, arguments: dict[str, Any]) -> gym.Env[Any, Any]:
    gray = is_atari(task) and shape is not None and shape[-1] > COLOURS
    if "mujoco" in str(gym.spec(task).entry_point):
        quiet_mujoco()
    env = gym.make(task, **(({"frameskip": 1} if gray else {}) | arguments))
    if shape is None:
        return env
    if gray:
        size = (shape[-1], shape[-2])
        env = gym.wrappers.AtariPreprocessing(env, frame_skip=ATARI_FRAME_SKIP, screen_size=size)
    own = env.observation_space.shape
    if own != shape and own == shape[1:]:
        env = gym.wrappers.FrameStackObservation(env, shape[0])
    if env.observation_space.shape != shape:
        env.close()
        raise ValueError(
            f"--task {task}: its observations have shape {own}, the dataset's {shape}, which is "
            "not a stack of them. Name the task that the dataset was made in."
        )
    return env


def recorded_shape(task: str, stack: int, **arguments: Any) -> tuple[int, ...] | None:
    """What observations are recorded as: stacks of frames of an image task, or None.

    Args:
        task: Its id.
        stack: Frames in a stack, where the task has single ones.
        **arguments: Of ``gym.make``.

    Raises:
        ValueError: As for `make_environment`.
    """
    env = make_environment(task, **arguments)
    space = env.observation_space
    env.close()
    if space.dtype != np.uint8 or not space.shape or len(space.shape) == 1:
        return None
    if is_atari(task):
        return (stack, ATARI_SIZE, ATARI_SIZE)
    return (stack, *space.shape) if len(space.shape) == 2 else space.shape


def _missing(task: str, error: Exception) -> str:
    """What is missing for a task, and how to get it."""
    reason = str(error).splitlines()[0]
    install = "Install it with: python -m pip install -e '.[{}]'"
    if isinstance(error, gym.error.DependencyNotInstalled) and "mujoco" in reason.lower():
        return f"MuJoCo is not installed. {install.format('mujoco')}"
    if isinstance(error, gym.error.DependencyNotInstalled) and "opencv" in reason.lower():
        return f"OpenCV, which shrinks its frames, is not installed. {install.format('atari')}"
    if task.startswith(ATARI_NAMESPACE) and importlib.util.find_spec("ale_py") is None:
        return f"the Arcade Learning Environment is not installed. {install.format('atari')}"
    return f"{reason} Name a registered Gymnasium task, or install what it needs."
