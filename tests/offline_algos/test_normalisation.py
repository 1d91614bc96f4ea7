from __future__ import annotations

import numpy as np
import pytest
import torch

from data_tools.buffers import TensorReplayBuffer
from data_tools.statistics import Statistics, column_statistics
from offline_algos import normalisation
from offline_algos.actors import GreedyActor
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser
from tests.data_tools.test_statistics import price_like
from tests.offline_algos import samples


def test_normaliser_equals_the_exact_calculation():
    observations = price_like(500)
    statistics = column_statistics(observations, np.arange(len(observations)))
    made = Normaliser(statistics)(observations)
    assert made.dtype == torch.float32
    expected = (observations.astype(np.float64) - statistics.mean) / statistics.std
    np.testing.assert_array_equal(made.numpy(), expected.astype(np.float32))
    assert abs(made[:, 0].mean()) < 1e-6 and made[:, 0].std(correction=0) == pytest.approx(1.0)


def test_an_actor_carries_float64_statistics():
    network = ValueNetwork(Inputs([("price", 0, 1, (1,))], hidden_sizes=(4,)), 2)
    actor = GreedyActor(Normaliser(Statistics(np.array([30_000.1]), np.array([1.5]))), network)
    state = actor.state_dict()
    assert state["normaliser.mean"].dtype == torch.float64
    assert float(state["normaliser.mean"][0]) == 30_000.1
    prices = torch.tensor([[30_000.1], [30_001.6]])
    made = actor.normaliser(prices)
    torch.testing.assert_close(made, torch.tensor([[0.0], [1.0]]), atol=2e-3, rtol=0)
    assert torch.equal(actor(prices), network(made)[0].argmax(1))


def test_identity_changes_nothing():
    observations = price_like(10)
    np.testing.assert_array_equal(Normaliser.identity(4)(observations).numpy(), observations)


def test_rewards_are_scaled_in_place_and_not_centred():
    buffer = TensorReplayBuffer(samples.buffer(price_like(200)))
    before = buffer.rew.copy()
    scale = normalisation.scale_rewards(buffer)
    assert scale == pytest.approx(before.std())
    np.testing.assert_allclose(buffer.rew * scale, before)
    np.testing.assert_allclose(buffer.column("rew").numpy(), buffer.rew, rtol=1e-6)
    buffer.replace("rew", np.zeros(200))
    assert normalisation.scale_rewards(buffer) == 1.0
