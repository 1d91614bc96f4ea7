"""Where Tianshou's continuous CQL is not the paper's, and ours is."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from data_tools.buffers import TensorReplayBuffer
from tests.offline_algos import batches
from tests.offline_algos.cql_setups import (
    WIDTH,
    make,
    make_stock,
    reference_returns,
    set_linear,
    wrapped_buffer,
)

# --- where Tianshou is wrong -------------------------------------------------------------------


def test_uniform_actions_fill_the_box_where_tianshou_s_are_all_one():
    algorithm = make(num_repeat_actions=200)
    batch = algorithm.process_buffer(batches.dataset(action_width=WIDTH)).rows(np.arange(50))
    _, actions, densities = algorithm._target_and_actions(batch)
    uniform = actions[1:201]
    assert uniform.min() < -0.99 and 0.99 < uniform.max() <= 1.0
    assert uniform.mean().item() == pytest.approx(0.0, abs=0.02)
    assert uniform.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.02)
    torch.testing.assert_close(densities[:200], torch.full((200, 50), -WIDTH * math.log(2.0)))

    theirs, seen = make_stock(), []
    plain = theirs._calc_random_values
    theirs._calc_random_values = lambda obs, act: (seen.append(act), plain(obs, act))[1]
    batches.run_stock(theirs, batches.dataset(action_width=WIDTH), 1)
    assert (seen[0] == 1.0).all()


def test_uniform_actions_keep_to_given_bounds():
    algorithm = make(num_repeat_actions=200, min_action=-0.5, max_action=0.0)
    batch = algorithm.process_buffer(batches.dataset(action_width=WIDTH)).rows(np.arange(50))
    _, actions, densities = algorithm._target_and_actions(batch)
    assert actions[1:201].min() >= -0.5 and actions[1:201].max() <= 0.0
    torch.testing.assert_close(densities[:200], torch.full((200, 50), -WIDTH * math.log(0.5)))


def test_calibration_returns_stand_beside_their_rows_also_where_the_buffer_has_wrapped():
    buffer = wrapped_buffer()
    prepared = make(calibrated=True).process_buffer(TensorReplayBuffer(copy.deepcopy(buffer)))
    batch = prepared.rows(np.arange(10))
    expected = reference_returns(batch.obs[:, 0].int().tolist())
    np.testing.assert_allclose(batch.calibration_returns.numpy(), expected, rtol=1e-6)

    theirs = make_stock(calibrated=True).process_buffer(buffer)
    assert not np.allclose(theirs._meta.calibration_returns, expected)


def test_calibration_bounds_the_policy_s_values_and_no_uniform_action_s():
    """With Q = 0 and a return of 1: log of (1 + 2 e) n times the volume, 2."""
    algorithm = make(width=1, calibrated=True, num_repeat_actions=2000, alpha=1e-9, cql_weight=1.0)
    for critic in (algorithm.critic, algorithm.critic2):
        set_linear(critic, 0.0)
    buffer = batches.dataset(8, action_width=1)
    buffer._meta.rew[:], buffer._meta.terminated[:], buffer._meta.done[:] = 1.0, True, True
    stats = batches.run_ours(algorithm, buffer, 1, 4)[0]
    expected = math.log((1 + 2 * math.e) * 2000 * 2)
    assert stats.critic1_loss - 1.0 == pytest.approx(expected, abs=0.05)


def test_tianshou_takes_a_time_limit_for_a_death():
    buffer = batches.dataset(20, action_width=WIDTH, ends=1)
    buffer._meta.terminated[:], buffer._meta.truncated[:] = False, True

    def losses(maker, run):
        made = []
        for gamma in (0.0, 0.9):
            algorithm = maker(gamma=gamma)
            torch.manual_seed(0)
            made.append(run(algorithm, buffer, 1, 20)[0].critic1_loss)
        return made

    without, with_future = losses(make_stock, batches.run_stock)
    assert without == with_future
    without, with_future = losses(make, batches.run_ours)
    assert abs(without - with_future) > 1e-3


def test_the_multiplier_is_saved_and_moves_with_the_networks():
    algorithm = make(with_lagrange=True)
    algorithm.double()
    assert algorithm.cql_log_alpha.dtype == torch.float64
    (held,) = algorithm.cql_alpha_optim._optim.param_groups[0]["params"]
    assert held is algorithm.cql_log_alpha
    assert "cql_log_alpha" in algorithm.state_dict()
    assert len(algorithm.state_dict()["_optimizers"]) == 4

    theirs = make_stock(with_lagrange=True)
    assert "cql_log_alpha" not in theirs.state_dict()
    assert len(theirs.state_dict()["_optimizers"]) == 3
    theirs = make_stock(with_lagrange=True, device="meta")  # any device but the CPU
    (held,) = theirs.cql_alpha_optim.param_groups[0]["params"]
    assert held is not theirs.cql_log_alpha


def test_the_multiplier_follows_the_gap_and_leaves_its_limits():
    buffer = batches.dataset(action_width=WIDTH)

    def multiplier(maker, run, threshold, **arguments):
        algorithm = maker(
            with_lagrange=True, lagrange_threshold=threshold, cql_alpha_lr=0.1, **arguments
        )
        run(algorithm, buffer, 20)
        return algorithm.cql_log_alpha.exp().item()

    assert multiplier(make, batches.run_ours, 0.0) > 2.0
    assert multiplier(make, batches.run_ours, 50.0) < 0.5
    assert multiplier(make, batches.run_ours, 0.0, alpha_max=1.2) == pytest.approx(1.2)
    assert multiplier(make, batches.run_ours, 0.0, alpha_min=1.5) > 3.0
    assert multiplier(make_stock, batches.run_stock, 0.0, alpha_min=1.5) == 1.0


def test_the_second_critic_has_weights_of_its_own():
    def distance(algorithm):
        pairs = zip(algorithm.critic.parameters(), algorithm.critic2.parameters(), strict=True)
        return max((one - other).abs().max().item() for one, other in pairs)

    buffer = batches.dataset(action_width=WIDTH)
    ours, theirs = make(second=False), make_stock(second=False)
    batches.run_ours(ours, buffer, 10)
    batches.run_stock(theirs, buffer, 10)
    assert distance(theirs) == 0.0
    assert distance(ours) > 0.01
