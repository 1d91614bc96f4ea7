"""TD3+BC beside Tianshou's and beside the paper's equations."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import tianshou.algorithm as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory, OptimizerFactory
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorDeterministic, ContinuousCritic

from data_tools.buffers import TensorReplayBuffer
from offline_algos import d4rl_style_td3_bc
from offline_algos.networks import Critic, DeterministicNetwork, Inputs
from offline_algos.normalisation import Normaliser
from offline_algos.td3_bc import TD3BC
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

WIDTH, HIDDEN = 2, (16, 8)
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=HIDDEN)
BOX = spaces.Box(-1.0, 1.0, (WIDTH,))


class Descent(OptimizerFactory):
    """Plain gradient descent, of which a step can be written down."""

    def _create_optimizer_for_params(self, params):
        return torch.optim.SGD(params, lr=0.1)


def assemble(kind, optim, actor, critics, **arguments):
    policy = ContinuousDeterministicPolicy(
        actor=actor, action_space=BOX, action_scaling=False, action_bound_method=None
    )
    given = {"gamma": 0.9, "tau": 0.1} | arguments
    if len(critics) > 1:
        given["critic2"] = critics[1]
    return kind(policy=policy, policy_optim=optim, critic=critics[0], critic_optim=optim, **given)


def make(optim=None, **arguments):
    torch.manual_seed(0)
    critics = [Critic(INPUTS, WIDTH), Critic(INPUTS, WIDTH)]
    optim = optim or FusedAdam(lr=1e-3)
    return assemble(TD3BC, optim, DeterministicNetwork(INPUTS, WIDTH), critics, **arguments)


def make_stock(critics=2, **arguments):
    """Tianshou's algorithm and networks, with the weights that `make` draws."""
    state, shape = (batches.COLUMNS,), (WIDTH,)
    net = Net(state_shape=state, hidden_sizes=HIDDEN)
    actor = ContinuousActorDeterministic(preprocess_net=net, action_shape=shape, max_action=1.0)
    made = [
        ContinuousCritic(
            preprocess_net=Net(
                state_shape=state, action_shape=shape, hidden_sizes=HIDDEN, concat=True
            )
        )
        for _ in range(critics)
    ]
    ours = make()
    sources = (ours.policy.actor, ours.critic, ours.critic2)
    with torch.no_grad():
        for network, source in zip((actor, *made), sources, strict=False):
            for parameter, value in zip(network.parameters(), source.parameters(), strict=True):
                parameter.copy_(value)
    return assemble(stock.TD3BC, AdamOptimizerFactory(lr=1e-3), actor, made, **arguments)


def parameters(*modules):
    return torch.cat([p.detach().ravel() for module in modules for p in module.parameters()])


def dataset(rows=200, **arguments):
    return batches.dataset(rows, action_width=WIDTH, **arguments)


@pytest.mark.parametrize("n_step", [1, 3])
def test_fifty_steps_are_tianshou_s_where_no_smoothed_action_leaves_the_box(n_step):
    arguments = {"policy_noise": 0.1, "noise_clip": 0.2, "n_step_return_horizon": n_step}
    ours, theirs = make(**arguments), make_stock(**arguments)
    assert torch.equal(parameters(ours), parameters(theirs))
    torch.manual_seed(1)
    mine = batches.run_ours(ours, dataset(), 50)
    torch.manual_seed(1)
    others = batches.run_stock(theirs, dataset(), 50)
    torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=0, atol=1e-6)
    for one, other in zip(mine, others, strict=True):
        for name in ("actor_loss", "critic1_loss", "critic2_loss"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-4, abs=1e-5)


def forward(weights, *inputs):
    """A plain network: weight, bias, weight, bias ... with ReLU between."""
    value = torch.cat(inputs, dim=1)
    for layer in range(0, len(weights), 2):
        value = value @ weights[layer].T + weights[layer + 1]
        if layer + 2 < len(weights):
            value = value.clamp(min=0)
    return value


def copies(module, slope=True):
    return [p.detach().clone().requires_grad_(slope) for p in module.parameters()]


def reference(nets, batch, noise, settings):
    """One update as the papers have it; losses, slopes and new weights by name."""
    gamma, clip, alpha, step = settings
    act = torch.tanh(forward(nets["actor_old"], batch.obs_next))
    act = (act + noise.clamp(-clip, clip)).clamp(-1, 1)
    values = [forward(nets[name], batch.obs_next, act) for name in ("critic_old", "critic2_old")]
    live = 1.0 - batch.terminated.double().unsqueeze(1)
    target = (batch.rew.unsqueeze(1) + gamma * live * torch.min(*values)).detach()
    losses, slopes, after = {}, {}, {}
    for name in ("critic", "critic2"):
        error = forward(nets[name], batch.obs, batch.act) - target
        losses[name] = (error**2).sum() / len(error)
        slopes[name] = torch.autograd.grad(losses[name], nets[name])
        after[name] = [w - step * s for w, s in zip(nets[name], slopes[name], strict=True)]
    chosen = torch.tanh(forward(nets["actor"], batch.obs))
    value = forward([w.detach() for w in after["critic"]], batch.obs, chosen)
    assert value.min() < 0.0 < value.max()  # or the mean of |Q| is that of Q
    weight = alpha / value.detach().abs().mean()
    losses["actor"] = -weight * value.mean() + ((chosen - batch.act) ** 2).mean()
    slopes["actor"] = torch.autograd.grad(losses["actor"], nets["actor"])
    after["actor"] = [w - step * s for w, s in zip(nets["actor"], slopes["actor"], strict=True)]
    return losses, slopes, after


def fixed_batch(rows=16):
    buffer = TensorReplayBuffer(dataset(rows * 2, ends=4))
    buffer.set_targets(0.9)
    buffer.keys = ("obs", "act", "rew", "discount", "obs_next", "terminated")
    batch = buffer.rows(np.arange(rows))
    for name in ("obs", "act", "obs_next", "rew"):
        batch[name] = batch[name].double()
    batch.discount = 0.9 * (~batch.terminated).double()
    return batch


def test_losses_gradients_and_weights_are_the_papers():
    algorithm = make(Descent(), policy_noise=0.8, alpha=1.7).double()
    with torch.no_grad():  # targets that differ, and a target action near the bound
        for old in (algorithm.actor_old, algorithm.critic_old, algorithm.critic2_old):
            for parameter in old.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        algorithm.actor_old.module.head.bias.add_(1.0)
        algorithm.critic.rest[-1].weight.mul_(3.0)
        algorithm.critic.rest[-1].bias.add_(0.3)
    batch = fixed_batch()
    modules = {
        "actor": algorithm.policy.actor, "critic": algorithm.critic, "critic2": algorithm.critic2,
    }  # fmt: skip
    old_modules = {f"{name}_old": getattr(algorithm, f"{name}_old").module for name in modules}
    nets = {name: copies(module) for name, module in (modules | old_modules).items()}
    torch.manual_seed(5)
    noise = 0.8 * torch.randn(16, WIDTH, dtype=torch.float64)
    losses, slopes, after = reference(nets, batch, noise, (0.9, 0.5, 1.7, 0.1))
    torch.manual_seed(5)
    stats = algorithm._update_with_batch(batch)
    assert stats.critic1_loss == pytest.approx(losses["critic"].item(), rel=1e-12)
    assert stats.critic2_loss == pytest.approx(losses["critic2"].item(), rel=1e-12)
    assert stats.actor_loss == pytest.approx(losses["actor"].item(), rel=1e-12)
    close = {"rtol": 1e-10, "atol": 1e-12}
    for name, module in modules.items():
        found = zip(module.parameters(), slopes[name], after[name], strict=True)
        for parameter, slope, weight in found:
            torch.testing.assert_close(parameter.grad, slope, **close)
            torch.testing.assert_close(parameter.detach(), weight.detach(), **close)
        moved = zip(
            old_modules[f"{name}_old"].parameters(), nets[f"{name}_old"], after[name], strict=True
        )
        for parameter, before, weight in moved:
            expected = 0.1 * weight.detach() + 0.9 * before.detach()
            torch.testing.assert_close(parameter.detach(), expected, **close)


def test_actor_and_targets_wait_for_the_critics():
    algorithm = make(update_actor_freq=3)
    buffer = algorithm.process_buffer(TensorReplayBuffer(dataset()))
    lagged = (algorithm.actor_old, algorithm.critic_old, algorithm.critic2_old)
    moved = []
    for _ in range(7):
        before = parameters(algorithm.policy), parameters(*lagged), parameters(algorithm.critic)
        algorithm.update(buffer, 32)
        assert not torch.equal(parameters(algorithm.critic), before[2])
        moved.append(not torch.equal(parameters(algorithm.policy), before[0]))
        assert moved[-1] != torch.equal(parameters(*lagged), before[1])
    assert moved == [True, False, False, True, False, False, True]


def test_a_smoothed_action_stays_in_the_box_where_tianshou_s_leaves_it():
    arguments = {"policy_noise": 2.0, "noise_clip": 0.5}
    ours, theirs = make(**arguments), make_stock(**arguments)
    with torch.no_grad():
        ours.actor_old.module.head.bias.fill_(1.5)
        theirs.actor_old.module.last.model[-1].bias.fill_(1.5)
    buffer, rows = dataset(20), np.arange(8)  # none of these rows is the last of its episode
    batch = ours.process_buffer(copy.deepcopy(buffer)).rows(rows)
    torch.manual_seed(3)
    noise = (2.0 * torch.randn(8, WIDTH)).clamp(-0.5, 0.5)
    with torch.no_grad():
        act = ours.actor_old(batch.obs_next)[0] + noise
        assert (act > 1.0).any() and (act < 1.0).any()
        clipped, loose = (
            torch.min(ours.critic_old(batch.obs_next, a), ours.critic2_old(batch.obs_next, a))
            for a in (act.clamp(-1.0, 1.0), act)
        )
    torch.manual_seed(3)
    with torch.no_grad():
        tianshou_s = theirs._target_q(buffer, rows)
    torch.testing.assert_close(tianshou_s, loose)
    assert (tianshou_s - clipped).abs().max() > 1e-3
    torch.manual_seed(3)
    torch.testing.assert_close(ours._target(batch), batch.rew.unsqueeze(1) + 0.9 * clipped)


def test_a_second_critic_must_be_given_because_tianshou_s_copy_never_differs():
    theirs = make_stock(critics=1)
    batches.run_stock(theirs, dataset(), 20)
    assert torch.equal(parameters(theirs.critic), parameters(theirs.critic2))
    ours = make()
    batches.run_ours(ours, dataset(), 20)
    assert not torch.equal(parameters(ours.critic), parameters(ours.critic2))
    network = DeterministicNetwork(INPUTS, WIDTH)
    with pytest.raises(TypeError, match="critic2"):
        assemble(TD3BC, FusedAdam(), network, [Critic(INPUTS, WIDTH)])


def test_truncation_bootstraps_and_termination_does_not():
    algorithm = make(policy_noise=0.0)
    batch = algorithm.process_buffer(dataset(20)).rows(np.arange(20))
    target = algorithm._target(batch)[:, 0]
    with torch.no_grad():
        act, _ = algorithm.actor_old(batch.obs_next)
        values = [old(batch.obs_next, act) for old in (algorithm.critic_old, algorithm.critic2_old)]
        following = torch.min(*values)[:, 0]
    assert target[9] == batch.rew[9]  # terminated
    torch.testing.assert_close(target[19], batch.rew[19] + 0.9 * following[19])  # truncated
    torch.testing.assert_close(target[3], batch.rew[3] + 0.9 * following[3])


def test_alpha_weighs_the_better_action_against_the_data_s():
    """Reward 1 - mean (a - 0.6)^2: the optimum is 0.6, the mean of the data's actions 0."""
    buffer = dataset(500)
    buffer._meta.rew = 1.0 - ((buffer.act - 0.6) ** 2).mean(1)
    buffer._meta.terminated = buffer._meta.done = np.ones(500, bool)
    found = []
    for alpha in (0.0, 2.5):
        algorithm = make(FusedAdam(lr=3e-3), alpha=alpha)
        batches.run_ours(algorithm, buffer, 800, 64)
        act, _ = algorithm.policy.actor(torch.as_tensor(buffer.obs))
        found.append(act.mean().item())
    # with Q near 0.97 the slopes 2.5 (0.6 - a) / Q and a are equal at 0.43
    assert found == pytest.approx([0.0, 0.43], abs=0.08)


def test_equal_seeds_give_equal_weights_and_a_copy_of_its_state_goes_on_identically():
    def start():
        algorithm = make()
        buffer = algorithm.process_buffer(TensorReplayBuffer(dataset()))
        torch.manual_seed(2)
        for _ in range(11):  # odd: a counter that starts anew would move the actor
            algorithm.update(buffer, 32)
        return algorithm, buffer

    first, buffer = start()
    again, _ = start()
    assert torch.equal(parameters(first), parameters(again))
    second = make()
    second.load_state_dict(copy.deepcopy(dict(first.state_dict())))
    plain = {k: v for k, v in vars(first).items() if type(v) in (int, float, bool)}
    vars(second).update(plain)
    states = buffer._random_state.get_state(), torch.get_rng_state()
    mine = [first.update(buffer, 32) for _ in range(10)]
    buffer._random_state.set_state(states[0])
    torch.set_rng_state(states[1])
    others = [second.update(buffer, 32) for _ in range(10)]
    assert torch.equal(parameters(first), parameters(second))
    assert [s.actor_loss for s in mine] == [s.actor_loss for s in others]


def test_the_flags_reach_the_algorithm_and_the_actor_shares_its_network():
    flags = (
        "--gamma 0.7 --n-step 2 --alpha 3 --tau 0.2 --policy-noise 0.4 --noise-clip 0.6 "
        "--update-actor-freq 4 --lr 0.01 --critic-lr 0.02 --device cpu --load-buffer-name x"
    )
    args = d4rl_style_td3_bc.make_parser().parse_args(flags.split())
    task = SimpleNamespace(
        action_space=BOX, observation_space=None, bounds={"low": [0.0, -2.0], "high": [1.0, 2.0]}
    )
    normaliser = Normaliser.identity(batches.COLUMNS)
    setup = SimpleNamespace(task=task, inputs=INPUTS, normaliser=normaliser)
    algorithm, actor = d4rl_style_td3_bc.build(args, setup)
    assert (algorithm.gamma, algorithm.n_step, algorithm.alpha, algorithm.tau) == (0.7, 2, 3, 0.2)
    assert (algorithm.policy_noise, algorithm.noise_clip) == (0.4, 0.6)
    assert algorithm.update_actor_freq == 4
    rates = [optim._optim.param_groups[0]["lr"] for optim in algorithm._optimizers]
    assert sorted(rates) == [0.01, 0.02, 0.02]
    assert algorithm.policy_optim._optim.param_groups[0]["lr"] == 0.01
    assert actor.network is algorithm.policy.actor
    obs = torch.randn(5, batches.COLUMNS)
    inside, _ = algorithm.policy.actor(obs)
    torch.testing.assert_close(
        actor(obs), inside * torch.tensor([0.5, 2.0]) + torch.tensor([0.5, 0])
    )
