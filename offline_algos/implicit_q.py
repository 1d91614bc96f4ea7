"""Implicit Q-Learning (Kostrikov et al. 2021, arXiv:2110.06169), whatever the actions are."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import torch
from tianshou.algorithm.algorithm_base import (
    LaggedNetworkPolyakUpdateAlgorithmMixin,
    OfflineAlgorithm,
    Policy,
    TrainingStats,
)
from tianshou.algorithm.optim import OptimizerFactory
from torch import nn
from torch.nn.functional import mse_loss

from offline_algos.updates import TensorUpdates, batch_loss, batch_mean, give_back


@dataclass(kw_only=True)
class IQLTrainingStats(TrainingStats):
    """Losses of a step; `critic_loss` is the sum of both critics'."""

    value_loss: float
    actor_loss: float
    critic_loss: float


def expectile_loss(gap: torch.Tensor, expectile: float, batch: Any = None) -> torch.Tensor:
    """Mean of |expectile - 1(gap < 0)| gap^2 (equation 5): a number; see `batch_mean`."""
    return batch_mean((expectile - (gap < 0.0).to(gap.dtype)).abs() * gap.square(), batch)


class ImplicitQLearning(
    TensorUpdates, OfflineAlgorithm[Any], LaggedNetworkPolyakUpdateAlgorithmMixin
):
    """Implicit Q-Learning: no value of an action that the data does not show is ever asked for.

    With Q the lesser of two target networks at the recorded action, a step minimises

        L_V  = E[ |expectile - 1(Q - V(s) < 0)| (Q - V(s))^2 ]            (equation 5)
        L_Q  = E[ (r + discount V(s') - Q_i(s, a))^2 ], i = 1, 2          (equation 6)
        L_pi = E[ -min(exp(temperature (Q - V(s))), advantage_clip) log pi(a|s) ]   (equation 7)

    in the order of the authors' code: value, actor, critics, target networks. Actor and critics see
    the value after its step, and the actor the target networks before theirs. The authors also let
    the actor's learning rate fall to 0 along a cosine; here it stays, so that a run can be made
    longer. Tianshou has no IQL. A subclass says how its networks are asked.

    Args:
        policy: Its parameters are the actor's.
        policy_optim: Of the actor.
        critic: Of observations and actions.
        critic2: The second one, with weights of its own.
        critic_optim: Of both critics.
        value: Of observations.
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
        policy: Policy,
        policy_optim: OptimizerFactory,
        critic: nn.Module,
        critic2: nn.Module,
        critic_optim: OptimizerFactory,
        value: nn.Module,
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

    @abc.abstractmethod
    def _action_value(self, critic: nn.Module, batch: Any) -> torch.Tensor:
        """A critic's value of the recorded actions, (B, 1)."""

    @abc.abstractmethod
    def _state_value(self, obs: torch.Tensor) -> torch.Tensor:
        """The value of observations, (B, 1)."""

    @abc.abstractmethod
    def _log_likelihood(self, batch: Any) -> torch.Tensor:
        """How likely the actor finds the recorded actions, (B,)."""

    def _update_with_batch(self, batch: Any) -> IQLTrainingStats:
        with torch.no_grad():
            # the modules inside the wrappers, which would walk over their networks at each call
            lesser = torch.minimum(
                self._action_value(self.critic_old.module, batch),
                self._action_value(self.critic2_old.module, batch),
            )
        value_loss = expectile_loss(lesser - self._state_value(batch.obs), self.expectile, batch)
        self.value_optim.step(value_loss)

        with torch.no_grad():
            advantage = (lesser - self._state_value(batch.obs)).squeeze(1)
            weight = (self.temperature * advantage).exp().clamp(max=self.advantage_clip)
            following = self._state_value(batch.obs_next).squeeze(1)
            target = (batch.rew + batch.discount * following).unsqueeze(1)
        actor_loss = -batch_mean(weight * self._log_likelihood(batch), batch)
        self.policy_optim.step(actor_loss)

        value1, value2 = (
            self._action_value(critic, batch) for critic in (self.critic, self.critic2)
        )
        critic_loss = batch_loss(mse_loss, value1, target, batch)
        critic_loss = critic_loss + batch_loss(mse_loss, value2, target, batch)
        self.critic_optim.step(critic_loss)
        self._update_lagged_network_weights()
        give_back(batch, target, value1, value2)
        return IQLTrainingStats(
            value_loss=value_loss.item(),
            actor_loss=actor_loss.item(),
            critic_loss=critic_loss.item(),
        )
