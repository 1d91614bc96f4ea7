"""Gradient steps a second beside d3rlpy and CORL, on the same random data and widths.

``python -m benchmarks.training_peers --d3rlpy PYTHON --corl FOLDER`` measures every method that one
of them has, in alternating rounds of one run, on one thread, at two sizes, sampling included; it
writes results/training_peers.json, of which ``python -m benchmarks.report --write`` makes the
README's table. PYTHON is that of an environment with d3rlpy (``python -m venv peer &&
peer/bin/pip install d3rlpy==2.8.1``); FOLDER a checkout of CORL, https://github.com/tinkoff-ai/CORL,
whose single-file loops run in this interpreter. Each side has a process of its own. What is not
alike stands in ``benchmarks/peers``. Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks import training
from benchmarks.machine import describe_machine, write_result
from benchmarks.training_cases import LARGE, LITTLE, ROWS, Size
from benchmarks.training_tables import peers_table
from data_tools import command_line

PEER_FOLDER = Path(__file__).parent / "peers"
# method -> which peers have it
METHODS: dict[str, tuple[str, ...]] = {
    "discrete IL": ("d3rlpy",),
    "discrete BCQ": ("d3rlpy",),
    "discrete CQL": ("d3rlpy",),
    "IL": ("d3rlpy",),
    "TD3+BC": ("d3rlpy", "corl"),
    "BCQ": ("d3rlpy",),
    "CQL": ("d3rlpy", "corl"),
    "IQL": ("d3rlpy", "corl"),
}


class Peer:
    """A peer's script in its own process, spoken to as to a multiprocessing connection.

    Args:
        python: The interpreter.
        script: It answers as ``benchmarks.peers.side.serve`` does.
        arguments: Its own.
        rows: Transitions to draw.

    Attributes:
        versions: Package to version, as the script says.

    Raises:
        ValueError: The interpreter is not there, or the script cannot run in it.
    """

    def __init__(self, python: str, script: Path, *arguments: str, rows: int = ROWS) -> None:
        self._name, self._rows = f"{python} {script.name}", rows
        self._errors = tempfile.TemporaryFile("w+")
        try:
            self._process = subprocess.Popen(
                [python, str(script), *arguments], text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=self._errors,
            )  # fmt: skip
        except OSError as error:
            self._errors.close()
            raise ValueError(f"{python}: {error.strerror}. Name a python.") from error
        try:
            self.versions: dict[str, str] = self.recv()
        except ValueError:
            self.close()
            raise

    def send(self, asked: tuple[str, Size] | float | None) -> None:
        """A method and its size, seconds to measure, or None: it is to end."""
        line: Any = asked
        if isinstance(asked, tuple):
            method, size = asked
            line = {"method": method, **size._asdict(), "rows": self._rows}
        assert self._process.stdin is not None
        # a script that has ended is noticed where its answer is missing
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(line), file=self._process.stdin, flush=True)

    def recv(self) -> Any:
        """Its answer.

        Raises:
            ValueError: The script has failed; its last line says why.
        """
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        tail = self._errors.read().strip().splitlines()[-1:] or ["no message"]
        raise ValueError(f"{self._name} failed: {tail[0]}")

    def close(self) -> None:
        """End the process."""
        self.send(None)
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


class Arguments(NamedTuple):
    """The command line."""

    d3rlpy: str | None
    corl: str | None
    methods: list[str]
    seconds: float
    rounds: int
    no_write: bool


def measure(arguments: Arguments) -> dict[str, Any]:
    """Every method at both sizes beside the peers that were given and have it.

    Raises:
        ValueError: A peer cannot run.
    """
    machine, cases, versions = describe_machine(), {}, {}
    with contextlib.ExitStack() as stack:
        peers: dict[str, Any] = {}
        if arguments.d3rlpy:
            peers["d3rlpy"] = Peer(arguments.d3rlpy, PEER_FOLDER / "d3rlpy_training.py")
            stack.callback(peers["d3rlpy"].close)
            versions["d3rlpy"] = peers["d3rlpy"].versions["d3rlpy"]
        if arguments.corl:
            script = PEER_FOLDER / "corl_training.py"
            peers["corl"] = Peer(sys.executable, script, arguments.corl)
            stack.callback(peers["corl"].close)
        ours = stack.enter_context(training.processes("ours"))
        for method in arguments.methods:
            beside = {name: peers[name] for name in METHODS[method] if name in peers}
            if beside:
                cases[method] = {
                    str(size): training.alternate(
                        ours | beside, (method, size), arguments.rounds, arguments.seconds
                    )
                    for size in (LARGE, LITTLE)
                }
    return {
        "machine": machine,
        "peer_versions": versions,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "cases": cases,
    }


def parse(argv: list[str] | None) -> Arguments:
    """Read the flags.

    Raises:
        CommandLineError: One of them is out of range, or no peer is named.
    """
    parser = command_line.ArgumentParser(description=__doc__)
    parser.add_argument("--d3rlpy", metavar="PYTHON", help="python of an environment with d3rlpy")
    parser.add_argument("--corl", metavar="FOLDER", help="a checkout of CORL")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = Arguments(**vars(parser.parse_args(argv)))
    if arguments.seconds <= 0 or arguments.rounds < 1:
        parser.error("expected --seconds > 0 and --rounds >= 1")
    if not arguments.d3rlpy and not arguments.corl:
        parser.error("nothing to compare with: pass --d3rlpy PYTHON, --corl FOLDER, or both")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """The command line; 0, 2 on bad input, or 130 after Ctrl-C."""

    def command() -> None:
        arguments = parse(argv)
        torch.set_num_threads(1)
        result = measure(arguments)
        if arguments.corl:
            result["corl_checkout"] = (Path(arguments.corl) / ".git").exists()
        print(peers_table(result))
        if not arguments.no_write:
            print(write_result("training_peers", result))

    return command_line.run(command)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
