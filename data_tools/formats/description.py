"""A provenance for transitions of another origin, counted while they pass."""

from __future__ import annotations

import json
import math

import numpy as np

from data_tools.episodes import RunningStatistics
from data_tools.formats.trajectories import Block, Trajectories
from data_tools.provenance_schema import FORMAT_VERSION, MARKET_TASKS, find_fault


class Description:
    """Counts returns of episodes.

    Args:
        given: The transitions.
    """

    def __init__(self, given: Trajectories) -> None:
        self._given = given
        self._total, self._steps, self._terminated = 0.0, 0, 0
        self._returns, self._lengths = RunningStatistics(), RunningStatistics()

    def add(self, block: Block) -> None:
        """Count the next rows."""
        rewards = block["rew"].astype(np.float64)
        begin = 0
        for stop in (np.flatnonzero(block["done"]) + 1).tolist():
            self._returns.add(self._total + float(rewards[begin:stop].sum()))
            self._lengths.add(self._steps + stop - begin)
            self._total, self._steps, begin = 0.0, 0, stop
        self._total += float(rewards[begin:].sum())
        self._steps += len(rewards) - begin
        self._terminated += int(np.count_nonzero(block["terminated"]))

    def provenance(self) -> str | None:
        """The JSON text; None where the task is unknown, or a market's, which needs its market."""
        given = self._given
        if given.task is None or given.task.startswith(MARKET_TASKS):
            return None
        cut = int(self._steps > 0)
        complete = self._returns.count
        if not complete:
            self._returns.add(self._total)
            self._lengths.add(float(self._steps))
        shape = given.columns["obs"][0]
        width = math.prod(shape)
        layout = given.layout or [
            {"key": "observation", "start": 0, "stop": width, "shape": list(shape)}
        ]
        provenance = {
            "format_version": FORMAT_VERSION,
            "task": given.task,
            "policy": {"name": str(given.facts.get("policy", f"unknown ({given.format})"))},
            "buffer_size": given.rows,
            "layout": layout,
            "action": {"type": "discrete" if given.discrete else "continuous", "levels": None},
            "reference": {
                "behavior_return": self._returns.mean,
                "behavior_return_std": self._returns.std,
                "mean_episode_length": self._lengths.mean,
                "complete_episodes": complete,
                "cut_episodes": cut,
                "terminated_episodes": self._terminated,
            },
            "source": given.facts,
        }
        return None if find_fault(provenance) else json.dumps(provenance, allow_nan=False)
