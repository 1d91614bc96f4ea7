"""What begins in a fresh process: compiling, starting with compiled code, and large markets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import gym_trade
from benchmarks.machine import ROOT
from benchmarks.speed import Rounds
from benchmarks.speed_cases import MACHINE_LANES

STARTS = {"scalar": 0, "64 lanes": 64}
SMALL_BARS = 8_000


def fresh(module: str, *words: object, cache: str | None = None) -> dict[str, Any]:
    """Run one of this package's modules in a fresh process and read what it prints.

    Args:
        module: Its name.
        *words: Its arguments.
        cache: The folder of compiled code; None leaves it where it is.

    Raises:
        RuntimeError: It failed; what it wrote says why.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)]
    environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"benchmarks.{module} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def first_steps(repeats: int) -> dict[str, dict[str, float]]:
    """Seconds to the first step, with nothing compiled ("cold") and with everything ("warm")."""
    values = Rounds()
    for _ in range(repeats):
        for name, lanes in STARTS.items():
            with tempfile.TemporaryDirectory() as cache:
                for state in ("cold", "warm"):
                    answer = fresh("first_step", lanes, cache=cache)
                    values.add(f"{state}: {name}", answer["seconds"])
    return values.spreads()


def construction(bars: int, repeats: int, seed: int) -> dict[str, dict[str, float]]:
    """Seconds and memory of making a large market's environment.

    Returns:
        Seconds and bytes by name, each with its median, smallest and largest.
    """
    values = Rounds()
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.npy", Path(folder) / "large.npy"
        for path, count in ((small, SMALL_BARS), (large, bars)):
            frame = gym_trade.synthetic.make_frame(n_bars=count, seed=seed)
            np.save(path, np.ascontiguousarray(frame.to_numpy().T))
        fresh("construction", small, MACHINE_LANES)  # everything is compiled after it
        for _ in range(repeats):
            for key, value in fresh("construction", large, MACHINE_LANES).items():
                values.add(key, value)
    return values.spreads()
