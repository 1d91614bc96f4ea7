"""Datasets beside Tianshou's own: collecting, storing, loading, sampling; and their scaling.

``python -m benchmarks.data`` measures both sides in alternating rounds of one run, each in a fresh
process (``benchmarks/data_sides.py``): collection against Tianshou's Collector over the same
environments, both with their saving; bytes and peak memory of the same transitions saved and loaded
by both; batches a second; what a transition costs from 10,000 to --largest; and the same of
the indexed layout, where there is one. It writes results/data.json, of which
``python -m benchmarks.report --write`` makes the README's tables. Nothing else may run on
the machine meanwhile. It needs 3 KB of memory and 9 KB of disk for each of --store-rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import data_tables, training
from benchmarks.data_sides import FULL, GYM, INDEXED, VECTOR, has_layout
from benchmarks.machine import describe_machine, write_result
from benchmarks.speed import Rounds
from benchmarks.startup import fresh
from benchmarks.training_cases import LARGE
from data_tools import command_line

LAYOUTS = (FULL, INDEXED)
SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    FULL: ("ours", {"layout": FULL}),
    INDEXED: ("ours", {"layout": INDEXED}),
    GYM: ("tianshou", {"environments": GYM}),
    VECTOR: ("tianshou", {"environments": VECTOR}),
}
# What --quick sets.
QUICK = {
    "rounds": 1, "seconds": 0.1, "lanes": 4, "rows": 2_000, "tianshou_rows": 400,
    "store_rows": 2_000, "largest": 1_000, "large_rows": 4_000, "no_write": True,
}  # fmt: skip


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


class Measuring:
    """The parts of the benchmark.

    Args:
        args: The command line.
        scratch: A folder for the files, each of which is removed once it is measured.
    """

    def __init__(self, args: argparse.Namespace, scratch: Path) -> None:
        self.args, self.scratch = args, scratch
        self.layouts = [layout for layout in LAYOUTS if has_layout(layout)]
        if INDEXED not in self.layouts:
            say("collect has no layout but full: the rows of the indexed one stay empty")

    def _side(self, case: str, **keywords: Any) -> dict[str, float]:
        say(f"{case} {keywords}")
        words = json.dumps({"scratch": str(self.scratch), **keywords})
        answer: dict[str, float] = fresh("data_sides", case, words)
        return answer

    def collection(self) -> dict[str, Any]:
        """Transitions a second, saving included: side -> its spread."""
        rounds, args = Rounds(), self.args
        sides = {n: side for n, side in SIDES.items() if n not in LAYOUTS or n in self.layouts}
        for _ in range(args.rounds):
            for name, (case, keywords) in sides.items():
                rows = args.rows if case == "ours" else args.tianshou_rows
                answer = self._side(case, rows=rows, lanes=args.lanes, seed=args.seed, **keywords)
                rounds.add(name, rows // args.lanes * args.lanes / answer["seconds"])
        return rounds.spreads()

    def storage(self) -> dict[str, Any]:
        """Bytes and memory of the same transitions: side -> metric -> its spread; and sampling."""
        rounds, sampling, args = {}, Rounds(), self.args
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            where = {"folder": folder, "rows": args.store_rows, "lanes": args.lanes}
            for _ in range(args.rounds):
                for layout in self.layouts:
                    answer = self._side("store", layout=layout, seed=args.seed, **where)
                    answer["collection_peak_bytes"] = self._collection_peak(layout)
                    _add(rounds, layout, answer)
                _add(rounds, "tianshou", self._side("store_tianshou", **where))
                for layout in self.layouts:
                    answer = self._side(
                        "sample", folder=folder, seconds=args.seconds, layout=layout
                    )
                    sampling.add(layout, answer["per_second"])
        spreads = {side: kept.spreads() for side, kept in rounds.items()}
        return {"storage": spreads, "layout_sampling": sampling.spreads()}

    def _collection_peak(self, layout: str) -> float:
        """Of a process that collects as many and does nothing else."""
        path, args = self.scratch / "memory.hdf5", self.args
        words = (args.store_rows, args.lanes, args.seed, layout, path)
        try:
            peak: float = fresh("data_memory", *words)["peak_bytes"]
        finally:
            path.unlink(missing_ok=True)
        return peak

    def scaling(self) -> dict[str, Any]:
        """Nanoseconds a transition, over the number of them: "whole" call, and "beyond" a call."""
        made, args = {}, self.args
        for rows in args.sizes:
            kept = Rounds()
            for _ in range(args.rounds):
                answer = self._side("ours", rows=rows, lanes=args.lanes, seed=args.seed)
                kept.add("whole", 1e9 * answer["seconds"] / rows)
                more = answer["seconds"] - answer["fixed_seconds"]
                kept.add("beyond", 1e9 * more / (rows - args.lanes))
                kept.add("peak_bytes", answer["peak_bytes"])
            made[str(rows)] = kept.spreads()
        return made

    def large(self) -> dict[str, Any] | None:
        """A large indexed set, once; None without the layout."""
        args = self.args
        if INDEXED not in self.layouts or args.large_rows == 0:
            return None
        return self._side("large", rows=args.large_rows, lanes=args.lanes, seed=args.seed,
                          layout=INDEXED, seconds=args.seconds)  # fmt: skip

    def sampling(self) -> dict[str, Any]:
        """Batches a second beside Tianshou's, as `benchmarks.training` measures it."""
        with training.processes("ours", "tianshou") as connections:
            return training.alternate(
                connections, (training.SAMPLING, LARGE), self.args.rounds, self.args.seconds
            )

    def everything(self) -> dict[str, Any]:
        """What results/data.json holds."""
        args = self.args
        return {
            "machine": describe_machine(),
            **{name: getattr(args, name) for name in (
                "rounds", "seconds", "lanes", "seed", "rows", "tianshou_rows", "store_rows")},
            "collection": self.collection(),
            **self.storage(),
            "sampling": self.sampling(),
            "scaling": self.scaling(),
            "large": self.large(),
        }  # fmt: skip


def _add(rounds: dict[str, Rounds], side: str, answer: dict[str, float]) -> None:
    kept = rounds.setdefault(side, Rounds())
    for name, value in answer.items():
        kept.add(name, value)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the flags.

    Raises:
        CommandLineError: One of them is out of range.
    """
    parser = command_line.ArgumentParser(description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="default: %(default)s")
    add("--seconds", type=float, default=2.0, help="of sampling, default: %(default)s")
    add("--lanes", type=int, default=64, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--rows", type=int, default=1_000_000, help="collected by us, default: %(default)s")
    add("--tianshou-rows", type=int, default=200_000,
        help="collected by Tianshou, default: %(default)s")
    add("--store-rows", type=int, default=1_000_000,
        help="saved and loaded by both, default: %(default)s")
    add("--largest", type=int, default=2_000_000, metavar="ROWS",
        help="cost of a transition up to so many; 10 million take 22 GB of disk (default: "
        "%(default)s)")
    add("--large-rows", type=int, default=20_000_000, metavar="ROWS",
        help="of the large indexed set, 0: none (default: %(default)s)")
    add("--scratch", type=Path, help="a folder on the disk to use (default: the system's)")
    add("--quick", action="store_true", help="one short round, to try it; writes nothing")
    add("--no-write", action="store_true", help="print only")
    # fmt: on
    args = parser.parse_args(argv)
    if args.quick:
        vars(args).update(QUICK)
    if args.rounds < 1 or args.lanes < 1 or args.seconds <= 0 or args.large_rows < 0:
        parser.error("expected --rounds >= 1, --lanes >= 1, --seconds > 0 and --large-rows >= 0")
    if min(args.rows, args.tianshou_rows, args.store_rows, args.largest) < 2 * args.lanes:
        parser.error(f"expected at least {2 * args.lanes} rows, two for each lane")
    if args.scratch is not None and not args.scratch.is_dir():
        parser.error(f"--scratch {args.scratch} is no folder")
    sizes = [10**power for power in range(4, 8) if 10**power < args.largest]
    args.sizes = [*sizes, args.largest]
    return args


def run(argv: list[str] | None) -> None:
    """Measure, print and write results/data.json."""
    args = parse(argv)
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        result = Measuring(args, Path(scratch)).everything()
    for make in data_tables.TABLES.values():
        print(make(result), end="\n\n")
    if not args.no_write:
        print(write_result("data", result))


def main(argv: list[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    return command_line.run(lambda: run(argv))


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
