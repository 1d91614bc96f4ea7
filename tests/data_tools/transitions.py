"""Made-up episodes for the tests of dataset files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data_tools.hdf5 import FlatBufferWriter

REPOSITORY = Path(__file__).resolve().parents[2]
WIDTH = 5


def provenance(**changes: Any) -> dict[str, Any]:
    """A valid provenance of the made-up episodes, with some of its members changed."""
    made = {
        "format_version": 1,
        "task": "Trade-Sequential-v0",
        "config": {},
        "market": {"kind": "synthetic", "name": "martingale", "content_hash": "0"},
        "span": {"start": "2022-01-01T00:00:00+00:00", "end": "2022-02-01T00:00:00+00:00"},
        "layout": [{"key": "account_state", "start": 0, "stop": WIDTH, "shape": [WIDTH]}],
        "action": {"type": "discrete", "levels": None},
        "policy": {"name": "made up"},
        "reference": {
            "behavior_return": 0.0, "behavior_return_std": 0.0, "complete_episodes": 1,
            "cut_episodes": 0,
        },
    }  # fmt: skip
    return made | changes


class Transitions:
    """Made-up episodes of several lanes: what each lane did, kept to compare with."""

    def __init__(self, size: int, lanes: int, *, seed: int = 0, continuous: bool = False) -> None:
        random = np.random.default_rng(seed)
        self.steps = -(-size // lanes)
        self.observation = random.normal(size=(self.steps + 1, lanes, WIDTH)).astype(np.float32)
        self.after = self.observation[1:].copy()
        self.action = random.integers(0, 3, (self.steps, lanes))
        if continuous:
            self.action = random.normal(size=(self.steps, lanes, 1)).astype(np.float32)
        self.reward = random.normal(size=(self.steps, lanes))
        kind = random.random((self.steps, lanes))
        self.terminated, self.truncated = kind < 0.1, (kind > 0.05) & (kind < 0.2)
        shares = size // lanes + (np.arange(lanes) < size % lanes)
        self.truncated[shares - 1, np.arange(lanes)] |= True
        self.done = self.terminated | self.truncated
        self.finals: list[dict[int, Any]] = []
        for step in range(self.steps):
            ended = np.flatnonzero(kind[step] < 0.2).tolist()
            rows = {lane: random.normal(size=WIDTH).astype(np.float32) for lane in ended}
            for lane, row in rows.items():
                self.after[step, lane] = row
            self.finals.append(rows)
        self.size, self.lanes, self.shares, self.continuous = size, lanes, shares, continuous

    def expected(self, name: str) -> np.ndarray:
        source = (
            self.after
            if name == "obs_next"
            else getattr(self, dict(obs="observation", act="action", rew="reward").get(name, name))
        )
        return np.concatenate([source[:count, lane] for lane, count in enumerate(self.shares)])

    def write(self, path: Path, **options: Any) -> Path:
        with self.writer(path, **options) as writer:
            self.feed(writer)
            return writer.finish(provenance())

    def writer(self, path: Path, **options: Any) -> FlatBufferWriter:
        if self.continuous:
            options |= {"action_shape": (1,), "action_dtype": np.float32}
        return FlatBufferWriter(
            path, size=self.size, num_lanes=self.lanes, observation_size=WIDTH, **options
        )

    def feed(self, writer: FlatBufferWriter) -> None:
        assert writer.num_steps == self.steps
        shared = np.empty_like(self.observation[0])  # as an environment with copy=False
        writer.start(self.observation[0])
        for step in range(self.steps):
            shared[:] = self.observation[step + 1]
            finals = {lane: row.copy() for lane, row in self.finals[step].items()}
            writer.add(
                self.action[step],
                self.reward[step],
                self.terminated[step],
                self.truncated[step],
                shared,
                finals,
            )
            shared[:] = np.nan
            for row in finals.values():
                row[:] = np.nan
