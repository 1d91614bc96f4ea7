"""What a dataset says about itself: enough to build the same environment and policy again."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import Any

import pandas as pd

import gym_trade
from data_tools.episodes import Episodes
from data_tools.market_windows import MarketWindows
from data_tools.provenance_schema import FORMAT_VERSION
from gym_trade import VectorTradeEnv

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
    levels = venv.action_levels
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
        "action": {
            "type": "continuous" if levels is None else "discrete",
            "levels": None if levels is None else levels.tolist(),
        },
        "versions": {
            "python": platform.python_version(),
            "gym_trade": gym_trade.__version__,
            **{name: version(name) for name in _PACKAGES},
        },
    }


def describe_episodes(episodes: Episodes) -> dict[str, Any]:
    """Reference returns, as a JSON object."""
    return {
        "behavior_return": episodes.mean_return,
        "behavior_return_std": episodes.std_return,
        "mean_episode_length": episodes.mean_length,
        "complete_episodes": episodes.complete,
        "cut_episodes": episodes.cut,
        "terminated_episodes": episodes.terminated,
    }
