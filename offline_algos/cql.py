"""Conservative Q-Learning (Kumar et al. 2020, arXiv:2006.04779), continuous."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tianshou.algorithm.imitation.cql as stock
import torch
from tianshou.algorithm.modelfree.sac import AutoAlpha
from torch import nn
from torch.nn.functional import mse_loss

from data_tools.buffers import TensorReplayBuffer
from offline_algos import squashed_gaussian
from offline_algos.networks import Critic
from offline_algos.updates import FusedAdam, TensorUpdates, batch_loss, batch_mean, give_back


class CQL(TensorUpdates, stock.CQL):
    """Tianshou's CQL with its arguments, corrected to the paper's.

    Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905) whose critics also minimise
    equation 4, CQL(H): the log-sum-exp of their values over all actions, less the value of the
    recorded one. The sum is estimated as in appendix F from actions that are uniform, of the
    policy here, and of the policy in the next state, each ``exp Q`` divided by its density. As in
    the authors' code it is a sum and no mean, a constant that the ``lagrange_threshold`` of
    published settings contains, and ``temperature`` divides the corrected values.

    Targets contain no entropy, by the paper's equation 3 and in the authors' code: with rewards of
    mean 0, as on a market, the values would soon be those of the entropies to come. As there, the
    policy may begin with steps of cloning: instead of its value it then has the likelihood of the
    recorded actions, beside its entropy.

    What is corrected:

    * Uniform actions lie in [min_action, max_action]; Tianshou's are all ``-min_action``.
    * The log-sum-exp is over the ``3 * num_repeat_actions`` values of an observation; Tianshou's
      is over three at a time.
    * ``calibrated`` (Cal-QL, Nakamoto et al. 2023, arXiv:2303.05479, equation 5.1) bounds from
      below, by the recorded return, the values of the policy's actions: before they are divided
      by a density, and not those of uniform actions. Each row has its own return, also where the
      buffer has wrapped or is filled in part.
    * The multiplier of the conservative term is a parameter: it moves with the networks to their
      device and is saved with its optimiser, as is the optimiser of an `AutoAlpha`. The term has
      no gradient of the multiplier's loss. Limits on it are a projection, which it can leave.
    * Without `critic2`, the second critic has weights of its own; Tianshou copies the first one,
      and equal critics stay equal.
    * Targets bootstrap through time limits; see `TensorUpdates`. Tianshou's contain the entropy.

    Args:
        critic: Of observation and action.
        critic2: The second one; None: made like the first one.
        cql_alpha_lr: Learning rate of the multiplier.
        soft_backup: Subtract ``alpha log pi`` from targets, as in soft actor-critic.
        cloning_steps: Gradient steps until the policy asks the critics.
        **arguments: Tianshou's. `policy` is a `SACPolicy` of a `GaussianNetwork`.
    """

    cql_log_alpha: torch.Tensor

    def __init__(
        self,
        *,
        critic: Critic,
        critic2: Critic | None = None,
        cql_alpha_lr: float = 1e-4,
        soft_backup: bool = False,
        cloning_steps: int = 0,
        **arguments: Any,
    ) -> None:
        device = critic.first.weight.device
        if critic2 is None:
            critic2 = Critic(**critic.arguments).to(device)
        super().__init__(critic=critic, critic2=critic2, cql_alpha_lr=cql_alpha_lr, **arguments)
        self.soft_backup, self.cloning_steps, self.steps = soft_backup, cloning_steps, 0
        self.cql_log_alpha = nn.Parameter(torch.zeros((), device=device))
        self.cql_alpha_optim = self._create_optimizer(
            nn.ParameterList([self.cql_log_alpha]), FusedAdam(lr=cql_alpha_lr)
        )
        if isinstance(self.alpha, AutoAlpha):
            self._optimizers.append(self.Optimizer(self.alpha._optim, self.alpha))

    def process_buffer(self, buffer: Any) -> TensorReplayBuffer:
        """See `TensorUpdates.process_buffer`; with ``calibrated``, rows get their returns."""
        made = super().process_buffer(buffer)
        if self.calibrated:
            made.add_column("calibration_returns", made.returns_to_go(self.gamma))
        return made

    def _update_with_batch(self, batch: Any) -> stock.CQLTrainingStats:
        critics = (self.critic, self.critic2)
        reads = [critic.read(batch.obs) for critic in critics]
        if self.steps < self.cloning_steps:
            actor_loss, log_density = self._cloning_loss(batch)
        else:
            actor_loss, log_density = self._actor_loss(batch, reads)
        self.steps += 1
        self.policy_optim.step(actor_loss)
        alpha_loss = self.alpha.update(self._entropy(log_density.detach(), batch))
        target, actions, densities = self._target_and_actions(batch)
        recorded, errors, gaps = [], [], []
        for critic, read in zip(critics, reads, strict=True):
            values = critic.value(read, actions).squeeze(-1)
            recorded.append(values[0])
            errors.append(batch_loss(mse_loss, values[0], target, batch))
            gaps.append(self._conservative(values, densities, batch))
        losses, multiplier, multiplier_loss = self._weighted(errors, gaps)
        self.critic_optim.step(losses[0])
        self.critic2_optim.step(losses[1])
        self._update_lagged_network_weights()
        give_back(batch, target, *recorded)
        return stock.CQLTrainingStats(
            actor_loss=actor_loss.item(),
            critic1_loss=losses[0].item(),
            critic2_loss=losses[1].item(),
            alpha=self.alpha.value,
            alpha_loss=alpha_loss,
            cql_alpha=multiplier,
            cql_alpha_loss=multiplier_loss,
        )

    def _actor_loss(
        self, batch: Any, reads: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Soft policy improvement, and the log-density (B,) of the actions that it values."""
        (mean, std), _ = self.policy.actor(batch.obs)
        act, log_density = squashed_gaussian.sample(mean, std)
        with frozen(self.critic, self.critic2):
            value1 = self.critic.value(reads[0].detach(), act)
            value2 = self.critic2.value(reads[1].detach(), act)
        value = torch.minimum(value1, value2).squeeze(-1)
        return batch_mean(self.alpha.value * log_density - value, batch), log_density

    def _entropy(self, log_density: torch.Tensor, batch: Any) -> torch.Tensor:
        """Entropies (B,) for the temperature; in a prioritised batch those whose plain mean is
        as far from the target as the weighted one.
        """  # noqa: D205
        if "weight" not in batch.__dict__ or not isinstance(self.alpha, AutoAlpha):
            return -log_density
        target = self.alpha._target_entropy
        return target - batch.weight * (target + log_density)

    def _cloning_loss(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """As `_actor_loss`, with the recorded actions' likelihood in the place of the value."""
        (mean, std), _ = self.policy.actor(batch.obs)
        _, log_density = squashed_gaussian.sample(mean, std)
        recorded = squashed_gaussian.log_prob(mean, std, batch.act)
        return batch_mean(self.alpha.value * log_density - recorded, batch), log_density

    @torch.no_grad()
    def _target_and_actions(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the critics learn from.

        Returns:
            Targets (B,) of the recorded actions' values; (1 + 3 n, B, A) actions: the recorded
            one, n uniform ones, n of the policy here and n of it in the next state; and the
            log-densities (3 n, B) of those that were drawn.
        """
        (mean, std), _ = self.policy.actor(torch.cat((batch.obs, batch.obs_next)))
        (mean_here, mean_next), (std_here, std_next) = mean.chunk(2), std.chunk(2)
        act, log_density = squashed_gaussian.sample(mean_next, std_next)
        old1, old2 = self.critic_old.module, self.critic2_old.module
        value = torch.minimum(old1(batch.obs_next, act), old2(batch.obs_next, act)).squeeze(-1)
        if self.soft_backup:
            value = value - self.alpha.value * log_density
        target = batch.rew + batch.discount * value
        count = self.num_repeat_actions
        uniform = batch.act.new_empty((count, *batch.act.shape))
        uniform.uniform_(self.min_action, self.max_action)
        here, density_here = squashed_gaussian.sample(mean_here, std_here, count)
        following, density_next = squashed_gaussian.sample(mean_next, std_next, count)
        log_volume = batch.act.shape[1] * math.log(self.max_action - self.min_action)
        densities = torch.cat(
            (torch.full_like(density_here, -log_volume), density_here, density_next)
        )
        return target, torch.cat((batch.act[None], uniform, here, following)), densities

    def _conservative(
        self, values: torch.Tensor, densities: torch.Tensor, batch: Any
    ) -> torch.Tensor:
        """The conservative term of one critic, a scalar, from its values (1 + 3 n, B)."""
        drawn = values[1:]
        if self.calibrated:
            uniform, policy = drawn.split((len(drawn) // 3, 2 * len(drawn) // 3))
            drawn = torch.cat((uniform, torch.maximum(policy, batch.calibration_returns)))
        over_all = ((drawn - densities) / self.temperature).logsumexp(0) * self.temperature
        return batch_mean(over_all - values[0], batch)

    def _weighted(
        self, errors: list[torch.Tensor], gaps: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], float | None, float | None]:
        """The critics' losses; the multiplier and its loss, once it has been moved."""
        gaps = [self.cql_weight * gap for gap in gaps]
        if not self.with_lagrange:
            return [error + gap for error, gap in zip(errors, gaps, strict=True)], None, None
        gaps = [gap - self.lagrange_threshold for gap in gaps]
        multiplier = self.cql_log_alpha.exp()
        loss = multiplier * -0.5 * (gaps[0] + gaps[1]).detach()
        fixed = multiplier.detach()
        self.cql_alpha_optim.step(loss)
        with torch.no_grad():
            low, high = (
                math.log(x) if x > 0 else -math.inf for x in (self.alpha_min, self.alpha_max)
            )
            self.cql_log_alpha.clamp_(low, high)
        losses = [error + fixed * gap for error, gap in zip(errors, gaps, strict=True)]
        return losses, fixed.item(), loss.item()


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """What is computed in the block has no gradient of these modules' parameters."""
    for module in modules:
        module.requires_grad_(False)
    try:
        yield
    finally:
        for module in modules:
            module.requires_grad_(True)
