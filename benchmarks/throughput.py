"""Steps a second, beside peers whose own Python is given, and what they cost at best and at first.

``python -m benchmarks.throughput --torchtrade-python A --gym-trading-env-python B
--gym-anytrading-python C`` measures what a fresh process takes to compile, to start and to make a
large market; gym_trade and the peers in alternating rounds of one run, and in the same rounds what
a lane-step costs beside a plain copy of its bytes and over lanes; then over bars. It writes
results/throughput.json; ``python -m benchmarks.report --write`` makes the README's tables and
results/throughput.svg of it.
Which cases stand beside which, and what is not alike, is said in ``benchmarks/speed_cases.py``.

Make a peer's environment with, for example, ``python -m venv peer && peer/bin/pip install
torchtrade==0.1.0`` (gym-trading-env==0.3.5, gym-anytrading==2.0.0). Nothing else may run on the
machine meanwhile: with a busy core, two threads of TorchTrade's can be 20 times slower than one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import gym_trade
from benchmarks import scaling, startup, throughput_tables
from benchmarks.machine import describe_machine, write_result
from benchmarks.speed import Rounds, case_speed, peer_speeds, write_bars
from benchmarks.speed_cases import CASES, LANE_COUNTS, MARKET_BARS, PEERS
from data_tools import command_line

IDLE_LOAD = 0.3  # average load of an idle machine, at most


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


class Comparer:
    """Our cases and the peers', a round at a time.

    Args:
        arguments: The command line.
        folder: Where the peers' bars are written.

    Raises:
        ValueError: A peer's Python cannot run it.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.seconds, self.seed = arguments.seconds, arguments.seed
        frame = gym_trade.synthetic.make_frame(n_bars=arguments.bars, seed=arguments.seed)
        limits = {case.bars for case in CASES} | {None}
        self.markets = {limit: gym_trade.Market(frame.iloc[:limit]) for limit in limits}
        named = {peer: getattr(arguments, f"{peer}_python") for peer in PEERS}
        self.pythons = {peer: python for peer, python in named.items() if python}
        self.bars = {
            peer: write_bars(frame, PEERS[peer].bars, folder / f"{peer}.csv")
            for peer in self.pythons
        }
        self.versions: dict[str, str] = {}
        self.ours = Rounds()
        self.theirs = {peer: Rounds() for peer in self.pythons}
        for peer in self.pythons:  # a missing package is found before minutes are spent
            self._run_peer(peer, [])

    def run_round(self) -> None:
        """Measure every case of ours once, then every peer's."""
        for case in CASES:
            speed = case_speed(self.markets[case.bars], case, self.seconds, self.seed)
            self.ours.add(case.name, speed.per_second)
        for peer in self.pythons:
            cases = [case._asdict() for case in PEERS[peer].cases]
            for name, speed in self._run_peer(peer, cases).items():
                self.theirs[peer].add(name, speed)

    def _run_peer(self, peer: str, cases: list[dict[str, Any]]) -> dict[str, float]:
        answer = peer_speeds(
            peer, self.pythons[peer], self.bars[peer], cases, self.seconds, self.seed
        )
        self.versions |= answer["versions"]
        speeds: dict[str, float] = answer["speeds"]
        return speeds


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run everything."""
    seconds, seed, rounds = arguments.seconds, arguments.seed, arguments.rounds
    sizes = tuple(arguments.market_bars)
    load = os.getloadavg()[0]
    if load > IDLE_LOAD:
        say(f"warning: the average load is {load:.2f}; what else runs here distorts the comparison")
    limit, lanes = Rounds(), Rounds()
    with tempfile.TemporaryDirectory() as folder:
        comparer = Comparer(arguments, Path(folder))
        market = comparer.markets[None]
        say("fresh processes")
        starts = startup.first_steps(arguments.repeats)
        cost = startup.construction(max(sizes), arguments.repeats, seed)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            comparer.run_round()
            for name, value in scaling.machine_round(market, seconds, seed).items():
                limit.add(name, value)
            for count in LANE_COUNTS:
                speed = scaling.lane_speed(market, count, seconds, seed)
                lanes.add(str(count), speed.nanoseconds)
    say("markets of different lengths")
    market_bars = scaling.bars_sweep(sizes, rounds, seconds, seed)
    return {
        "machine": describe_machine(),
        "load_before": round(load, 2),
        "peer_versions": comparer.versions,
        "bars": arguments.bars,
        "seed": seed,
        "rounds": rounds,
        "seconds": seconds,
        "repeats": arguments.repeats,
        "ours": comparer.ours.spreads(),
        "peers": {peer: values.spreads() for peer, values in comparer.theirs.items()},
        "limit": limit.spreads(),
        "lanes": lanes.spreads(),
        "market_bars": market_bars,
        "construction": {"bars": max(sizes), "cost": cost},
        "startup": starts,
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the flags.

    Raises:
        CommandLineError: One of them is out of range.
    """
    parser = command_line.ArgumentParser(description=__doc__)
    for peer, facts in PEERS.items():
        flag = f"--{peer.replace('_', '-')}-python"
        parser.add_argument(flag, help=f"python of an environment with {facts.title}")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes of each kind")
    parser.add_argument("--bars", type=int, default=200_000)
    parser.add_argument(
        "--market-bars",
        type=int,
        nargs="+",
        default=MARKET_BARS,
        help="lengths of markets; the largest is also made in fresh processes",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args(argv)
    if arguments.seconds <= 0 or arguments.rounds < 1 or arguments.repeats < 1:
        parser.error("expected --seconds > 0, --rounds >= 1 and --repeats >= 1")
    if arguments.bars < 20_000 or min(arguments.market_bars) < 8_000:
        parser.error("expected --bars >= 20000 and --market-bars >= 8000")
    return arguments


def run(argv: list[str] | None) -> None:
    """Measure, print and write results/throughput.json."""
    arguments = parse(argv)
    result = measure(arguments)
    for make in throughput_tables.TABLES.values():
        print(make(result), end="\n\n")
    if not arguments.no_write:
        print(write_result("throughput", result))


def main(argv: list[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return command_line.run(lambda: run(argv))


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
