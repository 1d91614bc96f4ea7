"""All training scripts, and how the tests run them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import offline_algos
from data_tools.buffers import TensorReplayBuffer
from offline_algos.checkpoint import load_policy
from offline_algos.networks import Inputs
from offline_algos.normalisation import Normaliser
from tests.offline_algos import batches

FOLDER = Path(offline_algos.__file__).parent
ONLINE = ["atari_style_qrdqn", "d4rl_style_sac"]
FOUND = sorted(p.stem for p in FOLDER.glob("*_style_*.py") if p.stem not in ONLINE)
DISCRETE = [name.removeprefix("atari_style_") for name in FOUND if name.startswith("atari")]
CONTINUOUS = [name.removeprefix("d4rl_style_") for name in FOUND if name.startswith("d4rl")]
NAMES = [f"atari_style_{name}" for name in DISCRETE] + [f"d4rl_style_{name}" for name in CONTINUOUS]
TINY = ["--epoch", "2", "--update-per-epoch", "20", "--batch-size", "32", "--hidden-sizes", "8"]
# Ends the test two hours after validation, on the market of conftest.py: for runs of which the
# training is looked at. Walks over all of it would take most of their time.
SOON = ["--test-end", "2020-01-04T02:00"]
# what makes a method small
SMALL: dict[str, list[str]] = {
    "dt": ["--context-length", "4", "--num-layers", "1", "--embedding-size", "16"],
}


def method_of(name: str) -> str:
    """The method's name of a script's."""
    return name.split("style_")[1]


def run(name: str, dataset: Path, logdir: Path, *flags: str) -> int:
    """Run a script's main, small and short; later flags go first."""
    arguments = ["--load-buffer-name", str(dataset), "--logdir", str(logdir), *TINY]
    module = importlib.import_module(f"offline_algos.{name}")
    code: int = module.main([*arguments, *SMALL.get(method_of(name), []), *flags])
    return code


def make_algorithm(
    name: str, *flags: str, device: str = "cpu", data: Any = None, masks: Any = None
) -> tuple[Any, Any]:
    """A script's algorithm and actor for `data`, or for that of `batches.dataset`.

    `masks` are the task's, see `actors.ActionMasks`.
    """
    continuous = name.startswith("d4rl")
    if data is None:
        data = batches.dataset(action_width=int(continuous))
    module = importlib.import_module(f"offline_algos.{name}")
    args = module.make_parser().parse_args(
        ["--load-buffer-name", "-", *TINY, *SMALL.get(method_of(name), []), *flags]
    )
    args.device = device
    columns = gym.spaces.Box(-np.inf, np.inf, (batches.COLUMNS,), np.float32)
    box = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    task = SimpleNamespace(
        action_space=box if continuous else gym.spaces.Discrete(3), observation_space=columns,
        bounds={"low": [-1.0], "high": [1.0]}, action_masks=masks,
    )  # fmt: skip
    layout = [("all", 0, batches.COLUMNS, (batches.COLUMNS,))]
    setup = SimpleNamespace(
        task=task, normaliser=Normaliser.identity(batches.COLUMNS).to(device),
        inputs=Inputs(layout, "mlp", tuple(args.hidden_sizes)),
        buffer=TensorReplayBuffer(data, device), dataset=SimpleNamespace(returns=np.ones(3)),
    )  # fmt: skip
    torch.manual_seed(0)
    made: tuple[Any, Any] = module.build(args, setup)
    return made


def explore(name: str, logdir: Path, *flags: str) -> int:
    """Run an online script's main, small and short; later flags go first."""
    small = ["--epoch", "2", "--step-per-epoch", "60", "--warmup", "40", "--batch-size", "16",
             "--hidden-sizes", "8", "--num-test-envs", "2", "--logdir", str(logdir)]  # fmt: skip
    module = importlib.import_module(f"offline_algos.{name}")
    code: int = module.main([*small, *flags])
    return code


def results(logdir: Path) -> list[Path]:
    """The results below a folder."""
    return sorted(logdir.rglob("result.json"))


def only_result(logdir: Path) -> tuple[Path, dict[str, Any]]:
    """The folder and the content of the only result."""
    (path,) = results(logdir)
    return path.parent, json.loads(path.read_text())


def weights(path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors."""
    return load_policy(path).actor.state_dict()
