"""Illegal actions in what the methods learn from: beside losses written out, row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tianshou.data import Batch

from data_tools.statistics import column_statistics
from offline_algos.actors import DIRECTION_COLUMN, ActionMasks
from offline_algos.legal_actions import LegalActions
from offline_algos.normalisation import Normaliser
from tests.offline_algos import batches, scripts
from tests.offline_algos import decision_transformer_setups as transformers
from tests.offline_algos.legal_action_setups import (
    ACTIONS,
    COLUMNS,
    MASKS,
    METHODS,
    cloning_row,
    fixed_batch,
    learnt,
    log_sum_exp,
    make,
    reference,
    step_of,
)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "iql"])
def test_a_step_is_that_of_the_loss_over_legal_actions(method):
    batch, algorithm = fixed_batch(), make(method)
    parameters = learnt(algorithm)
    slopes = torch.autograd.grad(
        reference(method, algorithm, batch), list(parameters.values()), allow_unused=True
    )
    made = step_of(algorithm, batch)
    for (name, moved), slope in zip(made.items(), slopes, strict=True):
        torch.testing.assert_close(
            moved, torch.zeros_like(moved) if slope is None else -slope, rtol=1e-5, atol=1e-7,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


def test_iql_imitates_among_legal_actions():
    batch, algorithm = fixed_batch(), make("iql")
    network, rows = algorithm.policy.actor, zip(batch.obs, batch.act, strict=True)
    expected = -torch.stack([cloning_row(network, *row) for row in rows])
    torch.testing.assert_close(algorithm._log_likelihood(batch), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_said_of_illegal_actions_moves_nothing(method):
    """Without masks it does: the test could not fail otherwise."""
    batch = fixed_batch()
    for masks, alike in ((MASKS, True), (None, False)):
        steps = [step_of(make(method, more, masks), batch) for more in (0.0, 60.0)]
        if method.startswith("bcq"):  # the penalty on all logits sees them
            steps = [{k: v for k, v in step.items() if "imitator" not in k} for step in steps]
        same = all(torch.equal(steps[0][name], steps[1][name]) for name in steps[0])
        assert same == alike
        assert all(bool(v.isfinite().all()) for step in steps for v in step.values())


def test_a_decision_transformer_chooses_among_legal_actions():
    masks = [[1, 0, 1], [0, 1, 1], [1, 1, 0]]
    obs = torch.randn(5, 4, COLUMNS)
    obs[..., DIRECTION_COLUMN] = torch.tensor(np.resize([0.0, 1.0, -1.0], (5, 4)), dtype=obs.dtype)
    act = torch.tensor([[[0, 2, 1][int(d)] for d in row] for row in obs[..., DIRECTION_COLUMN]])
    logits = torch.randn(5, 4, 3, requires_grad=True)
    batch = Batch(obs=obs, returns=0, timesteps=0, mask=torch.ones(5, 4, dtype=torch.bool))
    batch.act = act
    algorithm = transformers.make(columns=COLUMNS)
    algorithm.legal = LegalActions(masks, Normaliser.identity(COLUMNS))
    algorithm.policy.model.forward = lambda *_: logits
    taken = {}
    algorithm.optim.step = lambda loss: taken.update(loss=loss)
    algorithm._update_with_batch(batch)
    expected = []
    for row, step in np.ndindex(5, 4):
        here = [a for a in range(3) if masks[int(obs[row, step, DIRECTION_COLUMN])][a]]
        one = logits[row, step]
        expected.append(log_sum_exp([one[a] for a in here]) - one[act[row, step]])
    torch.testing.assert_close(taken["loss"], torch.stack(expected).mean())
    (slope,) = torch.autograd.grad(taken["loss"], logits)
    assert bool(slope.isfinite().all()) and int((slope == 0.0).sum()) == 20


@pytest.mark.parametrize("method", [method for method in METHODS if method != "qrdqn"])
def test_a_recorded_action_counts_though_it_is_illegal(method):
    """Data of others: the loss stays finite, and the conservative term has a floor."""
    batch = fixed_batch()
    batch.act[:] = 2  # long, in whatever position
    algorithm = make(method)
    stats = algorithm._update_with_batch(batch)
    losses = [value for value in vars(stats).values() if isinstance(value, float)]
    assert losses and all(math.isfinite(value) for value in losses)
    assert getattr(stats, "cql_loss", 0.0) >= 0.0
    assert all(bool(value.isfinite().all()) for value in algorithm.parameters())


@pytest.mark.parametrize("name", [f"atari_style_{method}" for method in scripts.DISCRETE])
def test_the_scripts_mask_where_their_task_does(name):
    masks = [[1, 0, 1], [1, 1, 0], [1, 1, 1]]
    algorithm, actor = scripts.make_algorithm(name, masks=masks)
    obs = torch.zeros(3, batches.COLUMNS)
    obs[:, DIRECTION_COLUMN] = torch.tensor([0.0, 1.0, -1.0])
    assert algorithm.legal.mask(obs).int().tolist() == masks == actor.masks.rows
    assert scripts.make_algorithm(name)[0].legal is None


# --- the rule ----------------------------------------------------------------------------------


def observed(counts):
    """Raw observations with so many flat, long and short positions."""
    rng, made = np.random.default_rng(0), []
    for direction, count in zip((0, 1, -1), counts, strict=True):
        rows = rng.normal(size=(count, COLUMNS)).astype(np.float32)
        rows[:, DIRECTION_COLUMN] = direction
        made.append(rows)
    return np.concatenate(made)


@pytest.mark.parametrize(
    "counts", [(5, 5, 5), (900, 90, 10), (0, 50, 950), (7, 0, 0), (70, 900, 0)]
)
def test_the_normaliser_hides_no_position(counts):
    """The same as for an actor that sees raw observations, rare positions at the limit included."""
    rows = observed(counts)
    normaliser = Normaliser.identity(COLUMNS)
    legal = LegalActions(MASKS, normaliser)
    expected = ActionMasks(MASKS)(torch.zeros(len(rows), ACTIONS), torch.as_tensor(rows))
    for statistics in (None, column_statistics(rows, np.arange(len(rows)))):
        if statistics is not None:
            normaliser.fill(statistics)
        masked = legal(torch.zeros(len(rows), ACTIONS), normaliser(rows))
        assert torch.equal(masked, expected)


def test_positions_that_look_alike_have_what_is_legal_in_either():
    """Both so rare that the normaliser's limit makes one of them."""
    rows = observed((20, 9970, 10))
    statistics = column_statistics(rows, np.arange(len(rows)))
    normaliser = Normaliser(statistics)
    seen = normaliser(rows)
    assert seen[:20, DIRECTION_COLUMN].unique() == seen[-10:, DIRECTION_COLUMN].unique() == -5.0
    mask = LegalActions(MASKS, normaliser).mask(seen)
    assert mask[:20].all() and mask[-10:].all()
    assert (mask[20:-10] == torch.tensor([True, True, False, True])).all()


def test_there_is_nothing_to_do_where_all_is_legal():
    normaliser = Normaliser.identity(COLUMNS)
    assert LegalActions.of(None, normaliser) is None
    assert LegalActions.of([[1, 1]] * 3, normaliser) is None
    assert LegalActions.of(MASKS, normaliser) is not None
    values = torch.zeros(2, ACTIONS)
    assert make("cql", masks=None)._legal(values, torch.zeros(2, COLUMNS)) is values


@pytest.mark.parametrize("eps", [0.0, 1.0])
def test_exploration_is_legal(eps):
    """Best actions as random ones, and each legal one is drawn."""
    algorithm = make("qrdqn", 1e3).float()
    algorithm.eps_first = algorithm.eps_last = eps
    obs = torch.as_tensor(observed((400, 400, 400)))
    chosen = algorithm.explore(obs, np.random.default_rng(0))
    assert chosen.dtype == np.int64
    for part, (direction, row) in zip(np.split(chosen, 3), enumerate(MASKS), strict=True):
        drawn = np.bincount(part, minlength=ACTIONS)
        assert (drawn[np.array(row) == 0] == 0).all(), direction
        if eps:
            assert drawn[np.array(row) == 1].min() > 100
