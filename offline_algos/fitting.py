"""Whether the observations and actions that a policy knows mean what an environment's do."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from data_tools.provenance import describe_actions
from gym_trade import VectorTradeEnv
from offline_algos.origin import Origin


def check_fit(environment: VectorTradeEnv, origin: Origin) -> None:
    """Refuse to evaluate a policy on observations or actions that mean something else."""
    columns, wanted = origin.observation_shape, environment.single_observation_space.shape
    here = [f"{part.key} {list(part.shape)}" for part in environment.layout]
    made = here if origin.parts is None else origin.parts
    if columns != wanted or made != here:
        raise ValueError(
            f"{origin.noun}'s observations {columns} ({', '.join(made)}) are not the evaluation "
            f"environment's {wanted} ({', '.join(here)}). Leave its time frames, windows and "
            "features as they were."
        )
    space = environment.single_action_space
    continuous = isinstance(space, gym.spaces.Box)
    if continuous == (origin.action_shape == ()):
        kinds = ("discrete", "continuous")
        raise ValueError(
            f"the evaluation environment has {kinds[continuous]} actions, {origin.noun} "
            f"{kinds[not continuous]} ones. Leave action_type as it was."
        )
    if continuous:
        check_box(space, origin)
        return
    recorded, found = origin.provenance.get("action", {}), describe_actions(environment)
    levels = recorded.get("levels")
    if levels is not None and levels != found["levels"]:
        raise ValueError(
            f"{origin.noun}'s action levels are {levels}, the evaluation environment's "
            f"{found['levels']}. Leave action_levels, leverage and allow_short as they were."
        )
    if recorded.get("brackets") != found.get("brackets") and recorded:
        raise ValueError(
            f"{origin.noun}'s actions are other brackets than the evaluation environment's. Leave "
            "stoploss_levels, takeprofit_levels, leverage, allow_short, position_fraction and the "
            "hold and close actions as they were."
        )
    assert isinstance(space, gym.spaces.Discrete)
    low, high = origin.action_range
    if low < 0 or high >= space.n:
        raise ValueError(
            f"{origin.noun}'s actions run from {low} to {high}, but the environment has 0 to "
            f"{int(space.n) - 1}."
        )


def check_box(box: gym.spaces.Space[Any], origin: Origin) -> None:
    """Refuse continuous actions that the environment does not have."""
    assert isinstance(box, gym.spaces.Box)
    low, high = float(box.low.min()), float(box.high.max())
    lowest, highest = origin.action_range
    if origin.action_shape != box.shape or lowest < low or highest > high:
        raise ValueError(
            f"{origin.noun}'s actions of shape {origin.action_shape} run from {lowest:g} to "
            f"{highest:g}, but the environment has {box.shape} from {low:g} to {high:g}. Leave the "
            "environment (of a market: leverage, allow_short) as it was."
        )
