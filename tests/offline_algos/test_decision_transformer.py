"""The Decision Transformer beside the paper's equations, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.offline_algos import batches
from tests.offline_algos.decision_transformer_setups import (
    ACTIONS,
    LENGTH,
    SIZE,
    WIDTH,
    data,
    gradient_descent,
    make,
    parameters,
    reference_loss,
)


@pytest.mark.parametrize("continuous", [False, True])
def test_loss_and_gradient_are_the_paper_s(continuous):
    algorithm = make(continuous, optim=gradient_descent(), clip=None).double()
    model = algorithm.policy.model
    exponents = torch.arange(0, SIZE, 2, dtype=torch.float64) / SIZE
    model.frequencies.copy_(10_000.0**-exponents)
    with torch.no_grad():  # away from the small weights that it begins with
        for parameter in model.blocks.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, dtype=torch.float64)
    batch = algorithm.process_buffer(data(continuous)).windows(np.array([0, 2, 3, 5, 29, 59]))
    assert 0.5 < batch.mask.double().mean() < 1.0
    for name in ("obs", "returns") + ("act",) * continuous:
        batch[name] = batch[name].double()
    before = {k: v.detach().clone().requires_grad_() for k, v in model.named_parameters()}
    loss = reference_loss(before, batch, continuous)
    gradient = torch.autograd.grad(loss, list(before.values()))
    stats = algorithm._update_with_batch(batch)
    assert stats.loss == pytest.approx(loss.item(), rel=1e-9)
    for (name, old), slope in zip(before.items(), gradient, strict=True):
        moved = old - dict(model.named_parameters())[name]
        torch.testing.assert_close(moved, slope, rtol=1e-6, atol=1e-10, msg=name)
        assert slope.abs().max() > 1e-7 or name.endswith("key_value.bias"), name


def test_gradients_are_clipped_to_the_norm():
    free = make(optim=gradient_descent(), clip=None)
    clipped = make(optim=gradient_descent(), clip=0.01)
    batch = free.process_buffer(data()).windows(np.arange(30))
    begin = parameters(free)
    for algorithm in (free, clipped):
        algorithm._update_with_batch(batch)
    whole, short = begin - parameters(free), begin - parameters(clipped)
    assert whole.norm() > 0.1 and short.norm() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(short / short.norm(), whole / whole.norm(), rtol=0, atol=1e-4)


def test_dropout_is_on_in_updates_and_off_everywhere_else():
    algorithm = make(dropout=0.5)
    model, seen = algorithm.policy.model, []
    model.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    windows = algorithm.process_buffer(data())
    batch, _ = windows.sample(8)
    assert not any(part.training for part in model.modules())
    algorithm.update(windows, 8)
    assert seen == [True] and not any(part.training for part in model.modules())
    assert torch.equal(algorithm.policy(batch).logits, algorithm.policy(batch).logits)
    with pytest.raises(TypeError):
        algorithm.update(windows, "many")
    assert not any(part.training for part in model.modules())
    model.train()
    assert not torch.equal(algorithm.policy(batch).logits, algorithm.policy(batch).logits)


def test_the_learning_rate_rises_and_stays():
    algorithm, rates = make(warmup=4), []
    windows = algorithm.process_buffer(data())
    for _ in range(6):
        rates.append(algorithm.optim._optim.param_groups[0]["lr"])
        algorithm.update(windows, 4)
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
    for steps in (0, 1):
        assert make(warmup=steps).optim._optim.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("continuous", [False, True])
def test_the_policy_acts_for_the_last_timestep(continuous):
    algorithm = make(continuous)
    batch, _ = algorithm.process_buffer(data(continuous)).sample(8)
    made = algorithm.policy(batch)
    assert made.logits.shape == (8, LENGTH, WIDTH if continuous else ACTIONS)
    last = made.logits[:, -1]
    assert torch.equal(made.act, last if continuous else last.argmax(1))


def test_a_time_limit_and_a_death_teach_the_same():
    """Returns-to-go stop at either: nothing is bootstrapped."""
    made = []
    for death in (False, True):
        buffer = data()
        buffer._meta.terminated[:] = buffer.done & death
        buffer._meta.truncated[:] = buffer.done & (not death)
        algorithm = make()
        batches.run_ours(algorithm, buffer, 3)
        made.append(parameters(algorithm))
    assert torch.equal(*made)
