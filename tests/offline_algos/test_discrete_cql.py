"""Discrete CQL beside Tianshou's and beside the paper's equation."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import tianshou.algorithm as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory

from data_tools.buffers import TensorReplayBuffer
from offline_algos.discrete_cql import DiscreteCQL
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

ATOMS, ACTIONS = 8, 3
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=(16,))


def make(kind=DiscreteCQL, optim=None, **arguments):
    torch.manual_seed(0)
    space = spaces.Discrete(ACTIONS)
    network = ValueNetwork(INPUTS, ACTIONS, ATOMS)
    network = network if kind is DiscreteCQL else batches.FromNumpy(network)
    policy = QRDQNPolicy(model=network, action_space=space)
    given = {"target_update_freq": 7, "num_quantiles": ATOMS, "gamma": 0.9, "min_q_weight": 0.5}
    return kind(policy=policy, optim=optim or FusedAdam(lr=1e-2), **(given | arguments))


def parameters(algorithm):
    return torch.cat([p.detach().ravel() for p in algorithm.parameters()])


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("target_update_freq", [0, 7])
def test_fifty_steps_are_tianshou_s(target_update_freq, n_step):
    """Its masks are right where nothing is truncated inside the data, so that is compared too."""
    arguments = {"target_update_freq": target_update_freq, "n_step_return_horizon": n_step}
    buffer = batches.dataset()
    ours = make(**arguments)
    theirs = make(stock.DiscreteCQL, AdamOptimizerFactory(lr=1e-2), **arguments)
    assert torch.equal(parameters(ours), parameters(theirs))
    mine = batches.run_ours(ours, buffer, 50)
    others = batches.run_stock(theirs, buffer, 50)
    torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=0, atol=2e-6)
    for one, other in zip(mine, others, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert one.cql_loss == pytest.approx(other.cql_loss, rel=1e-3, abs=1e-5)


def reference_loss(algorithm, batch, gamma, weight):
    """Quantile regression to the double-Q target, plus the log-sum-exp of the values (CQL(H))."""
    model, old = algorithm.policy.model, algorithm.model_old.module
    levels = (torch.arange(ATOMS, dtype=torch.float64) + 0.5) / ATOMS
    losses = []
    for row in range(len(batch.rew)):
        following = model(batch.obs_next[row : row + 1])[0][0]
        best = int(following.mean(1).argmax())
        live = 0.0 if bool(batch.terminated[row]) else 1.0
        target = batch.rew[row] + gamma * live * old(batch.obs_next[row : row + 1])[0][0, best]
        target = target.detach()
        quantiles = model(batch.obs[row : row + 1])[0][0]
        chosen = quantiles[int(batch.act[row])]
        error = target.unsqueeze(0) - chosen.unsqueeze(1)
        huber = torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5)
        weights = torch.where(error < 0, 1 - levels.unsqueeze(1), levels.unsqueeze(1))
        values = quantiles.mean(1)
        conservative = torch.log(torch.exp(values).sum()) - values[int(batch.act[row])]
        losses.append((weights * huber).sum(1).mean() + weight * conservative)
    return torch.stack(losses).mean()


def test_loss_and_gradient_are_the_paper_s():
    algorithm = make().double()
    buffer = TensorReplayBuffer(batches.dataset())
    algorithm.process_buffer(buffer)
    buffer.keys = (*buffer.keys, "terminated")
    batch, _ = buffer.sample(16)
    for name in ("obs", "obs_next", "rew", "discount"):
        batch[name] = batch[name].double()
    batch.discount = 0.9 * (~batch.terminated).double()
    with torch.no_grad():  # a target network that differs
        for parameter in algorithm.model_old.parameters():
            parameter.add_(0.1)
    algorithm._iter = 1
    expected = reference_loss(algorithm, batch, 0.9, 0.5)
    slopes = torch.autograd.grad(expected, list(algorithm.policy.model.parameters()))
    taken = {}

    def keep(loss):
        taken["loss"] = loss.item()
        taken["slopes"] = torch.autograd.grad(loss, list(algorithm.policy.model.parameters()))

    algorithm.optim.step = keep
    algorithm._update_with_batch(batch)
    assert taken["loss"] == pytest.approx(expected.item(), rel=1e-12)
    for made, slope in zip(taken["slopes"], slopes, strict=True):
        torch.testing.assert_close(made, slope, rtol=1e-10, atol=1e-12)


def test_truncation_bootstraps_and_termination_does_not():
    algorithm = make(min_q_weight=0.0)
    prepared = algorithm.process_buffer(batches.dataset(20))
    batch = prepared.rows(np.arange(20))
    target = algorithm._target(batch)
    with torch.no_grad():
        values, _ = algorithm.policy.model(batch.obs_next)
        best = values.mean(2).argmax(1)
        following = algorithm.model_old(batch.obs_next)[0][torch.arange(20), best]
    torch.testing.assert_close(target[9], batch.rew[9].expand(ATOMS))  # terminated
    torch.testing.assert_close(target[19], batch.rew[19] + 0.9 * following[19])  # truncated


def test_it_prefers_the_action_that_pays_among_those_that_the_data_shows():
    """Action 2 is never taken: without data it must not look best."""
    buffer = batches.dataset(400, actions=2)
    buffer._meta.rew = (buffer.act == 1).astype(float)
    buffer._meta.terminated = buffer._meta.done = np.ones(400, bool)
    algorithm = make(gamma=0.0, min_q_weight=0.2)
    batches.run_ours(algorithm, buffer, 300, 64)
    values, _ = algorithm.policy.model(torch.as_tensor(buffer.obs))
    chosen = values.mean(2).argmax(1)
    assert (chosen == 1).float().mean() > 0.95


def test_the_conservative_term_pushes_unseen_actions_down():
    buffer = batches.dataset(400, actions=2)
    unseen = []
    for weight in (0.0, 5.0):
        algorithm = make(min_q_weight=weight)
        batches.run_ours(algorithm, buffer, 200, 64)
        values = algorithm.policy.model(torch.as_tensor(buffer.obs))[0].mean(2)
        unseen.append((values[:, 2] - values[:, :2].mean(1)).mean().item())
    assert unseen[1] < unseen[0] - 1.0


def test_a_copy_of_its_state_goes_on_identically():
    buffer = TensorReplayBuffer(batches.dataset())
    first = make()
    first.process_buffer(buffer)
    for _ in range(10):
        first.update(buffer, 32)
    second = make()
    second.load_state_dict(copy.deepcopy(dict(first.state_dict())))
    second._iter = first._iter
    state = buffer._random_state.get_state()
    for _ in range(10):
        first.update(buffer, 32)
    buffer._random_state.set_state(state)
    for _ in range(10):
        second.update(buffer, 32)
    assert torch.equal(parameters(first), parameters(second))
