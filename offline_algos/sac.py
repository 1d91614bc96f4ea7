"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tianshou.algorithm.modelfree.sac as stock
import torch
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACTrainingStats
from torch.nn.functional import mse_loss

from offline_algos import squashed_gaussian
from offline_algos.networks import Critic
from offline_algos.updates import TensorUpdates, descend


class SAC(TensorUpdates, stock.SAC):
    """Tianshou's SAC and its arguments, on batches of tensors.

    Both critics minimise equation 5 with the smaller of two target critics in its target, the
    actor equation 7, and the temperature equation 18, in this order:

        y = r + gamma (min Q'(s', a') - alpha log pi(a' | s')),  a' ~ pi(s')
        J_Q = (Q(s, a) - y)^2
        J_pi = alpha log pi(a | s) - min Q(s, a),  a ~ pi(s)
        J_alpha = -log alpha (log pi(a | s) + target entropy)

    The last is the authors' code's, whose minimum is that of the paper's ``-alpha (...)``. What is
    corrected:

    * ``critic2`` must be given. Tianshou would copy the first one: critics with equal weights,
      targets and batches stay equal forever, and their minimum is no clipped double Q-learning.
    * The density of an action near the edge has all its digits; Tianshou adds 1e-7 to the slope of
      the tanh, which is as much as the slope itself within 1e-7 of the edge.
    * The optimiser of an `AutoAlpha` is saved with the others.

    Args:
        critic: Of observation and action.
        critic2: The second one.
        **arguments: Tianshou's. `policy` is a `SACPolicy` of a `GaussianNetwork`.
    """

    critic: Critic
    critic2: Critic

    def __init__(self, *, critic: Critic, critic2: Critic, **arguments: Any) -> None:
        super().__init__(critic=critic, critic2=critic2, **arguments)
        if isinstance(self.alpha, AutoAlpha):
            self._optimizers.append(self.Optimizer(self.alpha._optim, self.alpha))

    @torch.no_grad()
    def explore(
        self, observations: torch.Tensor, generator: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Actions of the policy, float32 (lanes, A) in [-1, 1], drawn with torch's generator."""
        (mean, std), _ = self.policy.actor(observations)
        return squashed_gaussian.sample(mean, std)[0].cpu().numpy()

    @torch.no_grad()
    def _target(self, batch: Any, alpha: float) -> torch.Tensor:
        """What both critics are to say, (B, 1)."""
        (mean, std), _ = self.policy.actor(batch.obs_next)
        act, log_density = squashed_gaussian.sample(mean, std)
        # the modules inside the wrappers, which would walk over their networks at each call
        value = torch.minimum(
            self.critic_old.module(batch.obs_next, act),
            self.critic2_old.module(batch.obs_next, act),
        )
        soft = value - alpha * log_density.unsqueeze(1)
        target: torch.Tensor = batch.rew.unsqueeze(1) + batch.discount.unsqueeze(1) * soft
        return target

    def _update_with_batch(self, batch: Any) -> SACTrainingStats:
        alpha = self.alpha.value
        target = self._target(batch, alpha)
        losses = []
        for critic, optim in ((self.critic, self.critic_optim), (self.critic2, self.critic2_optim)):
            loss = mse_loss(critic(batch.obs, batch.act), target)
            optim.step(loss)
            losses.append(loss.item())
        (mean, std), _ = self.policy.actor(batch.obs)
        act, log_density = squashed_gaussian.sample(mean, std)
        value = torch.minimum(self.critic(batch.obs, act), self.critic2(batch.obs, act))
        actor_loss = (alpha * log_density - value.squeeze(1)).mean()
        descend(self.policy_optim, actor_loss)
        alpha_loss = self.alpha.update(-log_density.detach())
        self._update_lagged_network_weights()
        return SACTrainingStats(
            actor_loss=actor_loss.item(),
            critic1_loss=losses[0],
            critic2_loss=losses[1],
            alpha=self.alpha.value,
            alpha_loss=alpha_loss,
        )
