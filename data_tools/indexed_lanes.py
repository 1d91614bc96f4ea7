"""A vector environment in index mode, as a collection of the indexed layout drives it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.driving import Behaviour
from data_tools.indexed_format import shown_dtype
from data_tools.market_windows import MarketWindows
from gym_trade import VectorTradeEnv


class IndexedLanes:
    """Returns observations as records of decision index and account state.

    Args:
        venv: In index mode, of a single market, with "SameStep".
    """

    def __init__(self, venv: VectorTradeEnv) -> None:
        self._venv = venv
        self.num_envs = venv.num_envs
        self._shown = np.zeros(venv.num_envs, shown_dtype(len(venv.decision_times)))

    def reset(self, *, seed: int) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Begin every lane's episode: (records, info)."""
        observation, info = self._venv.reset(seed=seed)
        return self._records(observation), info

    def step(self, actions: npt.NDArray[Any]) -> tuple[Any, ...]:
        """Step every lane; the records are overwritten by the next step."""
        observation, reward, terminated, truncated, info = self._venv.step(actions)
        if "final_obs" in info:
            info["final_obs"] = {
                lane: self._final(info["final_obs"][lane])
                for lane in np.flatnonzero(info["_final_obs"]).tolist()
            }
        return self._records(observation), reward, terminated, truncated, info

    def _records(self, observation: dict[str, Any]) -> npt.NDArray[Any]:
        self._shown["decision"] = observation["decision_index"]
        self._shown["account_state"] = observation["account_state"]
        return self._shown

    def _final(self, observation: dict[str, Any]) -> npt.NDArray[Any]:
        record: npt.NDArray[Any] = np.zeros((), self._shown.dtype)
        record["decision"][...] = observation["decision_index"]
        record["account_state"][...] = observation["account_state"]
        return record


def seeing(behaviour: Behaviour, venv: VectorTradeEnv) -> Behaviour:
    """A behaviour that takes records; where it looks at observations, they are gathered for it."""
    if not behaviour.looks:
        return behaviour
    windows = MarketWindows.of(venv.tables[0])

    def act(shown: npt.NDArray[Any]) -> npt.NDArray[Any]:
        accounts = np.ascontiguousarray(shown["account_state"])
        decisions = np.ascontiguousarray(shown["decision"])
        return behaviour.act(windows.observations(decisions, accounts))

    return dataclasses.replace(behaviour, act=act)
