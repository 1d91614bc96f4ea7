"""Implicit Q-Learning of discrete actions (Kostrikov et al. 2021, arXiv:2110.06169)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tianshou.algorithm.algorithm_base import (
    LaggedNetworkPolyakUpdateAlgorithmMixin,
    OfflineAlgorithm,
)
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy, SimpleLossTrainingStats
from tianshou.algorithm.optim import OptimizerFactory
from torch import nn
from torch.nn import functional

from offline_algos.iql import expectile_loss
from offline_algos.networks import ValueNetwork
from offline_algos.updates import TensorUpdates


@dataclass(kw_only=True)
class DiscreteIQLTrainingStats(SimpleLossTrainingStats):
    """Losses of a step; ``loss`` is their sum."""

    value_loss: float
    actor_loss: float
    critic_loss: float


class DiscreteIQL(
    TensorUpdates,
    OfflineAlgorithm[DiscreteActorPolicy],
    LaggedNetworkPolyakUpdateAlgorithmMixin,
):
    """Implicit Q-Learning: no value of an action that the data does not show is ever asked for.

    With Q the lesser of two target networks at the data's action, a step minimises

        L_V  = E[ |expectile - 1(Q - V(s) < 0)| (Q - V(s))^2 ]            (equation 5)
        L_Q  = E[ (r + discount V(s') - Q_i(s, a))^2 ], i = 1, 2          (equation 6)
        L_pi = E[ -min(exp(temperature (Q - V(s))), advantage_clip) log pi(a|s) ]   (equation 7)

    in the order of the authors' code: value, actor, critics, target networks. Actor and critics see
    the value after its step, and the actor the target networks before theirs.

    The paper has continuous actions; with discrete ones the networks give the values of all actions
    at once, and pi is a softmax.

    Args:
        policy: Its actor returns logits (B, actions), and a state.
        policy_optim: Of the actor.
        critic: From observations to values (B, actions), and a state.
        critic2: The second one; it shares nothing with the first.
        critic_optim: Of both critics.
        value: From observations to (B, 1), and a state.
        value_optim: Of the value.
        gamma: Discount, 0 to 1.
        tau: Part of the way that the target networks go in a step, above 0 and at most 1.
        expectile: Between 0 and 1; towards 1 the value is that of the best action in the data.
        temperature: Factor of the advantage, at least 0; with 0 the actor clones the behaviour. It
            is the paper's beta, which multiplies, not the divisor that CRR has.
        advantage_clip: Largest weight of an action, above 0.

    Raises:
        ValueError: One of the numbers is out of its range.
    """

    def __init__(
        self,
        *,
        policy: DiscreteActorPolicy,
        policy_optim: OptimizerFactory,
        critic: ValueNetwork,
        critic2: ValueNetwork,
        critic_optim: OptimizerFactory,
        value: ValueNetwork,
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

    def _update_with_batch(self, batch: Any) -> DiscreteIQLTrainingStats:
        columns = batch.act.unsqueeze(1)
        with torch.no_grad():
            first, _ = self.critic_old(batch.obs)
            second, _ = self.critic2_old(batch.obs)
            lesser = torch.minimum(first.gather(1, columns), second.gather(1, columns))
        value_loss = expectile_loss(lesser - self.value(batch.obs)[0], self.expectile)
        self.value_optim.step(value_loss)

        with torch.no_grad():
            advantage = (lesser - self.value(batch.obs)[0]).squeeze(1)
            weights = (self.temperature * advantage).exp().clamp(max=self.advantage_clip)
            following = self.value(batch.obs_next)[0].squeeze(1)
            returns = (batch.rew + batch.discount * following).unsqueeze(1)
        logits, _ = self.policy.actor(batch.obs)
        surprise = functional.cross_entropy(logits, batch.act, reduction="none")
        actor_loss = (weights * surprise).mean()
        self.policy_optim.step(actor_loss)

        first, second = (critic(batch.obs)[0] for critic in (self.critic, self.critic2))
        critic_loss = functional.mse_loss(first.gather(1, columns), returns)
        critic_loss = critic_loss + functional.mse_loss(second.gather(1, columns), returns)
        self.critic_optim.step(critic_loss)
        self._update_lagged_network_weights()
        losses = value_loss.item(), actor_loss.item(), critic_loss.item()
        return DiscreteIQLTrainingStats(
            loss=sum(losses), value_loss=losses[0], actor_loss=losses[1], critic_loss=losses[2]
        )
