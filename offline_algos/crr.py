"""Critic Regularized Regression (Wang et al. 2020, arXiv:2006.15134), continuous."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tianshou.algorithm.algorithm_base import (
    LaggedNetworkPolyakUpdateAlgorithmMixin,
    OfflineAlgorithm,
    TrainingStats,
)
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.algorithm.optim import OptimizerFactory
from torch import nn
from torch.nn.functional import mse_loss

from offline_algos import squashed_gaussian
from offline_algos.discrete_crr import MODES
from offline_algos.networks import Critic
from offline_algos.updates import TensorUpdates, batch_loss, batch_mean, give_back

ADVANTAGES = ("mean", "max")


def check(*arguments: tuple[str, Any, bool, str]) -> None:
    """Raise ValueError for the first (name, value, fits, what is expected) that does not fit."""
    for name, value, fits, expected in arguments:
        if not fits:
            raise ValueError(f"{name}={value!r}: expected {expected}.")


@dataclass(kw_only=True)
class CRRTrainingStats(TrainingStats):
    """Losses of a step, and how much of the data the actor imitates.

    Attributes:
        weight: Mean weight of the recorded actions; 1 is behaviour cloning.
    """

    actor_loss: float
    critic_loss: float
    weight: float


class CRR(TensorUpdates, OfflineAlgorithm[SACPolicy], LaggedNetworkPolyakUpdateAlgorithmMixin):
    """Critic Regularized Regression with a squashed Gaussian; Tianshou has the discrete one only.

    With Q the lesser of two critics, a step minimises

        L_pi = E[ -f(A) log pi(a|s) ]
        L_Q  = E[ (r + discount Q'(s', a') - Q_i(s, a))^2 ], i = 1, 2,   a' ~ pi'(s')

    (section 3 and algorithm 1) where Q' and pi' are target networks, f is ``1[A > 0]`` or
    ``exp(A / beta)``, at most `ratio_upper_bound`, and A is estimated from `num_samples` actions of
    the policy: Q(s, a) less the mean or the greatest of their values. f has no gradient. Two
    critics and their minimum stand for the paper's distributional one, and a squashed Gaussian for
    its mixture; recorded actions on the edge of [-1, 1] count as `squashed_gaussian.EDGE` inside.

    Args:
        policy: Of a `GaussianNetwork`.
        policy_optim: Of the actor.
        critic: Of observation and action.
        critic2: The second one, with weights of its own.
        critic_optim: Of both critics.
        gamma: Discount, 0 to 1.
        tau: Part of the way that the target networks go in a step, above 0 and at most 1.
        policy_improvement_mode: f: "exp", "binary", or "all": 1, behaviour cloning.
        ratio_upper_bound: Greatest weight with "exp", above 0.
        beta: Divisor of the advantage with "exp", above 0; small ones imitate the best only.
        advantage: What A is relative to: "mean" or "max" of the policy's actions.
        num_samples: Actions of the policy an observation, at least 1.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        *,
        policy: SACPolicy,
        policy_optim: OptimizerFactory,
        critic: Critic,
        critic2: Critic,
        critic_optim: OptimizerFactory,
        gamma: float = 0.99,
        tau: float = 0.005,
        policy_improvement_mode: str = "exp",
        ratio_upper_bound: float = 20.0,
        beta: float = 1.0,
        advantage: str = "mean",
        num_samples: int = 4,
    ) -> None:
        check(
            ("gamma", gamma, 0.0 <= gamma <= 1.0, "0 to 1"),
            ("tau", tau, 0.0 < tau <= 1.0, "above 0, at most 1"),
            ("policy_improvement_mode", policy_improvement_mode,
             policy_improvement_mode in MODES, f"one of {MODES}"),
            ("ratio_upper_bound", ratio_upper_bound, ratio_upper_bound > 0.0, "above 0"),
            ("beta", beta, beta > 0.0, "above 0"),
            ("advantage", advantage, advantage in ADVANTAGES, f"one of {ADVANTAGES}"),
            ("num_samples", num_samples, num_samples >= 1, "at least 1"),
        )  # fmt: skip
        super().__init__(policy=policy)
        LaggedNetworkPolyakUpdateAlgorithmMixin.__init__(self, tau=tau)
        self.critic, self.critic2 = critic, critic2
        self.actor_old = self._add_lagged_network(policy.actor)
        self.critic_old = self._add_lagged_network(critic)
        self.critic2_old = self._add_lagged_network(critic2)
        self.policy_optim = self._create_optimizer(policy, policy_optim)
        self.critic_optim = self._create_optimizer(nn.ModuleList([critic, critic2]), critic_optim)
        self.gamma, self.beta, self.ratio_upper_bound = gamma, beta, ratio_upper_bound
        self.policy_improvement_mode = policy_improvement_mode
        self.advantage, self.num_samples = advantage, num_samples

    def _update_with_batch(self, batch: Any) -> CRRTrainingStats:
        target = self._target(batch)
        (mean, std), _ = self.policy.actor(batch.obs)
        # the critics read the observations once, for their own step and for the actor's weights
        reads = [critic.read(batch.obs) for critic in (self.critic, self.critic2)]
        value1 = self.critic.value(reads[0], batch.act).squeeze(-1)
        value2 = self.critic2.value(reads[1], batch.act).squeeze(-1)
        weight = self._weight(torch.minimum(value1, value2), mean, std, reads)
        actor_loss = -batch_mean(weight * squashed_gaussian.log_prob(mean, std, batch.act), batch)
        self.policy_optim.step(actor_loss)
        critic_loss = batch_loss(mse_loss, value1, target, batch)
        critic_loss = critic_loss + batch_loss(mse_loss, value2, target, batch)
        self.critic_optim.step(critic_loss)
        self._update_lagged_network_weights()
        give_back(batch, target, value1, value2)
        return CRRTrainingStats(
            actor_loss=actor_loss.item(),
            critic_loss=critic_loss.item(),
            weight=weight.mean().item(),
        )

    @torch.no_grad()
    def _target(self, batch: Any) -> torch.Tensor:
        """What both critics are to say of the recorded actions, (B,)."""
        # the modules inside the wrappers, which would walk over their networks at each call
        (mean, std), _ = self.actor_old.module(batch.obs_next)
        act, _ = squashed_gaussian.sample(mean, std)
        old1, old2 = self.critic_old.module, self.critic2_old.module
        value = torch.minimum(old1(batch.obs_next, act), old2(batch.obs_next, act)).squeeze(-1)
        target: torch.Tensor = batch.rew + batch.discount * value
        return target

    @torch.no_grad()
    def _weight(
        self, lesser: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, reads: list[torch.Tensor]
    ) -> torch.Tensor:
        """Weights f(A) of the recorded actions, (B,).

        Args:
            lesser: Value of the recorded actions, (B,).
            mean: Of the policy's Gaussian, (B, A).
            std: Of the policy's Gaussian, (B, A).
            reads: What each critic has read, (B, hidden).
        """
        if self.policy_improvement_mode == "all":
            return torch.ones_like(lesser)
        act, _ = squashed_gaussian.sample(mean, std, self.num_samples)
        values = torch.minimum(
            self.critic.value(reads[0], act), self.critic2.value(reads[1], act)
        ).squeeze(-1)
        base = values.mean(0) if self.advantage == "mean" else values.amax(0)
        advantage = lesser - base
        if self.policy_improvement_mode == "binary":
            return (advantage > 0.0).to(advantage.dtype)
        return (advantage / self.beta).exp().clamp(max=self.ratio_upper_bound)
