from __future__ import annotations

import numpy as np
import pytest
import torch

from offline_algos.quantile_loss import quantile_huber_loss, quantile_levels


def reference(quantiles, targets, levels):
    """Equation 10 of Dabney et al. 2017 with threshold 1, a pair at a time."""
    losses = []
    for sample in range(len(quantiles)):
        total = 0.0
        for level, quantile in zip(levels, quantiles[sample], strict=True):
            for target in targets[sample]:
                error = target - quantile
                size = abs(error)
                huber = 0.5 * size**2 if size <= 1 else size - 0.5
                total = total + abs(level - (1.0 if error < 0 else 0.0)) * huber
        losses.append(total / len(levels))
    return torch.stack(losses)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "others", "spread"), [(5, 5, 1.0), (7, 3, 4.0), (1, 2, 0.1)])
def test_loss_and_gradient_are_the_paper_s(count, others, spread, dtype):
    rng = np.random.default_rng(0)
    quantiles = torch.tensor(spread * rng.normal(size=(6, count)), requires_grad=True)
    targets = torch.tensor(spread * rng.normal(size=(6, others)))
    levels = quantile_levels(count).double()
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    expected = reference(quantiles, targets, levels)
    (slope,) = torch.autograd.grad((expected * weights).sum(), quantiles)
    given = quantiles.detach().to(dtype).requires_grad_()
    made = quantile_huber_loss(given, targets.to(dtype), levels.to(dtype))
    (got,) = torch.autograd.grad((made * weights.to(dtype)).sum(), given)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype is torch.float32 else {}
    torch.testing.assert_close(made.double(), expected, **tolerance)
    torch.testing.assert_close(got.double(), slope, **tolerance)


def test_it_is_tianshou_s():
    rng = np.random.default_rng(1)
    quantiles = torch.tensor(rng.normal(size=(32, 50)), dtype=torch.float32)
    targets = torch.tensor(2 * rng.normal(size=(32, 50)), dtype=torch.float32)
    levels = quantile_levels(50)
    difference = torch.nn.functional.smooth_l1_loss(
        targets.unsqueeze(1).expand(-1, 50, -1), quantiles.unsqueeze(2).expand(-1, -1, 50),
        reduction="none",
    )  # fmt: skip
    below = (targets.unsqueeze(1) - quantiles.unsqueeze(2)).le(0.0).float()
    stock = (difference * (levels.view(1, -1, 1) - below).abs()).sum(-1).mean(1)
    torch.testing.assert_close(quantile_huber_loss(quantiles, targets, levels), stock)


def test_levels_are_midpoints():
    torch.testing.assert_close(quantile_levels(4), torch.tensor([0.125, 0.375, 0.625, 0.875]))


def test_strided_input_and_no_gradient():
    wide = torch.randn(4, 3, 6)
    chosen = wide[:, 1]
    targets = torch.randn(6, 4).T
    levels = quantile_levels(6)
    expected = quantile_huber_loss(chosen.double(), targets.double(), levels.double())
    made = quantile_huber_loss(chosen, targets, levels)
    torch.testing.assert_close(made.double(), expected, rtol=1e-5, atol=1e-5)
    assert not made.requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_on_a_gpu():
    quantiles, targets, levels = torch.randn(8, 20), torch.randn(8, 20), quantile_levels(20)
    here = quantile_huber_loss(quantiles, targets, levels)
    there = quantile_huber_loss(quantiles.cuda(), targets.cuda(), levels.cuda())
    torch.testing.assert_close(here, there.cpu(), rtol=1e-4, atol=1e-4)
