"""Datasets of every kind to be relabelled, and a slow environment to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from data_tools.flat_layout import read_provenance
from data_tools.load import load
from gym_trade import Market
from tests.data_tools.collecting import quiet, write_market
from tests.data_tools.editing import (
    opened,
)
from tests.data_tools.indexed import WILD

ENV: dict[str, Any] = WILD["env"]
CHANCE = {"slippage": 0.002, "slippage_model": "uniform", "initial_cash": [1000.0, 20_000.0]}
KINDS: dict[str, dict[str, Any]] = {
    "levels": {},
    "chance": {"env": ENV | CHANCE},
    "continuous": {"env": ENV | {"action_type": "continuous"}},
    "brackets": {"task": "Trade-SLTP-v0", "policy": "random"},
    "rollouts": {
        "task": "Trade-OneStep-v0", "policy": "random", "env": ENV | {"rollout_steps": 8},
        "episode_steps": None,
    },
    "sharded": {"env": ENV | CHANCE, "shards": 3},
}  # fmt: skip
SIZE, LANES = 300, 4


def collect_all(folder: Path) -> dict[str, Path]:
    """A dataset of each kind."""
    market = write_market(folder / "market.csv")
    made = {}
    for kind, options in KINDS.items():
        asked = WILD | {"buffer_size": SIZE, "num_envs": LANES} | options
        made[kind] = quiet(folder / f"{kind}.hdf5", market, **asked).path
    asked = WILD | {"buffer_size": SIZE, "num_envs": LANES, "layout": "indexed"}
    made["indexed"] = quiet(folder / "indexed.hdf5", market, **asked).path
    asked |= KINDS["sharded"]
    made["indexed shards"] = quiet(folder / "indexed-shards.hdf5", market, **asked).path
    return made


class Slow:
    """A scalar environment, driven from a reset to the state of any row of a dataset."""

    def __init__(self, path: Path, **changes: Any) -> None:
        known = read_provenance(path) or {}
        self.buffer, self.keys = opened(path), self._keys(path, known)
        market = Market(load(known["market"]["path"], echo=None))
        env: Any = gym.make(f"gym_trade:{known['task']}").unwrapped
        config = type(env).config_class.from_json(json.dumps(known["config"]), df=market)
        self.env = type(env)(config.replace(**changes))

    @staticmethod
    def _keys(path: Path, known: dict[str, Any]) -> list[tuple[int, int, int]]:
        """Each row's lane seed, episode and step."""
        done = opened(path).done
        files = [known]
        if "shards" in known:
            folder = path.parent / known["shards"]["folder"]
            files = [read_provenance(folder / f["file"]) for f in known["shards"]["files"]]
        keys: list[tuple[int, int, int]] = []
        for each in files:
            rows, lanes = each["buffer_size"], each["num_envs"]
            for lane in range(lanes):
                episode = step = 0
                for _ in range(rows // lanes + (lane < rows % lanes)):
                    keys.append((each["seed"] + lane, episode, step))
                    episode, step = (episode + 1, 0) if done[len(keys) - 1] else (episode, step + 1)
        return keys

    def go(self, row: int, action: Any) -> tuple[Any, ...]:
        """(obs, obs_next, reward, terminated) of an action at the state of a row."""
        seed, episode, steps = self.keys[row]
        seen = self.env.reset(seed=seed)[0]
        for _ in range(episode):
            seen = self.env.reset()[0]
        for before in range(row - steps, row):
            seen = self.env.step(self.buffer.act[before])[0]
        after, reward, terminated, _, _ = self.env.step(action)
        return seen, after, reward, terminated


def alike(value: Any) -> Any:
    """A number, or numbers by name, up to the last digits."""
    if isinstance(value, dict):
        return {name: alike(inner) for name, inner in value.items()}
    return pytest.approx(value)


def tried_at(logged: Any, count: int) -> list[int]:
    """The row at whose state each of all other actions was tried."""
    allowed = np.ones((len(logged), count), np.bool_)
    if "action_mask" in logged._meta:
        allowed = np.asarray(logged.action_mask)
    return [row for row in range(len(logged)) for action in range(count)
            if allowed[row, action] and action != logged.act[row]]  # fmt: skip
