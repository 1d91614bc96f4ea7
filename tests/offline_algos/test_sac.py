"""SAC beside the paper's equations, and beside Tianshou's."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import tianshou.algorithm as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.utils.torch_utils import policy_within_training_step
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from offline_algos.networks import Critic, GaussianNetwork, Inputs
from offline_algos.sac import SAC
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches
from tests.offline_algos.cql_setups import record_draws

WIDTH, GAMMA, ALPHA = 2, 0.9, 0.3
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=(16,))


def make(kind=SAC, *, auto=False, lr=1e-3, **arguments):
    torch.manual_seed(0)
    network = GaussianNetwork(INPUTS, WIDTH)
    critics = Critic(INPUTS, WIDTH), Critic(INPUTS, WIDTH)
    optim = FusedAdam if kind is SAC else AdamOptimizerFactory
    if kind is stock.SAC:
        network, critics = batches.FromNumpy(network), [OfArrays(c) for c in critics]
    policy = SACPolicy(actor=network, action_space=spaces.Box(-1.0, 1.0, (WIDTH,)))
    alpha = AutoAlpha(-float(WIDTH), math.log(ALPHA), optim(lr=lr)) if auto else ALPHA
    given = {"gamma": GAMMA, "alpha": alpha, "tau": 0.1}
    return kind(
        policy=policy, policy_optim=optim(lr=lr), critic=critics[0],
        critic_optim=optim(lr=lr), **({"critic2": critics[1]} | given | arguments),
    )  # fmt: skip


class OfArrays(batches.FromNumpy):
    def forward(self, obs, act):
        return self.network(torch.as_tensor(obs), torch.as_tensor(act))


def parameters(algorithm):
    return torch.cat([p.detach().ravel() for p in algorithm.parameters()])


def prepared(algorithm, rows=50):
    return algorithm.process_buffer(batches.dataset(rows, action_width=WIDTH))


def doubled(algorithm, rows):
    """The algorithm and a batch of the first rows in float64, and which of them terminated."""
    buffer = prepared(algorithm)
    batch = buffer.rows(np.arange(rows))
    for name in buffer.keys:
        batch[name] = batch[name].double()
    terminated = buffer.column("terminated")[:rows]
    batch.discount = GAMMA * (~terminated).double()
    return algorithm.double(), batch, terminated


def law(algorithm, obs):
    (mean, std), _ = algorithm.policy.actor(obs.unsqueeze(0))
    return Independent(TransformedDistribution(Normal(mean[0], std[0]), TanhTransform()), 1)


def critic_loss(algorithm, batch, act, terminated, critic):
    """Equation 5, row by row."""
    olds, losses = (algorithm.critic_old.module, algorithm.critic2_old.module), []
    for i, following in enumerate(batch.obs_next):
        given = following.unsqueeze(0), act[i].unsqueeze(0)
        soft = min(old(*given)[0, 0] for old in olds)
        soft = soft - ALPHA * law(algorithm, following).log_prob(act[i])
        target = batch.rew[i] + (0.0 if terminated[i] else GAMMA) * soft
        value = critic(batch.obs[i : i + 1], batch.act[i : i + 1])[0, 0]
        losses.append((value - target.detach()) ** 2)
    return torch.stack(losses).mean()


def actor_loss(algorithm, batch, act):
    """Equation 7, with the noise that gave these actions."""
    (mean, std), _ = algorithm.policy.actor(batch.obs)
    noise = ((act.atanh() - mean) / std).detach()
    act = torch.tanh(mean + std * noise)
    density = Normal(mean, std).log_prob(mean + std * noise) - torch.log1p(-act.square())
    values = algorithm.critic(batch.obs, act), algorithm.critic2(batch.obs, act)
    return (ALPHA * density.sum(1) - torch.minimum(*values)[:, 0]).mean()


def test_losses_and_gradients_are_the_paper_s(monkeypatch):
    algorithm, batch, terminated = doubled(make(), 12)
    with torch.no_grad():
        for parameter in algorithm.critic_old.parameters():
            parameter.add_(0.1)
    drawn, taken = record_draws(monkeypatch), {}

    def keep(module):
        def step(loss=None):
            taken[module] = [p.grad.clone() for p in module.parameters()]

        return step

    optims = (algorithm.critic_optim, algorithm.critic2_optim, algorithm.policy_optim)
    for optim in optims:  # gradients as they are when the optimiser sees them; nothing moves
        monkeypatch.setattr(optim._optim, "step", keep(optim._module))
    stats = algorithm._update_with_batch(batch)
    act_target, act = drawn
    wanted = {
        algorithm.critic: critic_loss(algorithm, batch, act_target, terminated, algorithm.critic),
        algorithm.critic2: critic_loss(algorithm, batch, act_target, terminated, algorithm.critic2),
        algorithm.policy: actor_loss(algorithm, batch, act),
    }
    losses = (stats.critic1_loss, stats.critic2_loss, stats.actor_loss)
    for (module, expected), loss in zip(wanted.items(), losses, strict=True):
        assert loss == pytest.approx(expected.item(), rel=1e-10)
        slopes = torch.autograd.grad(expected, list(module.parameters()))
        for made, slope in zip(taken[module], slopes, strict=True):
            torch.testing.assert_close(made, slope, rtol=1e-7, atol=1e-10)
    assert terminated.any()


def test_the_temperature_falls_while_there_is_more_entropy_than_wanted(monkeypatch):
    algorithm = make(auto=True, lr=1e-2)
    densities, act_with = [], algorithm.alpha.update

    def update(entropy):
        densities.append(-entropy.mean().item())
        return act_with(entropy)

    monkeypatch.setattr(algorithm.alpha, "update", update)
    buffer = prepared(algorithm)
    stats = [algorithm.update(buffer, 32) for _ in range(20)]
    assert densities[0] < WIDTH  # an entropy above minus its numbers
    assert stats[-1].alpha < stats[0].alpha < ALPHA
    # equation 18, of the logarithm as in the authors' code
    expected = -math.log(ALPHA) * (densities[0] - WIDTH)
    assert stats[0].alpha_loss == pytest.approx(expected, rel=1e-5)


def test_target_networks_follow_by_tau():
    algorithm = make()
    before = [p.clone() for p in algorithm.critic_old.parameters()]
    algorithm.update(prepared(algorithm), 32)
    pairs = zip(
        algorithm.critic_old.parameters(), algorithm.critic.parameters(), before, strict=True
    )
    for old, new, was in pairs:
        torch.testing.assert_close(old, 0.9 * was + 0.1 * new, rtol=1e-5, atol=1e-7)


def test_fifty_steps_are_tianshou_s():
    """Equal draws give equal weights, up to the 1e-7 that Tianshou adds to a slope."""
    ours, theirs = make(auto=True), make(stock.SAC, auto=True)
    buffer = batches.dataset(action_width=WIDTH)
    tensors = ours.process_buffer(copy.deepcopy(buffer))
    assert torch.equal(parameters(ours), parameters(theirs))
    for step in range(50):
        for algorithm, source in ((ours, tensors), (theirs, buffer)):
            torch.manual_seed(step)
            with policy_within_training_step(algorithm.policy):
                algorithm.update(source, 32)
    torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=0, atol=5e-6)
    assert (parameters(ours) - parameters(make(auto=True))).abs().max() > 0.01


def test_a_copy_of_its_state_goes_on_identically_and_tianshou_s_does_not():
    """The optimiser of the temperature is among what is saved."""

    def gap(kind):
        first, second = make(kind, auto=True, lr=1e-2), make(kind, auto=True, lr=1e-2)
        buffer = batches.dataset(action_width=WIDTH)
        source = first.process_buffer(buffer) if kind is SAC else buffer
        for algorithm, steps in ((first, 10), (second, 0)):
            for _ in range(steps):
                with policy_within_training_step(algorithm.policy):
                    algorithm.update(source, 32)
        second.load_state_dict(copy.deepcopy(dict(first.state_dict())))
        state = source._random_state.get_state()
        for algorithm in (first, second):
            torch.manual_seed(1)
            source._random_state.set_state(state)
            for _ in range(5):
                with policy_within_training_step(algorithm.policy):
                    algorithm.update(source, 32)
        return (parameters(first) - parameters(second)).abs().max().item()

    assert gap(SAC) == 0.0
    assert gap(stock.SAC) > 1e-6


def test_a_second_critic_must_be_given():
    """Tianshou's would be a copy of the first one, and stay it."""
    copied = make(stock.SAC, critic2=None)
    buffer = batches.dataset(action_width=WIDTH)
    for _ in range(5):
        with policy_within_training_step(copied.policy):
            copied.update(buffer, 32)
    pairs = zip(copied.critic.parameters(), copied.critic2.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    with pytest.raises(TypeError, match="critic2"):
        SAC(policy=None, policy_optim=None, critic=None, critic_optim=None)


def test_what_it_explores_with_is_the_policy_s_own_distribution():
    algorithm = make()
    obs = torch.zeros(4000, batches.COLUMNS)
    act = algorithm.explore(obs, np.random.default_rng(0))
    assert act.dtype == np.float32
    assert act.shape == (4000, WIDTH) and np.abs(act).max() <= 1.0
    (mean, std), _ = algorithm.policy.actor(obs[:1])
    before = np.arctanh(act.astype(float).clip(-1 + 1e-7, 1 - 1e-7))
    np.testing.assert_allclose(before.mean(0), mean[0].detach(), atol=0.08)
    np.testing.assert_allclose(before.std(0), std[0].detach(), rtol=0.06)
