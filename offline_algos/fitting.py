"""Whether the observations and actions that a policy knows mean what an environment's do."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

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
    levels = environment.action_levels
    if (levels is None) == (origin.action_shape == ()):
        kinds = ("discrete", "continuous")
        raise ValueError(
            f"the evaluation environment has {kinds[levels is None]} actions, {origin.noun} "
            f"{kinds[levels is not None]} ones. Leave action_type as it was."
        )
    if levels is None:
        check_box(environment.single_action_space, origin)
        return
    recorded = origin.provenance.get("action", {}).get("levels")
    if recorded is not None and list(recorded) != list(levels):
        raise ValueError(
            f"{origin.noun}'s action levels are {list(recorded)}, the evaluation environment's "
            f"{levels.tolist()}. Leave action_levels, leverage and allow_short as they were."
        )
    low, high = origin.action_range
    if low < 0 or high >= len(levels):
        raise ValueError(
            f"{origin.noun}'s actions run from {low} to {high}, but the environment has 0 to "
            f"{len(levels) - 1}."
        )


def check_box(box: gym.spaces.Space[Any], origin: Origin) -> None:
    """Refuse continuous actions that the environment does not have."""
    assert isinstance(box, gym.spaces.Box)
    low, high = float(box.low.min()), float(box.high.max())
    lowest, highest = origin.action_range
    if origin.action_shape != box.shape or lowest < low or highest > high:
        raise ValueError(
            f"{origin.noun}'s actions of shape {origin.action_shape} run from {lowest:g} to "
            f"{highest:g}, but the environment has {box.shape} from {low:g} to {high:g}. "
            "Leave leverage and allow_short as they were."
        )
