"""Critic Regularized Regression of discrete actions (Wang et al. 2020, arXiv:2006.15134)."""

from __future__ import annotations

from typing import Any

import tianshou.algorithm.imitation.discrete_crr as stock
import torch
from torch import nn
from torch.nn import functional

from offline_algos.updates import TensorUpdates, batch_loss, batch_mean, give_back

MODES = ("exp", "binary", "all")


def action_values(critic: nn.Module, obs: torch.Tensor) -> torch.Tensor:
    """Values (B, actions) from a critic that returns them alone, or with a state as a policy's."""
    values = critic(obs)
    made: torch.Tensor = values[0] if isinstance(values, tuple) else values
    return made


class DiscreteCRR(TensorUpdates, stock.DiscreteCRR):
    """Tianshou's DiscreteCRR with its actor loss and its targets put right.

    The actor imitates the data's actions, each weighted by ``f(A)`` (equation 1), where f is the
    indicator of A > 0 ("binary", equation 2), exp(A / beta) up to `ratio_upper_bound` ("exp",
    equation 3), or 1 ("all": behaviour cloning), and

        A = Q(s, a) - sum_a' pi(a'|s) Q(s, a')

    The critic learns the actor's value, both of the target networks where there are any.

    Corrected:
        * The log-likelihood, (B,), is multiplied with the weights, (B, 1): each action is weighted
          with every row's advantage, which is behaviour cloning at another learning rate.
        * The weights are not detached: the actor's loss trains the critic. In equation 1 they are
          numbers.
        * The bootstrap is masked with ``done``: a time limit is learned as a death.
        * The conservative term is not the method's: here it is off unless asked for.
        * An unknown mode is taken for "all".

    ``return_standardization`` is accepted; neither there nor here is it used in a loss.

    Args:
        policy: Its actor returns logits (B, actions), and a state.
        critic: From observations to values (B, actions).
        gamma: Discount, 0 to 1.
        policy_improvement_mode: "exp", "binary" or "all".
        min_q_weight: Of log sum_a exp Q(s, a) - Q(s, a_D), as in conservative Q-learning (Kumar et
            al. 2020, arXiv:2006.04779). Where it is 0 the term is not computed, and its reported
            loss is 0.
        **arguments: Tianshou's others.

    Raises:
        ValueError: There is no such mode.
    """

    def __init__(
        self,
        *,
        policy: Any,
        critic: nn.Module,
        gamma: float = 0.99,
        policy_improvement_mode: str = "exp",
        min_q_weight: float = 0.0,
        **arguments: Any,
    ) -> None:
        if policy_improvement_mode not in MODES:
            raise ValueError(
                f"policy_improvement_mode={policy_improvement_mode!r}: choose one of {MODES}."
            )
        super().__init__(
            policy=policy,
            critic=critic,
            gamma=gamma,
            policy_improvement_mode=policy_improvement_mode,  # type: ignore[arg-type]
            min_q_weight=min_q_weight,
            **arguments,
        )
        self.gamma = gamma

    def _returns(self, batch: Any) -> torch.Tensor:
        """Targets of the values, (B,)."""
        with torch.no_grad():
            logits, _ = self.actor_old(batch.obs_next)
            values = action_values(self.critic_old, batch.obs_next)
            following = (self._legal(logits, batch.obs_next).softmax(1) * values).sum(1)
            returns: torch.Tensor = batch.rew + batch.discount * following
        return returns

    def _weights(
        self, values: torch.Tensor, chosen: torch.Tensor, log_likelihoods: torch.Tensor
    ) -> torch.Tensor:
        """How much each of the data's actions is imitated, (B,), without a gradient.

        Args:
            values: Of all actions, (B, actions).
            chosen: Of the data's, (B,).
            log_likelihoods: Of all actions, (B, actions).
        """
        with torch.no_grad():
            if self._policy_improvement_mode == "all":
                return torch.ones_like(chosen)
            advantage = chosen - (log_likelihoods.exp() * values).sum(1)
            if self._policy_improvement_mode == "binary":
                return (advantage > 0.0).to(advantage.dtype)
            return (advantage / self._beta).exp().clamp(max=self._ratio_upper_bound)

    def _update_with_batch(self, batch: Any) -> stock.DiscreteCRRTrainingStats:
        if self._target and self._iter % self._freq == 0:
            self._update_lagged_network_weights()
        self._iter += 1
        rows = batch.act.unsqueeze(1)
        values = action_values(self.critic, batch.obs)
        chosen = values.gather(1, rows).squeeze(1)
        returns = self._returns(batch)
        critic_loss = 0.5 * batch_loss(functional.mse_loss, chosen, returns, batch)
        logits, _ = self.policy.actor(batch.obs)
        log_likelihoods = self._legal(logits, batch.obs, batch.act).log_softmax(1)
        weights = self._weights(values, chosen, log_likelihoods)
        actor_loss = -batch_mean(weights * log_likelihoods.gather(1, rows).squeeze(1), batch)
        loss, conservative = actor_loss + critic_loss, 0.0
        if self._min_q_weight:
            competing = self._legal(values, batch.obs, batch.act)
            term = batch_mean(competing.logsumexp(1) - chosen, batch)
            loss, conservative = loss + self._min_q_weight * term, term.item()
        self.optim.step(loss)
        give_back(batch, returns, chosen)
        return stock.DiscreteCRRTrainingStats(
            loss=loss.item(),
            actor_loss=actor_loss.item(),
            critic_loss=critic_loss.item(),
            cql_loss=conservative,
        )
