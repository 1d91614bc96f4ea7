"""Q-learning by quantile regression, QR-DQN (Dabney et al. 2017, arXiv:1710.10044)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tianshou.algorithm.modelfree.qrdqn as stock
import torch
from tianshou.algorithm.modelfree.reinforce import SimpleLossTrainingStats

from data_tools.noise import random_actions
from offline_algos.quantile_loss import quantile_huber_loss
from offline_algos.updates import TensorUpdates, batch_mean, give_back


class QuantileTargets:
    """Mixin of algorithms whose network gives quantiles of each action's return.

    Targets are those of double Q-learning (van Hasselt et al. 2015, arXiv:1509.06461), as
    Tianshou's: the network chooses the action, the target network gives its quantiles.
    """

    @torch.no_grad()
    def _target(self, batch: Any) -> torch.Tensor:
        """Quantiles of the target distribution, (B, quantiles)."""
        values, _ = self.policy.model(batch.obs_next)  # type: ignore[attr-defined]
        best = self._legal(values.mean(2), batch.obs_next).argmax(1)  # type: ignore[attr-defined]
        if self.use_target_network:  # type: ignore[attr-defined]
            # the module inside the wrapper, which would walk over its networks at each call
            values, _ = self.model_old.module(batch.obs_next)  # type: ignore[attr-defined]
        following = values[torch.arange(len(best), device=best.device), best]
        target: torch.Tensor = batch.rew.unsqueeze(1) + batch.discount.unsqueeze(1) * following
        return target


class QRDQN(QuantileTargets, TensorUpdates, stock.QRDQN):
    """Tianshou's QRDQN, its arguments and its numbers, on batches of tensors.

    The quantile loss, equation 10, is summed in one pass; see `quantile_loss`. Exploration is
    epsilon-greedy with an epsilon that falls evenly:

        eps(t) = eps_first + (eps_last - eps_first) min(t / eps_steps, 1)

    Args:
        eps_first: Share of random actions in the beginning.
        eps_last: The share in the end.
        eps_steps: Steps of all environments from the one to the other; 0 for the last at once.
        **arguments: Tianshou's: policy, optim, gamma, num_quantiles, n_step_return_horizon,
            target_update_freq.
    """

    def __init__(
        self, *, eps_first: float, eps_last: float, eps_steps: int, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.eps_first, self.eps_last, self.eps_steps = eps_first, eps_last, eps_steps
        self.explored = 0  # steps of all environments; saved like every number here

    @property
    def eps(self) -> float:
        """The share of random actions now."""
        done = min(self.explored / self.eps_steps, 1.0) if self.eps_steps else 1.0
        return self.eps_first * (1.0 - done) + self.eps_last * done

    @torch.no_grad()
    def explore(
        self, observations: torch.Tensor, generator: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Actions, int64 (lanes,): the best ones, or random ones with probability `eps`.

        All of them are legal.
        """
        values, _ = self.policy.model(observations)
        best = self._legal(values.mean(2), observations).argmax(1)
        actions: npt.NDArray[np.int64] = best.cpu().numpy()
        at_random = generator.random(len(actions)) < self.eps
        if self.legal is None:
            drawn = generator.integers(values.shape[1], size=len(actions))
        else:
            mask = self.legal.mask(observations).cpu().numpy()
            drawn = random_actions(self.policy.action_space, len(actions), generator, mask)
        self.explored += len(actions)
        return np.where(at_random, drawn, actions)

    def _update_with_batch(self, batch: Any) -> SimpleLossTrainingStats:
        # Tianshou computes the target before it may renew the target network
        target = self._target(batch)
        self._periodically_update_lagged_network_weights()
        quantiles, _ = self.policy.model(batch.obs)
        chosen = quantiles[torch.arange(len(target), device=target.device), batch.act]
        losses = quantile_huber_loss(chosen, target, self.tau_hat.view(-1))
        loss = batch_mean(losses, batch)
        self.optim.step(loss)
        give_back(batch, 0.0, losses)
        return SimpleLossTrainingStats(loss=loss.item())
