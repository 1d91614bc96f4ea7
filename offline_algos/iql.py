"""Implicit Q-Learning (Kostrikov et al. 2021, arXiv:2110.06169), continuous."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
from tianshou.algorithm.algorithm_base import (
    LaggedNetworkPolyakUpdateAlgorithmMixin,
    OfflineAlgorithm,
    Policy,
    TrainingStats,
)
from tianshou.algorithm.optim import OptimizerFactory
from tianshou.data import Batch
from torch import nn
from torch.nn.functional import mse_loss

from offline_algos.networks import Critic, DeterministicNetwork
from offline_algos.updates import TensorUpdates

# Of the logarithm of the policy's deviation, as in the authors' code.
LOG_STD_RANGE = (-5.0, 2.0)
HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(kw_only=True)
class IQLTrainingStats(TrainingStats):
    """Losses of a step; `critic_loss` is the sum of both critics'."""

    value_loss: float
    actor_loss: float
    critic_loss: float


def expectile_loss(gap: torch.Tensor, expectile: float) -> torch.Tensor:
    """Mean of |expectile - 1(gap < 0)| gap^2 (equation 5): a number."""
    return ((expectile - (gap < 0.0).to(gap.dtype)).abs() * gap.square()).mean()


class IQLPolicy(Policy):
    """A Gaussian around a mean in [-1, 1], with one deviation an action number for all states.

    It is the authors' choice, and the better founded one for recorded actions: those on the edge
    of the box, such as a full position, have a density like all others, where that of a squashed
    Gaussian is infinite or zero. Acting, it plays the mean.

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


class IQL(TensorUpdates, OfflineAlgorithm[IQLPolicy], LaggedNetworkPolyakUpdateAlgorithmMixin):
    """Implicit Q-Learning: no value of an action that the data does not show is ever asked for.

    With Q the lesser of two target networks at the recorded action, a step minimises

        L_V  = E[ |expectile - 1(Q - V(s) < 0)| (Q - V(s))^2 ]            (equation 5)
        L_Q  = E[ (r + discount V(s') - Q_i(s, a))^2 ], i = 1, 2          (equation 6)
        L_pi = E[ -min(exp(temperature (Q - V(s))), advantage_clip) log pi(a|s) ]   (equation 7)

    in the order of the authors' code: value, actor, critics, target networks. Actor and critics see
    the value after its step, and the actor the target networks before theirs. The authors also let
    the actor's learning rate fall to 0 along a cosine; here it stays, so that a run can be made
    longer. Tianshou has no IQL.

    Args:
        policy: See `IQLPolicy`.
        policy_optim: Of the actor and its deviation.
        critic: Of observation and action.
        critic2: The second one, with weights of its own.
        critic_optim: Of both critics.
        value: A `Critic` of the observation alone, ``action_width=0``.
        value_optim: Of the value.
        gamma: Discount, 0 to 1.
        tau: Part of the way that the target networks go in a step, above 0 and at most 1.
        expectile: Between 0 and 1; towards 1 the value is that of the best action in the data.
        temperature: Factor of the advantage, at least 0; with 0 the actor clones the behaviour. It
            is the paper's beta, which multiplies, not the divisor that CRR has.
        advantage_clip: Greatest weight of an action, above 0.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        *,
        policy: IQLPolicy,
        policy_optim: OptimizerFactory,
        critic: Critic,
        critic2: Critic,
        critic_optim: OptimizerFactory,
        value: Critic,
        value_optim: OptimizerFactory,
        gamma: float = 0.99,
        tau: float = 0.005,
        expectile: float = 0.7,
        temperature: float = 3.0,
        advantage_clip: float = 100.0,
    ) -> None:
        for name, number, fits, allowed in (
            ("gamma", gamma, 0.0 <= gamma <= 1.0, "0 to 1"),
            ("tau", tau, 0.0 < tau <= 1.0, "above 0, at most 1"),
            ("expectile", expectile, 0.0 < expectile < 1.0, "between 0 and 1"),
            ("temperature", temperature, temperature >= 0.0, "at least 0"),
            ("advantage_clip", advantage_clip, advantage_clip > 0.0, "above 0"),
        ):
            if not fits:
                raise ValueError(f"{name}={number}: expected a number {allowed}.")
        super().__init__(policy=policy)
        LaggedNetworkPolyakUpdateAlgorithmMixin.__init__(self, tau=tau)
        self.critic, self.critic2, self.value = critic, critic2, value
        self.critic_old = self._add_lagged_network(critic)
        self.critic2_old = self._add_lagged_network(critic2)
        self.policy_optim = self._create_optimizer(policy, policy_optim)
        self.critic_optim = self._create_optimizer(nn.ModuleList([critic, critic2]), critic_optim)
        self.value_optim = self._create_optimizer(value, value_optim)
        self.gamma, self.expectile = gamma, expectile
        self.temperature, self.advantage_clip = temperature, advantage_clip

    def _update_with_batch(self, batch: Any) -> IQLTrainingStats:
        obs, act = batch.obs, batch.act
        with torch.no_grad():
            # the modules inside the wrappers, which would walk over their networks at each call
            old1, old2 = self.critic_old.module, self.critic2_old.module
            lesser = torch.minimum(old1(obs, act), old2(obs, act))
        value_loss = expectile_loss(lesser - self.value(obs), self.expectile)
        self.value_optim.step(value_loss)

        with torch.no_grad():
            advantage = (lesser - self.value(obs)).squeeze(1)
            weight = (self.temperature * advantage).exp().clamp(max=self.advantage_clip)
            following = self.value(batch.obs_next).squeeze(1)
            target = (batch.rew + batch.discount * following).unsqueeze(1)
        actor_loss = -(weight * self.policy.log_prob(obs, act)).mean()
        self.policy_optim.step(actor_loss)

        critic_loss = mse_loss(self.critic(obs, act), target)
        critic_loss = critic_loss + mse_loss(self.critic2(obs, act), target)
        self.critic_optim.step(critic_loss)
        self._update_lagged_network_weights()
        return IQLTrainingStats(
            value_loss=value_loss.item(),
            actor_loss=actor_loss.item(),
            critic_loss=critic_loss.item(),
        )
