"""A policy whose worker is killed: in a file that loads fast, since the workers load it as well."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.driving import Behaviour
from data_tools.scripted import ScriptedBehaviour
from data_tools.shards import shard_seed
from gym_trade import VectorTradeEnv

SEED, SHARDS = 4, 4


@dataclass(frozen=True)
class Killed:
    """Acts like a scripted policy, but the first worker that writes the last shard is killed.

    Attributes:
        marker: A file that says that it was.
        spared: The process of the test.
    """

    marker: str
    spared: int

    def __call__(self, venv: VectorTradeEnv, seed: int) -> Behaviour:
        made, calls = ScriptedBehaviour("random")(venv, seed), 0

        def act(observations: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3 and seed == shard_seed(SEED, SHARDS - 1) and os.getpid() != self.spared:
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
                    os.kill(os.getpid(), signal.SIGKILL)
            return made.act(observations)

        return Behaviour(
            act, made.begin, log_probability=made.log_probability, description=made.description
        )


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
