"""Gradient steps a second, beside Tianshou's own algorithms on the same data.

``python -m benchmarks.training`` measures every method in alternating rounds of one run, on one
thread, at two sizes, and what drawing a batch takes; it writes results/training.json, of which
``python -m benchmarks.report --write`` makes the README's table. Each side has a process of its
own, ours with the memory setting that our scripts make. Which cases stand beside which is said in
``benchmarks/training_cases.py``. Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from tianshou.data import to_torch
from tianshou.utils.torch_utils import policy_within_training_step

from benchmarks.machine import describe_machine, write_result
from benchmarks.peers.side import rate
from benchmarks.speed import Rounds
from benchmarks.training_cases import (
    CASES,
    LARGE,
    LITTLE,
    WITHOUT_STOCK,
    Size,
    ours,
    quiet,
    transitions,
)
from benchmarks.training_tables import sampling_table, training_table
from data_tools import command_line
from data_tools.buffers import TensorReplayBuffer
from offline_algos.preparation import keep_memory

SAMPLING = "sampling"


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def steps_a_second(algorithm: Any, buffer: Any, batch_size: int, seconds: float) -> float:
    """Gradient steps a second of one algorithm, sampling included."""
    with policy_within_training_step(algorithm.policy), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rate(lambda: algorithm.update(buffer, batch_size), seconds)


def make_step(side: str, name: str, size: Size) -> Callable[[float], float]:
    """What measures one side of a case, or of `SAMPLING`, for some seconds."""
    case = next((case for case in (*CASES, *WITHOUT_STOCK) if case.name == name), None)
    data = transitions(size, continuous=case is not None and case.script.startswith("d4rl"))
    if case is None:
        tensors = TensorReplayBuffer(data)
        draw = {
            "ours": lambda: tensors.sample(size.batch),
            "tianshou": lambda: to_torch(data.sample(size.batch)[0], torch.float32, "cpu"),
        }[side]
        return lambda seconds: rate(draw, seconds)
    if side == "ours":
        algorithm, buffer = ours(case, size, data)
    else:
        algorithm = quiet(case.stock, size)
        buffer = algorithm.process_buffer(data)
    return lambda seconds: steps_a_second(algorithm, buffer, size.batch, seconds)


def serve(side: str, connection: Any) -> None:
    """One side's process: makes cases and measures them as it is told, until told None."""
    torch.set_num_threads(1)
    if side == "ours":
        keep_memory()  # as our scripts do; it holds for a whole process
    measure: Callable[[float], float] | None = None
    while (asked := connection.recv()) is not None:
        if isinstance(asked, float):
            assert measure is not None
            connection.send(measure(asked))
        else:
            measure = make_step(side, *asked)
            connection.send("ready")


def alternate(
    connections: dict[str, Any], asked: tuple[str, Size], rounds: int, seconds: float
) -> dict[str, Any]:
    """The sides of a case, in turns: the name of each, as in `connections`, to its spread."""
    for connection in connections.values():
        connection.send(asked)
        connection.recv()
    kept = Rounds()
    for _ in range(rounds):
        for side, connection in connections.items():
            connection.send(seconds)
            kept.add(side, connection.recv())
    spreads = kept.spreads()
    say(f"{asked[0]}, {asked[1]}: {spreads}")
    return spreads


@contextlib.contextmanager
def processes(*sides: str) -> Iterator[dict[str, Any]]:
    """What sends to and receives from each side's own process, which ends with the block."""
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        connections = {}
        for side in sides:
            connections[side], theirs = context.Pipe()
            process = context.Process(target=serve, args=(side, theirs), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(connections[side].send, None)
        yield connections


def measure_all(rounds: int, seconds: float) -> dict[str, Any]:
    """Every case at both sizes, each side in a process of its own, of which one works at a time."""
    with processes("ours", "tianshou") as connections:
        return {
            "sampling": alternate(connections, (SAMPLING, LARGE), rounds, seconds),
            "cases": {
                case.name: {
                    str(size): alternate(connections, (case.name, size), rounds, seconds)
                    for size in (LARGE, LITTLE)
                }
                for case in CASES
            },
        }


def main(argv: list[str] | None = None) -> int:
    """The command line; 0, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    arguments = parser.parse_args(argv)

    def command() -> None:
        torch.set_num_threads(1)
        machine = describe_machine()
        result = {
            "machine": machine,
            "seconds": arguments.seconds,
            "rounds": arguments.rounds,
            **measure_all(arguments.rounds, arguments.seconds),
        }
        print(training_table(result), sampling_table(result), sep="\n\n")
        print(write_result("training", result))

    return command_line.run(command)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
