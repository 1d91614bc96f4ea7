"""What continuous BCQ does when it acts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from tianshou.data import Batch

from offline_algos import d4rl_style_bcq
from offline_algos.checkpoint import load_policy, save_policy
from offline_algos.normalisation import Normaliser
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches
from tests.offline_algos.bcq_setups import (
    BOX,
    INPUTS,
    WIDTH,
    copies,
    dataset,
    forward,
    make,
    make_actor,
    perturbed,
)


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
