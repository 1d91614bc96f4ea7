"""What a policy is worth in the environment, discounted: what fitted Q evaluation estimates."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.environment import TASKS, reopen_market
from gym_trade import TradeConfig, VectorTradeEnv
from offline_algos.checkpoint import TrainedPolicy
from offline_algos.tasks import refuse_foreign_code

STARTS = 2_000
START_SEED = 30_000_000  # off those of datasets, validation and test
TAIL = 1e-3  # of the discount: what is left out at the end of a walk


@dataclass(frozen=True)
class Discounted:
    """A policy's discounted return, walked.

    Attributes:
        value: Mean over the starts.
        error: Its standard error, were the starts apart in time; None of a single one.
        starts: How many.
        steps: Decisions from each, at most.
    """

    value: float
    error: float | None
    starts: int
    steps: int


def steps_for(gamma: float, tail: float = TAIL) -> int:
    """Decisions after which the discount is at most `tail`.

    Raises:
        ValueError: The discount is 1, or out of range: no number of steps is enough.
    """
    if not 0.0 <= gamma < 1.0:
        raise ValueError(f"discount {gamma}: expected 0 or above and below 1.")
    return 1 if gamma <= tail else math.ceil(math.log(tail) / math.log(gamma))


def collected_environment(provenance: dict[str, Any], starts: int, steps: int) -> VectorTradeEnv:
    """The environment that a dataset was collected in: its period, starts and costs.

    Args:
        provenance: The dataset's.
        starts: Lanes, each of which begins an episode.
        steps: An episode is at least as long: where the dataset cuts one, its value goes on.

    Raises:
        ValueError: It was made of a market that is not here, or with code of its maker's own.
    """
    made = TASKS[provenance["task"]]
    recorded = {key: value for key, value in provenance["config"].items() if key != "df"}
    refuse_foreign_code("the dataset", recorded, {})
    config: TradeConfig = made.config_class.from_json(json.dumps(recorded)).replace(
        df=reopen_market(provenance["market"]), observation="flat"
    )
    if config.episode_steps is not None:
        config = config.replace(episode_steps=max(steps, config.episode_steps))
    return made(config, num_envs=starts)


def discounted_value(
    policy: TrainedPolicy,
    provenance: dict[str, Any],
    gamma: float,
    *,
    starts: int = STARTS,
    seed: int = START_SEED,
) -> Discounted:
    """Walk a policy from random starts of the period that a dataset was collected in.

    Starts are drawn as the dataset's were, and are the same for every policy. An account that goes
    bankrupt earns nothing afterwards. Where an environment ends its episodes by itself, so does
    the walk.

    Args:
        policy: One that remembers nothing.
        provenance: The dataset's.
        gamma: Discount, below 1.
        starts: Walks.
        seed: Of the starts.

    Raises:
        ValueError: See `steps_for` and `collected_environment`.
    """
    steps = steps_for(gamma)
    environment = collected_environment(provenance, starts, steps)
    observations, _ = environment.reset(seed=seed)
    total, weight = np.zeros(starts), np.ones(starts)
    for _ in range(steps):
        observations, rewards, terminated, truncated, _ = environment.step(policy.act(observations))
        total += weight * rewards
        weight *= gamma
        weight[terminated | truncated] = 0.0
    environment.close()
    return Discounted(float(total.mean()), standard_error(total), starts, steps)


def standard_error(values: npt.NDArray[np.float64]) -> float | None:
    """Of the mean of independent numbers; None of a single one."""
    count = len(values)
    return float(values.std(ddof=1) / count**0.5) if count > 1 else None
