"""Where Tianshou's discrete CRR is not the paper's, and ours is."""

from __future__ import annotations

import numpy as np
import pytest
import tianshou.algorithm.imitation.discrete_crr as stock
import torch
from tianshou.algorithm.optim import AdamOptimizerFactory

from offline_algos.discrete_crr import DiscreteCRR
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches
from tests.offline_algos.discrete_crr_setups import (
    build,
    chain,
    expected_gradients,
    gradients,
    update,
)


def test_tianshou_weights_each_action_with_all_rows_advantages():
    of_actor, _, advantages = expected_gradients("binary")
    cloning, _, _ = expected_gradients("all")
    share = np.mean(np.array(advantages) > 0.0)
    assert 0.2 < share < 0.8
    theirs, _ = gradients(stock.DiscreteCRR, "binary")
    ours, _ = gradients(DiscreteCRR, "binary")
    for mine, its, right, clone in zip(ours, theirs, of_actor, cloning, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(its, share * clone, rtol=1e-6, atol=1e-9)
        assert (its - right).abs().max() > 0.1 * right.abs().max()


def test_tianshou_trains_the_critic_with_the_actors_loss():
    _, of_critic, _ = expected_gradients("exp")
    _, theirs = gradients(stock.DiscreteCRR, "exp")
    _, ours = gradients(DiscreteCRR, "exp")
    for mine, its, right in zip(ours, theirs, of_critic, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-12)
        assert (its - right).abs().max() > 0.1 * right.abs().max()


def test_targets_bootstrap_through_truncation_and_tianshous_do_not():
    plain, rows = batches.short_episodes(), np.array([4, 9])
    assert plain.terminated[rows].tolist() == [True, False]
    assert plain.truncated[rows].tolist() == [False, True]
    ours, theirs = build(gamma=0.5), build(stock.DiscreteCRR, gamma=0.5)
    with torch.no_grad():
        likelihood = ours.policy.actor(plain.obs_next[9:10])[0].softmax(1)
        ahead = 0.5 * (likelihood * ours.critic(plain.obs_next[9:10])).sum().item()
        chosen = ours.critic(plain.obs[rows])[[0, 1], plain.act[rows]].numpy()
    assert abs(ahead) > 1e-2
    batch = ours.process_buffer(batches.short_episodes()).rows(rows)
    expected = plain.rew[rows] + [0.0, ahead]
    assert ours._returns(batch).tolist() == pytest.approx(expected, abs=1e-6)

    right = 0.5 * np.mean((chosen - expected) ** 2)
    assert ours._update_with_batch(batch).critic_loss == pytest.approx(right, abs=1e-6)
    wrong = 0.5 * np.mean((chosen - plain.rew[rows]) ** 2)
    assert abs(wrong - right) > 1e-3
    assert theirs._update_with_batch(plain[rows]).critic_loss == pytest.approx(wrong, abs=1e-6)


@pytest.mark.parametrize("mode", ["exp", "binary"])
def test_it_learns_the_better_action_and_tianshou_does_not(mode):
    def choices(method, optim, mode):
        algorithm = build(
            method, optim, columns=2, gamma=0.9, beta=0.1, policy_improvement_mode=mode,
            min_q_weight=0.0, target_update_freq=5,
        )  # fmt: skip
        update(algorithm, algorithm.process_buffer(chain()), 300, 64)
        return algorithm.policy.actor(torch.eye(2))[0].argmax(1).tolist()

    assert choices(DiscreteCRR, FusedAdam(lr=1e-2), mode) == [1, 1]
    assert choices(DiscreteCRR, FusedAdam(lr=1e-2), "all") == [0, 0]
    theirs = choices(stock.DiscreteCRR, AdamOptimizerFactory(lr=1e-2), mode)
    if mode == "binary":
        assert theirs == [0, 0]  # cloning
    else:
        assert 1 not in theirs  # the actor's loss has bent the critic as well
