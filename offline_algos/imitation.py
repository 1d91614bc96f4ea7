"""Behaviour cloning: the actions of the data, given its observations."""

from __future__ import annotations

from typing import Any

import torch
from tianshou.algorithm.imitation.imitation_base import (
    ImitationTrainingStats,
    OfflineImitationLearning,
)
from tianshou.data import ReplayBuffer

from data_tools.buffers import TensorReplayBuffer
from offline_algos.updates import TensorUpdates


class _Imitation(TensorUpdates, OfflineImitationLearning):
    """What both kinds of actions share: batches of observations and actions, nothing else."""

    def process_buffer(self, buffer: ReplayBuffer) -> TensorReplayBuffer:
        """See `TensorUpdates.process_buffer`; no reward and no next observation is gathered."""
        buffer = super().process_buffer(buffer)
        buffer.keys = ("obs", "act")
        return buffer


class DiscreteImitation(_Imitation):
    """Tianshou's offline imitation of discrete actions: cross-entropy on the network's logits."""

    def _update_with_batch(self, batch: Any) -> ImitationTrainingStats:
        logits, _ = self.policy.actor(batch.obs)
        legal = self._legal(logits, batch.obs, batch.act)
        loss = torch.nn.functional.cross_entropy(legal, batch.act)
        self.optim.step(loss)
        return ImitationTrainingStats(loss=loss.item())


class ContinuousImitation(_Imitation):
    """Tianshou's offline imitation of continuous actions: mean squared error of the network's.

    The mean is over transitions and the action's numbers. The network's output is in [-1, 1], as
    the buffer's actions are.
    """

    def _update_with_batch(self, batch: Any) -> ImitationTrainingStats:
        act, _ = self.policy.actor(batch.obs)
        loss = torch.nn.functional.mse_loss(act, batch.act)
        self.optim.step(loss)
        return ImitationTrainingStats(loss=loss.item())
