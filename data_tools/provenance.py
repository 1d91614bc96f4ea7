"""What a dataset says about itself: enough to build the same environment and policy again."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import pandas as pd

import gym_trade
from data_tools.episodes import Episodes
from data_tools.market_windows import MarketWindows
from data_tools.provenance_schema import FORMAT_VERSION
from gym_trade import TradeConfig, VectorTradeEnv
from gym_trade.types import BRACKET, CLOSE_ALL

LOG_PROBABILITY, ACTION_MASK = "policy_logp", "action_mask"  # names of further columns
_PACKAGES = ("gymnasium", "numba", "numpy", "pandas", "h5py")


def usable_span(venv: VectorTradeEnv) -> tuple[str, str]:
    """The first decision instant and the last mark instant of the first market, ISO 8601 UTC."""
    low, high = (pd.Timestamp(venv.decision_times[i], tz="UTC") for i in venv.decision_range)
    return low.isoformat(), high.isoformat()


def describe_collection(
    task: str,
    venv: VectorTradeEnv,
    market: dict[str, Any],
    policy: dict[str, Any],
    seed: int,
    rows: int,
) -> dict[str, Any]:
    """Describe how data is made, as a JSON object without anything that a rerun would change.

    Args:
        task: The environment's id.
        venv: The environment; observations are described as flat, also in index mode.
        market: Its market, as `environment.open_market` describes it.
        policy: The behaviour policy, described.
        seed: Seed of environment and policy.
        rows: Transitions.
    """
    begin, end = (moment.isoformat() for moment in venv.markets[0].span)
    first, last = usable_span(venv)
    return {
        "format_version": FORMAT_VERSION,
        "task": task,
        "config": json.loads(venv.config.replace(observation="flat").to_json()),
        "market": {**market, "span": {"start": begin, "end": end}},
        "policy": policy,
        "seed": seed,
        "num_envs": venv.num_envs,
        "episode_steps": venv.config.episode_steps,
        "buffer_size": rows,
        "span": {"start": first, "end": last},
        "layout": MarketWindows.of(venv.tables[0]).layout,
        "action": describe_actions(venv),
        "versions": {
            "python": platform.python_version(),
            "gym_trade": gym_trade.__version__,
            **{name: version(name) for name in _PACKAGES},
        },
    }


def describe_actions(venv: VectorTradeEnv) -> dict[str, Any]:
    """What actions mean: ``type``, the ``levels`` of discrete levels, or the ``brackets``."""
    levels = venv.action_levels
    if levels is not None:
        return {"type": "discrete", "levels": levels.tolist()}
    if not isinstance(venv.single_action_space, gym.spaces.Discrete):
        return {"type": "continuous", "levels": None}
    return {"type": "discrete", "levels": None, "brackets": describe_brackets(venv.config)}


def describe_brackets(config: TradeConfig) -> list[dict[str, Any]]:
    """What each action of a configuration with brackets asks for, as JSON objects."""
    made: list[dict[str, Any]] = []
    for choice in config.choices:
        if choice.operation == BRACKET:
            made.append({"level": choice.level, "stop": choice.stop, "target": choice.target})
        else:
            made.append({"order": "close" if choice.operation == CLOSE_ALL else "hold"})
    return made


def describe_episodes(episodes: Episodes) -> dict[str, Any]:
    """Reference returns, as a JSON object."""
    return {
        "behavior_return": episodes.mean_return,
        "behavior_return_std": episodes.std_return,
        "behavior_return_min": episodes.min_return,
        "behavior_return_max": episodes.max_return,
        "mean_episode_length": episodes.mean_length,
        "complete_episodes": episodes.complete,
        "cut_episodes": episodes.cut,
        "terminated_episodes": episodes.terminated,
    }


def episodes_of(reference: dict[str, Any]) -> Episodes:
    """What `describe_episodes` described."""
    return Episodes(
        complete=reference["complete_episodes"],
        cut=reference["cut_episodes"],
        terminated=reference["terminated_episodes"],
        mean_return=reference["behavior_return"],
        std_return=reference["behavior_return_std"],
        min_return=reference["behavior_return_min"],
        max_return=reference["behavior_return_max"],
        mean_length=reference["mean_episode_length"],
    )


def describe_columns(continuous: bool, masked: bool, known: bool) -> dict[str, Any]:
    """What the further columns hold, as a JSON object: nothing where there are none.

    Args:
        continuous: Whether actions are.
        masked: Whether the environment has an action mask.
        known: Whether the policy's log-probabilities are known.
    """
    made: dict[str, Any] = {}
    if known:
        made[LOG_PROBABILITY] = {
            "what": "natural logarithm of how likely the behaviour policy was to take the action, "
            "its noise included",
            "kind": "log density over the box; log probability mass where the action is the "
            "policy's own and the policy is certain of it"
            if continuous
            else "log probability",
            "given": "the rule that the lane has drawn for the episode, in a mixture of rules",
        }
    if masked:
        made[ACTION_MASK] = {"what": "which actions the transition's observation allowed"}
    return {"columns": made} if made else {}
