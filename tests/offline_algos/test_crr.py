"""Continuous CRR beside the paper's equations, written row by row."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.sac import SACPolicy
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from offline_algos import squashed_gaussian
from offline_algos.crr import CRR
from offline_algos.networks import Critic, GaussianNetwork, Inputs
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

WIDTH, GAMMA = 2, 0.9
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=(16,))


def make(width=WIDTH, lr=1e-3, **arguments):
    torch.manual_seed(0)
    policy = SACPolicy(
        actor=GaussianNetwork(INPUTS, width), action_space=spaces.Box(-1.0, 1.0, (width,))
    )
    return CRR(
        policy=policy, policy_optim=FusedAdam(lr=lr), critic=Critic(INPUTS, width),
        critic2=Critic(INPUTS, width), critic_optim=FusedAdam(lr=lr),
        **({"gamma": GAMMA} | arguments),
    )  # fmt: skip


def parameters(algorithm):
    return torch.cat([p.detach().ravel() for p in algorithm.parameters()])


def reference_weight(algorithm, advantage):
    if algorithm.policy_improvement_mode == "all":
        return torch.tensor(1.0).double()
    if algorithm.policy_improvement_mode == "binary":
        return torch.tensor(1.0 if advantage > 0 else 0.0).double()
    weight = torch.exp(advantage / algorithm.beta)
    return weight if weight < algorithm.ratio_upper_bound else torch.tensor(2.5).double()


def reference_losses(algorithm, batch, drawn, terminated):
    """Losses of the actor and of the critics, and the weights."""
    critics = algorithm.critic, algorithm.critic2
    olds = algorithm.critic_old.module, algorithm.critic2_old.module

    def least(networks, obs, act):
        return min(network(obs.unsqueeze(0), act.unsqueeze(0))[0, 0] for network in networks)

    surprises, errors, weights = [], [], []
    for i, (obs, act) in enumerate(zip(batch.obs, batch.act, strict=True)):
        (mean, std), _ = algorithm.policy.actor(obs.unsqueeze(0))
        law = TransformedDistribution(Normal(mean[0], std[0]), TanhTransform())
        advantage = torch.zeros(())
        if algorithm.policy_improvement_mode != "all":
            others = torch.stack([least(critics, obs, other) for other in drawn[1][:, i]])
            base = others.mean() if algorithm.advantage == "mean" else others.max()
            advantage = (least(critics, obs, act) - base).detach()
        weights.append(reference_weight(algorithm, advantage))
        surprises.append(-weights[-1] * Independent(law, 1).log_prob(act))
        target = batch.rew[i]
        if not terminated[i]:
            target = target + GAMMA * least(olds, batch.obs_next[i], drawn[0][i]).detach()
        for network in critics:
            errors.append((network(obs.unsqueeze(0), act.unsqueeze(0))[0, 0] - target) ** 2)
    return torch.stack(surprises).mean(), 2 * torch.stack(errors).mean(), torch.stack(weights)


@pytest.mark.parametrize("advantage", ["mean", "max"])
@pytest.mark.parametrize("mode", ["exp", "binary", "all"])
def test_losses_and_gradients_are_the_paper_s(monkeypatch, mode, advantage):
    arguments = {"beta": 0.1, "ratio_upper_bound": 2.5, "num_samples": 5}
    algorithm = make(policy_improvement_mode=mode, advantage=advantage, **arguments)
    prepared = algorithm.process_buffer(batches.dataset(action_width=WIDTH))
    batch, terminated = prepared.rows(np.arange(30)), prepared.column("terminated")[:30]
    assert 0 < terminated.sum() < 30
    algorithm.double()
    for name in prepared.keys:
        batch[name] = batch[name].double()
    batch.discount = GAMMA * (~terminated).double()
    batch.act.clamp_(-0.99, 0.99)
    with torch.no_grad():  # target networks that differ
        for old in (algorithm.critic_old, algorithm.actor_old):
            for parameter in old.parameters():
                parameter.add_(0.1)
    drawn, taken, plain = [], {}, squashed_gaussian.sample
    laws = []

    def sample(mean, std, repeat=None):
        laws.append((mean, std))
        drawn.append(plain(mean, std, repeat)[0])
        return drawn[-1], None

    monkeypatch.setattr(squashed_gaussian, "sample", sample)
    modules = {
        "actor": torch.nn.ModuleList([algorithm.policy]),
        "critic": torch.nn.ModuleList([algorithm.critic, algorithm.critic2]),
    }

    def keeper(name):
        def step(loss):
            everything = [p for module in modules.values() for p in module.parameters()]
            slopes = torch.autograd.grad(loss, everything, retain_graph=True, allow_unused=True)
            taken[name] = loss.item(), slopes

        return step

    algorithm.policy_optim.step, algorithm.critic_optim.step = keeper("actor"), keeper("critic")
    algorithm._update_lagged_network_weights = lambda: None
    stats = algorithm._update_with_batch(batch)
    actor_loss, critic_loss, weights = reference_losses(algorithm, batch, drawn, terminated)
    torch.testing.assert_close(laws[0], algorithm.actor_old.module(batch.obs_next)[0])
    if mode == "exp" and advantage == "mean":
        assert 0 < (weights == 2.5).sum() < 30  # some are cut, some are not
    assert stats.weight == pytest.approx(weights.mean().item(), rel=1e-9)
    everything = [p for module in modules.values() for p in module.parameters()]
    for name, expected in (("actor", actor_loss), ("critic", critic_loss)):
        assert taken[name][0] == pytest.approx(expected.item(), rel=1e-9)
        wanted = torch.autograd.grad(expected, everything, allow_unused=True)
        for made, slope in zip(taken[name][1], wanted, strict=True):
            assert (made is None) == (slope is None)  # neither loss trains the other's network
            if slope is not None:
                torch.testing.assert_close(made, slope, rtol=1e-7, atol=1e-10)


def test_truncation_bootstraps_and_termination_does_not():
    algorithm = make()
    prepared = algorithm.process_buffer(batches.dataset(20, action_width=WIDTH))
    batch = prepared.rows(np.arange(20))
    torch.manual_seed(3)
    target = algorithm._target(batch)
    torch.manual_seed(3)
    (mean, std), _ = algorithm.policy.actor(batch.obs_next)
    act, _ = squashed_gaussian.sample(mean, std)
    value = torch.minimum(
        algorithm.critic(batch.obs_next, act), algorithm.critic2(batch.obs_next, act)
    )[:, 0].detach()
    assert target[9] == batch.rew[9]  # terminated
    torch.testing.assert_close(target[19], batch.rew[19] + GAMMA * value[19])  # truncated
    assert abs(value[19]) > 1e-3


def test_the_target_networks_follow_by_tau():
    algorithm = make(tau=0.25)
    old = [
        p.clone() for p in (*algorithm.critic_old.parameters(), *algorithm.actor_old.parameters())
    ]
    batches.run_ours(algorithm, batches.dataset(action_width=WIDTH), 1)
    now = [*algorithm.critic_old.parameters(), *algorithm.actor_old.parameters()]
    learnt = [*algorithm.critic.parameters(), *algorithm.policy.actor.parameters()]
    for before, after, source in zip(old, now, learnt, strict=True):
        torch.testing.assert_close(after, 0.75 * before + 0.25 * source)
        assert not torch.equal(before, source)


def two_habits(rows=1000):
    """A behaviour that plays about -0.6 three times in four, and about 0.6, which pays more."""
    buffer, rng = batches.dataset(rows, action_width=1), np.random.default_rng(0)
    act = np.where(rng.random(rows) < 0.75, -0.6, 0.6) + rng.normal(0.0, 0.05, rows)
    buffer._meta.act = act[:, None].astype(np.float32)
    buffer._meta.rew = (act > 0).astype(float)
    buffer._meta.terminated[:], buffer._meta.done[:] = True, True
    buffer._meta.obs[:] = 0.0
    return buffer


@pytest.mark.parametrize("advantage", ["mean", "max"])
@pytest.mark.parametrize("mode", ["exp", "binary"])
def test_it_imitates_what_pays(mode, advantage):
    """On this data behaviour cloning, "all", plays the habit that is the more common one."""

    def played(mode):
        algorithm = make(1, 1e-2, policy_improvement_mode=mode, advantage=advantage, beta=0.1)
        batches.run_ours(algorithm, two_habits(), 400, 64)
        (mean, _), _ = algorithm.policy.actor(torch.zeros(1, batches.COLUMNS))
        return torch.tanh(mean).item()

    assert 0.45 < played(mode) < 0.85
    assert played("all") < 0.0


def test_recorded_actions_on_the_edge_keep_everything_finite():
    buffer = batches.dataset(action_width=WIDTH)
    buffer._meta.act = np.sign(buffer.act)
    algorithm = make()
    stats = batches.run_ours(algorithm, buffer, 50)
    assert np.isfinite([s.actor_loss for s in stats]).all()
    assert torch.isfinite(parameters(algorithm)).all()


def test_a_copy_of_its_state_goes_on_identically():
    first = make()
    buffer = first.process_buffer(batches.dataset(action_width=WIDTH))
    for _ in range(10):
        first.update(buffer, 32)
    second = make()
    second.load_state_dict(copy.deepcopy(dict(first.state_dict())))
    states = buffer._random_state.get_state(), torch.get_rng_state()
    for _ in range(10):
        first.update(buffer, 32)
    buffer._random_state.set_state(states[0])
    torch.set_rng_state(states[1])
    for _ in range(10):
        second.update(buffer, 32)
    assert torch.equal(parameters(first), parameters(second))
    assert not torch.equal(parameters(first), parameters(make()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gamma", 1.1), ("tau", 0.0), ("policy_improvement_mode", "min"), ("beta", 0.0),
        ("ratio_upper_bound", 0.0), ("advantage", "median"), ("num_samples", 0),
    ],
)  # fmt: skip
def test_an_argument_out_of_its_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}: expected"):
        make(**{name: value})
