"""A whole period of one-step rollouts as one episode, for evaluation."""

from __future__ import annotations

from typing import Any

from gym_trade import VectorOneStepEnv


class RolloutWalk(VectorOneStepEnv):
    """``Trade-OneStep-v0`` walked over a period: one rollout after the other, none overlapping.

    The first decision is the period's first; each further one is where the rollout before it
    ended, as soon as it was flat. A step's reward is its rollout's. The account goes on: the sum of
    log returns is the logarithm of what the capital grew by, and metrics count every decision of
    every rollout. The episode ends with the period, or bankrupt. Autoreset must be disabled.
    """

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One rollout of every lane; see `VectorTradeEnv.step`."""
        observations, rewards, _, _, info = super().step(actions)
        terminated, truncated = self.go_on()
        return observations, rewards, terminated, truncated, info
