"""Acting by the best of some candidate actions, as critics value them: ``--num-candidates``.

A policy that was fitted by weighted regression has a mean between the actions that its data found
good. Where the best action is all or nothing, as an exposure often is, that mean is neither. The
critics know which end is better; so candidates are drawn around the mean and the best one is taken.
CRR's paper acts like this, but draws among the candidates by exp(Q / beta) (Wang et al. 2020,
arXiv:2006.15134); for IQL see Hansen-Estruch et al. 2023 (arXiv:2304.10573).
"""

from __future__ import annotations

import abc
import argparse
import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from offline_algos.actors import Actor, BoxActor, NetworkActor
from offline_algos.flag_types import whole
from offline_algos.iql import LOG_STD_RANGE
from offline_algos.networks import Critic, DeterministicNetwork, GaussianNetwork
from offline_algos.normalisation import Normaliser

NOISE_SEED = 0  # of the numbers with which an actor acts


def add_candidates(group: argparse._ArgumentGroup) -> None:
    """Add the flag, to methods of continuous actions whose policy is fitted by regression."""
    group.add_argument(
        "--num-candidates",
        type=whole(0),
        metavar="N",
        default=0,
        help="act by what both critics like best of N actions drawn around the policy's mean, and "
        "the mean; 0 acts by the mean (default %(default)s)",
    )


def fixed_noise(samples: int, width: int) -> torch.Tensor:
    """Standard normal numbers, (1, samples, width): always the same ones, whatever the seed is."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    return torch.randn(1, samples, width, generator=generator)


def pair(network: Critic, obs: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
    """Outputs (B, k) for a vector beside each observation, (B, n, k) for n of them.

    Args:
        network: A critic, or another that reads two things.
        obs: Normalised observations, (B, D); each is read once.
        beside: (B, W), or (B, n, W), or (1, n, W) for the same in each observation.
    """
    read = network.read(obs)
    return network.value(read if beside.ndim == 2 else read.unsqueeze(1), beside)


def best(actions: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Of n actions (B, n, A) that of the greatest value (B, n, 1), the first of equals: (B, A)."""
    chosen = values.argmax(1, keepdim=True)
    return actions.gather(1, chosen.expand(-1, 1, actions.shape[2])).squeeze(1)


class CandidateActor(BoxActor):
    """The best of a policy's mean and of fixed draws around it.

    The draws' noise is made once and kept with the weights: the same observation gets the same
    action in validation, from a checkpoint and in an export, whatever was decided before. The mean
    is the first of the candidates, and stays where the critics like nothing better.

    Args:
        normaliser: Applied to every observation.
        network: The policy's.
        critics: An action is worth the least of what they say. Best are target networks: they
            average over many steps of training, and a maximum looks for errors, of which the
            weights of a single step have more.
        low: Of the box, a number for each of the action's.
        high: Of the box.
        candidates: Draws, at least 1.
    """

    network_class: ClassVar[type[DeterministicNetwork | GaussianNetwork]]

    noise: torch.Tensor

    def __init__(
        self,
        normaliser: Normaliser,
        network: DeterministicNetwork | GaussianNetwork,
        critics: Sequence[Critic],
        low: list[float],
        high: list[float],
        candidates: int,
    ) -> None:
        super().__init__(
            normaliser, low, high, candidates=candidates, network=network.arguments,
            critics=[critic.arguments for critic in critics],
        )  # fmt: skip
        self.network, self.critics = network, nn.ModuleList(critics)
        self.register_buffer("noise", fixed_noise(candidates, len(low)))

    @classmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> CandidateActor:
        """See `Actor.build`."""
        network = cls.network_class(**arguments.pop("network"))
        critics = [Critic(**given) for given in arguments.pop("critics")]
        return cls(normaliser, network, critics=critics, **arguments)

    @classmethod
    def instead_of(
        cls,
        plain: NetworkActor,
        critics: Sequence[Critic],
        bounds: dict[str, list[float]],
        candidates: int,
        **more: Any,
    ) -> Actor:
        """What acts for a training: this, or without candidates who acts by the mean.

        Args:
            plain: Who acts by the mean, of the policy's network.
            critics: See `CandidateActor`.
            bounds: Its ``low`` and ``high``.
            candidates: The flag.
            more: What a subclass takes beside these.
        """
        if not candidates:
            return plain
        network: Any = plain.network
        return cls(
            plain.normaliser, network, critics=critics, **bounds, candidates=candidates, **more
        )

    @abc.abstractmethod
    def propose(self, obs: torch.Tensor) -> torch.Tensor:
        """The mean and draws around it, (B, 1 + n, A) in [-1, 1], for normalised (B, D)."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """See `Actor.forward`."""
        obs = self.normaliser(observations)
        actions = self.propose(obs)
        values = [pair(critic, obs, actions) for critic in self.critics]  # type: ignore[arg-type]
        return self.to_box(best(actions, functools.reduce(torch.minimum, values)))


class SquashedCandidates(CandidateActor):
    """Candidates of a Gaussian that a tanh squashes, CRR's policy."""

    kind, network_class = "squashed_candidates", GaussianNetwork

    def propose(self, obs: torch.Tensor) -> torch.Tensor:
        """See `CandidateActor.propose`."""
        (mean, std), _ = self.network(obs)
        mean, std = mean.unsqueeze(1), std.unsqueeze(1)
        return torch.tanh(torch.cat((mean, mean + std * self.noise), dim=1))


class ClippedCandidates(CandidateActor):
    """Candidates of a Gaussian around a mean in [-1, 1], IQL's policy: what is outside is clipped.

    Args:
        normaliser: See `CandidateActor`.
        network: The mean.
        critics: See `CandidateActor`.
        low: Of the box.
        high: Of the box.
        candidates: Draws, at least 1.
        log_std: Of the Gaussian, (A,), shared with the policy; None: yet to be loaded.
    """

    kind, network_class = "clipped_candidates", DeterministicNetwork

    def __init__(
        self,
        normaliser: Normaliser,
        network: DeterministicNetwork,
        critics: Sequence[Critic],
        low: list[float],
        high: list[float],
        candidates: int,
        log_std: nn.Parameter | None = None,
    ) -> None:
        super().__init__(normaliser, network, critics, low, high, candidates)
        self.log_std = nn.Parameter(torch.zeros(len(low))) if log_std is None else log_std

    def propose(self, obs: torch.Tensor) -> torch.Tensor:
        """See `CandidateActor.propose`."""
        mean = self.network(obs)[0].unsqueeze(1)
        std = self.log_std.clamp(*LOG_STD_RANGE).exp()
        return torch.cat((mean, (mean + std * self.noise).clamp(-1.0, 1.0)), dim=1)
