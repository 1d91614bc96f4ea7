"""Rewards as they are learned from."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from data_tools.buffers import TensorReplayBuffer
from offline_algos.datasets import episode_returns
from offline_algos.reward_scaling import return_range, shape_rewards
from tests.offline_algos import batches


def shaped(**flags):
    """Rewards before and after, float64."""
    buffer = TensorReplayBuffer(batches.dataset())
    before = buffer.rew.copy()
    given = {"norm_reward": 0, "reward_scale": 1.0, "reward_shift": 0.0} | flags
    shape_rewards(buffer, SimpleNamespace(**given))
    np.testing.assert_array_equal(buffer.column("rew").numpy(), buffer.rew.astype(np.float32))
    return before, buffer


def test_nothing_asked_changes_nothing():
    before, buffer = shaped()
    np.testing.assert_array_equal(buffer.rew, before)


def test_divided_then_multiplied_then_shifted():
    before, buffer = shaped(norm_reward=1, reward_scale=3.0, reward_shift=-1.0)
    np.testing.assert_allclose(buffer.rew, before / before.std() * 3.0 - 1.0, rtol=1e-12)


@pytest.mark.parametrize("norm_reward", [0, 1])
def test_returns_lie_a_thousand_apart(norm_reward, capsys):
    before, buffer = shaped(norm_reward=norm_reward, reward_scale="returns")
    assert np.ptp(episode_returns(buffer)) == pytest.approx(1000.0)
    np.testing.assert_allclose(buffer.rew / before, buffer.rew[0] / before[0], rtol=1e-9)
    assert "returns are then 1000 apart" in capsys.readouterr().out


def test_returns_that_do_not_differ_are_no_measure():
    data = batches.dataset()
    data._meta.rew[:] = 0.5
    with pytest.raises(ValueError, match="--reward-scale returns: the dataset has 20 whole"):
        return_range(TensorReplayBuffer(data))
    data = batches.dataset(rows=9)
    with pytest.raises(ValueError, match="has 0 whole episodes"):
        return_range(TensorReplayBuffer(data))
