from __future__ import annotations

import numpy as np
import pytest
import torch

from data_tools.buffers import TensorReplayBuffer
from data_tools.statistics import LIMIT, Statistics, column_statistics
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
    expected = np.clip(expected, -statistics.limit, statistics.limit)
    np.testing.assert_array_equal(made.numpy(), expected.astype(np.float32))
    assert abs(made[:, 0].mean()) < 1e-6 and made[:, 0].std(correction=0) == pytest.approx(1.0)


def test_what_is_far_outside_the_data_ends_at_the_limit():
    """In the data 100 at most; in a long test ten thousand: no input drowns the others."""
    observations = np.stack((np.arange(100.0), np.full(100, 40.0)), axis=1).astype(np.float32)
    statistics = column_statistics(observations, np.arange(100))
    normaliser = Normaliser(statistics)
    far = np.array([[10_000.0, 40.0], [-10_000.0, 7_000.0], [50.0, -7_000.0]], np.float32)
    made = normaliser(far).numpy()
    assert made[:2, 0].tolist() == [LIMIT, -LIMIT]
    assert made[2, 0] == pytest.approx((50 - 49.5) / observations[:, 0].std())
    # a column that never changed has no deviation to measure by, and is left alone
    np.testing.assert_array_equal(made[:, 1], far[:, 1])
    np.testing.assert_array_equal(Normaliser.identity(2)(far).numpy(), far)


def test_the_dataset_ends_where_the_actor_does():
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(2, size=(300, 4)).astype(np.float32)
    buffer = TensorReplayBuffer(samples.buffer(heavy))
    statistics = buffer.statistics()
    buffer.normalise(statistics)
    normalised = buffer.column("obs")
    assert normalised.abs().max() == LIMIT
    assert torch.equal(normalised, Normaliser(statistics)(heavy))


@pytest.mark.parametrize(
    ("layout", "bound"),
    [
        ([("market_data_1Minute", 0, 60, (12, 5)), ("account_state", 60, 66, (6,))], 5.0),
        ([("observation", 0, 17, (17,))], 10.0),
    ],
)
def test_a_market_s_observations_end_earlier(layout, bound):
    columns = layout[-1][2]
    assert normalisation.bound_of(layout) == bound
    values = np.full(columns, 0.5)
    statistics = Statistics(values, values, bound)
    far = np.full((1, columns), 1e6, np.float32)
    np.testing.assert_array_equal(Normaliser(statistics)(far).numpy(), bound)


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


@pytest.mark.parametrize("reward", [0.0, 0.1, -0.3])
def test_rewards_that_never_change_are_left_alone(reward):
    """Rounding gives a thousand tenths a deviation of 1e-17: dividing by it would be absurd."""
    buffer = TensorReplayBuffer(samples.buffer(price_like(1000)))
    buffer.replace("rew", np.full(1000, reward))
    assert normalisation.scale_rewards(buffer) == 1.0
    assert (buffer.rew == reward).all()
