"""The scripts that draw by priorities, and their algorithms on small data."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import torch

from data_tools.buffers import TensorReplayBuffer
from data_tools.priorities import Priorities, PrioritisedBuffer
from offline_algos import atari_style_qrdqn
from offline_algos.networks import Inputs
from offline_algos.normalisation import Normaliser
from tests.offline_algos import batches, scripts

QRDQN = "atari_style_qrdqn"
WITHOUT = ("il", "dt", "sac")  # nothing in their loss is a temporal difference, or it is not asked
NAMES = [n for n in [*scripts.NAMES, QRDQN] if scripts.method_of(n) not in WITHOUT]
OTHERS = [n for n in [*scripts.NAMES, "d4rl_style_sac"] if scripts.method_of(n) in WITHOUT]


def make(name: str, device: str = "cpu") -> tuple[Any, TensorReplayBuffer]:
    """A script's algorithm and its buffer, targets prepared."""
    data = batches.dataset(action_width=int(name.startswith("d4rl")))
    if name == QRDQN:
        columns = (batches.COLUMNS,)
        args = atari_style_qrdqn.make_parser().parse_args(["--task", "-", "--hidden-sizes", "8"])
        args.device, args.eps_decay_steps = device, 1
        task = SimpleNamespace(
            action_space=gym.spaces.Discrete(3), action_masks=None,
            observation_space=gym.spaces.Box(-9.0, 9.0, columns),
        )  # fmt: skip
        setup: Any = SimpleNamespace(
            task=task, normaliser=Normaliser.identity(*columns).to(device),
            inputs=Inputs([("all", 0, *columns, columns)], "mlp", (8,)),
        )  # fmt: skip
        torch.manual_seed(0)
        algorithm, _ = atari_style_qrdqn.build(args, setup)
        buffer = TensorReplayBuffer(data, device)
        buffer.set_targets(args.gamma)
        buffer.keys = ("obs", "act", "rew", "discount", "obs_next")
        return algorithm, buffer
    algorithm, _ = scripts.make_algorithm(name, device=device, data=data)
    return algorithm, algorithm.process_buffer(TensorReplayBuffer(data, device))


def prioritised(buffer: TensorReplayBuffer, **options: Any) -> PrioritisedBuffer:
    """The same, drawn from by priorities."""
    return PrioritisedBuffer(buffer, Priorities(len(buffer), **options))
