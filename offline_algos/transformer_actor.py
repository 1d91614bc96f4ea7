"""The actor that remembers an episode for a Decision Transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from offline_algos.actors import ActionMasks, Actor
from offline_algos.normalisation import Normaliser
from offline_algos.transformer_network import LAST, TransformerNetwork


class TransformerActor(Actor):
    """A Decision Transformer that acts: it remembers the context of each lane's episode.

    Whoever steps the environment calls `begin` where lanes were reset and `observe` after each
    step; without rewards the return-to-go stays what was asked for. Lane i's observation is row i
    of `forward`. If there are fewer rows than lanes, those that have begun and not yet acted are
    idle, as Tianshou's Collector leaves a lane that it needs no more.

    The remembered tokens are made by the weights at the time; begin anew once they were trained.

    Args:
        normaliser: Applied to every observation.
        network: Chooses the action; dropout is off here, whatever mode it is set to.
        target_return: What an episode is to earn, in the unit of the environment's rewards.
        low: Of the box of continuous actions, a number for each of the action's.
        high: Of the box.
        masks: See `actors.ActionMasks`.
        target_steps: After so many steps an episode counts as a new one, and its return is asked
            for anew: what is longer than the episodes of the data would soon have earned it, and
            leave the network with returns-to-go and timesteps that it has never seen. None: never.
    """

    kind = "transformer"

    def __init__(
        self,
        normaliser: Normaliser,
        network: TransformerNetwork,
        target_return: float,
        low: list[float] | None = None,
        high: list[float] | None = None,
        masks: Sequence[Sequence[int]] | None = None,
        target_steps: int | None = None,
    ) -> None:
        masked = ActionMasks(masks)
        arguments = {"network": network.arguments, "target_return": target_return}
        arguments |= {} if target_steps is None else {"target_steps": target_steps}
        arguments |= masked.arguments
        super().__init__(normaliser, **arguments, low=low, high=high)
        self.network, self.target_return, self.masks = network, target_return, masked
        self.target_steps = target_steps
        if low is not None and high is not None:
            bottom, top = torch.tensor(low), torch.tensor(high)
            self.register_buffer("middle", (top + bottom) / 2)
            self.register_buffer("half_width", (top - bottom) / 2)
        # of each lane: steps since the return was asked for, return yet to be earned, context, and
        # whether it has acted since its episode began
        self._steps, self._remaining = np.zeros(0, np.int64), np.zeros(0)
        self._acted = np.zeros(0, np.bool_)
        self._tokens = torch.zeros(0, network.context_length, 3, network.embedding_size)
        self.eval()

    @classmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> TransformerActor:
        """See `Actor.build`."""
        network = TransformerNetwork(**arguments.pop("network"))
        return cls(normaliser, network, **arguments)

    def train(self, mode: bool = True) -> TransformerActor:
        """An actor does not train: it stays in evaluation mode."""
        return super().train(False)

    def begin(self, lanes: npt.NDArray[np.int64]) -> None:
        """See `Actor.begin`."""
        missing = int(np.max(lanes, initial=-1)) + 1 - len(self._steps)
        if missing > 0:
            self._steps = np.append(self._steps, np.zeros(missing, np.int64))
            self._remaining = np.append(self._remaining, np.full(missing, self.target_return))
            self._acted = np.append(self._acted, np.zeros(missing, np.bool_))
            shape, device = self._tokens.shape[1:], self.normaliser.mean.device
            more = torch.zeros(missing, *shape, device=device)
            self._tokens = torch.cat((self._tokens.to(device), more))
        self._ask(lanes)
        self._acted[lanes] = False

    def _ask(self, lanes: npt.NDArray[np.int64]) -> None:
        self._steps[lanes], self._remaining[lanes] = 0, self.target_return

    def observe(self, lanes: npt.NDArray[np.int64], rewards: npt.NDArray[np.float64]) -> None:
        """See `Actor.observe`."""
        self._remaining[lanes] -= rewards
        if self.target_steps is not None:
            self._ask(lanes[self._steps[lanes] >= self.target_steps])

    @torch.no_grad()
    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """See `Actor.forward`; each call is a step of the lanes' episodes."""
        lanes = self._acting(len(observations))
        seen = self.normaliser(observations).unsqueeze(1)
        steps, remaining = self._steps[lanes], self._remaining[lanes]
        returns = torch.from_numpy(remaining[:, None]).to(seen)
        timesteps = torch.from_numpy(steps[:, None]).to(seen.device)
        situation = self.network.embed_situation(seen, returns, timesteps)
        newest = nn.functional.pad(situation, (0, 0, 0, 1))  # the action is not known yet
        everybody = len(lanes) == len(self._steps)
        context = self._tokens if everybody else self._tokens[lanes]
        context = torch.cat((context.to(newest)[:, 1:], newest), 1)
        chosen = self.network.read(context, self._mask(steps).to(seen.device), LAST).squeeze(1)
        actions = chosen if self.network.continuous else self._best(chosen, observations)
        context[:, -1:, 2:] = self.network.embed_action(actions.unsqueeze(1), timesteps)
        if everybody:
            self._tokens = context
        else:
            self._tokens[lanes] = context
        self._steps[lanes] += 1
        self._acted[lanes] = True
        return self._to_environment(actions)

    def predict(
        self,
        observations: torch.Tensor,
        actions: torch.Tensor,
        returns: torch.Tensor,
        timesteps: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """The action for the last of K timesteps: nothing is remembered, so it can be exported.

        Args:
            observations: Raw, (B, K, D), K at most the context length.
            actions: Of the environment, int64 (B, K) or float32 (B, K, A); the last one is not
                read.
            returns: Returns-to-go in the unit of rewards, float32 (B, K).
            timesteps: Since the episode's beginning, int64 (B, K).
            mask: bool (B, K), False where there is no timestep: on the left.

        Returns:
            As `Actor.forward`.
        """
        seen = self.normaliser(observations)
        if self.network.continuous:
            actions = (actions - self.middle) / self.half_width  # type: ignore[operator]
        chosen = self.network(seen, actions, returns, timesteps, mask, LAST).squeeze(1)
        if not self.network.continuous:
            chosen = self._best(chosen, observations[:, -1])
        return self._to_environment(chosen)

    def _best(self, logits: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        return self.masks(logits, observations).argmax(1)  # type: ignore[no-any-return]

    def _acting(self, rows: int) -> npt.NDArray[np.int64]:
        """The lanes that `rows` observations are of."""
        if not len(self._steps):
            self.begin(np.arange(rows))
        if rows == len(self._steps):
            return np.arange(rows)
        lanes = np.flatnonzero(self._acted)
        if len(lanes) != rows:
            raise ValueError(
                f"{rows} observations, but {len(self._steps)} lanes have begun, {len(lanes)} of "
                "which have acted: which of them act now cannot be known. Call begin for each lane "
                "and pass one observation for each."
            )
        return lanes

    def _mask(self, steps: npt.NDArray[np.int64]) -> torch.Tensor:
        """Which timesteps of the context there are, bool (lanes, K)."""
        length = self.network.context_length
        return torch.from_numpy(np.arange(length) >= length - 1 - steps[:, None])

    def _to_environment(self, actions: torch.Tensor) -> torch.Tensor:
        if not self.network.continuous:
            return actions
        return actions * self.half_width + self.middle  # type: ignore[operator]


def with_target(
    actor: TransformerActor, target_return: float, *, once: bool = False
) -> TransformerActor:
    """An actor that asks for another return, with the same network and a memory of its own.

    Args:
        actor: Any.
        target_return: See `TransformerActor`.
        once: Never ask anew.
    """
    low, high = actor.arguments["low"], actor.arguments["high"]
    return TransformerActor(
        actor.normaliser, actor.network, target_return, low, high, actor.masks.rows,
        None if once else actor.target_steps,
    )  # fmt: skip
