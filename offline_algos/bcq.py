"""Batch-Constrained deep Q-learning (Fujimoto et al. 2019, arXiv:1812.02900), continuous."""

from __future__ import annotations

from typing import Any

import tianshou.algorithm.imitation.bcq as stock
import torch
from torch import nn
from torch.nn.functional import mse_loss

from offline_algos.actors import BoxActor
from offline_algos.candidates import best, fixed_noise, pair
from offline_algos.networks import Critic, Inputs, as_inputs, mlp
from offline_algos.normalisation import Normaliser
from offline_algos.updates import TensorUpdates, batch_loss, batch_mean, give_back

# Of a latent number drawn for an action (the paper's supplement): wider ones are unlike the data's.
LATENT_BOUND = 0.5
LOG_STD_RANGE = (-4.0, 15.0)  # of the VAE's log deviation, as in the authors' code


class PairNetwork(Critic):
    """A `Critic` with any number of outputs: it reads an observation, and a vector beside it.

    Args:
        inputs: What it sees.
        beside: Numbers in the vector.
        outputs: Numbers that it returns.
    """

    def __init__(self, inputs: Inputs | dict[str, Any], beside: int, outputs: int) -> None:
        super().__init__(inputs, beside)
        inputs = as_inputs(inputs)
        self.arguments = {"inputs": inputs.to_dict(), "beside": beside, "outputs": outputs}
        self.rest = mlp((*inputs.hidden_sizes, outputs))


class VAE(nn.Module):
    """A variational autoencoder of the data's actions, given their observations: G in the paper.

    Args:
        inputs: What it sees.
        action_width: Numbers an action.
        latent_width: Numbers a latent vector; twice the action's in the paper.
    """

    def __init__(
        self, inputs: Inputs | dict[str, Any], action_width: int, latent_width: int
    ) -> None:
        super().__init__()
        inputs = as_inputs(inputs)
        self.arguments = {"inputs": inputs.to_dict(), "action_width": action_width}
        self.arguments["latent_width"] = latent_width
        self.encoder = PairNetwork(inputs, action_width, 2 * latent_width)
        self.decoder = PairNetwork(inputs, latent_width, action_width)
        self.latent_width = latent_width

    def forward(
        self, obs: torch.Tensor, act: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Actions (B, A) again, by way of a latent vector drawn from the mean and deviation.

        Returns:
            The actions, and the mean and the deviation, each (B, latent width).
        """
        mean, log_std = self.encoder(obs, act).chunk(2, dim=1)
        std = log_std.clamp(*LOG_STD_RANGE).exp()
        latents = mean + std * torch.randn_like(std)
        return torch.tanh(self.decoder(obs, latents)), mean, std

    def draw(self, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """Latent vectors, (*shape, latent width), of the kind and on the device of `like`."""
        drawn = torch.randn(*shape, self.latent_width, dtype=like.dtype, device=like.device)
        return drawn.clamp_(-LATENT_BOUND, LATENT_BOUND)

    def decode(self, obs: torch.Tensor, latents: torch.Tensor | None = None) -> torch.Tensor:
        """Actions in [-1, 1] of the kind that the data has.

        Args:
            obs: Normalised observations, (B, D).
            latents: (B, L), (B, n, L) or (1, n, L); None: one is drawn for each observation.

        Returns:
            (B, A), or (B, n, A).
        """
        if latents is None:
            latents = self.draw(obs, len(obs))
        return torch.tanh(pair(self.decoder, obs, latents))


class Perturbation(nn.Module):
    """Moves an action a little to where the critic likes it better: a + xi(s, a, Phi).

    Args:
        inputs: What it sees.
        action_width: Numbers an action.
        phi: How far at most, each number of the action.
    """

    def __init__(
        self, inputs: Inputs | dict[str, Any], action_width: int, phi: float = 0.05
    ) -> None:
        super().__init__()
        inputs = as_inputs(inputs)
        self.arguments = {"inputs": inputs.to_dict(), "action_width": action_width, "phi": phi}
        self.network = PairNetwork(inputs, action_width, action_width)
        self.phi = phi

    def forward(self, obs: torch.Tensor, act: torch.Tensor) -> torch.Tensor:
        """Perturbed actions in [-1, 1], of the shape of `act`, (B, A) or (B, n, A)."""
        shift = self.phi * torch.tanh(pair(self.network, obs, act))
        return (act + shift).clamp(-1.0, 1.0)


class BatchConstrainedActor(BoxActor):
    """The best of some actions like the data's, each perturbed (the paper's equation 12).

    The paper draws new latent vectors at each decision. Here they are drawn once, from a fixed
    seed, and kept with the weights: the same observation gets the same action in validation, from
    a checkpoint and in an export, whatever was decided before.

    Args:
        normaliser: Applied to every observation.
        vae: Decodes actions.
        perturbation: Moves them.
        critic: Says which one is best.
        low: Of the box, a number for each of the action's.
        high: Of the box.
        samples: Actions to choose from.
    """

    kind = "batch_constrained"

    latents: torch.Tensor

    def __init__(
        self,
        normaliser: Normaliser,
        vae: VAE,
        perturbation: Perturbation,
        critic: Critic,
        low: list[float],
        high: list[float],
        samples: int = 100,
    ) -> None:
        networks = {"vae": vae, "perturbation": perturbation, "critic": critic}
        arguments = {name: network.arguments for name, network in networks.items()}
        super().__init__(normaliser, low, high, samples=samples, **arguments)
        self.vae, self.perturbation, self.critic = vae, perturbation, critic
        latents = fixed_noise(samples, vae.latent_width)
        self.register_buffer("latents", latents.clamp_(-LATENT_BOUND, LATENT_BOUND))

    @classmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> BatchConstrainedActor:
        """See `Actor.build`."""
        vae = VAE(**arguments.pop("vae"))
        perturbation = Perturbation(**arguments.pop("perturbation"))
        critic = Critic(**arguments.pop("critic"))
        return cls(normaliser, vae, perturbation, critic, **arguments)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """See `Actor.forward`."""
        obs = self.normaliser(observations)
        actions = self.perturbation(obs, self.vae.decode(obs, self.latents))
        return self.to_box(best(actions, pair(self.critic, obs, actions)))


class BCQ(TensorUpdates, stock.BCQ):
    """Tianshou's BCQ and its arguments, with what differs from the paper's Algorithm 1 corrected.

    * The target values the *perturbed* actions, by the target perturbation network. Tianshou keeps
      that network and never asks it: its target's actions are the decoder's.
    * A transition that was cut off by a time limit is bootstrapped; Tianshou masks with ``done``.
    * ``critic2`` must be given: Tianshou's copy of the first one would stay equal to it forever.

    The target is (equation 13)

        r + gamma max_i [lambda min_j Q'_j(s', a_i) + (1 - lambda) max_j Q'_j(s', a_i)]

    over actions ``a_i`` that the VAE decodes from latents in [-0.5, 0.5]. Both means in the VAE's
    loss, squared error + KL / 2, are over transitions and numbers, as in the authors' code: the
    paper's 1 / (2 J) of the KL's sum over the J latent numbers. The perturbation's loss stops at
    the decoded action: the VAE has a step of its own.

    Args:
        critic2: The second critic, a `Critic` like the policy's.
        **arguments: Tianshou's: policy (a ``BCQPolicy`` of a `Perturbation`, a `Critic` and a
            `VAE`), actor_perturbation_optim, critic_optim, vae_optim, critic2_optim, gamma, tau,
            lmbda, num_sampled_action.
    """

    actor_perturbation_target: Any
    critic_target: Any
    critic2_target: Any

    def __init__(self, *, critic2: nn.Module, **arguments: Any) -> None:
        super().__init__(critic2=critic2, **arguments)

    def _vae_loss(self, batch: Any) -> torch.Tensor:
        decoded, mean, std = self.policy.vae(batch.obs, batch.act)
        divergence = (mean.square() + std.square() - 1.0) / 2 - std.log()
        return batch_loss(mse_loss, decoded, batch.act, batch) + batch_mean(divergence, batch) / 2

    @torch.no_grad()
    def _target(self, batch: Any) -> torch.Tensor:
        """What both critics are to say, (B, 1)."""
        obs, vae = batch.obs_next, self.policy.vae
        act = vae.decode(obs, vae.draw(obs, len(obs), self.num_sampled_action))
        act = self.actor_perturbation_target.module(obs, act)
        first = pair(self.critic_target.module, obs, act)
        second = pair(self.critic2_target.module, obs, act)
        low, high = torch.minimum(first, second), torch.maximum(first, second)
        value = torch.lerp(high, low, self.lmbda).amax(1)
        target: torch.Tensor = batch.rew.unsqueeze(1) + batch.discount.unsqueeze(1) * value
        return target

    def _update_with_batch(self, batch: Any) -> stock.BCQTrainingStats:
        policy = self.policy
        vae_loss = self._vae_loss(batch)
        self.vae_optim.step(vae_loss)
        target = self._target(batch)
        value1, value2 = (critic(batch.obs, batch.act) for critic in (policy.critic, self.critic2))
        loss1 = batch_loss(mse_loss, value1, target, batch)
        loss2 = batch_loss(mse_loss, value2, target, batch)
        self.critic_optim.step(loss1)
        self.critic2_optim.step(loss2)
        with torch.no_grad():
            decoded = policy.vae.decode(batch.obs)
        perturbed = policy.actor_perturbation(batch.obs, decoded)
        actor_loss = -batch_mean(pair(policy.critic, batch.obs, perturbed), batch)
        self.actor_perturbation_optim.step(actor_loss)
        self._update_lagged_network_weights()
        give_back(batch, target, value1, value2)
        return stock.BCQTrainingStats(
            actor_loss=actor_loss.item(), vae_loss=vae_loss.item(),
            critic1_loss=loss1.item(), critic2_loss=loss2.item(),
        )  # fmt: skip
