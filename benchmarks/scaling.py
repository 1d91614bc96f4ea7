"""What a lane-step costs: beside a plain copy of its bytes, over lanes, and over bars.

All with flat observations written into the same arrays (``copy=False``), one thread.
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numba
import numpy as np

import gym_trade
from benchmarks.speed import BLOCK, Rounds, Speed, vector_speed
from benchmarks.speed_cases import EPISODE_STEPS, MACHINE_LANES, SWEEP_EPISODE_STEPS


@numba.njit(nogil=True)
def copy_rows(rows: Any, positions: Any, out: Any) -> None:
    """Copy each lane's next row into its place, the last row being followed by the first.

    Args:
        rows: float32 (decisions, width), every decision's observation, ready made.
        positions: int64 (lanes,), each lane's next row; advanced by one.
        out: float32 (lanes, width).
    """
    for lane in range(positions.shape[0]):
        row = positions[lane]
        source, target = rows[row], out[lane]
        for column in range(target.shape[0]):
            target[column] = source[column]
        positions[lane] = row + 1 if row + 1 < rows.shape[0] else 0


def copy_speed(decisions: int, width: int, lanes: int, seconds: float, seed: int) -> Speed:
    """Rows a second of `copy_rows`, from starts as random as an environment's."""
    generator = np.random.default_rng(seed)
    rows = generator.random((decisions, width), dtype=np.float32)
    positions = generator.integers(0, decisions, lanes)
    out = np.zeros((lanes, width), np.float32)
    copy_rows(rows, positions, out)
    calls, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        for _ in range(BLOCK):
            copy_rows(rows, positions, out)
        calls += BLOCK
    return Speed(calls * lanes, elapsed)


def lane_speed(
    market: gym_trade.Market,
    lanes: int,
    seconds: float,
    seed: int,
    observation: str = "flat",
    episode_steps: int = EPISODE_STEPS,
) -> Speed:
    """Lane-steps a second with ``copy=False``."""
    env: Any = gym.make_vec(
        "Trade-Sequential-v0",
        num_envs=lanes,
        df=market,
        observation=observation,
        copy=False,
        episode_steps=episode_steps,
    )
    try:
        return vector_speed(env, seconds, seed)
    finally:
        env.close()


def observation_shape(market: gym_trade.Market) -> tuple[int, int]:
    """The number of a market's decisions and the numbers in one flat observation."""
    env: Any = gym.make_vec("Trade-Sequential-v0", num_envs=1, df=market, observation="flat")
    return len(env.decision_times), env.single_observation_space.shape[0]


def machine_round(
    market: gym_trade.Market, seconds: float, seed: int, lanes: int = MACHINE_LANES
) -> dict[str, float]:
    """Against the machine, one round.

    Returns:
        step_ns and copy_ns, nanoseconds a lane-step and a copied row; their ratio; index, the
        lane-steps a second of index observations.
    """
    decisions, width = observation_shape(market)
    step = lane_speed(market, lanes, seconds, seed).nanoseconds
    copy = copy_speed(decisions, width, lanes, seconds, seed).nanoseconds
    index = lane_speed(market, lanes, seconds, seed, "index").per_second
    return {"step_ns": step, "copy_ns": copy, "ratio": step / copy, "index": index}


def bars_sweep(
    counts: tuple[int, ...], rounds: int, seconds: float, seed: int, lanes: int = MACHINE_LANES
) -> dict[str, dict[str, float]]:
    """Nanoseconds a lane-step on markets of different lengths, one market in memory at a time."""
    values = Rounds()
    for count in counts:
        market = gym_trade.Market(gym_trade.synthetic.make_frame(n_bars=count, seed=seed))
        for _ in range(rounds):
            speed = lane_speed(market, lanes, seconds, seed, episode_steps=SWEEP_EPISODE_STEPS)
            values.add(str(count), speed.nanoseconds)
    return values.spreads()
