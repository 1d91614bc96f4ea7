"""BCQ beside Tianshou's and beside the paper's equations."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import tianshou.algorithm as stock
import torch
from tianshou.algorithm.optim import OptimizerFactory

from data_tools.buffers import TensorReplayBuffer
from offline_algos.bcq import BCQ
from tests.offline_algos import batches
from tests.offline_algos.bcq_setups import (
    LATENT,
    SAMPLED,
    Descent,
    copies,
    critic_losses,
    dataset,
    fixed_batch,
    make,
    modules_of,
    move_targets,
    parameters,
    reference,
    reference_target,
)


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
