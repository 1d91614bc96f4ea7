"""Prioritised sampling beside the paper's equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data_tools.buffers import TensorReplayBuffer
from data_tools.priorities import EPSILON, Priorities, PrioritisedBuffer
from tests.data_tools.test_buffers import ENDS, transitions

ERRORS = np.array([0.0, 0.5, -3.0, 1.0, 0.25])


def of_errors(**options):
    made = Priorities(len(ERRORS), **options)
    made.update(np.arange(len(ERRORS)), ERRORS)
    return made


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_probabilities_are_the_paper_s(alpha):
    expected = (np.abs(ERRORS) + EPSILON) ** alpha
    np.testing.assert_allclose(
        of_errors(alpha=alpha).probabilities, expected / expected.sum(), rtol=1e-12
    )


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_the_weighted_mean_is_that_of_uniform_sampling(alpha):
    """With beta = 1: sum_i P(i) w_i f(i) is the mean of f, whatever f."""
    priorities = of_errors(alpha=alpha, beta=1.0)
    values = np.random.default_rng(0).normal(size=len(ERRORS))
    weights = priorities.weights(np.arange(len(ERRORS))).astype(np.float64)
    made = (priorities.probabilities * weights * values).sum()
    assert made == pytest.approx(values.mean(), rel=1e-6)


def test_rows_are_drawn_as_often_as_they_should():
    """Stratified: each count is within one of the expected one in every single batch."""
    priorities, random = of_errors(alpha=1.0), np.random.RandomState(0)
    counts = np.zeros(len(ERRORS))
    for _ in range(50):
        counts_here = np.bincount(priorities.draw(40, random), minlength=len(ERRORS))
        assert (np.abs(counts_here - 40 * priorities.probabilities) < 2.0).all()
        counts += counts_here
    np.testing.assert_allclose(counts / counts.sum(), priorities.probabilities, atol=0.01)


def test_beta_rises_evenly_to_one():
    priorities = of_errors(alpha=0.6, beta=0.4, steps=3)
    betas = []
    for _ in range(5):
        share = len(ERRORS) * priorities.probabilities
        np.testing.assert_allclose(
            priorities.weights(np.arange(len(ERRORS))), share**-priorities.beta, rtol=1e-6
        )
        betas.append(priorities.beta)
        priorities.drawn += 1
    np.testing.assert_allclose(betas, [0.4, 0.6, 0.8, 1.0, 1.0])
    assert of_errors(beta=0.3, steps=0).beta == 1.0


def test_new_content_has_the_largest_priority():
    priorities = Priorities(4, alpha=1.0, filled=0)
    priorities.filled = 2
    priorities.renew(np.array([0, 1]))
    np.testing.assert_allclose(priorities.probabilities, [0.5, 0.5, 0.0, 0.0])
    priorities.update(np.array([0]), np.array([3.0]))
    priorities.update(np.array([0]), np.array([0.5]))
    priorities.filled = 3
    priorities.renew(np.array([2]))
    np.testing.assert_allclose(priorities.probabilities * 4.5, [0.5, 1.0, 3.0, 0.0], rtol=1e-5)


def test_batches_are_the_rows_that_were_drawn():
    buffer = TensorReplayBuffer(transitions(ENDS, seed=3))
    drawn = PrioritisedBuffer(buffer, Priorities(len(buffer), alpha=0.0))
    batch, rows = drawn.sample(16)
    assert len(rows) == 16 and batch.weight.dtype == torch.float32
    assert torch.equal(batch.weight, torch.ones(16))  # all are alike
    for name in buffer.keys:
        assert torch.equal(batch[name], buffer.rows(rows)[name]), name
    assert len(drawn) == len(buffer) and drawn.priorities.drawn == 1


def test_a_rare_large_error_is_drawn_more():
    buffer = TensorReplayBuffer(transitions(ENDS, seed=3))
    drawn = PrioritisedBuffer(buffer, Priorities(len(buffer), alpha=1.0, beta=1.0))
    rows = np.arange(len(buffer))
    errors = torch.full((len(buffer),), 0.1)
    errors[5] = 10.0
    drawn.update_weight(rows, errors)
    found = np.concatenate([drawn.sample(32)[1] for _ in range(20)])
    expected = 10.0 / (10.0 + 0.1 * (len(buffer) - 1))
    assert np.mean(found == 5) == pytest.approx(expected, abs=0.03)


def test_a_state_goes_on_to_the_bit():
    buffer = TensorReplayBuffer(transitions(ENDS, seed=3))
    drawn = PrioritisedBuffer(buffer, Priorities(len(buffer), steps=9))

    def go_on(chosen):
        made = []
        for _ in range(4):
            batch, rows = chosen.sample(7)
            chosen.update_weight(rows, batch.rew)
            made += [rows, batch.weight.numpy()]
        return np.concatenate(made)

    go_on(drawn)
    state, random = drawn.priorities.state(), buffer._random_state.get_state()
    expected = go_on(drawn)
    other = PrioritisedBuffer(buffer, Priorities(len(buffer), steps=9))
    other.priorities.restore(state)
    buffer._random_state.set_state(random)
    np.testing.assert_array_equal(go_on(other), expected)


def test_what_is_refused():
    for wrong in ({"alpha": -1.0}, {"beta": 1.5}, {"steps": -1}, {"rows": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
            Priorities(**({"rows": 3} | wrong))
    with pytest.raises(ValueError, match="not finite"):
        of_errors().update(np.array([0]), np.array([np.nan]))
