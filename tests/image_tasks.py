"""A small image task, and datasets of it in the layouts that Tianshou writes."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
from tianshou.data import Batch, ReplayBuffer

STACK, SIDE, LIMIT = 4, 36, 11
FRAMES = "ImageFrames-v0"


class ImageFrames(gym.Env[Any, Any]):
    """Frames that differ from each other; the action is paid by its number."""

    def __init__(self, continuous: bool = False, side: int = SIDE, actions: int = 3) -> None:
        box = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)
        self.action_space = box if continuous else gym.spaces.Discrete(actions)
        self.observation_space = gym.spaces.Box(0, 255, (side, side), np.uint8)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._frame(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        died = bool(self.np_random.random() < 0.1)
        return self._frame(), float(np.sum(action)), died, self._steps >= LIMIT, {}

    def _frame(self) -> np.ndarray:
        return self.np_random.integers(0, 256, self.observation_space.shape, np.uint8)


def register() -> None:
    """Let Gymnasium know the task."""
    if FRAMES not in gym.registry:
        gym.register(FRAMES, entry_point=ImageFrames)


def walk(rows: int) -> list[dict[str, Any]]:
    """Transitions with stacks of frames, as an environment that stacks them gives them."""
    env, rng = ImageFrames(), np.random.default_rng(0)
    made: list[dict[str, Any]] = []
    over, stack = True, deque[np.ndarray](maxlen=STACK)
    while len(made) < rows:
        if over:
            frame, _ = env.reset(seed=len(made))
            stack.extend([frame] * STACK)
        before, action = np.stack(stack), int(rng.integers(3))
        frame, reward, died, late, _ = env.step(action)
        stack.append(frame)
        over = died or late
        made.append({
            "obs": before, "act": action, "rew": reward, "terminated": died,
            "truncated": late and not died, "obs_next": np.stack(stack), "info": {},
        })  # fmt: skip
    return made


def fill(buffer: ReplayBuffer, transitions: list[dict[str, Any]]) -> ReplayBuffer:
    """The buffer with these transitions."""
    for transition in transitions:
        buffer.add(Batch(**transition))
    return buffer


def save(buffer: ReplayBuffer, path: Path) -> Path:
    """Save as Tianshou does, but for the random state, which it pickles."""
    buffer.save_hdf5(str(path))
    with h5py.File(path, "r+") as root:
        del root["_random_state"]
    return path
