"""Rewards: the built-in ones, and the arrays that a callable may ask for instead."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gym_trade.arguments import describe_value, refuse
from gym_trade.jit import jit
from gym_trade.types import (
    CUSTOM,
    DIFFERENTIAL_SHARPE,
    DRAWDOWN_PENALTY,
    LOG_RETURN,
    PNL,
    REWARDS,
    SIMPLE_RETURN,
    Float64,
    Record,
)

EQUITY_FLOOR = 1e-6  # of the initial cash: makes the log return of a wipe-out finite
SHARPE_RATE = 0.01  # eta of the differential Sharpe ratio
DRAWDOWN_FREE = 0.1  # drawdown that costs nothing
DRAWDOWN_WEIGHT = 5.0

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


@jit
def reward_of(lane: Record, rules: Record, previous: float, equity: float) -> float:
    """The built-in reward of a step from equity `previous` to `equity`; 0.0 for a custom one.

    Equity is floored at a millionth of the initial cash. The differential Sharpe ratio is that of
    Moody and Saffell (1998), "Performance functions and reinforcement learning for trading systems
    and portfolios", with both moments starting at 0; the step that has no variance behind it is 0.
    It is not monotone: after losses have made the first moment negative, the square of a further,
    huge loss counts as a gain, so it rewards a wipe-out. Prefer another where ruin is possible.
    """
    floor = EQUITY_FLOOR * lane.initial_cash
    before, after = max(previous, floor), max(equity, floor)
    if rules.reward == LOG_RETURN:
        return math.log(after / before)
    if rules.reward == SIMPLE_RETURN:
        return after / before - 1.0
    if rules.reward == PNL:
        return (equity - previous) / lane.initial_cash
    if rules.reward == DIFFERENTIAL_SHARPE:
        simple = after / before - 1.0
        first, second = lane.sharpe_first, lane.sharpe_second
        first_change, second_change = simple - first, simple * simple - second
        lane.sharpe_first = first + SHARPE_RATE * first_change
        lane.sharpe_second = second + SHARPE_RATE * second_change
        variance = second - first * first
        if variance <= 1e-18:
            return 0.0
        return (second * first_change - 0.5 * first * second_change) / (
            variance * math.sqrt(variance)
        )
    if rules.reward == DRAWDOWN_PENALTY:
        drawdown = 1.0 - after / lane.peak_equity
        return math.log(after / before) - DRAWDOWN_WEIGHT * max(drawdown - DRAWDOWN_FREE, 0.0)
    return 0.0


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
    elif not isinstance(reward, str) or reward not in REWARDS:
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
