"""Custom rewards: which arrays a callable may ask for, and the check of what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gym_trade.arguments import describe_value, refuse
from gym_trade.types import CUSTOM, REWARDS, Float64

# What a reward callable may name as parameters; each an array with one element a lane.
INPUTS = (
    "previous_equity",
    "equity",
    "initial_cash",
    "exposure",
    "position",
    "price",
    "fees_paid",
    "turnover",
    "drawdown",
    "terminated",
    "truncated",
)
RewardFunction = Callable[..., Any]


def reward_inputs(reward: RewardFunction) -> tuple[str, ...]:
    """The names of `INPUTS` that a reward callable asks for.

    Raises:
        ValueError: It has a parameter of another name.
    """
    parameters = inspect.signature(reward).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return INPUTS
    names = [p.name for p in parameters if p.default is inspect.Parameter.empty or p.name in INPUTS]
    unknown = [name for name in names if name not in INPUTS]
    if unknown:
        raise ValueError(
            f"reward={describe_value(reward)}: no array is called {unknown[0]!r}. A reward may "
            f"name any of {', '.join(INPUTS)}."
        )
    return tuple(names)


def check_reward(reward: object) -> None:
    """Refuse what is neither a built-in reward's name nor a usable callable."""
    if callable(reward):
        reward_inputs(reward)
    elif reward not in REWARDS:
        raise refuse("reward", reward, f"a callable or one of {', '.join(REWARDS)}")


def reward_code(reward: object) -> int:
    """The kernel's code of a reward."""
    return CUSTOM if callable(reward) else REWARDS.index(str(reward))


def custom_reward(reward: RewardFunction, inputs: Mapping[str, Any], lanes: int) -> Float64:
    """Call a custom reward over all lanes and check its result, float64 (lanes,).

    Raises:
        ValueError: The result has another shape or is not finite.
    """
    names = reward_inputs(reward)
    result = np.asarray(reward(**{name: inputs[name] for name in names}), dtype=np.float64)
    if result.shape != (lanes,) or not np.isfinite(result).all():
        raise ValueError(
            f"reward={describe_value(reward)} returned shape {result.shape}"
            f"{'' if np.isfinite(result).all() else ' with values that are not finite'}; expected "
            f"{lanes} finite numbers, one a lane."
        )
    return result
