"""Continuous IQL beside the paper's equations, stepped by hand in float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tianshou.data import Batch
from torch.distributions import Independent, Normal

from offline_algos.implicit_q import expectile_loss
from offline_algos.iql import IQL, IQLPolicy
from offline_algos.networks import Critic, DeterministicNetwork, Inputs
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

WIDTH, GAMMA = 2, 0.9
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=(16,))


def make(width=WIDTH, lr=1e-2, **arguments):
    torch.manual_seed(0)
    policy = IQLPolicy(
        actor=DeterministicNetwork(INPUTS, width), action_space=spaces.Box(-1.0, 1.0, (width,))
    )
    return IQL(
        policy=policy, policy_optim=FusedAdam(lr=lr), critic=Critic(INPUTS, width),
        critic2=Critic(INPUTS, width), critic_optim=FusedAdam(lr=lr), value=Critic(INPUTS, 0),
        value_optim=FusedAdam(lr=lr), **({"gamma": GAMMA} | arguments),
    )  # fmt: skip


def parameters(algorithm):
    return torch.cat([p.detach().ravel() for p in algorithm.parameters()])


class ByHand:
    """The same method on copies of the networks: plain sums over rows, plain Adam."""

    def __init__(self, algorithm, tau, expectile, temperature, clip):
        self.policy, self.value = copy.deepcopy((algorithm.policy, algorithm.value))
        self.critics = copy.deepcopy([algorithm.critic, algorithm.critic2])
        self.olds = copy.deepcopy(self.critics)
        self.tau, self.expectile = tau, expectile
        self.temperature, self.clip = temperature, clip
        both = [p for critic in self.critics for p in critic.parameters()]
        groups = (self.value.parameters(), self.policy.parameters(), both)
        self.optims = [torch.optim.Adam(list(group), lr=1e-2) for group in groups]

    def descend(self, which, losses):
        loss = sum(losses) / len(losses)
        self.optims[which].zero_grad()
        loss.backward()
        self.optims[which].step()
        return loss.item()

    def step(self, batch, terminated):
        rows = range(len(batch.rew))
        lesser = [
            min(old(batch.obs[i : i + 1], batch.act[i : i + 1])[0, 0].detach() for old in self.olds)
            for i in rows
        ]

        def v(obs, i):
            return self.value(obs[i : i + 1])[0, 0]

        losses = []
        for i in rows:
            gap = lesser[i] - v(batch.obs, i)
            losses.append((self.expectile if gap > 0 else 1.0 - self.expectile) * gap**2)
        value_loss = self.descend(0, losses)
        losses, targets = [], []
        for i in rows:
            advantage = (lesser[i] - v(batch.obs, i)).detach()
            weight = min(float(torch.exp(self.temperature * advantage)), self.clip)
            mean, _ = self.policy.actor(batch.obs[i : i + 1])
            law = Independent(Normal(mean[0], self.policy.log_std.exp()), 1)
            losses.append(-weight * law.log_prob(batch.act[i]))
            future = 0.0 if terminated[i] else GAMMA * v(batch.obs_next, i).detach()
            targets.append(batch.rew[i] + future)
        actor_loss = self.descend(1, losses)
        losses = []
        for i in rows:
            made = [
                critic(batch.obs[i : i + 1], batch.act[i : i + 1])[0, 0] for critic in self.critics
            ]
            losses.append(sum((targets[i] - q) ** 2 for q in made))
        critic_loss = self.descend(2, losses)
        with torch.no_grad():
            for old, critic in zip(self.olds, self.critics, strict=True):
                for p, q in zip(old.parameters(), critic.parameters(), strict=True):
                    p.copy_((1 - self.tau) * p + self.tau * q)
        return value_loss, actor_loss, critic_loss

    def parameters(self):
        modules = (self.policy, *self.critics, *self.olds, self.value)
        return torch.cat([p.detach().ravel() for m in modules for p in m.parameters()])


def test_losses_and_steps_are_the_paper_s_in_the_authors_order():
    settings = {"tau": 0.3, "expectile": 0.8, "temperature": 10.0}
    algorithm = make(advantage_clip=1.5, **settings)
    prepared = algorithm.process_buffer(batches.dataset(action_width=WIDTH))
    batch, terminated = prepared.rows(np.arange(20)), prepared.column("terminated")[:20]
    algorithm.double()
    for name in prepared.keys:
        batch[name] = batch[name].double()
    batch.discount = GAMMA * (~terminated).double()
    by_hand = ByHand(algorithm, clip=1.5, **settings)
    for _ in range(3):
        made = algorithm._update_with_batch(batch)
        expected = by_hand.step(batch, terminated)
        losses = (made.value_loss, made.actor_loss, made.critic_loss)
        assert losses == pytest.approx(expected, rel=1e-9)
    modules = (
        algorithm.policy, algorithm.critic, algorithm.critic2, algorithm.critic_old,
        algorithm.critic2_old, algorithm.value,
    )  # fmt: skip
    mine = torch.cat([p.detach().ravel() for m in modules for p in m.parameters()])
    torch.testing.assert_close(mine, by_hand.parameters(), rtol=1e-8, atol=1e-10)


def test_truncation_bootstraps_and_termination_does_not():
    """With a critic of 0 and one row, its loss tells the target."""
    algorithm = make(lr=1e-9)
    for critic in (algorithm.critic, algorithm.critic2):
        torch.nn.init.zeros_(critic.rest[-1].weight)
        torch.nn.init.zeros_(critic.rest[-1].bias)
    prepared = algorithm.process_buffer(batches.dataset(20, action_width=WIDTH))
    for row, bootstrapped in ((9, False), (19, True), (4, True)):
        batch = prepared.rows(np.array([row]))
        future = algorithm.value(batch.obs_next).item()
        assert abs(future) > 1e-3
        target = batch.rew.item() + bootstrapped * GAMMA * future
        loss = algorithm._update_with_batch(batch).critic_loss
        assert loss == pytest.approx(2 * target**2, rel=1e-4)


@pytest.mark.parametrize("expectile", [0.5, 0.7, 0.95])
def test_the_value_is_an_expectile_of_what_the_data_earned(expectile):
    """Rewards are 1 in a quarter of the rows: v = q t / (q t + (1 - q) (1 - t)), q = 1/4."""
    buffer = batches.dataset(400, action_width=1)
    paid = np.arange(400) % 4 == 0
    buffer._meta.act = np.where(paid, 0.5, -0.5).astype(np.float32)[:, None]
    buffer._meta.rew = paid.astype(float)
    buffer._meta.obs[:] = 0.0
    buffer._meta.terminated[:], buffer._meta.done[:] = True, True
    algorithm = make(1, expectile=expectile, tau=0.1)
    batches.run_ours(algorithm, buffer, 400, 128)
    value = algorithm.value(torch.zeros(1, batches.COLUMNS)).item()
    expected = expectile / (expectile + 3 * (1 - expectile))
    assert value == pytest.approx(expected, abs=0.06)


def test_expectile_loss_weighs_both_sides():
    gap = torch.tensor([2.0, -1.0])
    assert expectile_loss(gap, 0.9).item() == pytest.approx((0.9 * 4 + 0.1 * 1) / 2)


def chain(rows=1200):
    """Two steps: only 0.5 and then 0.5 is paid; the behaviour plays it one time in four."""
    buffer, rng = batches.dataset(rows, action_width=1, ends=2), np.random.default_rng(0)
    good = rng.random(rows) < 0.25
    first = np.arange(rows) % 2 == 0
    # the second observation tells whether the first action was good
    buffer._meta.obs[:], buffer._meta.obs_next[:] = 0.0, 0.0
    reached = np.where(first, 0.0, np.roll(good, 1) + 1.0)
    buffer._meta.obs[:, 0] = reached
    buffer._meta.obs_next[:, 0] = np.where(first, good + 1.0, 0.0)
    buffer._meta.act = np.where(good, 0.5, -0.5).astype(np.float32)[:, None]
    buffer._meta.rew = (~first & good & (reached == 2.0)).astype(float)
    buffer._meta.terminated, buffer._meta.truncated = ~first, first & False
    buffer._meta.done = ~first
    return buffer


def test_it_stitches_the_better_actions_of_a_chain():
    """Behaviour cloning, temperature 0, plays what is common, -0.25 in the mean."""

    def played(temperature):
        algorithm = make(1, expectile=0.9, temperature=temperature, tau=0.05)
        batches.run_ours(algorithm, chain(), 600, 128)
        obs = torch.zeros(2, batches.COLUMNS)
        obs[1, 0] = 2.0
        return algorithm.policy.actor(obs)[0][:, 0].tolist()

    assert played(10.0) == pytest.approx([0.5, 0.5], abs=0.15)
    assert max(played(0.0)) < 0.0


def test_the_deviation_is_learnt_and_stays_in_its_range():
    algorithm = make(temperature=0.0)
    buffer = batches.dataset(action_width=WIDTH)
    buffer._meta.act[:] = 1.0  # on the edge: nothing to move in
    batches.run_ours(algorithm, buffer, 300)
    assert algorithm.policy.log_std.max() < -0.5
    with torch.no_grad():
        algorithm.policy.log_std.fill_(-100.0)
    log_prob = algorithm.policy.log_prob(torch.zeros(1, batches.COLUMNS), torch.zeros(1, WIDTH))
    assert torch.isfinite(log_prob).all()


def test_the_policy_acts_with_its_mean():
    policy = make().policy
    obs = np.random.default_rng(0).normal(size=(3, batches.COLUMNS)).astype(np.float32)
    act = policy(Batch(obs=obs, info=Batch())).act
    assert torch.equal(act, policy.actor(torch.as_tensor(obs))[0])


def test_a_copy_of_its_state_goes_on_identically():
    first = make()
    buffer = first.process_buffer(batches.dataset(action_width=WIDTH))
    for _ in range(10):
        first.update(buffer, 32)
    second = make()
    second.load_state_dict(copy.deepcopy(dict(first.state_dict())))
    state = buffer._random_state.get_state()
    for _ in range(10):
        first.update(buffer, 32)
    buffer._random_state.set_state(state)
    for _ in range(10):
        second.update(buffer, 32)
    assert torch.equal(parameters(first), parameters(second))
    assert not torch.equal(parameters(first), parameters(make()))


@pytest.mark.parametrize(
    ("name", "value"),
    [("gamma", -0.1), ("tau", 0.0), ("expectile", 1.0), ("temperature", -1.0),
     ("advantage_clip", 0.0)],
)  # fmt: skip
def test_an_argument_out_of_its_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}: expected"):
        make(**{name: value})
