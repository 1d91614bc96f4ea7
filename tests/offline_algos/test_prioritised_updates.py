"""Methods that draw by priorities weight all of their losses, and give errors back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data_tools.priorities import EPSILON
from tests.offline_algos import prioritised

COUNTS = np.array([2, 0, 1, 3, 0, 1, 1, 0])


def without_noise(patch):
    """What is drawn at random does not depend on a transition's place in its batch."""
    patch.setattr(torch, "randn_like", lambda like: torch.full_like(like, 0.3))
    patch.setattr(torch, "randn", drawn)
    patch.setattr(torch.Tensor, "uniform_", lambda self, low, high: self.fill_(0.4))


def drawn(*shape, dtype=None, device=None):
    sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    return torch.full(tuple(sizes), -0.2, dtype=dtype, device=device)


def updated(name, rows, weights=None, steps=3):
    """The numbers of an algorithm after updates with these rows, float64; and the last batch."""
    algorithm, buffer = prioritised.make(name)
    algorithm.double()
    with pytest.MonkeyPatch.context() as patch:
        without_noise(patch)
        for _ in range(steps):
            batch = buffer.rows(rows)
            for key in buffer.keys:
                if batch[key].is_floating_point():
                    batch[key] = batch[key].double()
            if weights is not None:
                batch.weight = torch.as_tensor(weights, dtype=torch.float64)
            algorithm._update_with_batch(batch)
    return torch.cat([p.detach().ravel() for p in algorithm.parameters()]), batch


@pytest.mark.parametrize("name", prioritised.NAMES)
def test_a_weight_counts_as_so_many_transitions(name):
    """So that, with weights that correct the drawing, the expected update is the uniform one."""
    rows = np.arange(40, 40 + len(COUNTS))
    made, batch = updated(name, rows, COUNTS)
    expected, plain = updated(name, np.repeat(rows, COUNTS))
    torch.testing.assert_close(made, expected, rtol=1e-9, atol=1e-12)
    unweighted, _ = updated(name, rows)
    assert not torch.allclose(made, unweighted, rtol=1e-9, atol=1e-9)
    assert batch.weight.shape == (len(rows),) and bool((batch.weight >= 0.0).all())
    assert len(batch.weight.unique()) == len(rows) and "weight" not in plain


@pytest.mark.parametrize("name", prioritised.NAMES)
def test_equal_weights_are_no_weights(name):
    rows = np.arange(16)
    torch.testing.assert_close(
        updated(name, rows, np.ones(16))[0], updated(name, rows)[0], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", prioritised.NAMES)
def test_errors_become_priorities(name):
    """Those of the rows that were drawn, and the others stay."""
    algorithm, buffer = prioritised.make(name)
    source = prioritised.prioritised(buffer, alpha=1.0, beta=1.0)
    given = []
    keep = source.priorities.update

    def update(rows, errors):
        given.append((rows, errors))
        keep(rows, errors)

    source.priorities.update = update
    before = source.priorities._tree.values.copy()
    algorithm.update(source, 32)
    ((rows, errors),) = given
    values = source.priorities._tree.values
    expected = before.copy()
    expected[rows] = np.abs(errors.astype(np.float64)) + EPSILON
    np.testing.assert_array_equal(values, expected)
    assert len(np.unique(values[np.unique(rows)])) > 16


@pytest.mark.parametrize("name", ["atari_style_bcq", "d4rl_style_td3_bc"])
def test_what_is_learned_least_is_drawn_most(name):
    """A single transition with a reward that no other has."""
    algorithm, buffer = prioritised.make(name)
    reward = buffer.column("rew")
    reward.zero_()
    reward[77] = 50.0
    source = prioritised.prioritised(buffer, alpha=1.0, beta=1.0)
    rows = []
    draw = source.priorities.draw

    def spy(count, random):
        rows.append(draw(count, random))
        return rows[-1]

    source.priorities.draw = spy
    for _ in range(60):
        algorithm.update(source, 32)
    late = np.concatenate(rows[30:])
    assert np.mean(late == 77) > 20.0 / len(buffer)
    assert source.priorities.probabilities.argmax() == 77


def test_errors_that_are_not_finite_are_refused():
    algorithm, buffer = prioritised.make("atari_style_bcq")
    buffer.column("rew")[:] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        algorithm.update(prioritised.prioritised(buffer), 32)
