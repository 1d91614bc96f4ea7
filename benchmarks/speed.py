"""Steps a second of one case: environments of ours, and peers' in their own interpreters."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pandas as pd

import gym_trade
from benchmarks.speed_cases import PEERS, Case

BLOCK = 64  # steps of a vector environment between two looks at the clock
SCALAR_BLOCK = 512
WARM_STEPS = 5


class Speed(NamedTuple):
    """Decisions of all lanes together, and the seconds they took with their resets."""

    decisions: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Decisions a second."""
        return self.decisions / self.seconds

    @property
    def nanoseconds(self) -> float:
        """Nanoseconds a decision of one lane."""
        return 1e9 / self.per_second


def vector_speed(env: Any, seconds: float, seed: int) -> Speed:
    """Step a vector environment with random actions for `seconds`.

    With the default autoreset, the step that begins a lane's next episode takes no decision: its
    time counts, the step does not.
    """
    lanes, count = env.num_envs, int(env.single_action_space.n)
    env.reset(seed=seed)
    actions = np.random.default_rng(seed).integers(0, count, (BLOCK, lanes))
    for action in actions[:WARM_STEPS]:
        env.step(action)
    steps, episodes = 0, int(env.account()["episode"].sum())
    begin = time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        for action in actions:
            env.step(action)
        steps += BLOCK * lanes
    resets = int(env.account()["episode"].sum()) - episodes
    return Speed(steps - resets, elapsed)


def scalar_speed(env: Any, seconds: float, seed: int) -> Speed:
    """Step a scalar environment with random actions for `seconds`, with its resets."""
    env.reset(seed=seed)
    count = int(env.action_space.n)
    actions = np.random.default_rng(seed).integers(0, count, SCALAR_BLOCK).tolist()
    _, _, terminated, truncated, _ = env.step(actions[0])
    if terminated or truncated:
        env.reset()
    steps, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        steps += SCALAR_BLOCK
    return Speed(steps, elapsed)


def case_speed(market: gym_trade.Market, case: Case, seconds: float, seed: int) -> Speed:
    """Make a case's environment and measure it."""
    if case.lanes:
        env: Any = gym.make_vec(
            case.task, num_envs=case.lanes, df=market, threads=case.threads, **case.options
        )
    else:
        env = gym.make(case.task, df=market, **case.options)
    try:
        measure = vector_speed if case.lanes else scalar_speed
        return measure(env, seconds, seed)
    finally:
        env.close()


def peer_speeds(
    peer: str, python: str, bars: Path, cases: list[dict[str, Any]], seconds: float, seed: int
) -> dict[str, Any]:
    """Run a peer's script in its own interpreter.

    Returns:
        {"versions": package -> version, "speeds": case name -> steps a second}.

    Raises:
        ValueError: The interpreter is not there, or the script failed in it.
    """
    script = PEERS[peer].script
    request = {"peer": peer, "bars": str(bars), "seconds": seconds, "seed": seed, "cases": cases}
    try:
        done = subprocess.run(
            [python, str(script)], input=json.dumps(request), capture_output=True, text=True
        )
    except OSError as error:
        raise ValueError(f"{python}: {error.strerror}. Name the python of {peer}.") from error
    if done.returncode:
        tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ValueError(f"{python} {script.name} failed: {tail[0]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def write_bars(frame: pd.DataFrame, limit: int | None, path: Path) -> Path:
    """Write a peer's bars as CSV."""
    frame.iloc[:limit].to_csv(path)
    return path


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest of the rounds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


class Rounds:
    """Named measurements, one value a round."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        """Note one round's value."""
        self._values.setdefault(name, []).append(value)

    def spreads(self) -> dict[str, dict[str, float]]:
        """Every name's median, smallest and largest."""
        return {name: spread(values) for name, values in self._values.items()}
