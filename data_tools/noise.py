"""Uniformly random actions, alone or instead of some of a policy's."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

Actions = npt.NDArray[Any]


def random_actions(space: gym.Space[Any], lanes: int, generator: np.random.Generator) -> Actions:
    """One uniformly random action a lane.

    Args:
        space: A single lane's: Discrete, or a bounded Box of one axis.
        lanes: How many.
        generator: Where they are drawn from.

    Returns:
        int64 (lanes,), or float32 (lanes, A).
    """
    if isinstance(space, gym.spaces.Discrete):
        return int(space.start) + generator.integers(0, int(space.n), lanes)
    assert isinstance(space, gym.spaces.Box)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    return generator.uniform(low, high, (lanes, *space.shape)).astype(np.float32)


def replace_some(
    actions: Actions, space: gym.Space[Any], epsilon: float, generator: np.random.Generator
) -> Actions:
    """Actions with a share of `epsilon` of them, drawn by lot, replaced by random ones.

    Args:
        actions: One a lane, (lanes,) or (lanes, A).
        space: See `random_actions`.
        epsilon: Probability that a lane's action is replaced.
        generator: As many numbers are drawn from it whichever are replaced.
    """
    replaced = generator.random(len(actions)) < epsilon
    drawn = random_actions(space, len(actions), generator)
    return np.where(replaced.reshape(-1, *[1] * (actions.ndim - 1)), drawn, actions)
