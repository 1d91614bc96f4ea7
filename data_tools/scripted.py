"""A scripted policy as the behaviour of a collection."""

from __future__ import annotations

from dataclasses import dataclass

from data_tools.driving import Behaviour
from data_tools.noise import log_of
from data_tools.policies import make_policy
from gym_trade import VectorTradeEnv


@dataclass(frozen=True)
class ScriptedBehaviour:
    """Makes the behaviour of a scripted policy; other processes can be sent it.

    Attributes:
        policy: As in `policies.make_policy`.
        epsilon: Probability that an action is replaced by a random one.
    """

    policy: str
    epsilon: float = 0.0

    def __call__(self, venv: VectorTradeEnv, seed: int) -> Behaviour:
        """The behaviour in an environment."""
        made = make_policy(self.policy, venv, epsilon=self.epsilon, seed=seed)
        return Behaviour(
            lambda _: made.act(),
            made.begin,
            log_probability=lambda actions: log_of(made.probability(actions)),
            description=made.describe(),
            looks=False,
        )
