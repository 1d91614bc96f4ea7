"""The next-bar oracle of environments with stops and targets: it tries every action beforehand.

A second environment has a lane for each action. At every decision its lanes become copies of the
account that is walked, and each takes its action: what comes of it, by the environment's own fills,
costs and exits, says which action to take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gym_trade import OneStepConfig, VectorOneStepEnv, VectorSLTPEnv, VectorTradeEnv

SMALLEST = 1e-6  # an account of nothing or less counts as this share of what it was


def bracket_oracle(environment: VectorTradeEnv) -> Callable[[Any], npt.NDArray[Any]]:
    """A policy that knows what each action will have brought.

    Of ``Trade-SLTP-v0`` it takes the action with which the account, closed, is worth most at the
    next decision; of ``Trade-OneStep-v0`` the rollout that earns most a decision. Between equal
    ones it takes the first.

    Args:
        environment: The one lane that is walked, of either kind.
    """
    config, count = environment.config, len(environment.config.choices)
    made = VectorOneStepEnv if isinstance(config, OneStepConfig) else VectorSLTPEnv
    trial = made(config.replace(observation="index"), num_envs=count, autoreset_mode="Disabled")
    trial.reset(seed=0)  # of no account: every step begins with copies
    every = np.arange(count)
    cost = config.transaction_fee + config.slippage

    def act(_: Any) -> npt.NDArray[Any]:
        walked, lanes = environment.engine.lanes[0], trial.engine.lanes
        lanes[:] = walked
        trial.step(every)
        worth = lanes.equity - np.abs(lanes.quantity) * lanes.price * cost
        growth = np.log(np.maximum(worth / walked.equity, SMALLEST))
        best = np.argmax(growth / (lanes.decision - walked.decision))
        return np.array([best])

    return act
