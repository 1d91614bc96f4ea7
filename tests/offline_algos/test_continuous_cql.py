"""Continuous CQL beside the paper's equations, and beside Tianshou where that is wrong."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import tianshou.algorithm.imitation.cql as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from data_tools.buffers import TensorReplayBuffer
from offline_algos import squashed_gaussian
from offline_algos.cql import CQL
from offline_algos.networks import Critic, GaussianNetwork, Inputs
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

torch.set_num_threads(1)  # on a busy machine two take ten times as long
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


@pytest.mark.parametrize(
    "arguments",
    [
        {},
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


def reference_actor_loss(algorithm, batch, act):
    """Equation 7 of arXiv:1812.05905, with the noise that gave these actions."""
    (mean, std), _ = algorithm.policy.actor(batch.obs)
    noise = ((act.atanh() - mean) / std).detach()
    act = torch.tanh(mean + std * noise)
    density = Normal(mean, std).log_prob(mean + std * noise) - torch.log1p(-act.square())
    values = algorithm.critic(batch.obs, act), algorithm.critic2(batch.obs, act)
    return (ALPHA * density.sum(1) - torch.minimum(*values)[:, 0]).mean()


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


@torch.no_grad()
def set_linear(critic, slope):
    """Q(s, a) = slope a, through two of the hidden units."""
    for parameter in critic.parameters():
        parameter.zero_()
    critic.first.weight[0, -1], critic.first.weight[1, -1] = 1.0, -1.0
    critic.rest[-1].weight[0, 0], critic.rest[-1].weight[0, 1] = slope, -slope


# --- where Tianshou is wrong -------------------------------------------------------------------


def test_uniform_actions_fill_the_box_where_tianshou_s_are_all_one():
    algorithm = make(num_repeat_actions=200)
    batch = algorithm.process_buffer(batches.dataset(action_width=WIDTH)).rows(np.arange(50))
    _, actions, densities = algorithm._target_and_actions(batch)
    uniform = actions[1:201]
    assert uniform.min() < -0.99 and 0.99 < uniform.max() <= 1.0
    assert uniform.mean().item() == pytest.approx(0.0, abs=0.02)
    assert uniform.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.02)
    torch.testing.assert_close(densities[:200], torch.full((200, 50), -WIDTH * math.log(2.0)))

    theirs, seen = make_stock(), []
    plain = theirs._calc_random_values
    theirs._calc_random_values = lambda obs, act: (seen.append(act), plain(obs, act))[1]
    batches.run_stock(theirs, batches.dataset(action_width=WIDTH), 1)
    assert (seen[0] == 1.0).all()


def test_uniform_actions_keep_to_given_bounds():
    algorithm = make(num_repeat_actions=200, min_action=-0.5, max_action=0.0)
    batch = algorithm.process_buffer(batches.dataset(action_width=WIDTH)).rows(np.arange(50))
    _, actions, densities = algorithm._target_and_actions(batch)
    assert actions[1:201].min() >= -0.5 and actions[1:201].max() <= 0.0
    torch.testing.assert_close(densities[:200], torch.full((200, 50), -WIDTH * math.log(0.5)))


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


def test_calibration_returns_stand_beside_their_rows_also_where_the_buffer_has_wrapped():
    buffer = wrapped_buffer()
    prepared = make(calibrated=True).process_buffer(TensorReplayBuffer(copy.deepcopy(buffer)))
    batch = prepared.rows(np.arange(10))
    expected = reference_returns(batch.obs[:, 0].int().tolist())
    np.testing.assert_allclose(batch.calibration_returns.numpy(), expected, rtol=1e-6)

    theirs = make_stock(calibrated=True).process_buffer(buffer)
    assert not np.allclose(theirs._meta.calibration_returns, expected)


def test_calibration_bounds_the_policy_s_values_and_no_uniform_action_s():
    """With Q = 0 and a return of 1: log of (1 + 2 e) n times the volume, 2."""
    algorithm = make(width=1, calibrated=True, num_repeat_actions=2000, alpha=1e-9, cql_weight=1.0)
    for critic in (algorithm.critic, algorithm.critic2):
        set_linear(critic, 0.0)
    buffer = batches.dataset(8, action_width=1)
    buffer._meta.rew[:], buffer._meta.terminated[:], buffer._meta.done[:] = 1.0, True, True
    stats = batches.run_ours(algorithm, buffer, 1, 4)[0]
    expected = math.log((1 + 2 * math.e) * 2000 * 2)
    assert stats.critic1_loss - 1.0 == pytest.approx(expected, abs=0.05)


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


def test_tianshou_takes_a_time_limit_for_a_death():
    buffer = batches.dataset(20, action_width=WIDTH, ends=1)
    buffer._meta.terminated[:], buffer._meta.truncated[:] = False, True

    def losses(maker, run):
        made = []
        for gamma in (0.0, 0.9):
            algorithm = maker(gamma=gamma)
            torch.manual_seed(0)
            made.append(run(algorithm, buffer, 1, 20)[0].critic1_loss)
        return made

    without, with_future = losses(make_stock, batches.run_stock)
    assert without == with_future
    without, with_future = losses(make, batches.run_ours)
    assert abs(without - with_future) > 1e-3


def test_the_multiplier_is_saved_and_moves_with_the_networks():
    algorithm = make(with_lagrange=True)
    algorithm.double()
    assert algorithm.cql_log_alpha.dtype == torch.float64
    (held,) = algorithm.cql_alpha_optim._optim.param_groups[0]["params"]
    assert held is algorithm.cql_log_alpha
    assert "cql_log_alpha" in algorithm.state_dict()
    assert len(algorithm.state_dict()["_optimizers"]) == 4

    theirs = make_stock(with_lagrange=True)
    assert "cql_log_alpha" not in theirs.state_dict()
    assert len(theirs.state_dict()["_optimizers"]) == 3
    theirs = make_stock(with_lagrange=True, device="meta")  # any device but the CPU
    (held,) = theirs.cql_alpha_optim.param_groups[0]["params"]
    assert held is not theirs.cql_log_alpha


def test_the_multiplier_follows_the_gap_and_leaves_its_limits():
    buffer = batches.dataset(action_width=WIDTH)

    def multiplier(maker, run, threshold, **arguments):
        algorithm = maker(
            with_lagrange=True, lagrange_threshold=threshold, cql_alpha_lr=0.1, **arguments
        )
        run(algorithm, buffer, 20)
        return algorithm.cql_log_alpha.exp().item()

    assert multiplier(make, batches.run_ours, 0.0) > 2.0
    assert multiplier(make, batches.run_ours, 50.0) < 0.5
    assert multiplier(make, batches.run_ours, 0.0, alpha_max=1.2) == pytest.approx(1.2)
    assert multiplier(make, batches.run_ours, 0.0, alpha_min=1.5) > 3.0
    assert multiplier(make_stock, batches.run_stock, 0.0, alpha_min=1.5) == 1.0


def test_the_second_critic_has_weights_of_its_own():
    def distance(algorithm):
        pairs = zip(algorithm.critic.parameters(), algorithm.critic2.parameters(), strict=True)
        return max((one - other).abs().max().item() for one, other in pairs)

    buffer = batches.dataset(action_width=WIDTH)
    ours, theirs = make(second=False), make_stock(second=False)
    batches.run_ours(ours, buffer, 10)
    batches.run_stock(theirs, buffer, 10)
    assert distance(theirs) == 0.0
    assert distance(ours) > 0.01


# --- what is not changed, and what is learnt ---------------------------------------------------


def test_without_the_conservative_term_fifty_steps_are_tianshou_s():
    buffer = batches.without_truncation(batches.dataset(action_width=WIDTH))
    ours, theirs = make(cql_weight=0.0), make_stock(cql_weight=0.0)
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


def bandit(rows=1000):
    """The best action is 0.4; actions above 0.6 are never taken."""
    buffer = batches.dataset(rows, action_width=1)
    buffer._meta.act = np.random.default_rng(0).uniform(-1, 0.6, (rows, 1)).astype(np.float32)
    buffer._meta.rew = -4.0 * (buffer.act[:, 0].astype(float) - 0.4) ** 2
    buffer._meta.terminated[:], buffer._meta.done[:] = True, True
    buffer._meta.obs[:] = 0.0
    return buffer


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
    loss, _ = algorithm._actor_loss(batch.obs, [critic.read(batch.obs) for critic in critics])
    loss.backward()
    of_critics = [p for critic in critics for p in critic.parameters()]
    assert all(p.grad is None and p.requires_grad for p in of_critics)
    assert all(p.grad is not None for p in algorithm.policy.parameters())


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
