"""Actors: raw observations in, actions of the environment out.

An actor is what is validated, tested, saved and exported: the normaliser, the networks that choose
an action, and the way back from [-1, 1] to the environment's box. It shares its networks with the
algorithm that trains them.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from tianshou.algorithm.algorithm_base import Policy
from tianshou.data import Batch
from torch import nn

from gym_trade.types import ACCOUNT_STATE_WIDTH
from offline_algos.networks import DeterministicNetwork, GaussianNetwork, ValueNetwork
from offline_algos.normalisation import Normaliser

# Of a flat market observation, whose end is the account: its second number is -1, 0 or 1.
DIRECTION_COLUMN = 1 - ACCOUNT_STATE_WIDTH


class Actor(nn.Module, abc.ABC):
    """What all actors share.

    Whoever steps an environment tells its actor: `begin` where lanes were reset, `observe` after
    each step. Most actors need neither; one that remembers an episode does.

    Args:
        normaliser: Applied to every observation.
        **arguments: What `build` needs to make the actor again, beside the normaliser: JSON-able.

    Attributes:
        kind: Its name in a checkpoint.
        arguments: As given.
    """

    kind: ClassVar[str]

    def __init__(self, normaliser: Normaliser, **arguments: Any) -> None:
        super().__init__()
        self.normaliser = normaliser
        self.arguments = arguments

    @classmethod
    @abc.abstractmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> Actor:
        """An actor of these arguments, its weights yet to be loaded."""

    @abc.abstractmethod
    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Actions for raw observations (B, D): int64 (B,), or float32 (B, A) of the box."""

    def begin(self, lanes: npt.NDArray[np.int64]) -> None:
        """Forget the episodes of these lanes, int64 (k,): new ones begin."""

    def observe(self, lanes: npt.NDArray[np.int64], rewards: npt.NDArray[np.float64]) -> None:
        """Note what the last actions of these lanes, int64 (k,), have earned, float64 (k,)."""


class ActionMasks(nn.Module):
    """Keeps an actor from actions that the environment would ignore.

    Which they are depends on the position alone, and that is in the observation: so whoever has
    the actor needs nothing else, be it a validation, an exported file or a live account.

    Args:
        rows: 0 for what is not allowed: a row for a flat, a long and a short position, as
            `gym_trade.VectorTradeEnv.direction_masks` has them. None: everything is allowed.
    """

    def __init__(self, rows: Sequence[Sequence[int]] | None) -> None:
        super().__init__()
        self.rows = None if rows is None else [list(map(int, row)) for row in rows]
        made = torch.tensor(self.rows or [[1]]) != 0
        self.register_buffer("allowed", made, persistent=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """What an actor's arguments say about it: nothing where there is none."""
        return {} if self.rows is None else {"masks": self.rows}

    def forward(self, values: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        """Values with -inf for what is not allowed.

        Args:
            values: Of the actions, (B, actions).
            observations: Raw, (B, D).
        """
        if self.rows is None:
            return values
        direction = observations[:, DIRECTION_COLUMN].to(values.device).round().long() % 3
        return values.masked_fill(~self.allowed[direction], -math.inf)  # type: ignore[index,operator]


class GreedyActor(Actor):
    """The discrete action with the highest value, or the likeliest one.

    Args:
        normaliser: Applied to every observation.
        network: Its values or logits; of quantiles the mean counts.
        masks: See `ActionMasks`.
    """

    kind = "greedy"

    def __init__(
        self,
        normaliser: Normaliser,
        network: ValueNetwork,
        masks: Sequence[Sequence[int]] | None = None,
    ) -> None:
        masked = ActionMasks(masks)
        super().__init__(normaliser, network=network.arguments, **masked.arguments)
        self.network, self.masks = network, masked

    @classmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> GreedyActor:
        """See `Actor.build`."""
        return cls(normaliser, ValueNetwork(**arguments["network"]), arguments.get("masks"))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """See `Actor.forward`."""
        values, _ = self.network(self.normaliser(observations))
        if values.ndim == 3:
            values = values.mean(2)
        return self.masks(values, observations).argmax(1)  # type: ignore[no-any-return]


class BoxActor(Actor):
    """An actor of continuous actions: its networks' [-1, 1] becomes the environment's box.

    Args:
        normaliser: Applied to every observation.
        low: Of the box, a number for each of the action's.
        high: Of the box.
        **arguments: See `Actor`.
    """

    def __init__(
        self, normaliser: Normaliser, low: list[float], high: list[float], **arguments: Any
    ) -> None:
        super().__init__(normaliser, low=low, high=high, **arguments)
        bottom, top = torch.tensor(low), torch.tensor(high)
        self.register_buffer("middle", (top + bottom) / 2)
        self.register_buffer("half_width", (top - bottom) / 2)

    def to_box(self, actions: torch.Tensor) -> torch.Tensor:
        """Actions of the box, float32 (B, A), for actions in [-1, 1]."""
        return actions * self.half_width + self.middle  # type: ignore[operator]


class NetworkActor(BoxActor):
    """An actor of one network, which a subclass names."""

    network_class: ClassVar[type[DeterministicNetwork | GaussianNetwork]]

    def __init__(
        self,
        normaliser: Normaliser,
        network: DeterministicNetwork | GaussianNetwork,
        low: list[float],
        high: list[float],
    ) -> None:
        super().__init__(normaliser, low, high, network=network.arguments)
        self.network = network

    @classmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> NetworkActor:
        """See `Actor.build`."""
        network = cls.network_class(**arguments.pop("network"))
        return cls(normaliser, network, **arguments)


class DeterministicActor(NetworkActor):
    """The action of a deterministic network."""

    kind, network_class = "deterministic", DeterministicNetwork

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """See `Actor.forward`."""
        return self.to_box(self.network(self.normaliser(observations))[0])


class GaussianActor(NetworkActor):
    """The mode of a squashed Gaussian: the tanh of its mean."""

    kind, network_class = "gaussian", GaussianNetwork

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """See `Actor.forward`."""
        (mean, _), _ = self.network(self.normaliser(observations))
        return self.to_box(torch.tanh(mean))


class ActorPolicy(Policy):
    """An actor as a Tianshou policy, for its Collector: nothing is scaled or explored.

    Args:
        actor: The actor.
        action_space: The environment's.
    """

    def __init__(self, actor: Actor, action_space: gym.Space[Any]) -> None:
        super().__init__(action_space=action_space, action_scaling=False, action_bound_method=None)
        self.actor = actor

    @torch.no_grad()
    def forward(self, batch: Any, state: Any = None, **keywords: Any) -> Any:
        """``act`` for ``batch.obs``, raw observations (B, D)."""
        device = self.actor.normaliser.mean.device
        observations = torch.as_tensor(np.asarray(batch.obs), device=device)
        return Batch(act=self.actor(observations).cpu().numpy(), state=state)
