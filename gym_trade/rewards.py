"""Rewards: the built-in ones, and the arrays that a callable may ask for instead."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
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

# What a reward callable may name as parameters; each an array with one element a lane. In a
# one-step rollout it is called once a decision step, with the lanes that were still rolling.
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
COLUMNS = {name: column for column, name in enumerate(INPUTS)}
FLAGS = ("terminated", "truncated")
TERMINATED_INPUT, TRUNCATED_INPUT = (COLUMNS[name] for name in FLAGS)
RewardFunction = Callable[..., Any]


@jit
def reward_of(lane: Record, rules: Record, previous: float, equity: float, growth: float) -> float:
    """The built-in reward of a step from equity `previous` to `equity`; 0.0 for a custom one.

    `growth` is equity over previous.

    Equity is floored at a millionth of the initial cash. The differential Sharpe ratio is that of
    Moody and Saffell (1998), "Performance functions and reinforcement learning for trading systems
    and portfolios", with both moments starting at 0; the step that has no variance behind it is 0.
    It is not monotone: after losses have made the first moment negative, the square of a further,
    huge loss counts as a gain, so it rewards a wipe-out. Prefer another where ruin is possible.
    """
    floor = EQUITY_FLOOR * lane.initial_cash
    if previous < floor or equity < floor:
        growth = max(equity, floor) / max(previous, floor)
    if rules.reward == LOG_RETURN:
        return math.log(growth)
    if rules.reward == SIMPLE_RETURN:
        return growth - 1.0
    if rules.reward == PNL:
        return (equity - previous) / lane.initial_cash
    if rules.reward == DIFFERENTIAL_SHARPE:
        simple = growth - 1.0
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
        drawdown = 1.0 - max(equity, floor) / lane.peak_equity
        return math.log(growth) - DRAWDOWN_WEIGHT * max(drawdown - DRAWDOWN_FREE, 0.0)
    return 0.0


@jit
def write_inputs(
    lane: Record,
    previous: float,
    terminated: bool,
    truncated: bool,
    out: Float64,
) -> None:
    """Write what a custom reward may ask for into `out`, float64 (inputs,), as `INPUTS` orders."""
    equity = max(lane.equity, 0.0)
    out[0] = previous
    out[1] = lane.equity
    out[2] = lane.initial_cash
    out[3] = lane.exposure
    out[4] = lane.quantity
    out[5] = lane.price
    out[6] = lane.fees
    out[7] = lane.turnover
    out[8] = 1.0 - equity / max(lane.peak_equity, equity)
    out[9] = terminated
    out[10] = truncated


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


def custom_reward(reward: RewardFunction, inputs: Float64) -> Float64:
    """Call a custom reward over lanes and check its result, float64 (lanes,).

    Args:
        reward: The callable.
        inputs: float64 (lanes, inputs), as `write_inputs` fills them.

    Raises:
        ValueError: The result has another shape or is not finite.
    """
    given = {name: inputs[:, COLUMNS[name]].copy() for name in reward_inputs(reward)}
    for name in set(given) & set(FLAGS):
        given[name] = given[name] != 0.0
    result = np.asarray(reward(**given), dtype=np.float64)
    if result.shape != (len(inputs),) or not np.isfinite(result).all():
        raise ValueError(
            f"reward={describe_value(reward)} returned shape {result.shape}"
            f"{'' if np.isfinite(result).all() else ' with values that are not finite'}; expected "
            f"{len(inputs)} finite numbers, one a lane."
        )
    return result
