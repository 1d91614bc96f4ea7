"""Continuous CQL, ours and Tianshou's, on small networks and batches."""

from __future__ import annotations

import math

import numpy as np
import tianshou.algorithm.imitation.cql as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from offline_algos import squashed_gaussian
from offline_algos.cql import CQL
from offline_algos.networks import Critic, GaussianNetwork, Inputs
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

WIDTH = 2
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=(16,))
GAMMA, ALPHA = 0.9, 0.2


def make(kind=CQL, optim=FusedAdam, width=WIDTH, lr=1e-3, second=True, device="cpu", **arguments):
    torch.manual_seed(0)
    network = GaussianNetwork(INPUTS, width)
    critics = Critic(INPUTS, width), Critic(INPUTS, width)
    if kind is stock.CQL:
        network, critics = batches.FromNumpy(network), [batches.FromNumpy(c) for c in critics]
    network, critics = network.to(device), [critic.to(device) for critic in critics]
    policy = SACPolicy(actor=network, action_space=spaces.Box(-1.0, 1.0, (width,)))
    given = {"gamma": GAMMA, "alpha": ALPHA, "calibrated": False, "with_lagrange": False,
             "critic2": critics[1] if second else None, "max_grad_norm": 1e9}  # fmt: skip
    return kind(
        policy=policy, policy_optim=optim(lr=lr), critic=critics[0],
        critic_optim=optim(lr=lr), **(given | arguments),
    )  # fmt: skip


def make_stock(**arguments):
    return make(stock.CQL, AdamOptimizerFactory, **arguments)


def with_auto_alpha():
    return AutoAlpha(-float(WIDTH), math.log(ALPHA), FusedAdam(lr=1e-2))


def parameters(algorithm):
    return torch.cat([p.detach().ravel() for p in algorithm.parameters()])


def doubled(algorithm, rows):
    """The algorithm and a batch of the first rows in float64."""
    prepared = algorithm.process_buffer(batches.dataset(action_width=WIDTH))
    batch = prepared.rows(np.arange(rows))
    for name in prepared.keys:
        batch[name] = batch[name].double()
    terminated = prepared.column("terminated")[:rows]
    batch.discount = GAMMA * (~terminated).double()
    return algorithm.double(), batch, terminated


def record_draws(monkeypatch):
    """The actions of each call of `sample`, in order."""
    drawn, plain = [], squashed_gaussian.sample

    def sample(mean, std, repeat=None):
        act, log_prob = plain(mean, std, repeat)
        drawn.append(act.detach())
        return act, log_prob

    monkeypatch.setattr(squashed_gaussian, "sample", sample)
    return drawn


# --- the equations ---------------------------------------------------------------------------


def distribution(algorithm, obs):
    (mean, std), _ = algorithm.policy.actor(obs.unsqueeze(0))
    return Independent(TransformedDistribution(Normal(mean[0], std[0]), TanhTransform()), 1)


def reference_critic_loss(algorithm, batch, drawn, uniform, terminated, which):
    """Equation 4 with the estimate of appendix F, and Cal-QL's bound, row by row."""
    critic = (algorithm.critic, algorithm.critic2)[which]
    olds = algorithm.critic_old.module, algorithm.critic2_old.module
    _, act_target, here, following = drawn

    def q(network, obs, act):
        return network(obs.unsqueeze(0), act.unsqueeze(0))[0, 0]

    errors, gaps = [], []
    for i, (obs, obs_next) in enumerate(zip(batch.obs, batch.obs_next, strict=True)):
        pi, pi_next = distribution(algorithm, obs), distribution(algorithm, obs_next)
        soft = min(q(old, obs_next, act_target[i]) for old in olds)
        if algorithm.soft_backup:
            soft = soft - algorithm.alpha.value * pi_next.log_prob(act_target[i])
        target = batch.rew[i] + (0.0 if terminated[i] else GAMMA) * soft
        errors.append((q(critic, obs, batch.act[i]) - target.detach()) ** 2)
        terms = [q(critic, obs, act) + WIDTH * math.log(2.0) for act in uniform[:, i]]
        for acts, law in ((here[:, i], pi), (following[:, i], pi_next)):
            for act in acts:
                value = q(critic, obs, act)
                if algorithm.calibrated:
                    value = torch.maximum(value, batch.calibration_returns[i])
                terms.append(value - law.log_prob(act).detach())
        heat = algorithm.temperature
        over_all = heat * torch.log(sum(torch.exp(term / heat) for term in terms))
        gaps.append(over_all - q(critic, obs, batch.act[i]))
    gap = algorithm.cql_weight * sum(gaps) / len(gaps)
    return sum(errors) / len(errors), gap


def reference_actor_loss(algorithm, batch, act):
    """Equation 7 of arXiv:1812.05905, with the noise that gave these actions."""
    (mean, std), _ = algorithm.policy.actor(batch.obs)
    noise = ((act.atanh() - mean) / std).detach()
    act = torch.tanh(mean + std * noise)
    density = Normal(mean, std).log_prob(mean + std * noise) - torch.log1p(-act.square())
    values = algorithm.critic(batch.obs, act), algorithm.critic2(batch.obs, act)
    return (ALPHA * density.sum(1) - torch.minimum(*values)[:, 0]).mean()


@torch.no_grad()
def set_linear(critic, slope):
    """Q(s, a) = slope a, through two of the hidden units."""
    for parameter in critic.parameters():
        parameter.zero_()
    critic.first.weight[0, -1], critic.first.weight[1, -1] = 1.0, -1.0
    critic.rest[-1].weight[0, 0], critic.rest[-1].weight[0, 1] = slope, -slope


def wrapped_buffer():
    """Ten rows of 14 added, rewards 1, 2, ...: the oldest row is the fifth; an episode of four."""
    made = ReplayBuffer(10)
    for row in range(14):
        ended = row % 4 == 3
        made.add(
            Batch(
                obs=np.full(batches.COLUMNS, row, np.float32), act=np.zeros(WIDTH, np.float32),
                obs_next=np.zeros(batches.COLUMNS, np.float32), rew=row + 1.0, info={},
                terminated=ended, truncated=False, done=ended,
            )
        )  # fmt: skip
    return made


def reference_returns(rows):
    """Of rows that are numbered since the first one was added."""
    made = []
    for row in rows:
        last = min(row // 4 * 4 + 3, 13)
        made.append(sum(GAMMA ** (k - row) * (k + 1.0) for k in range(row, last + 1)))
    return made


def bandit(rows=1000):
    """The best action is 0.4; actions above 0.6 are never taken."""
    buffer = batches.dataset(rows, action_width=1)
    buffer._meta.act = np.random.default_rng(0).uniform(-1, 0.6, (rows, 1)).astype(np.float32)
    buffer._meta.rew = -4.0 * (buffer.act[:, 0].astype(float) - 0.4) ** 2
    buffer._meta.terminated[:], buffer._meta.done[:] = True, True
    buffer._meta.obs[:] = 0.0
    return buffer
