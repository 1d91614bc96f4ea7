"""Gradient steps a second, beside Tianshou's own algorithms on the same data.

``python -m benchmarks.training`` measures every method in alternating rounds of one run, on one
thread, at two sizes, and what drawing a batch takes; it writes results/training.json, of which
``python -m benchmarks.report --write`` makes the README's table. Which cases stand beside which is
said in ``benchmarks/training_cases.py``. Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from tianshou.data import to_torch
from tianshou.utils.torch_utils import policy_within_training_step

from benchmarks.machine import describe_machine, write_result
from benchmarks.speed import Rounds
from benchmarks.training_cases import CASES, LARGE, LITTLE, TrainingCase, ours, quiet, transitions
from benchmarks.training_tables import sampling_table, training_table
from data_tools import command_line
from data_tools.buffers import TensorReplayBuffer

WARM_STEPS = 5
BLOCK = 5  # steps between two looks at the clock


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def rate(step: Callable[[], Any], seconds: float) -> float:
    """Calls a second, over at least `seconds`."""
    for _ in range(WARM_STEPS):
        step()
    steps, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        for _ in range(BLOCK):
            step()
        steps += BLOCK
    return steps / elapsed


def steps_a_second(algorithm: Any, buffer: Any, batch_size: int, seconds: float) -> float:
    """Gradient steps a second of one algorithm, sampling included."""
    with policy_within_training_step(algorithm.policy), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rate(lambda: algorithm.update(buffer, batch_size), seconds)


def measure_case(case: TrainingCase, rounds: int, seconds: float) -> dict[str, Any]:
    """Both sides of a case at both sizes: size -> {"ours", "tianshou"}, each a spread."""
    made = {}
    for size in (LARGE, LITTLE):
        data = transitions(size, continuous=case.script.startswith("d4rl"))
        algorithm, buffer = ours(case, size, data)
        other = quiet(case.stock, size)
        other_buffer = other.process_buffer(data)
        kept = Rounds()
        for _ in range(rounds):
            kept.add("ours", steps_a_second(algorithm, buffer, size.batch, seconds))
            kept.add("tianshou", steps_a_second(other, other_buffer, size.batch, seconds))
        made[str(size)] = kept.spreads()
        say(f"{case.name}, {size}: {made[str(size)]}")
    return made


def measure_sampling(rounds: int, seconds: float) -> dict[str, Any]:
    """Batches of 256 a second: drawn as tensors, and drawn and converted by Tianshou."""
    data = transitions(LARGE, continuous=False)
    tensors = TensorReplayBuffer(data)
    kept = Rounds()
    for _ in range(rounds):
        kept.add("ours", rate(lambda: tensors.sample(LARGE.batch), seconds))
        kept.add(
            "tianshou",
            rate(lambda: to_torch(data.sample(LARGE.batch)[0], torch.float32, "cpu"), seconds),
        )
    return kept.spreads()


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
            "sampling": measure_sampling(arguments.rounds, arguments.seconds),
            "cases": {
                case.name: measure_case(case, arguments.rounds, arguments.seconds) for case in CASES
            },
        }
        print(training_table(result), sampling_table(result), sep="\n\n")
        print(write_result("training", result))

    return command_line.run(command)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
