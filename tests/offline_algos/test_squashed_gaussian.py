"""The squashed Gaussian beside torch's distributions and beside integrals."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from offline_algos import squashed_gaussian


def parameters(rows=6, width=3):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn((rows, width), generator=generator, dtype=torch.float64)
    std = torch.rand((rows, width), generator=generator, dtype=torch.float64) + 0.2
    return mean, std


def reference(mean, std):
    return Independent(TransformedDistribution(Normal(mean, std), TanhTransform()), 1)


def test_the_density_of_given_actions_is_torch_s():
    mean, std = parameters()
    act = torch.linspace(-0.998, 0.998, 18, dtype=torch.float64).view(6, 3)
    made = squashed_gaussian.log_prob(mean, std, act)
    torch.testing.assert_close(made, reference(mean, std).log_prob(act), rtol=1e-12, atol=1e-12)


def test_the_density_integrates_to_one():
    grid = torch.linspace(-1.0, 1.0, 200_001, dtype=torch.float64).unsqueeze(1)
    mean, std = torch.tensor([[0.3]]).double(), torch.tensor([[0.5]]).double()
    density = squashed_gaussian.log_prob(mean, std, grid).exp()
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("repeat", [None, 5])
def test_samples_come_with_their_density(repeat):
    mean, std = parameters()
    act, log_prob = squashed_gaussian.sample(mean, std, repeat)
    assert act.shape == ((6, 3) if repeat is None else (5, 6, 3))
    expected = reference(mean, std).log_prob(act)
    torch.testing.assert_close(log_prob, expected, rtol=1e-8, atol=1e-8)


def test_samples_follow_mean_and_deviation_before_the_tanh():
    mean, std = torch.full((1, 1), 0.4).double(), torch.full((1, 1), 0.3).double()
    torch.manual_seed(0)
    act, _ = squashed_gaussian.sample(mean, std, 100_000)
    before = act.atanh()
    assert before.mean().item() == pytest.approx(0.4, abs=0.005)
    assert before.std().item() == pytest.approx(0.3, abs=0.005)


def test_gradients_of_a_sample_are_those_of_its_noise():
    mean, std = (part.requires_grad_() for part in parameters())
    torch.manual_seed(0)
    act, log_prob = squashed_gaussian.sample(mean, std)
    made = torch.autograd.grad((act.sum() + log_prob.sum()), (mean, std))
    noise = ((act.atanh() - mean) / std).detach()
    again = torch.tanh(mean + std * noise)
    density = Normal(mean, std).log_prob(mean + std * noise) - torch.log1p(-again.square())
    expected = torch.autograd.grad(again.sum() + density.sum(), (mean, std))
    for one, other in zip(made, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_the_slope_far_out_keeps_its_digits_in_float32():
    """There tanh is exactly 1 in float32, and log(1 - 1) is no number."""
    before = torch.tensor([-40.0, -12.0, 12.0, 40.0], requires_grad=True)
    slope = squashed_gaussian.log_slope(before)
    torch.testing.assert_close(slope, 2.0 * (math.log(2.0) - before.abs()), rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(slope.sum(), before)
    torch.testing.assert_close(gradient, torch.tensor([2.0, 2.0, -2.0, -2.0]))


def test_actions_on_an_edge_count_as_near_it():
    mean, std = torch.zeros((4, 1)), torch.ones((4, 1))
    near = 1.0 - squashed_gaussian.EDGE
    act = torch.tensor([[-1.0], [-near], [near], [1.0]])
    made = squashed_gaussian.log_prob(mean, std, act)
    assert torch.isfinite(made).all()
    assert made[0] == made[1] == made[2] == made[3]
    inside = squashed_gaussian.log_prob(mean[:1], std[:1], torch.tensor([[near - 1e-3]]))
    assert inside != made[0]
