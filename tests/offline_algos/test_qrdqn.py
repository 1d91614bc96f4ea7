"""QR-DQN beside Tianshou's, and how it explores."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import tianshou.algorithm as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.utils.torch_utils import policy_within_training_step

from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.qrdqn import QRDQN
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

ATOMS, ACTIONS, GAMMA = 8, 3, 0.9
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=(16,))


def make(kind=QRDQN, **arguments):
    torch.manual_seed(0)
    network = ValueNetwork(INPUTS, ACTIONS, ATOMS)
    ours = kind is QRDQN
    policy = QRDQNPolicy(
        model=network if ours else batches.FromNumpy(network), action_space=spaces.Discrete(ACTIONS)
    )
    optim = (FusedAdam if ours else AdamOptimizerFactory)(lr=1e-2)
    given = {"target_update_freq": 7, "num_quantiles": ATOMS, "gamma": GAMMA}
    given |= {"eps_first": 1.0, "eps_last": 0.1, "eps_steps": 100} if ours else {}
    return kind(policy=policy, optim=optim, **(given | arguments))


def parameters(algorithm):
    return torch.cat([p.detach().ravel() for p in algorithm.parameters()])


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("target_update_freq", [0, 7])
def test_fifty_steps_are_tianshou_s(target_update_freq, n_step):
    arguments = {"target_update_freq": target_update_freq, "n_step_return_horizon": n_step}
    buffer = batches.dataset()  # truncated in every other episode
    ours, theirs = make(**arguments), make(stock.QRDQN, **arguments)
    assert torch.equal(parameters(ours), parameters(theirs))
    mine = batches.run_ours(ours, buffer, 50)
    others = []
    source = copy.deepcopy(buffer)
    for _ in range(50):
        with policy_within_training_step(theirs.policy):
            others.append(theirs.update(source, 32))
    torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=0, atol=2e-6)
    for one, other in zip(mine, others, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)


def reference_loss(algorithm, batch, terminated):
    """Equation 10 with the target of double Q-learning, pair by pair."""
    model, old = algorithm.policy.model, algorithm.model_old.module
    losses = []
    for row, reward in enumerate(batch.rew):
        following = batch.obs_next[row : row + 1]
        best = int(model(following)[0][0].mean(1).argmax())
        live = 0.0 if terminated[row] else GAMMA
        target = (reward + live * old(following)[0][0, best]).detach()
        chosen = model(batch.obs[row : row + 1])[0][0, int(batch.act[row])]
        total = 0.0
        for number, quantile in enumerate(chosen):
            level = (number + 0.5) / ATOMS
            for one in target:
                error = one - quantile
                huber = 0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5
                total = total + abs(level - float(error < 0)) * huber / ATOMS
        losses.append(total)
    return torch.stack(losses).mean()


def test_loss_and_gradient_are_the_paper_s():
    algorithm = make().double()
    buffer = algorithm.process_buffer(batches.dataset(30))
    batch = buffer.rows(np.arange(12))
    for name in ("obs", "rew", "obs_next"):
        batch[name] = batch[name].double()
    terminated = buffer.column("terminated")[:12]
    batch.discount = GAMMA * (~terminated).double()
    with torch.no_grad():
        for parameter in algorithm.model_old.parameters():
            parameter.add_(0.1)
    algorithm._iter = 1  # the target network stays another one
    expected = reference_loss(algorithm, batch, terminated)
    slopes = torch.autograd.grad(expected, list(algorithm.policy.parameters()))
    taken = {}
    algorithm.optim.step = lambda loss: taken.update(
        loss=loss.item(), slopes=torch.autograd.grad(loss, list(algorithm.policy.parameters()))
    )
    algorithm._update_with_batch(batch)
    assert terminated.any() and taken["loss"] == pytest.approx(expected.item(), rel=1e-6)
    for made, slope in zip(taken["slopes"], slopes, strict=True):
        torch.testing.assert_close(made, slope, rtol=1e-5, atol=1e-8)


def test_epsilon_falls_evenly_and_the_rest_is_greedy():
    algorithm = make(eps_steps=2000)
    generator, obs = np.random.default_rng(0), torch.zeros(1000, batches.COLUMNS)
    best = int(algorithm.policy.model(obs[:1])[0].mean(2).argmax())
    shares = []
    for _ in range(4):
        actions = algorithm.explore(obs, generator)
        assert actions.dtype == np.int64 and set(actions.tolist()) == {0, 1, 2}
        shares.append((actions != best).mean() * ACTIONS / (ACTIONS - 1))
    np.testing.assert_allclose(shares, [1.0, 0.55, 0.1, 0.1], atol=0.05)
    assert algorithm.explored == 4000
    assert make(eps_steps=0).eps == 0.1


def test_equal_generators_explore_equally():
    obs = torch.randn(50, batches.COLUMNS)
    made = [make().explore(obs, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()
