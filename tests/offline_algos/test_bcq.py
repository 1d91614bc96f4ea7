"""BCQ beside Tianshou's and beside the paper's equations."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import tianshou.algorithm as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.imitation.bcq import BCQPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory, OptimizerFactory
from tianshou.data import Batch

from data_tools.buffers import TensorReplayBuffer
from offline_algos import d4rl_style_bcq
from offline_algos.bcq import BCQ, VAE, BatchConstrainedActor, Perturbation
from offline_algos.checkpoint import load_policy, save_policy
from offline_algos.networks import Critic, Inputs
from offline_algos.normalisation import Normaliser, Statistics
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

WIDTH, LATENT, SAMPLED = 2, 3, 5
INPUTS = Inputs([("state", 0, batches.COLUMNS, (batches.COLUMNS,))], hidden_sizes=(16, 8))
BOX = spaces.Box(-1.0, 1.0, (WIDTH,))


class Descent(OptimizerFactory):
    """Plain gradient descent, of which a step can be written down."""

    def _create_optimizer_for_params(self, params):
        return torch.optim.SGD(params, lr=0.1)


def make(kind=BCQ, optim=None, phi=0.05, critic2=True, **arguments):
    torch.manual_seed(0)
    vae, perturbation = VAE(INPUTS, WIDTH, LATENT), Perturbation(INPUTS, WIDTH, phi)
    critics = [Critic(INPUTS, WIDTH), Critic(INPUTS, WIDTH)]
    policy = BCQPolicy(
        actor_perturbation=perturbation, action_space=BOX, critic=critics[0], vae=vae,
        action_bound_method=None,
    )  # fmt: skip
    optim = optim or (FusedAdam if kind is BCQ else AdamOptimizerFactory)(lr=1e-3)
    given = {"gamma": 0.9, "tau": 0.1, "lmbda": 0.75, "num_sampled_action": SAMPLED} | arguments
    if critic2:
        given["critic2"] = critics[1]
    return kind(
        policy=policy, actor_perturbation_optim=optim, critic_optim=optim, vae_optim=optim, **given
    )


def parameters(*modules):
    return torch.cat([p.detach().ravel() for module in modules for p in module.parameters()])


def dataset(rows=200, **arguments):
    return batches.dataset(rows, action_width=WIDTH, **arguments)


def test_fifty_steps_are_tianshou_s_without_perturbation_and_without_truncation():
    ours, theirs = make(phi=0.0), make(stock.BCQ, phi=0.0)
    assert torch.equal(parameters(ours), parameters(theirs))
    buffer = batches.without_truncation(dataset())
    torch.manual_seed(1)
    mine = batches.run_ours(ours, buffer, 50)
    torch.manual_seed(1)
    others = batches.run_stock(theirs, buffer, 50)
    torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=0, atol=1e-6)
    for one, other in zip(mine, others, strict=True):
        for name in ("actor_loss", "critic1_loss", "critic2_loss", "vae_loss"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-4, abs=1e-5)


def forward(weights, *inputs):
    """A plain network: weight, bias, weight, bias ... with ReLU between."""
    value = torch.cat(inputs, dim=-1)
    for layer in range(0, len(weights), 2):
        value = value @ weights[layer].T + weights[layer + 1]
        if layer + 2 < len(weights):
            value = value.clamp(min=0)
    return value


def modules_of(algorithm):
    policy = algorithm.policy
    return {
        "encoder": policy.vae.encoder, "decoder": policy.vae.decoder,
        "perturbation": policy.actor_perturbation, "critic": policy.critic,
        "critic2": algorithm.critic2,
        "perturbation_old": algorithm.actor_perturbation_target.module,
        "critic_old": algorithm.critic_target.module,
        "critic2_old": algorithm.critic2_target.module,
    }  # fmt: skip


def copies(algorithm):
    return {
        name: [p.detach().clone().requires_grad_() for p in module.parameters()]
        for name, module in modules_of(algorithm).items()
    }


def perturbed(weights, obs, act, phi):
    return (act + phi * torch.tanh(forward(weights, obs, act))).clamp(-1, 1)


def reference_target(nets, batch, latents, phi, gamma, weight):
    """Equation 13, observation by observation and action by action."""
    targets = []
    for row in range(len(batch.rew)):
        best = -torch.inf
        for latent in latents[row]:
            obs = batch.obs_next[row : row + 1]
            act = torch.tanh(forward(nets["decoder"], obs, latent.clamp(-0.5, 0.5).unsqueeze(0)))
            act = perturbed(nets["perturbation_old"], obs, act, phi)
            pair = [forward(nets[name], obs, act).item() for name in ("critic_old", "critic2_old")]
            best = max(best, weight * min(pair) + (1 - weight) * max(pair))
        live = 0.0 if bool(batch.terminated[row]) else 1.0
        targets.append(batch.rew[row] + gamma * live * best)
    return torch.stack(targets).unsqueeze(1)


def reference(nets, batch, drawn, phi, step=0.1):
    """One update of Algorithm 1 by plain gradient descent; losses and slopes by name."""
    losses, slopes = {}, {}

    def descend(loss, *names):
        for name in names:
            slopes[name] = torch.autograd.grad(loss, nets[name], retain_graph=True)
        for name in names:
            moved = [w - step * s for w, s in zip(nets[name], slopes[name], strict=True)]
            nets[name] = [weight.detach().requires_grad_() for weight in moved]
        return loss.item()

    noise, latents, own_latents = drawn
    read = forward(nets["encoder"], batch.obs, batch.act)
    mean, std = read[:, :LATENT], read[:, LATENT:].clamp(-4, 15).exp()
    again = torch.tanh(forward(nets["decoder"], batch.obs, mean + std * noise))
    one, two = (torch.distributions.Normal(m, s) for m, s in ((mean, std), (0.0, 1.0)))
    divergence = torch.distributions.kl_divergence(one, two).sum(1).mean()
    loss = ((again - batch.act) ** 2).mean() + divergence / (2 * LATENT)
    losses["vae"] = descend(loss, "encoder", "decoder")

    target = reference_target(nets, batch, latents, phi, 0.9, 0.75)
    for name in ("critic", "critic2"):
        error = forward(nets[name], batch.obs, batch.act) - target
        losses[name] = descend((error**2).mean(), name)

    own = torch.tanh(forward(nets["decoder"], batch.obs, own_latents.clamp(-0.5, 0.5))).detach()
    act = perturbed(nets["perturbation"], batch.obs, own, phi)
    loss = -forward(nets["critic"], batch.obs, act).mean()
    losses["perturbation"] = descend(loss, "perturbation")
    for name in ("perturbation", "critic", "critic2"):
        pairs = zip(nets[name], nets[f"{name}_old"], strict=True)
        nets[f"{name}_old"] = [0.1 * new + 0.9 * old for new, old in pairs]
    return losses, slopes


def fixed_batch(rows=16):
    buffer = TensorReplayBuffer(dataset(rows * 2, ends=4))
    buffer.set_targets(0.9)
    buffer.keys = ("obs", "act", "rew", "discount", "obs_next", "terminated")
    batch = buffer.rows(np.arange(rows))
    for name in ("obs", "act", "obs_next", "rew"):
        batch[name] = batch[name].double()
    batch.discount = 0.9 * (~batch.terminated).double()
    return batch


def move_targets(algorithm):
    with torch.no_grad():
        for name, module in modules_of(algorithm).items():
            if name.endswith("_old"):
                for parameter in module.parameters():
                    parameter.add_(0.3 * torch.randn_like(parameter))


def test_losses_gradients_and_weights_are_the_paper_s():
    algorithm = make(optim=Descent(), phi=0.4).double()
    move_targets(algorithm)
    with torch.no_grad():  # some perturbed actions meet the bound
        algorithm.policy.vae.decoder.rest[-1].bias.fill_(1.0)
    nets, batch = copies(algorithm), fixed_batch()
    torch.manual_seed(5)
    shapes = ((16, LATENT), (16, SAMPLED, LATENT), (16, LATENT))
    drawn = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    losses, slopes = reference(nets, batch, drawn, 0.4)
    torch.manual_seed(5)
    stats = algorithm._update_with_batch(batch)
    assert stats.vae_loss == pytest.approx(losses["vae"], rel=1e-12)
    assert stats.critic1_loss == pytest.approx(losses["critic"], rel=1e-12)
    assert stats.critic2_loss == pytest.approx(losses["critic2"], rel=1e-12)
    assert stats.actor_loss == pytest.approx(losses["perturbation"], rel=1e-12)
    for name, module in modules_of(algorithm).items():
        for number, parameter in enumerate(module.parameters()):
            expected = nets[name][number].detach()
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-10, atol=1e-12)
            # the first critic's are those of the perturbation's step by now
            if name in slopes and name != "critic":
                slope = slopes[name][number]
                torch.testing.assert_close(parameter.grad, slope, rtol=1e-10, atol=1e-12)


def critic_losses(algorithm, batch, *, target):
    """What both critics' losses are with a target, before anything moves."""
    nets = copies(algorithm)
    found = [forward(nets[name], batch.obs, batch.act) - target for name in ("critic", "critic2")]
    return [(error**2).mean().item() for error in found]


@pytest.mark.parametrize("defect", ["done", "perturbation"])
def test_the_target_is_equation_13_where_tianshou_s_is_not(defect):
    """A batch of truncated ends alone, and one without ends: each shows one defect alone."""
    phi = 0.0 if defect == "done" else 0.4
    buffer = dataset(40, ends=1 if defect == "done" else 1000)
    buffer._meta.terminated[:] = False
    buffer._meta.truncated = buffer.done.copy()

    class Still(OptimizerFactory):
        def _create_optimizer_for_params(self, params):
            return torch.optim.SGD(params, lr=0.0)

    found, expected = [], []
    for kind in (BCQ, stock.BCQ):
        algorithm = make(kind, Still(), phi=phi)
        torch.manual_seed(2)
        move_targets(algorithm)
        run = batches.run_ours if kind is BCQ else batches.run_stock
        torch.manual_seed(5)
        (stats,) = run(algorithm, buffer, 1, batch_size=0)  # 0: all rows in order
        found.append([stats.critic1_loss, stats.critic2_loss])
        torch.manual_seed(5)
        shapes = ((40, LATENT), (40, SAMPLED, LATENT))
        _, latents = (torch.randn(shape) for shape in shapes)
        start = make(kind, Still(), phi=phi)
        torch.manual_seed(2)
        move_targets(start)
        batch = SimpleNamespace(
            **{k: torch.as_tensor(buffer._meta[k]) for k in ("obs", "act", "obs_next")},
            rew=torch.as_tensor(buffer.rew).float(), terminated=torch.zeros(40),
        )  # fmt: skip
        with torch.no_grad():
            target = reference_target(copies(start), batch, latents, phi, 0.9, 0.75)
        expected.append(critic_losses(start, batch, target=target))
    assert expected[0] == expected[1]
    assert found[0] == pytest.approx(expected[0], rel=1e-4)
    assert np.abs(np.subtract(found[1], expected[1])).min() > 1e-3


def test_a_second_critic_must_be_given_because_tianshou_s_copy_never_differs():
    theirs = make(stock.BCQ, critic2=False)
    batches.run_stock(theirs, dataset(), 20)
    assert torch.equal(parameters(theirs.policy.critic), parameters(theirs.critic2))
    with pytest.raises(TypeError, match="critic2"):
        make(critic2=False)


def test_truncation_bootstraps_and_termination_does_not():
    algorithm = make()
    batch = algorithm.process_buffer(dataset(20)).rows(np.arange(20))
    torch.manual_seed(5)
    target = algorithm._target(batch)[:, 0]
    torch.manual_seed(5)
    drawn = torch.randn(20, SAMPLED, LATENT)
    batch.terminated = torch.arange(20) == 9
    expected = reference_target(copies(algorithm), batch, drawn, 0.05, 0.9, 0.75)[:, 0].detach()
    assert target[9] == batch.rew[9]
    torch.testing.assert_close(target, expected)
    assert (target[19] - batch.rew[19]).abs() > 1e-3


def make_actor(algorithm, samples=100, low=(-1.0,) * WIDTH, high=(1.0,) * WIDTH):
    policy = algorithm.policy
    statistics = Statistics(np.full(batches.COLUMNS, 0.5), np.full(batches.COLUMNS, 2.0))
    return BatchConstrainedActor(
        Normaliser(statistics), policy.vae, policy.actor_perturbation, policy.critic,
        [*low], [*high], samples,
    )  # fmt: skip


def test_the_actor_takes_the_best_perturbed_sample_of_the_box():
    algorithm = make(phi=0.3)
    actor = make_actor(algorithm, samples=7, low=(0.0, -2.0), high=(1.0, 2.0))
    assert actor.latents.abs().max() == 0.5 and len(actor.latents.unique()) > 2
    observations = torch.randn(9, batches.COLUMNS)
    nets, made = copies(algorithm), []
    for row in (observations - 0.5) / 2.0:
        obs = row.repeat(7, 1)
        act = torch.tanh(forward(nets["decoder"], obs, actor.latents[0]))
        act = perturbed(nets["perturbation"], obs, act, 0.3)
        made.append(act[forward(nets["critic"], obs, act)[:, 0].argmax()])
    expected = torch.stack(made) * torch.tensor([0.5, 2.0]) + torch.tensor([0.5, 0.0])
    torch.testing.assert_close(actor(observations), expected)


def test_the_same_observation_gets_the_same_action_where_tianshou_s_changes(tmp_path):
    algorithm = make()
    actor = make_actor(algorithm)
    observations = torch.randn(50, batches.COLUMNS)
    with torch.no_grad():
        first, again = actor(observations), actor(observations)
    assert torch.equal(first, again)
    assert torch.equal(make_actor(algorithm).latents, actor.latents)
    batch = Batch(obs=observations.numpy(), info=Batch())
    assert not np.array_equal(algorithm.policy(batch).act, algorithm.policy(batch).act)

    save_policy(tmp_path / "policy.pth", actor, {})
    loaded = load_policy(tmp_path / "policy.pth")
    np.testing.assert_array_equal(loaded.act(observations.numpy()), first.numpy())
    one_by_one = [loaded.act(observations.numpy()[row : row + 1])[0] for row in range(50)]
    np.testing.assert_allclose(one_by_one, first.numpy(), atol=1e-6)
    with torch.no_grad():
        traced = torch.export.export(actor, (observations,)).module()
        torch.testing.assert_close(traced(observations), first)


def test_it_takes_the_better_of_the_data_s_actions_and_no_other():
    """The data holds actions near -0.5 and 0.5; the reward grows with the action up to 1."""
    rng = np.random.default_rng(0)
    buffer = dataset(500)
    act = rng.choice([-0.5, 0.5], (500, 1)) + rng.normal(0.0, 0.05, (500, WIDTH))
    buffer._meta.act = act.astype(np.float32)
    buffer._meta.rew = act.mean(1)
    buffer._meta.terminated = buffer._meta.done = np.ones(500, bool)
    algorithm = make(optim=FusedAdam(lr=3e-3))
    batches.run_ours(algorithm, buffer, 1000, 64)
    chosen = make_actor(algorithm)(torch.as_tensor(buffer.obs))
    assert 0.4 < chosen.mean().item() < 0.7
    assert (chosen.mean(1) > 0.2).float().mean() > 0.9


def test_equal_seeds_give_equal_weights_and_a_copy_of_its_state_goes_on_identically():
    def start():
        algorithm = make()
        buffer = algorithm.process_buffer(TensorReplayBuffer(dataset()))
        torch.manual_seed(2)
        for _ in range(10):
            algorithm.update(buffer, 32)
        return algorithm, buffer

    first, buffer = start()
    again, _ = start()
    assert torch.equal(parameters(first), parameters(again))
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


def test_the_flags_reach_the_algorithm_and_the_actor_shares_its_networks():
    flags = (
        "--gamma 0.7 --tau 0.2 --phi 0.1 --lmbda 0.6 --num-sampled-action 4 --latent-dim 5 "
        "--forward-sampled-times 30 --vae-hidden-sizes 12 --lr 0.01 --actor-lr 0.02 --vae-lr 0.03 "
        "--device cpu --load-buffer-name x"
    )
    task = SimpleNamespace(
        action_space=BOX, observation_space=None, bounds={"low": [0.0, -2.0], "high": [1.0, 2.0]}
    )
    normaliser = Normaliser.identity(batches.COLUMNS)
    setup = SimpleNamespace(task=task, inputs=INPUTS, normaliser=normaliser)
    parser = d4rl_style_bcq.make_parser()
    algorithm, actor = d4rl_style_bcq.build(parser.parse_args(flags.split()), setup)
    assert (algorithm.gamma, algorithm.tau, algorithm.lmbda) == (0.7, 0.2, 0.6)
    policy = algorithm.policy
    assert (algorithm.num_sampled_action, policy.actor_perturbation.phi) == (4, 0.1)
    assert policy.vae.latent_width == 5 and policy.vae.decoder.first.out_features == 12
    optims = (
        algorithm.actor_perturbation_optim, algorithm.critic_optim, algorithm.critic2_optim,
        algorithm.vae_optim,
    )  # fmt: skip
    rates = [optim._optim.param_groups[0]["lr"] for optim in optims]
    assert rates == [0.02, 0.01, 0.01, 0.03]
    shared = (actor.vae, actor.perturbation, actor.critic)
    assert shared == (policy.vae, policy.actor_perturbation, policy.critic)
    assert actor.latents.shape == (1, 30, 5)
    default, _ = d4rl_style_bcq.build(parser.parse_args(flags.split()[-4:]), setup)
    assert default.policy.vae.latent_width == 2 * WIDTH
    assert default.policy.vae.arguments["inputs"] == INPUTS.to_dict()
