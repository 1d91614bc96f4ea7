"""Behaviour cloning of both kinds of actions beside Tianshou's."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tianshou.algorithm.imitation.imitation_base import ImitationPolicy, OfflineImitationLearning
from tianshou.algorithm.optim import AdamOptimizerFactory

from data_tools.buffers import TensorReplayBuffer
from offline_algos import d4rl_style_il
from offline_algos.actors import DeterministicActor
from offline_algos.imitation import ContinuousImitation, DiscreteImitation
from offline_algos.networks import DeterministicNetwork, Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

ACTIONS, WIDTH = 3, 2
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=(16,))
KINDS = pytest.mark.parametrize("kind", [DiscreteImitation, ContinuousImitation])


def make(kind, *, tianshou_s=False, lr=1e-2):
    torch.manual_seed(0)
    discrete = kind is DiscreteImitation
    space = spaces.Discrete(ACTIONS) if discrete else spaces.Box(-1.0, 1.0, (WIDTH,))
    network = ValueNetwork(INPUTS, ACTIONS) if discrete else DeterministicNetwork(INPUTS, WIDTH)
    if tianshou_s:
        policy = ImitationPolicy(
            actor=batches.FromNumpy(network), action_space=space, action_bound_method=None
        )
        return OfflineImitationLearning(policy=policy, optim=AdamOptimizerFactory(lr=lr))
    policy = ImitationPolicy(actor=network, action_space=space, action_bound_method=None)
    return kind(policy=policy, optim=FusedAdam(lr=lr))


def dataset(kind, rows=200):
    return batches.dataset(rows, action_width=WIDTH if kind is ContinuousImitation else 0)


def parameters(algorithm):
    return torch.cat([p.detach().ravel() for p in algorithm.parameters()])


@KINDS
def test_fifty_steps_are_tianshou_s(kind):
    ours, theirs = make(kind), make(kind, tianshou_s=True)
    assert torch.equal(parameters(ours), parameters(theirs))
    mine = batches.run_ours(ours, dataset(kind), 50)
    others = batches.run_stock(theirs, dataset(kind), 50)
    torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=0, atol=1e-6)
    losses = [stats.loss for stats in mine]
    assert losses == pytest.approx([stats.loss for stats in others], rel=1e-5)


@KINDS
def test_loss_and_gradient_are_the_definition_s(kind):
    algorithm = make(kind).double()
    batch, _ = algorithm.process_buffer(TensorReplayBuffer(dataset(kind))).sample(16)
    batch.obs = batch.obs.double()
    network = algorithm.policy.actor
    weights = [p.detach().clone().requires_grad_() for p in network.parameters()]
    hidden = (batch.obs @ weights[0].T + weights[1]).clamp(min=0)
    output = hidden @ weights[2].T + weights[3]
    if kind is DiscreteImitation:
        likelihood = output.exp() / output.exp().sum(1, keepdim=True)
        expected = -sum(likelihood[row, int(batch.act[row])].log() for row in range(16)) / 16
    else:
        batch.act = batch.act.double()
        squashed = (output.exp() - (-output).exp()) / (output.exp() + (-output).exp())
        expected = ((squashed - batch.act) ** 2).sum() / (16 * WIDTH)
    slopes = torch.autograd.grad(expected, weights)
    assert algorithm._update_with_batch(batch).loss == pytest.approx(expected.item(), rel=1e-12)
    for parameter, slope in zip(network.parameters(), slopes, strict=True):
        torch.testing.assert_close(parameter.grad, slope, rtol=1e-10, atol=1e-12)


@KINDS
def test_only_what_is_cloned_is_gathered(kind):
    """And so an episode's end, however it came, changes nothing."""
    prepared = make(kind).process_buffer(dataset(kind))
    batch, _ = prepared.sample(4)
    assert set(batch.get_keys()) == {"obs", "act", "info"}


def test_it_finds_the_rule_behind_continuous_actions():
    buffer = dataset(ContinuousImitation, 500)
    rule = np.stack([np.tanh(buffer.obs[:, 0]), -0.5 * np.tanh(buffer.obs[:, 1])], 1)
    noise = np.random.default_rng(0).normal(0.0, 0.1, rule.shape)
    buffer._meta.act = np.clip(rule + noise, -1.0, 1.0).astype(np.float32)
    algorithm = make(ContinuousImitation)
    batches.run_ours(algorithm, buffer, 500, 64)
    with torch.no_grad():
        act, _ = algorithm.policy.actor(torch.as_tensor(buffer.obs))
    # the mean action alone would be off by 0.5
    assert np.abs(act.numpy() - rule).mean() < 0.06


def test_it_finds_the_rule_behind_discrete_actions():
    buffer = dataset(DiscreteImitation, 500)
    buffer._meta.act = buffer.obs[:, :ACTIONS].argmax(1)
    algorithm = make(DiscreteImitation)
    batches.run_ours(algorithm, buffer, 500, 64)
    logits, _ = algorithm.policy.actor(torch.as_tensor(buffer.obs))
    assert (logits.argmax(1).numpy() == buffer.act).mean() > 0.95


@KINDS
def test_equal_seeds_give_equal_weights_and_a_copy_of_its_state_goes_on_identically(kind):
    def start():
        algorithm = make(kind)
        buffer = algorithm.process_buffer(TensorReplayBuffer(dataset(kind)))
        for _ in range(10):
            algorithm.update(buffer, 32)
        return algorithm, buffer

    first, buffer = start()
    again, _ = start()
    assert torch.equal(parameters(first), parameters(again))
    second = make(kind)
    second.load_state_dict(copy.deepcopy(dict(first.state_dict())))
    state = buffer._random_state.get_state()
    for _ in range(10):
        first.update(buffer, 32)
    buffer._random_state.set_state(state)
    for _ in range(10):
        second.update(buffer, 32)
    assert torch.equal(parameters(first), parameters(second))


def test_the_continuous_script_trains_the_network_of_its_actor():
    flags = "--lr 0.02 --device cpu --load-buffer-name x".split()
    task = SimpleNamespace(
        action_space=spaces.Box(0.0, 1.0, (1,)), observation_space=None,
        bounds={"low": [0.0], "high": [1.0]},
    )  # fmt: skip
    normaliser = Normaliser.identity(batches.COLUMNS)
    setup = SimpleNamespace(task=task, inputs=INPUTS, normaliser=normaliser)
    algorithm, actor = d4rl_style_il.build(d4rl_style_il.make_parser().parse_args(flags), setup)
    assert isinstance(algorithm, ContinuousImitation) and isinstance(actor, DeterministicActor)
    assert actor.network is algorithm.policy.actor
    assert algorithm.optim._optim.param_groups[0]["lr"] == 0.02
