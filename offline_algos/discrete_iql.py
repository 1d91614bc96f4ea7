"""Implicit Q-Learning of discrete actions (Kostrikov et al. 2021, arXiv:2110.06169)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from offline_algos.implicit_q import ImplicitQLearning


class DiscreteIQL(ImplicitQLearning):
    """IQL with discrete actions; see `ImplicitQLearning`.

    The paper has continuous actions; here the critics, `ValueNetwork`s, give the values of all
    actions at once, and the policy is the softmax of its actor's logits (B, actions).
    """

    def _action_value(self, critic: nn.Module, batch: Any) -> torch.Tensor:
        values: torch.Tensor = critic(batch.obs)[0].gather(1, batch.act.unsqueeze(1))
        return values

    def _state_value(self, obs: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.value(obs)[0]
        return values

    def _log_likelihood(self, batch: Any) -> torch.Tensor:
        logits, _ = self.policy.actor(batch.obs)
        legal = self._legal(logits, batch.obs, batch.act)
        return -cross_entropy(legal, batch.act, reduction="none")
