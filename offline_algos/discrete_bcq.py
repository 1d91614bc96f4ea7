"""Batch-Constrained Q-learning of discrete actions (Fujimoto et al. 2019, arXiv:1910.01708)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tianshou.algorithm.imitation.discrete_bcq as stock
import torch
from torch.nn import functional

from offline_algos.actors import ActionMasks, Actor
from offline_algos.networks import ValueNetwork
from offline_algos.normalisation import Normaliser
from offline_algos.updates import TensorUpdates, batch_loss, batch_mean, give_back


def constrain(values: torch.Tensor, logits: torch.Tensor, log_threshold: float) -> torch.Tensor:
    """Values of the actions that the data is likely to show, -inf for the others.

    Likely is what the imitator gives at least the threshold's share of its likeliest action's
    probability (equation 17).

    Args:
        values: (B, actions).
        logits: The imitator's, (B, actions).
        log_threshold: Logarithm of the threshold; -inf allows every action.

    Returns:
        (B, actions).
    """
    ratio = logits - logits.amax(1, keepdim=True)
    return values.masked_fill(ratio < log_threshold, -math.inf)


class ConstrainedActor(Actor):
    """The action with the highest value among those that the data is likely to show.

    Args:
        normaliser: Applied to every observation.
        network: Values of the actions.
        imitator: Logits of the data's actions.
        threshold: An action counts if its probability, divided by that of the likeliest one, is at
            least this; in [0, 1).
        masks: See `actors.ActionMasks`.
    """

    kind = "constrained"

    def __init__(
        self,
        normaliser: Normaliser,
        network: ValueNetwork,
        imitator: ValueNetwork,
        threshold: float,
        masks: Sequence[Sequence[int]] | None = None,
    ) -> None:
        masked = ActionMasks(masks)
        super().__init__(
            normaliser,
            network=network.arguments,
            imitator=imitator.arguments,
            threshold=threshold,
            **masked.arguments,
        )
        self.masks = masked
        self.network, self.imitator = network, imitator
        self.log_threshold = math.log(threshold) if threshold > 0.0 else -math.inf

    @classmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> ConstrainedActor:
        """See `Actor.build`."""
        networks = (ValueNetwork(**arguments[name]) for name in ("network", "imitator"))
        return cls(normaliser, *networks, arguments["threshold"], arguments.get("masks"))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """See `Actor.forward`."""
        normalised = self.normaliser(observations)
        values, logits = self.network(normalised)[0], self.imitator(normalised)[0]
        # the likeliest action is one that is allowed, or nothing likely might be left
        values = constrain(values, self.masks(logits, observations), self.log_threshold)
        return self.masks(values, observations).argmax(1)  # type: ignore[no-any-return]


class DiscreteBCQ(TensorUpdates, stock.DiscreteBCQ):
    """Tianshou's DiscreteBCQ, its arguments and its numbers.

    Double Q-learning that looks for the best next action only among the likely ones (`constrain`),
    with a Huber loss; beside it cross-entropy and a penalty on the imitator's logits.

    Corrected: ``target_update_freq=0``, by Tianshou's description no target network, divides by
    zero there. It needs that of the policy to be positive all the same, and does not use it.
    """

    def _returns(self, batch: Any) -> torch.Tensor:
        """Targets of the values, (B,)."""
        with torch.no_grad():
            values, _ = self.policy.model(batch.obs_next)
            logits, _ = self.policy.imitator(batch.obs_next)
            # both, as in the actor: a threshold of 0 constrains nothing
            logits = self._legal(logits, batch.obs_next)
            values = self._legal(values, batch.obs_next)
            best = constrain(values, logits, self.policy._log_tau).argmax(1, keepdim=True)
            if self._target:
                values, _ = self.model_old(batch.obs_next)
            following = values.gather(1, best).squeeze(1)
            returns: torch.Tensor = batch.rew + batch.discount * following
        return returns

    def _update_with_batch(self, batch: Any) -> stock.DiscreteBCQTrainingStats:
        # Tianshou computes the target before it may renew the target network
        returns = self._returns(batch)
        if self._target and self._iter % self.freq == 0:
            self._update_lagged_network_weights()
        self._iter += 1
        values, _ = self.policy.model(batch.obs)
        logits, _ = self.policy.imitator(batch.obs)
        chosen = values.gather(1, batch.act.unsqueeze(1)).squeeze(1)
        value_loss = batch_loss(functional.smooth_l1_loss, chosen, returns, batch)
        allowed = self._legal(logits, batch.obs, batch.act)
        imitation_loss = batch_loss(functional.cross_entropy, allowed, batch.act, batch)
        penalty = batch_mean(logits.square(), batch)
        loss = value_loss + imitation_loss + self._weight_reg * penalty
        self.optim.step(loss)
        give_back(batch, returns, chosen)
        return stock.DiscreteBCQTrainingStats(
            loss=loss.item(),
            q_loss=value_loss.item(),
            i_loss=imitation_loss.item(),
            reg_loss=penalty.item(),
        )
