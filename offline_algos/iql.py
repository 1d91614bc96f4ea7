"""Implicit Q-Learning (Kostrikov et al. 2021, arXiv:2110.06169), continuous."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import torch
from tianshou.algorithm.algorithm_base import Policy
from tianshou.data import Batch
from torch import nn

from offline_algos.implicit_q import ImplicitQLearning
from offline_algos.networks import DeterministicNetwork

# Of the logarithm of the policy's deviation, as in the authors' code.
LOG_STD_RANGE = (-5.0, 2.0)
HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


class IQLPolicy(Policy):
    """A Gaussian around a mean in [-1, 1], with one deviation an action number for all states.

    It is the authors' choice, and the better founded one for recorded actions: those on the edge
    of the box, such as a full position, have a density like all others, where that of a squashed
    Gaussian is infinite or zero. Acting, it plays the mean; `candidates` has another way.

    Args:
        actor: The mean.
        action_space: The environment's.
        observation_space: The environment's.
    """

    def __init__(
        self,
        *,
        actor: DeterministicNetwork,
        action_space: gym.spaces.Box,
        observation_space: gym.Space[Any] | None = None,
    ) -> None:
        super().__init__(
            action_space=action_space,
            observation_space=observation_space,
            action_scaling=True,
            action_bound_method=None,
        )
        self.actor = actor
        self.log_std = nn.Parameter(torch.zeros(actor.head.out_features))

    def log_prob(self, obs: torch.Tensor, act: torch.Tensor) -> torch.Tensor:
        """Log-densities (B,) of actions (B, A) in normalised observations (B, D)."""
        mean, _ = self.actor(obs)
        log_std = self.log_std.clamp(*LOG_STD_RANGE)
        density = -0.5 * ((act - mean) * (-log_std).exp()).square() - log_std - HALF_LOG_2_PI
        return density.sum(-1)

    @torch.no_grad()
    def forward(self, batch: Any, state: Any = None, **keywords: Any) -> Any:
        """``act`` in [-1, 1], float32 (B, A), for ``batch.obs``, normalised observations (B, D)."""
        obs = torch.as_tensor(batch.obs, device=self.log_std.device)
        act, state = self.actor(obs, state)
        return Batch(act=act, state=state)


class IQL(ImplicitQLearning):
    """IQL with continuous actions; see `ImplicitQLearning`.

    The policy is an `IQLPolicy`, the critics are `Critic` networks, and the value is one of the
    observation alone, ``action_width=0``.
    """

    def _action_value(self, critic: nn.Module, batch: Any) -> torch.Tensor:
        values: torch.Tensor = critic(batch.obs, batch.act)
        return values

    def _state_value(self, obs: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.value(obs)
        return values

    def _log_likelihood(self, batch: Any) -> torch.Tensor:
        likelihoods: torch.Tensor = self.policy.log_prob(batch.obs, batch.act)
        return likelihoods
