"""Conservative Q-Learning (Kumar et al. 2020, arXiv:2006.04779), discrete."""

from __future__ import annotations

from typing import Any

import tianshou.algorithm.imitation.discrete_cql as stock
import torch

from offline_algos.qrdqn import QuantileTargets
from offline_algos.quantile_loss import quantile_huber_loss
from offline_algos.updates import TensorUpdates, batch_mean, give_back


class DiscreteCQL(QuantileTargets, TensorUpdates, stock.DiscreteCQL):
    """Tianshou's DiscreteCQL, its arguments and its numbers, without its temporaries.

    The quantile loss is summed in one pass (`quantile_loss`), and the target comes with the batch;
    see `QuantileTargets`.
    """

    def _update_with_batch(self, batch: Any) -> stock.DiscreteCQLTrainingStats:
        # Tianshou computes the target before it may renew the target network
        target = self._target(batch)
        self._periodically_update_lagged_network_weights()
        quantiles, _ = self.policy.model(batch.obs)
        rows = torch.arange(len(target), device=target.device)
        chosen, levels = quantiles[rows, batch.act], self.tau_hat.view(-1)
        losses = quantile_huber_loss(chosen, target, levels)
        quantile_loss = batch_mean(losses, batch)
        values = quantiles.mean(2)
        competing = self._legal(values, batch.obs, batch.act)
        conservative = batch_mean(competing.logsumexp(1), batch) - batch_mean(
            values[rows, batch.act], batch
        )
        loss = quantile_loss + conservative * self.min_q_weight
        self.optim.step(loss)
        give_back(batch, 0.0, losses)
        return stock.DiscreteCQLTrainingStats(
            loss=loss.item(), qr_loss=quantile_loss.item(), cql_loss=conservative.item()
        )
