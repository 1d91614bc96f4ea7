"""Continuous CQL beside the paper's equations, and beside Tianshou where that is wrong."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import tianshou.algorithm.imitation.cql as stock
import torch
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.utils.torch_utils import policy_within_training_step

from data_tools.buffers import TensorReplayBuffer
from offline_algos import squashed_gaussian
from offline_algos.cql import CQL
from offline_algos.resume import _counters
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches, scripts
from tests.offline_algos.cql_setups import (
    ALPHA,
    GAMMA,
    WIDTH,
    bandit,
    distribution,
    doubled,
    make,
    make_stock,
    parameters,
    record_draws,
    reference_actor_loss,
    reference_critic_loss,
    set_linear,
    with_auto_alpha,
)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"soft_backup": True},
        {"cql_weight": 3.0, "temperature": 0.7, "num_repeat_actions": 4},
        {"calibrated": True},
        {"with_lagrange": True, "lagrange_threshold": 1.5, "calibrated": True},
    ],
)
def test_losses_and_gradients_are_the_paper_s(monkeypatch, arguments):
    algorithm, batch, terminated = doubled(make(**arguments), 12)
    with torch.no_grad():  # target networks that differ, and a multiplier that is not 1
        for parameter in algorithm.critic_old.parameters():
            parameter.add_(0.1)
        algorithm.cql_log_alpha.fill_(0.3)
    drawn, taken = record_draws(monkeypatch), {}
    uniform = []
    plain = algorithm._target_and_actions

    def keep_uniform(given):
        target, actions, densities = plain(given)
        uniform.append(actions[1 : 1 + algorithm.num_repeat_actions])
        return target, actions, densities

    algorithm._target_and_actions = keep_uniform

    def keeper(name, module):
        def step(loss):
            over = list(module.parameters())
            taken[name] = loss.item(), torch.autograd.grad(loss, over, retain_graph=True)

        return step

    algorithm.policy_optim.step = keeper("actor", algorithm.policy)
    algorithm.critic_optim.step = keeper("critic", algorithm.critic)
    algorithm.critic2_optim.step = keeper("critic2", algorithm.critic2)
    scalar = torch.nn.ParameterList([algorithm.cql_log_alpha])
    algorithm.cql_alpha_optim.step = keeper("multiplier", scalar)
    algorithm._update_lagged_network_weights = lambda: None
    stats = algorithm._update_with_batch(batch)

    def check(name, expected, module):
        loss, slopes = taken[name]
        assert loss == pytest.approx(expected.item(), rel=1e-10)
        wanted = torch.autograd.grad(expected, list(module.parameters()))
        for made, slope in zip(slopes, wanted, strict=True):
            torch.testing.assert_close(made, slope, rtol=1e-7, atol=1e-10)

    gaps = []
    for which, name in enumerate(("critic", "critic2")):
        error, gap = reference_critic_loss(algorithm, batch, drawn, uniform[0], terminated, which)
        if algorithm.with_lagrange:
            gap = gap - algorithm.lagrange_threshold
            gaps.append(gap.detach())
            gap = math.exp(0.3) * gap
        check(name, error + gap, (algorithm.critic, algorithm.critic2)[which])
    if algorithm.with_lagrange:
        expected = -algorithm.cql_log_alpha.exp() * sum(gaps) / 2
        check("multiplier", expected, scalar)
        assert stats.cql_alpha == pytest.approx(math.exp(0.3))
    else:
        assert "multiplier" not in taken and stats.cql_alpha is None
    check("actor", reference_actor_loss(algorithm, batch, drawn[0]), algorithm.policy)


def test_the_conservative_term_is_the_integral_over_all_actions():
    """With Q = 2 a the integral of exp Q over [-1, 1] is sinh 2, and Tianshou's is far from it."""
    expected = math.log(3 * 2000) + math.log(math.sinh(2.0))
    made = {}
    for kind in (CQL, stock.CQL):
        optim = FusedAdam if kind is CQL else AdamOptimizerFactory
        arguments = {"cql_weight": 1.0, "num_repeat_actions": 2000, "gamma": 0.0}
        algorithm = make(kind, optim, width=1, alpha=1e-9, **arguments)
        for critic in (algorithm.critic, algorithm.critic2):
            set_linear(getattr(critic, "network", critic), 2.0)
        buffer = batches.dataset(8, action_width=1)
        buffer._meta.act[:] = 0.0
        buffer._meta.rew[:] = 0.0
        run = batches.run_ours if kind is CQL else batches.run_stock
        made[kind] = run(algorithm, buffer, 1, 4)[0].critic1_loss
    assert made[CQL] == pytest.approx(expected, abs=0.05)
    assert abs(made[stock.CQL] - expected) > 3.0


def test_truncation_bootstraps_and_termination_does_not():
    algorithm = make(alpha=1e-9)
    prepared = algorithm.process_buffer(batches.dataset(20, action_width=WIDTH))
    batch = prepared.rows(np.arange(20))
    torch.manual_seed(3)
    target, _, _ = algorithm._target_and_actions(batch)
    torch.manual_seed(3)
    (mean, std), _ = algorithm.policy.actor(batch.obs_next)
    act, _ = squashed_gaussian.sample(mean, std)
    value = torch.minimum(
        algorithm.critic(batch.obs_next, act), algorithm.critic2(batch.obs_next, act)
    )[:, 0].detach()
    assert target[9] == batch.rew[9]  # terminated
    torch.testing.assert_close(target[19], batch.rew[19] + GAMMA * value[19])  # truncated
    assert abs(value[19]) > 1e-3


# --- what is not changed, and what is learnt ---------------------------------------------------


def test_without_the_conservative_term_fifty_steps_are_tianshou_s():
    buffer = batches.without_truncation(batches.dataset(action_width=WIDTH))
    ours, theirs = make(cql_weight=0.0, soft_backup=True), make_stock(cql_weight=0.0)
    prepared = ours.process_buffer(TensorReplayBuffer(copy.deepcopy(buffer)))
    others = theirs.process_buffer(copy.deepcopy(buffer))
    start = parameters(ours)
    for step in range(50):
        for algorithm, source in ((ours, prepared), (theirs, others)):
            torch.manual_seed(step)  # what is drawn for the conservative term differs
            with policy_within_training_step(algorithm.policy):
                algorithm.update(source, 32)
    mine = [p for n, p in ours.named_parameters() if n != "cql_log_alpha"]
    pairs = zip(mine, theirs.parameters(), strict=True)
    assert max((one - other).abs().max().item() for one, other in pairs) < 2e-6
    assert (parameters(ours) - start).abs().max() > 0.01


def test_it_finds_the_best_action_and_distrusts_those_that_the_data_does_not_show():
    buffer, unseen = bandit(), {}
    acts = torch.linspace(-1.0, 1.0, 41).unsqueeze(1)
    for weight in (0.0, 2.0):
        algorithm = make(width=1, lr=1e-2, cql_weight=weight, alpha=0.02)
        batches.run_ours(algorithm, buffer, 400, 64)
        values = algorithm.critic(torch.zeros(41, batches.COLUMNS), acts)[:, 0]
        unseen[weight] = (values[-4:].mean() - values[:33].max()).item()
        if weight:
            (mean, _), _ = algorithm.policy.actor(torch.zeros(1, batches.COLUMNS))
            assert torch.tanh(mean).item() == pytest.approx(0.4, abs=0.2)
    assert unseen[2.0] < unseen[0.0] - 0.5


def test_the_temperature_of_the_entropy_is_learnt(monkeypatch):
    """The policy begins with more entropy than minus its numbers: alpha must fall."""
    densities, plain = [], squashed_gaussian.sample

    def sample(*arguments):
        act, log_prob = plain(*arguments)
        densities.append(log_prob.mean().item())
        return act, log_prob

    monkeypatch.setattr(squashed_gaussian, "sample", sample)
    algorithm = make(alpha=with_auto_alpha())
    stats = batches.run_ours(algorithm, batches.dataset(action_width=WIDTH), 20)
    assert stats[-1].alpha < stats[0].alpha < ALPHA
    # equation 18 of arXiv:1812.05905, of the logarithm as in its code
    expected = -math.log(ALPHA) * (densities[0] - WIDTH)
    assert stats[0].alpha_loss == pytest.approx(expected, rel=1e-5)


def test_the_actor_s_loss_takes_no_gradient_of_the_critics():
    algorithm = make()
    batch = algorithm.process_buffer(batches.dataset(action_width=WIDTH)).rows(np.arange(50))
    critics = algorithm.critic, algorithm.critic2
    loss, _ = algorithm._actor_loss(batch, [critic.read(batch.obs) for critic in critics])
    loss.backward()
    of_critics = [p for critic in critics for p in critic.parameters()]
    assert all(p.grad is None and p.requires_grad for p in of_critics)
    assert all(p.grad is not None for p in algorithm.policy.parameters())


def test_values_are_those_of_rewards_and_not_of_entropies():
    """Without a reward nothing is worth anything, however random the policy is to be.

    Tianshou's targets contain the entropy, which equation 3 of the paper does not.
    """
    buffer = batches.without_truncation(batches.dataset(action_width=WIDTH))
    buffer._meta.rew[:] = 0.0
    made = {}
    for name, build, run, arguments in (
        ("ours", make, batches.run_ours, {}),
        ("soft", make, batches.run_ours, {"soft_backup": True}),
        ("theirs", make_stock, batches.run_stock, {}),
    ):
        algorithm = build(cql_weight=0.0, alpha=2.0, tau=0.05, lr=1e-2, **arguments)
        run(algorithm, buffer, 200)
        obs, act = (torch.as_tensor(part[:50]) for part in (buffer.obs, buffer.act))
        critic = algorithm.critic if build is make else algorithm.critic.network
        made[name] = critic(obs, act).mean().item()
    assert abs(made["ours"]) < 0.1 < 1.0 < min(made["soft"], made["theirs"])


def test_the_policy_clones_first():
    """With that loss, for as many steps, and in a run that goes on as well."""
    algorithm, batch, _ = doubled(make(cloning_steps=3), 12)
    taken = []
    algorithm.policy_optim.step = lambda loss: taken.append(loss.item())
    torch.manual_seed(5)
    noise = torch.randn(12, WIDTH, dtype=torch.float64)
    (mean, std), _ = algorithm.policy.actor(batch.obs)
    laws = [distribution(algorithm, obs) for obs in batch.obs]
    drawn = torch.tanh(mean + std * noise)
    entropy = [ALPHA * law.log_prob(act) for law, act in zip(laws, drawn, strict=True)]
    cloned = [law.log_prob(act) for law, act in zip(laws, batch.act, strict=True)]
    torch.manual_seed(5)
    algorithm._update_with_batch(batch)
    expected = (sum(entropy) - sum(cloned)).item() / 12
    assert taken[0] == pytest.approx(expected, rel=1e-6)
    for _ in range(3):
        torch.manual_seed(5)
        algorithm._update_with_batch(batch)
    assert taken[0] == taken[1] == taken[2] != taken[3]
    assert _counters(algorithm)["steps"] == 4


def test_the_flags_reach_the_algorithm():
    name = "d4rl_style_cql"
    made, _ = scripts.make_algorithm(name)
    assert (made.soft_backup, made.cloning_steps) == (False, 0)
    assert made.critic_optim._max_grad_norm == made.critic2_optim._max_grad_norm == 1.0
    flags = ("--soft-backup", "1", "--cloning-steps", "7", "--max-grad-norm", "0")
    made, _ = scripts.make_algorithm(name, *flags)
    assert (made.soft_backup, made.cloning_steps) == (True, 7)
    assert made.critic_optim._max_grad_norm is made.critic2_optim._max_grad_norm is None


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_copy_of_its_state_goes_on_identically(calibrated):
    arguments = {"with_lagrange": True, "calibrated": calibrated}
    first = make(alpha=with_auto_alpha(), **arguments)
    buffer = first.process_buffer(batches.dataset(action_width=WIDTH))
    for _ in range(10):
        first.update(buffer, 32)
    second = make(alpha=with_auto_alpha(), **arguments)
    second.load_state_dict(copy.deepcopy(dict(first.state_dict())))
    states = buffer._random_state.get_state(), torch.get_rng_state()
    for _ in range(10):
        first.update(buffer, 32)
    buffer._random_state.set_state(states[0])
    torch.set_rng_state(states[1])
    for _ in range(10):
        second.update(buffer, 32)
    assert torch.equal(parameters(first), parameters(second))
    fresh = make(alpha=with_auto_alpha(), **arguments)
    assert not torch.equal(parameters(first), parameters(fresh))
