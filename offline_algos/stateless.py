"""Policies as functions of tensors alone, which a file can hold: what `export` writes.

Most actors are that already. A Decision Transformer remembers its episode; here whoever runs the
file does that instead, and passes the last K timesteps each time.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from offline_algos.actors import Actor
from offline_algos.normalisation import Normaliser
from offline_algos.transformer_actor import TransformerActor

Inputs = dict[str, torch.Tensor]


class Stateless(nn.Module):
    """An actor that remembers nothing: observations in, actions out.

    Inputs, by name:
        observations: raw, float32 (n, D).

    Output: int64 (n,), or float32 (n, A) of the environment's box.

    Args:
        actor: The actor.

    Attributes:
        output: The output's name.
        noun: What a row of the inputs is.
    """

    output, noun = "actions", "observations"

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor

    @property
    def normaliser(self) -> Normaliser:
        """The actor's."""
        return self.actor.normaliser

    def facts(self) -> dict[str, Any]:
        """What whoever runs the file has to know beside the layout: JSON-able."""
        return {}

    def examples(self, rows: int) -> Inputs:
        """Random inputs around the normaliser's mean, by name and in order."""
        return {"observations": self._observations(rows)}

    def _observations(self, *shape: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(*shape, *self.normaliser.mean.shape, generator=generator)
        noise[::4] *= 10.0  # beyond the normaliser's limit as well
        return (self.normaliser.mean + self.normaliser.std * noise).float()

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.actor(observations)  # type: ignore[no-any-return]


class StatelessTransformer(Stateless):
    """A Decision Transformer that is told its whole context, K timesteps, the newest one last.

    Inputs, by name; K is always the context length, and an episode that is younger is padded on
    the left with numbers that are not read:
        observations: raw, float32 (n, K, D).
        actions: of the environment, int64 (n, K) or float32 (n, K, A); the last one is not known
            yet and not read, but has to be one of the environment's.
        returns_to_go: float32 (n, K), in the unit of the environment's rewards: the return that
            was asked for less what the episode had earned before that timestep.
        timesteps: int64 (n, K), 0 at the episode's beginning.
        mask: bool (n, K), False where it is padded.

    Output, "action": int64 (n,), or float32 (n, A) of the environment's box.
    """

    output, noun = "action", "contexts"
    actor: TransformerActor

    def facts(self) -> dict[str, Any]:
        """See `Stateless.facts`."""
        return {
            "context_length": self.actor.network.context_length,
            "target_return": self.actor.target_return,
            "target_steps": self.actor.target_steps,
        }

    def examples(self, rows: int) -> Inputs:
        """See `Stateless.examples`: of every age, the padding not a number worth reading."""
        network, generator = self.actor.network, torch.Generator().manual_seed(1)
        length = network.context_length
        age = torch.randint(2 * length, (rows, 1), generator=generator)
        mask = torch.arange(length) >= length - 1 - age
        timesteps = (age - length + 1 + torch.arange(length)).clamp(min=0)
        owed = self.actor.target_return + network.return_scale * torch.randn(
            rows, length, generator=generator
        )
        return {
            "observations": self._observations(rows, length),
            "actions": self._actions(rows, length, generator),
            "returns_to_go": owed.float(),
            "timesteps": timesteps,
            "mask": mask,
        }

    def _actions(self, rows: int, length: int, generator: torch.Generator) -> torch.Tensor:
        if not self.actor.network.continuous:
            count = self.actor.network.arguments["actions"]
            return torch.randint(count, (rows, length), generator=generator)
        width = len(self.actor.arguments["low"])
        inside = 2.0 * torch.rand(rows, length, width, generator=generator) - 1.0
        return inside * self.actor.half_width + self.actor.middle  # type: ignore[operator]

    def forward(  # type: ignore[override]
        self,
        observations: torch.Tensor,
        actions: torch.Tensor,
        returns_to_go: torch.Tensor,
        timesteps: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """See the class."""
        return self.actor.predict(observations, actions, returns_to_go, timesteps, mask)


def stateless(actor: Actor) -> Stateless | None:
    """A copy of an actor as a function of tensors, on the CPU; None where it cannot be one."""
    copied = copy.deepcopy(actor).cpu().eval()
    if isinstance(actor, TransformerActor):
        return StatelessTransformer(copied).eval()
    if getattr(actor, "stateful", False) or type(actor).begin is not Actor.begin:
        return None
    return Stateless(copied).eval()
