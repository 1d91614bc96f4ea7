"""The probability of backtest overfitting: by hand, by brute force, and where it is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import rankdata

from benchmarks import stats

# Means of four blocks, two steps each. The best in each half, and its rank in the other:
#   12 | 34: B (7 9 7), third of (2 8 5)      34 | 12: B (2 8 5), third of (7 9 7)
#   13 | 24: A and B (8 8 5), first and third of (1 9 7)
#   24 | 13: B (1 9 7), shares second and third of (8 8 5)
#   14 | 23: B (6 10 8), third of (3 7 4)     23 | 14: B (3 7 4), third of (6 10 8)
BLOCKS = np.array([[6.0, 1.0, 2.0, 0.0], [5.0, 4.0, 3.0, 5.0], [4.0, 3.0, 1.0, 4.0]])
BY_HAND = np.repeat(BLOCKS, 2, axis=1) + np.tile([0.5, -0.5], 4)


def test_by_hand():
    found = stats.backtest_overfitting(BY_HAND, blocks=4, performance="mean")
    assert found.probability == pytest.approx(1 / 12)  # half of one split in six
    three = np.log(3.0)
    assert found.logits == pytest.approx([three, 0.0, three, three, np.log(2.5 / 1.5), three])
    assert found.chosen == pytest.approx([4.5, 4.0, 5.0, 3.5, 4.5, 4.0])
    assert found.later == pytest.approx([4.0, 2.5, 3.5, 5.0, 4.0, 4.5])
    assert found.loss_probability == 0.0
    assert stats.backtest_overfitting(
        BY_HAND - 3.0, blocks=4, performance="mean"
    ).loss_probability == pytest.approx(1 / 12)


def brute_force(returns, blocks):
    """As the paper has it: strategies joined, measured and ranked split by split."""
    parts = np.array_split(returns, blocks, axis=1)
    logits = []
    for inside in combinations(range(blocks), blocks // 2):
        early = np.concatenate([parts[b] for b in inside], axis=1)
        late = np.concatenate([parts[b] for b in range(blocks) if b not in inside], axis=1)
        best = np.argmax(early.mean(axis=1) / early.std(axis=1, ddof=1))
        rank = rankdata(late.mean(axis=1) / late.std(axis=1, ddof=1))[best]
        relative = rank / (len(returns) + 1)
        logits.append(np.log(relative / (1 - relative)))
    return np.mean(np.array(logits) <= 0.0), logits


@pytest.mark.parametrize(("strategies", "steps", "blocks"), [(5, 50, 6), (2, 16, 8), (20, 203, 8)])
def test_by_brute_force(strategies, steps, blocks):
    returns = 0.001 + 0.01 * np.random.default_rng(steps).normal(size=(strategies, steps))
    probability, logits = brute_force(returns, blocks)
    found = stats.backtest_overfitting(returns, blocks=blocks)
    assert found.probability == pytest.approx(probability)
    np.testing.assert_allclose(found.logits, logits)


def test_a_strategy_that_is_always_best_is_not_overfitted():
    returns = 0.01 * np.random.default_rng(0).normal(size=(10, 320))
    returns[3] = 0.002 + 0.1 * returns[3]
    found = stats.backtest_overfitting(returns)
    assert found.probability == 0.0 and found.loss_probability == 0.0
    assert (found.logits == np.log(10.0)).all() and len(found.logits) == 12_870


def test_noise_is_a_coin():
    random = np.random.default_rng(0)
    found = [
        stats.backtest_overfitting(random.normal(size=(10, 120)), blocks=8).probability
        for _ in range(300)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.04)
    odd = [
        stats.backtest_overfitting(random.normal(size=(3, 120)), blocks=8).probability
        for _ in range(300)
    ]
    assert np.mean(odd) == pytest.approx(2 / 3, abs=0.04)  # the median counts


def test_what_wins_in_turn_is_overfitted():
    """Each strategy is good in its own block alone."""
    returns = np.repeat(np.eye(4), 30, axis=1) + 0.01 * np.random.default_rng(0).normal(
        size=(4, 120)
    )
    found = stats.backtest_overfitting(returns, blocks=4)
    assert found.probability == 1.0


def test_the_order_of_strategies_does_not_matter():
    """Where several are equal, none is chosen for standing first."""
    returns = 0.01 * np.random.default_rng(0).normal(size=(4, 80))
    doubled = np.concatenate([returns, returns[:2]])
    first = stats.backtest_overfitting(doubled, blocks=8)
    again = stats.backtest_overfitting(doubled[::-1], blocks=8)
    assert first.probability == pytest.approx(again.probability)
    np.testing.assert_allclose(first.logits, again.logits)


def test_a_price_level_eats_no_digits():
    """Returns that hardly vary around a large mean."""
    returns = 5.0 + 1e-6 * np.random.default_rng(0).normal(size=(4, 64))
    probability, logits = brute_force(returns, 4)
    found = stats.backtest_overfitting(returns, blocks=4)
    assert found.probability == probability
    np.testing.assert_allclose(found.logits, logits)


def test_without_a_choice_there_is_no_probability():
    flat = stats.backtest_overfitting(np.zeros((3, 40)), blocks=4)
    assert np.isnan(flat.probability) and (flat.logits == 0.0).all()


def test_bad_arguments_are_refused():
    returns = np.random.default_rng(0).normal(size=(3, 31))
    with pytest.raises(ValueError, match="fewer than two for each of 16"):
        stats.backtest_overfitting(returns)
    for blocks in (5, 0, 20):
        with pytest.raises(ValueError, match="even and between 2 and 18"):
            stats.backtest_overfitting(returns, blocks=blocks)
    with pytest.raises(ValueError, match="one strategy"):
        stats.backtest_overfitting(returns[:1], blocks=4)
    with pytest.raises(ValueError, match="sharpe, mean, got 'sortino'"):
        stats.backtest_overfitting(returns, blocks=4, performance="sortino")
    returns[1, 2] = np.nan
    with pytest.raises(ValueError, match="nan at strategies 1, steps 2"):
        stats.backtest_overfitting(returns, blocks=4)
