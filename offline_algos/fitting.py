"""Whether a dataset's observations and actions mean what the environment's do."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from gym_trade import VectorTradeEnv
from offline_algos.datasets import Dataset


def check_fit(environment: VectorTradeEnv, dataset: Dataset) -> None:
    """Refuse to evaluate a policy on observations or actions that mean something else."""
    provenance = dataset.provenance or {}
    columns, wanted = dataset.buffer.obs.shape[1:], environment.single_observation_space.shape
    here = [f"{part.key} {list(part.shape)}" for part in environment.layout]
    made = (
        [f"{part['key']} {part['shape']}" for part in provenance["layout"]] if provenance else here
    )
    if columns != wanted or made != here:
        raise ValueError(
            f"the dataset's observations {columns} ({', '.join(made)}) are not the evaluation "
            f"environment's {wanted} ({', '.join(here)}). Leave its time frames, windows and "
            "features as they were."
        )
    levels = environment.action_levels
    if (levels is None) == (dataset.buffer.act.ndim == 1):
        kinds = ("discrete", "continuous")
        raise ValueError(
            f"the evaluation environment has {kinds[levels is None]} actions, the dataset "
            f"{kinds[levels is not None]} ones. Leave action_type as it was."
        )
    if levels is None:
        check_box(environment.single_action_space, dataset)
        return
    recorded = provenance.get("action", {}).get("levels")
    if recorded is not None and list(recorded) != list(levels):
        raise ValueError(
            f"the dataset's action levels are {list(recorded)}, the evaluation environment's "
            f"{levels.tolist()}. Leave action_levels, leverage and allow_short as they were."
        )
    actions = dataset.buffer.act[dataset.buffer.sample_indices(0)]
    if actions.min() < 0 or actions.max() >= len(levels):
        raise ValueError(
            f"the dataset's actions run from {actions.min()} to {actions.max()}, but the "
            f"environment has 0 to {len(levels) - 1}."
        )


def check_box(box: gym.spaces.Space[Any], dataset: Dataset) -> None:
    """Refuse continuous actions that the environment does not have."""
    assert isinstance(box, gym.spaces.Box)
    actions = dataset.buffer.act[dataset.buffer.sample_indices(0)]
    low, high = float(box.low.min()), float(box.high.max())
    if actions.shape[1:] != box.shape or actions.min() < low or actions.max() > high:
        raise ValueError(
            f"the dataset's actions of shape {actions.shape[1:]} run from {actions.min():g} to "
            f"{actions.max():g}, but the environment has {box.shape} from {low:g} to {high:g}. "
            "Leave leverage and allow_short as they were."
        )
