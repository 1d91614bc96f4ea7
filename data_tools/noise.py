"""Uniformly random actions, alone or instead of some of a policy's, and how likely each was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

Actions = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Mask = npt.NDArray[Any]  # int8 or bool (lanes, actions), 0 where an action is not allowed


def random_actions(
    space: gym.Space[Any], lanes: int, generator: np.random.Generator, mask: Mask | None = None
) -> Actions:
    """One uniformly random action a lane.

    Args:
        space: A single lane's: Discrete, or a bounded Box of one axis.
        lanes: How many.
        generator: Where they are drawn from.
        mask: Which actions each lane may take, (lanes, actions); None: all.

    Returns:
        int64 (lanes,), or float32 (lanes, A).
    """
    if mask is not None:
        counts = np.cumsum(mask != 0, axis=1)
        wanted = np.floor(generator.random(lanes) * counts[:, -1])
        return np.asarray((counts > wanted[:, None]).argmax(axis=1), np.int64)
    if isinstance(space, gym.spaces.Discrete):
        return int(space.start) + generator.integers(0, int(space.n), lanes)
    assert isinstance(space, gym.spaces.Box)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    return generator.uniform(low, high, (lanes, *space.shape)).astype(np.float32)


def random_probability(space: gym.Space[Any], lanes: int, mask: Mask | None = None) -> Float64:
    """How likely `random_actions` was to draw what it drew, float64 (lanes,).

    A probability of discrete actions, a density over the box of continuous ones.
    """
    if mask is not None:
        return np.asarray(1.0 / (mask != 0).sum(axis=1))
    if isinstance(space, gym.spaces.Discrete):
        return np.full(lanes, 1.0 / int(space.n))
    assert isinstance(space, gym.spaces.Box)
    sides = space.high.astype(np.float64) - space.low.astype(np.float64)
    return np.full(lanes, 1.0 / float(np.prod(sides)))


def replace_some(
    actions: Actions,
    space: gym.Space[Any],
    epsilon: float,
    generator: np.random.Generator,
    mask: Mask | None = None,
) -> Actions:
    """Actions with a share of `epsilon` of them, drawn by lot, replaced by random ones.

    Args:
        actions: One a lane, (lanes,) or (lanes, A).
        space: See `random_actions`.
        epsilon: Probability that a lane's action is replaced.
        generator: As many numbers are drawn from it whichever are replaced.
        mask: See `random_actions`.
    """
    replaced = generator.random(len(actions)) < epsilon
    drawn = random_actions(space, len(actions), generator, mask)
    return np.where(replaced.reshape(-1, *[1] * (actions.ndim - 1)), drawn, actions)


def same_actions(first: Actions, second: Actions) -> npt.NDArray[np.bool_]:
    """On which lanes two batches of actions agree, bool (lanes,)."""
    return np.asarray((first == second).reshape(len(first), -1).all(axis=1))


def log_of(probability: Float64) -> Float32:
    """Natural logarithms, float32; of 0 the lowest float32, so that files hold finite numbers."""
    with np.errstate(divide="ignore"):
        logarithm = np.log(probability)
    return np.maximum(logarithm, np.finfo(np.float32).min).astype(np.float32)


class EpsilonNoise:
    """Replaces some of a policy's actions, and says how likely the outcome was.

    With continuous actions a policy that is certain of its own keeps a *mass* of ``1 - epsilon`` on
    it, while whatever else was drawn has a *density* of `epsilon` over the box's volume: the two
    are not of one kind, and whoever weights by them must look at which one a row holds.

    Args:
        space: See `random_actions`.
        epsilon: Probability that a lane's action is replaced; 0 draws nothing.
        generator: Of what is replaced and by what.
        mask: What each lane may do now; None: everything.
    """

    def __init__(
        self,
        space: gym.Space[Any],
        epsilon: float,
        generator: np.random.Generator,
        mask: Callable[[], Mask | None] = lambda: None,
    ) -> None:
        self._space, self._epsilon, self._generator, self._mask = space, epsilon, generator, mask

    def __call__(self, actions: Actions) -> Actions:
        """These actions, some of them replaced."""
        if self._epsilon == 0.0:
            return actions
        return replace_some(actions, self._space, self._epsilon, self._generator, self._mask())

    def probability(
        self, taken: Actions, own: Float64, certain: npt.NDArray[np.bool_] | bool = True
    ) -> Float64:
        """How likely the actions taken were, float64 (lanes,).

        Args:
            taken: What became of the policy's actions.
            own: How likely the policy alone was to take them, float64 (lanes,).
            certain: Where the policy has no choice, so that `own` is 1 or 0.
        """
        if self._epsilon == 0.0:
            return own
        drawn = random_probability(self._space, len(taken), self._mask())
        mixed = (1.0 - self._epsilon) * own + self._epsilon * drawn
        if isinstance(self._space, gym.spaces.Discrete):
            return mixed
        return np.where(certain & (own > 0.0), (1.0 - self._epsilon) * own, mixed)
