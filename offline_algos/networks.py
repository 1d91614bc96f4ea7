"""The networks of all methods: an encoder of the observation, and what stands on it.

They read *normalised* observations: the dataset is normalised once, before training, and an actor
(`actors.py`) puts the normaliser before its network. ``forward`` of a policy's network returns a
state as well, as Tianshou's policies want it; it passes through untouched.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from offline_algos.encoders import make_encoder

# Of the logarithm of a Gaussian's deviation, as in Haarnoja et al. 2018 (arXiv:1801.01290).
LOG_STD_RANGE = (-20.0, 2.0)


@dataclass(frozen=True)
class Inputs:
    """What a network sees and how it reads it.

    Attributes:
        layout: The flat observation's parts: (key, first column, column after the last, shape).
        encoder: "mlp", "cnn", "gru", "transformer" or "nature"; see `encoders.make_encoder`.
        hidden_sizes: Widths of the hidden layers.
    """

    layout: Sequence[Sequence[Any]]
    encoder: str = "mlp"
    hidden_sizes: Sequence[int] = (64, 64)

    @property
    def columns(self) -> int:
        """Columns of a flat observation."""
        return int(max(part[2] for part in self.layout))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able arguments that make it again."""
        made = asdict(self)
        return made | {"layout": [[*part[:3], list(part[3])] for part in self.layout]}


def as_inputs(inputs: Inputs | dict[str, Any]) -> Inputs:
    """`Inputs` from itself or from its `to_dict`."""
    return inputs if isinstance(inputs, Inputs) else Inputs(**inputs)


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths, input and output included, with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


class ValueNetwork(nn.Module):
    """A number for each discrete action: Q-values, their quantiles, or logits.

    Args:
        inputs: What it sees.
        actions: Number of actions.
        atoms: Numbers an action; with 1 the output has no axis for them.
    """

    def __init__(self, inputs: Inputs | dict[str, Any], actions: int, atoms: int = 1) -> None:
        super().__init__()
        inputs = as_inputs(inputs)
        self.arguments = {"inputs": inputs.to_dict(), "actions": actions, "atoms": atoms}
        self.encoder = make_encoder(inputs)
        self.head = nn.Linear(self.encoder.width, actions * atoms)
        self.actions, self.atoms = actions, atoms

    def forward(
        self, obs: torch.Tensor, state: Any = None, info: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Values (B, actions) or (B, actions, atoms) of normalised observations (B, D)."""
        values = self.head(self.encoder(obs))
        if self.atoms > 1:
            values = values.view(-1, self.actions, self.atoms)
        return values, state


class DeterministicNetwork(nn.Module):
    """An action in [-1, 1] for each observation.

    Args:
        inputs: What it sees.
        action_width: Numbers an action.
    """

    def __init__(self, inputs: Inputs | dict[str, Any], action_width: int) -> None:
        super().__init__()
        inputs = as_inputs(inputs)
        self.arguments = {"inputs": inputs.to_dict(), "action_width": action_width}
        self.encoder = make_encoder(inputs)
        self.head = nn.Linear(self.encoder.width, action_width)

    def forward(
        self, obs: torch.Tensor, state: Any = None, info: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Actions (B, action_width) for normalised observations (B, D)."""
        return torch.tanh(self.head(self.encoder(obs))), state


class GaussianNetwork(nn.Module):
    """Mean and deviation of a Gaussian, which a tanh then squashes into [-1, 1].

    Args:
        inputs: What it sees.
        action_width: Numbers an action.
    """

    def __init__(self, inputs: Inputs | dict[str, Any], action_width: int) -> None:
        super().__init__()
        inputs = as_inputs(inputs)
        self.arguments = {"inputs": inputs.to_dict(), "action_width": action_width}
        self.encoder = make_encoder(inputs)
        self.mean = nn.Linear(self.encoder.width, action_width)
        self.log_std = nn.Linear(self.encoder.width, action_width)

    def forward(
        self, obs: torch.Tensor, state: Any = None, info: Any = None
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], Any]:
        """Mean and deviation before the tanh, each (B, action_width)."""
        features = self.encoder(obs)
        return (self.mean(features), self.log_std(features).clamp(*LOG_STD_RANGE).exp()), state


class Critic(nn.Module):
    """The value of an observation and an action.

    The action's weights begin as large as if it stood alone, and not as one of all columns: among
    hundreds of them it would hardly be heard, and thousands of steps would go by until it is.

    The first layer is kept in two parts, so that many actions can be valued in one observation
    without reading it each time: ``critic.value(critic.read(obs), actions)``.

    Args:
        inputs: What it sees. An "mlp" reads observation and action together; another encoder reads
            the observation, and its features stand in the place of it.
        action_width: Numbers an action; 0 for the value of an observation alone.
    """

    def __init__(self, inputs: Inputs | dict[str, Any], action_width: int) -> None:
        super().__init__()
        inputs = as_inputs(inputs)
        self.arguments = {"inputs": inputs.to_dict(), "action_width": action_width}
        plain = inputs.encoder == "mlp"
        self.encoder: nn.Module = nn.Identity() if plain else make_encoder(inputs)
        width = inputs.columns if plain else int(self.encoder.width)  # type: ignore[arg-type]
        first, *rest = (width + action_width, *inputs.hidden_sizes, 1)
        self.first = nn.Linear(first, rest[0])
        self.rest = mlp(rest)
        self.width = width
        if action_width:
            bound = action_width**-0.5
            nn.init.uniform_(self.first.weight[:, width:], -bound, bound)

    def read(self, obs: torch.Tensor) -> torch.Tensor:
        """The observation's part of the first layer, (B, hidden), of (B, D)."""
        weight = self.first.weight[:, : self.width]
        return nn.functional.linear(self.encoder(obs), weight, self.first.bias)

    def value(self, read: torch.Tensor, act: torch.Tensor) -> torch.Tensor:
        """Values (..., 1) of actions (..., A), beside what `read` returned, (..., hidden)."""
        weight = self.first.weight[:, self.width :]
        return self.rest(torch.relu_(read + nn.functional.linear(act, weight)))  # type: ignore[no-any-return]

    def forward(self, obs: torch.Tensor, act: torch.Tensor | None = None) -> torch.Tensor:
        """Values (B, 1) of normalised observations (B, D) and actions (B, A)."""
        features = self.encoder(obs)
        if act is not None:
            features = torch.cat((features, act), dim=1)
        return self.rest(torch.relu_(self.first(features)))  # type: ignore[no-any-return]
