"""Small datasets in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gym_trade import VectorTradeEnv
from tests.data_tools.collecting import quiet

SHARDS = 4


def sharded(folder: Path, market: str, **options: Any) -> Any:
    """A dataset in `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    asked = {"shards": SHARDS, "policy": "ma-cross:fast=3,slow=9+random", "epsilon": 0.1}
    return quiet(folder / "a.hdf5", market, **(asked | options))


def shard_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("a.hdf5.shards-*/0*.hdf5"))


def interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Ctrl-C in the step of this number, counted from 1."""
    real, calls = VectorTradeEnv.step, 0

    def step(self: VectorTradeEnv, actions: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return real(self, actions)

    monkeypatch.setattr(VectorTradeEnv, "step", step)


KILL = """
import os, signal, sys
from data_tools.collect import main
from data_tools.convert import main as convert_main
from gym_trade import VectorTradeEnv
real, calls = VectorTradeEnv.step, 0
def step(self, actions):
    global calls
    calls += 1
    if calls == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, actions)
VectorTradeEnv.step = step
main(sys.argv[1:])
"""


def command(folder: Path, market: str) -> list[str]:
    return [
        "--save-buffer-name", str(folder / "a.hdf5"), "--market", market, "--buffer-size", "500",
        "--num-envs", "7", "--episode-steps", "30", "--env", "window_sizes=6", "--shards", "4",
        "--policy", "ma-cross:fast=3,slow=9+random", "--epsilon", "0.1",
    ]  # fmt: skip
