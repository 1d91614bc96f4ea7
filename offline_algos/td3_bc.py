"""TD3+BC (Fujimoto and Gu 2021, arXiv:2106.06860): TD3 with a pull towards the data's actions."""

from __future__ import annotations

from typing import Any

import tianshou.algorithm.imitation.td3_bc as stock
import torch
from tianshou.algorithm.modelfree.td3 import TD3TrainingStats
from torch import nn
from torch.nn.functional import mse_loss

from offline_algos.networks import Critic
from offline_algos.updates import TensorUpdates, batch_loss, batch_mean, descend, give_back


class TD3BC(TensorUpdates, stock.TD3BC):
    """Tianshou's TD3BC and its arguments, with two things corrected.

    * The smoothed action of the target is clipped to the actions that exist, [-1, 1], as TD3's and
      TD3+BC's authors do in their code:

          a' = clip(pi'(s') + clip(eps, -c, c), -1, 1),  eps ~ N(0, policy_noise)

      (target policy smoothing, Fujimoto et al. 2018, arXiv:1802.09477, section 5.3). Tianshou
      leaves the outer clip out, so that targets contain the values of actions that nobody can take,
      up to 1.5, where no data holds the critics down.
    * ``critic2`` must be given. Tianshou would copy the first one: two critics with equal weights,
      targets and batches stay equal forever, and their minimum is no clipped double Q-learning.

    As in the paper (its objective with equation 5 for lambda, which is not differentiated), the
    actor minimises

        -lambda mean Q1(s, pi(s)) + mean (pi(s) - a)^2,  lambda = alpha / mean |Q1|

    where, as in the authors' code and in Tianshou, |Q1| is that of the same (s, pi(s)). Actor and
    target networks move at every ``update_actor_freq``-th call, the first included.

    Args:
        critic2: The second critic, a `Critic` like the first.
        n_step_return_horizon: Rewards in a target.
        **arguments: Tianshou's: policy, policy_optim, critic, critic_optim, critic2_optim, tau,
            gamma, policy_noise, update_actor_freq, noise_clip (0 for none), alpha.
    """

    actor_old: Any
    critic_old: Any
    critic2_old: Any
    critic: Critic

    def __init__(
        self, *, critic2: nn.Module, n_step_return_horizon: int = 1, **arguments: Any
    ) -> None:
        super().__init__(critic2=critic2, n_step_return_horizon=n_step_return_horizon, **arguments)
        self.n_step = n_step_return_horizon  # the name that TensorUpdates looks for

    @torch.no_grad()
    def _target(self, batch: Any) -> torch.Tensor:
        """What both critics are to say, (B, 1)."""
        # the modules inside the wrappers, which would walk over their networks at each call
        act, _ = self.actor_old.module(batch.obs_next)
        noise = torch.randn_like(act) * self.policy_noise
        if self.noise_clip > 0.0:
            noise = noise.clamp_(-self.noise_clip, self.noise_clip)
        act = act.add_(noise).clamp_(-1.0, 1.0)
        value = torch.minimum(
            self.critic_old.module(batch.obs_next, act),
            self.critic2_old.module(batch.obs_next, act),
        )
        target: torch.Tensor = batch.rew.unsqueeze(1) + batch.discount.unsqueeze(1) * value
        return target

    def _update_with_batch(self, batch: Any) -> TD3TrainingStats:
        target = self._target(batch)
        value1, value2 = (critic(batch.obs, batch.act) for critic in (self.critic, self.critic2))
        loss1 = batch_loss(mse_loss, value1, target, batch)
        loss2 = batch_loss(mse_loss, value2, target, batch)
        self.critic_optim.step(loss1)
        self.critic2_optim.step(loss2)
        if self._cnt % self.update_actor_freq == 0:
            self._update_actor(batch)
            self._update_lagged_network_weights()
        self._cnt += 1
        give_back(batch, target, value1, value2)
        return TD3TrainingStats(
            actor_loss=self._last, critic1_loss=loss1.item(), critic2_loss=loss2.item()
        )

    def _update_actor(self, batch: Any) -> None:
        act, _ = self.policy.actor(batch.obs)
        with torch.no_grad():
            read = self.critic.read(batch.obs)
        value = self.critic.value(read, act)
        scale = self.alpha / batch_mean(value.detach().abs(), batch)
        loss = batch_loss(mse_loss, act, batch.act, batch) - scale * batch_mean(value, batch)
        descend(self.policy_optim, loss)
        self._last = loss.item()
