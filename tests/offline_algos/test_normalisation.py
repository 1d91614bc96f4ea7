from __future__ import annotations

import fractions

import numpy as np
import pytest
import torch

from offline_algos import normalisation
from offline_algos.networks import NormalisedNet
from offline_algos.normalisation import Normaliser, Statistics, observation_statistics
from tests.offline_algos import samples


def price_like(rows: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    columns = [
        rng.normal(30_000.0, 1.0, rows),
        rng.normal(0.0, 1e-4, rows),
        np.full(rows, 0.1),
        (np.arange(rows) == 3).astype(float),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def exact(column: np.ndarray) -> tuple[float, float]:
    values = [fractions.Fraction(float(value)) for value in column]
    mean = sum(values) / len(values)
    return float(mean), float(sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5


@pytest.mark.parametrize("chunk", [7, 100_000])
def test_statistics_are_exact_also_at_price_level(monkeypatch, chunk):
    monkeypatch.setattr(normalisation, "ROWS_PER_CHUNK", chunk)
    observations = price_like(500)
    statistics = observation_statistics(samples.buffer(observations))
    for column in (0, 1, 3):
        mean, std = exact(observations[:, column])
        assert statistics.mean[column] == pytest.approx(mean, rel=1e-13)
        assert statistics.std[column] == pytest.approx(std, rel=1e-9)
    assert (statistics.mean[2], statistics.std[2]) == (0.0, 1.0)  # constant: left alone


def test_only_filled_rows_count():
    observations = price_like(60)
    part_filled = samples.buffer(observations, size=1000)
    whole = observation_statistics(samples.buffer(observations))
    np.testing.assert_allclose(observation_statistics(part_filled), whole, rtol=1e-12)
    wrapped = observation_statistics(samples.buffer(price_like(90), size=50))
    newest = observation_statistics(samples.buffer(price_like(90)[40:]))
    np.testing.assert_allclose(wrapped, newest, rtol=1e-9)


def test_normaliser_equals_the_exact_calculation():
    observations = price_like(500)
    statistics = observation_statistics(samples.buffer(observations))
    made = Normaliser(statistics)(observations)
    assert made.dtype == torch.float32
    expected = (observations.astype(np.float64) - statistics.mean) / statistics.std
    np.testing.assert_array_equal(made.numpy(), expected.astype(np.float32))
    assert abs(made[:, 0].mean()) < 1e-6 and made[:, 0].std(correction=0) == pytest.approx(1.0)


def test_network_and_its_target_carry_float64_statistics():
    network = NormalisedNet(
        Normaliser(Statistics(np.array([30_000.1]), np.array([1.5]))),
        state_shape=(1,), action_shape=2, hidden_sizes=[4], num_atoms=3,
    )  # fmt: skip
    state = network.state_dict()
    assert state["normaliser.mean"].dtype == torch.float64
    assert float(state["normaliser.mean"][0]) == 30_000.1
    values, hidden = network(np.array([[30_000.1], [30_001.6]], np.float32))
    assert values.shape == (2, 2, 3) and hidden is None
    plain = network.model(torch.tensor([[0.0], [1.0]])).view(2, 2, 3)
    assert torch.allclose(values, plain, atol=2e-3)


def test_identity_changes_nothing():
    observations = price_like(10)
    np.testing.assert_array_equal(Normaliser.identity(4)(observations).numpy(), observations)


def test_refusals():
    with pytest.raises(ValueError, match=r"row 5, column 1 .* not finite"):
        broken = price_like(20)
        broken[5, 1] = np.nan
        observation_statistics(samples.buffer(broken))
    with pytest.raises(ValueError, match="flat"):
        observation_statistics(samples.buffer(np.zeros((5, 2, 2), np.float32)))


def test_rewards_are_scaled_in_place_and_not_centred():
    buffer = samples.buffer(price_like(200))
    before = buffer.rew.copy()
    scale = normalisation.scale_rewards(buffer)
    assert scale == pytest.approx(before.std())
    np.testing.assert_allclose(buffer.rew * scale, before)
    assert buffer.sample(4)[0].rew.dtype == np.float64
    buffer.set_array_at_key(np.zeros(200), "rew")
    assert normalisation.scale_rewards(buffer) == 1.0
