"""Continuous BCQ, ours and Tianshou's, on small networks and batches."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm.imitation.bcq import BCQPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory, OptimizerFactory

from data_tools.buffers import TensorReplayBuffer
from offline_algos.bcq import BCQ, VAE, BatchConstrainedActor, Perturbation
from offline_algos.networks import Critic, Inputs
from offline_algos.normalisation import Normaliser, Statistics
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

WIDTH, LATENT, SAMPLED = 2, 3, 5
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=(16, 8))
BOX = spaces.Box(-1.0, 1.0, (WIDTH,))


class Descent(OptimizerFactory):
    """Plain gradient descent, of which a step can be written down."""

    def _create_optimizer_for_params(self, params):
        return torch.optim.SGD(params, lr=0.1)


def make(kind=BCQ, optim=None, phi=0.05, critic2=True, **arguments):
    torch.manual_seed(0)
    vae, perturbation = VAE(INPUTS, WIDTH, LATENT), Perturbation(INPUTS, WIDTH, phi)
    critics = [Critic(INPUTS, WIDTH), Critic(INPUTS, WIDTH)]
    policy = BCQPolicy(
        actor_perturbation=perturbation, action_space=BOX, critic=critics[0], vae=vae,
        action_bound_method=None,
    )  # fmt: skip
    optim = optim or (FusedAdam if kind is BCQ else AdamOptimizerFactory)(lr=1e-3)
    given = {"gamma": 0.9, "tau": 0.1, "lmbda": 0.75, "num_sampled_action": SAMPLED} | arguments
    if critic2:
        given["critic2"] = critics[1]
    return kind(
        policy=policy, actor_perturbation_optim=optim, critic_optim=optim, vae_optim=optim, **given
    )


def parameters(*modules):
    return torch.cat([p.detach().ravel() for module in modules for p in module.parameters()])


def dataset(rows=200, **arguments):
    return batches.dataset(rows, action_width=WIDTH, **arguments)


def forward(weights, *inputs):
    """A plain network: weight, bias, weight, bias ... with ReLU between."""
    value = torch.cat(inputs, dim=-1)
    for layer in range(0, len(weights), 2):
        value = value @ weights[layer].T + weights[layer + 1]
        if layer + 2 < len(weights):
            value = value.clamp(min=0)
    return value


def modules_of(algorithm):
    policy = algorithm.policy
    return {
        "encoder": policy.vae.encoder, "decoder": policy.vae.decoder,
        "perturbation": policy.actor_perturbation, "critic": policy.critic,
        "critic2": algorithm.critic2,
        "perturbation_old": algorithm.actor_perturbation_target.module,
        "critic_old": algorithm.critic_target.module,
        "critic2_old": algorithm.critic2_target.module,
    }  # fmt: skip


def copies(algorithm):
    return {
        name: [p.detach().clone().requires_grad_() for p in module.parameters()]
        for name, module in modules_of(algorithm).items()
    }


def perturbed(weights, obs, act, phi):
    return (act + phi * torch.tanh(forward(weights, obs, act))).clamp(-1, 1)


def reference_target(nets, batch, latents, phi, gamma, weight):
    """Equation 13, observation by observation and action by action."""
    targets = []
    for row in range(len(batch.rew)):
        best = -torch.inf
        for latent in latents[row]:
            obs = batch.obs_next[row : row + 1]
            act = torch.tanh(forward(nets["decoder"], obs, latent.clamp(-0.5, 0.5).unsqueeze(0)))
            act = perturbed(nets["perturbation_old"], obs, act, phi)
            pair = [forward(nets[name], obs, act).item() for name in ("critic_old", "critic2_old")]
            best = max(best, weight * min(pair) + (1 - weight) * max(pair))
        live = 0.0 if bool(batch.terminated[row]) else 1.0
        targets.append(batch.rew[row] + gamma * live * best)
    return torch.stack(targets).unsqueeze(1)


def reference(nets, batch, drawn, phi, step=0.1):
    """One update of Algorithm 1 by plain gradient descent; losses and slopes by name."""
    losses, slopes = {}, {}

    def descend(loss, *names):
        for name in names:
            slopes[name] = torch.autograd.grad(loss, nets[name], retain_graph=True)
        for name in names:
            moved = [w - step * s for w, s in zip(nets[name], slopes[name], strict=True)]
            nets[name] = [weight.detach().requires_grad_() for weight in moved]
        return loss.item()

    noise, latents, own_latents = drawn
    read = forward(nets["encoder"], batch.obs, batch.act)
    mean, std = read[:, :LATENT], read[:, LATENT:].clamp(-4, 15).exp()
    again = torch.tanh(forward(nets["decoder"], batch.obs, mean + std * noise))
    one, two = (torch.distributions.Normal(m, s) for m, s in ((mean, std), (0.0, 1.0)))
    divergence = torch.distributions.kl_divergence(one, two).sum(1).mean()
    loss = ((again - batch.act) ** 2).mean() + divergence / (2 * LATENT)
    losses["vae"] = descend(loss, "encoder", "decoder")

    target = reference_target(nets, batch, latents, phi, 0.9, 0.75)
    for name in ("critic", "critic2"):
        error = forward(nets[name], batch.obs, batch.act) - target
        losses[name] = descend((error**2).mean(), name)

    own = torch.tanh(forward(nets["decoder"], batch.obs, own_latents.clamp(-0.5, 0.5))).detach()
    act = perturbed(nets["perturbation"], batch.obs, own, phi)
    loss = -forward(nets["critic"], batch.obs, act).mean()
    losses["perturbation"] = descend(loss, "perturbation")
    for name in ("perturbation", "critic", "critic2"):
        pairs = zip(nets[name], nets[f"{name}_old"], strict=True)
        nets[f"{name}_old"] = [0.1 * new + 0.9 * old for new, old in pairs]
    return losses, slopes


def fixed_batch(rows=16):
    buffer = TensorReplayBuffer(dataset(rows * 2, ends=4))
    buffer.set_targets(0.9)
    buffer.keys = ("obs", "act", "rew", "discount", "obs_next", "terminated")
    batch = buffer.rows(np.arange(rows))
    for name in ("obs", "act", "obs_next", "rew"):
        batch[name] = batch[name].double()
    batch.discount = 0.9 * (~batch.terminated).double()
    return batch


def move_targets(algorithm):
    with torch.no_grad():
        for name, module in modules_of(algorithm).items():
            if name.endswith("_old"):
                for parameter in module.parameters():
                    parameter.add_(0.3 * torch.randn_like(parameter))


def critic_losses(algorithm, batch, *, target):
    """What both critics' losses are with a target, before anything moves."""
    nets = copies(algorithm)
    found = [forward(nets[name], batch.obs, batch.act) - target for name in ("critic", "critic2")]
    return [(error**2).mean().item() for error in found]


def make_actor(algorithm, samples=100, low=(-1.0,) * WIDTH, high=(1.0,) * WIDTH):
    policy = algorithm.policy
    statistics = Statistics(np.full(batches.COLUMNS, 0.5), np.full(batches.COLUMNS, 2.0))
    return BatchConstrainedActor(
        Normaliser(statistics), policy.vae, policy.actor_perturbation, policy.critic,
        [*low], [*high], samples,
    )  # fmt: skip
