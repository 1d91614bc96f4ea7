"""Small trained runs for the tests of what is done with a checkpoint."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.rollouts import record
from tests.offline_algos import scripts


def train(name: str, dataset: Path, logdir: Path, *flags: str) -> Path:
    """Train and return the run's directory."""
    assert scripts.run(name, dataset, logdir, "--logger", "none", *flags) == 0
    (result,) = scripts.results(logdir)
    return result.parent


def use(name: str, *flags: object) -> int:
    """A script's exit code; nothing but these flags is given."""
    module = importlib.import_module(f"offline_algos.{name}")
    code: int = module.main([str(flag) for flag in flags])
    return code


def refusal(capsys: Any, name: str, *flags: object) -> str:
    """The one line that a script refuses with."""
    capsys.readouterr()
    assert use(name, *flags) == 2
    error: str = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def last_json(out: str) -> dict[str, Any]:
    """What the file that is named on the last line holds."""
    made: dict[str, Any] = json.loads(Path(out.splitlines()[-1]).read_text())
    return made


def cart_data(path: Path, rows: int = 600) -> Path:
    """CartPole, pushed where the pole leans."""

    def push(seen: Any, generator: np.random.Generator) -> Any:
        leaning = (seen[:, 2] + 0.5 * seen[:, 3] > 0).astype(np.int64)
        return np.where(generator.random(len(seen)) < 0.2, 1 - leaning, leaning)

    record("CartPole-v1", push, path, buffer_size=rows, policy={"name": "push"})
    return path
