"""Controllers written by hand for CartPole and Pendulum: what the methods' data is made with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Observations = npt.NDArray[np.float32]
Noise = float | npt.NDArray[np.float64]


def balance(
    observations: Observations, generator: np.random.Generator, noise: Noise = 0.0
) -> npt.NDArray[np.int64]:
    """CartPole: push towards where the pole falls, `noise` of the time anywhere.

    Args:
        observations: float32 (n, 4).
        generator: Draws the noise.
        noise: For all, or one for each of the n.

    Returns:
        int64 (n,).
    """
    _, speed, angle, turning = observations.T
    actions = (angle + 0.25 * turning + 0.02 * speed > 0).astype(np.int64)
    anywhere = generator.random(len(actions)) < noise
    return np.where(anywhere, generator.integers(0, 2, len(actions)), actions)


def lean(
    observations: Observations, generator: np.random.Generator, balanced: int = 3
) -> npt.NDArray[np.int64]:
    """CartPole: the first `balanced` of them balance with noise, the others mostly push right.

    In most states most of the data is wrong: who imitates it falls.
    """
    actions = balance(observations, generator, 0.3)
    right = (generator.random(len(actions)) < 0.8).astype(np.int64)
    return np.where(np.arange(len(actions)) < balanced, actions, right)


def swing_up(
    observations: Observations, generator: np.random.Generator, noise: Noise = 0.0
) -> npt.NDArray[Any]:
    """Pendulum: pump energy until it is upright, then hold it; `noise` of the time any torque.

    Args:
        observations: float32 (n, 3).
        generator: Draws the noise.
        noise: For all, or one for each of the n.

    Returns:
        float32 (n, 1).
    """
    cosine, sine, turning = observations.T
    energy = 0.5 * turning**2 / 3 + 5 * (cosine - 1)  # zero at rest upright
    pump = -2.0 * np.sign(energy * turning + 1e-9)
    hold = -(12 * np.arctan2(sine, cosine) + 3 * turning)
    torque = np.clip(np.where(cosine > 0.85, hold, pump), -2.0, 2.0)
    anywhere = generator.random(len(torque)) < noise
    torque = np.where(anywhere, generator.uniform(-2, 2, len(torque)), torque)
    return torque[:, None].astype(np.float32)
