"""Steps a second of the environments, beside a peer's where its own Python is given.

``python -m benchmarks.throughput --torchtrade-python VENV/bin/python`` measures both on the same
bars with the same windows and random actions, in alternating rounds of one run, and writes
results/throughput.json. A step is a random action, the observation built and written, and the
automatic reset where an episode ended. Make a peer's environment with, for example,
``python -m venv peer && peer/bin/pip install torchtrade==0.1.0``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

import gym_trade
from benchmarks.machine import describe_machine, write_result

EPISODE_STEPS = 2000
PEER_SCRIPT = Path(__file__).parent / "peers" / "torchtrade_speed.py"


class Case(NamedTuple):
    """One measurement: `lanes` 0 is the scalar environment through ``gym.make``."""

    name: str
    lanes: int
    threads: int = 1
    observation: str = "dict"
    copy: bool = True
    peer: bool = False


CASES = (
    Case("scalar", 0, peer=True),
    Case("64 lanes", 64, peer=True),
    Case("1024 lanes", 1024, peer=True),
    Case("4096 lanes, 2 threads", 4096, threads=2, peer=True),
    Case("1024 lanes, flat, copy=False", 1024, observation="flat", copy=False),
    Case("1024 lanes, index, copy=False", 1024, observation="index", copy=False),
)


def vector_speed(market: gym_trade.Market, case: Case, seconds: float, seed: int) -> float:
    """Lane-steps a second of a vector environment."""
    env = gym.make_vec(
        "Trade-Sequential-v0",
        num_envs=case.lanes,
        df=market,
        observation=case.observation,
        copy=case.copy,
        threads=case.threads,
        episode_steps=EPISODE_STEPS,
    )
    env.reset(seed=seed)
    actions = np.random.default_rng(seed).integers(0, 3, (64, case.lanes))
    for action in actions[:5]:
        env.step(action)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for action in actions:
            env.step(action)
        steps += 64 * case.lanes
    speed = steps / (time.perf_counter() - begin)
    env.close()
    return speed


def scalar_speed(market: gym_trade.Market, seconds: float, seed: int) -> float:
    """Steps a second of ``gym.make("Trade-Sequential-v0")``, with its resets."""
    env = gym.make("Trade-Sequential-v0", df=market, episode_steps=EPISODE_STEPS)
    env.reset(seed=seed)
    actions = np.random.default_rng(seed).integers(0, 3, 4096).tolist()
    env.step(actions[0])
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        steps += len(actions)
    return steps / (time.perf_counter() - begin)


def our_round(market: gym_trade.Market, seconds: float, seed: int) -> dict[str, float]:
    """Every case of ours once."""
    return {
        case.name: vector_speed(market, case, seconds, seed)
        if case.lanes
        else scalar_speed(market, seconds, seed)
        for case in CASES
    }


def peer_round(python: str, bars: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Every case of the peer once, in its own interpreter."""
    cases = [{"name": c.name, "lanes": c.lanes, "threads": c.threads} for c in CASES if c.peer]
    request = {"bars": str(bars), "seconds": seconds, "seed": seed, "cases": cases}
    done = subprocess.run(
        [python, str(PEER_SCRIPT)], input=json.dumps(request), capture_output=True, text=True
    )
    if done.returncode:
        tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise SystemExit(f"error: {python} {PEER_SCRIPT.name} failed: {tail[0]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest of the rounds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds, ours and the peer's in turn."""
    frame = gym_trade.synthetic.make_frame(n_bars=arguments.bars, seed=arguments.seed)
    market = gym_trade.Market(frame)
    ours: dict[str, list[float]] = {case.name: [] for case in CASES}
    peers: dict[str, list[float]] = {}
    peer_versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        bars = Path(folder) / "bars.csv"
        if arguments.torchtrade_python:
            frame.to_csv(bars)
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
            for name, value in our_round(market, arguments.seconds, arguments.seed).items():
                ours[name].append(value)
            if arguments.torchtrade_python:
                answer = peer_round(
                    arguments.torchtrade_python, bars, arguments.seconds, arguments.seed
                )
                peer_versions = answer["versions"]
                for name, value in answer["speeds"].items():
                    peers.setdefault(name, []).append(value)
    return {
        "machine": describe_machine(),
        "peer_versions": peer_versions,
        "bars": arguments.bars,
        "seed": arguments.seed,
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "ours": {name: spread(values) for name, values in ours.items()},
        "torchtrade": {name: spread(values) for name, values in peers.items()},
    }


def print_table(result: dict[str, Any]) -> None:
    """Print the medians, their spread and the ratios."""
    print(f"{'':32}{'gym_trade':>26}{'TorchTrade':>26}{'ratio':>8}")
    for name, ours in result["ours"].items():
        peer = result["torchtrade"].get(name)
        cell = "{median:>12,.0f} [{min:,.0f}..{max:,.0f}]"
        ratio = f"{ours['median'] / peer['median']:.1f}" if peer else "-"
        print(f"{name:32}{cell.format(**ours)}  {cell.format(**peer) if peer else '-'}  {ratio}")


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write results/throughput.json."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--torchtrade-python", help="python of an environment with TorchTrade")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bars", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args(argv)
    if arguments.seconds <= 0 or arguments.rounds < 1 or arguments.bars < 20_000:
        parser.error("expected --seconds > 0, --rounds >= 1 and --bars >= 20000")
    result = measure(arguments)
    print_table(result)
    if not arguments.no_write:
        print(write_result("throughput", result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
