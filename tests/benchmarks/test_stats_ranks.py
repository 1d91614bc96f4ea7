"""Rankings: against scipy, statsmodels' values, identities, and simulated truths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, spearmanr

from benchmarks import stats
from benchmarks.intervals import Interval


def judged(seeds, methods, noise, seed):
    """Scores (seeds, methods) of methods with skills 0, 1, 2, ... and noise."""
    random = np.random.default_rng(seed)
    return np.arange(methods) + noise * random.normal(size=(seeds, methods))


def test_rank_correlation_is_scipy_s():
    random = np.random.default_rng(0)
    estimates, truths = random.normal(size=12), random.integers(4, size=12)  # with ties
    found = stats.rank_correlation(estimates, truths)
    assert found.estimate == pytest.approx(spearmanr(estimates, truths).statistic)
    chosen = random.integers(12, size=(1_500, 12))
    draws = [spearmanr(estimates[row], truths[row]).statistic for row in chosen]
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.05)


def test_rank_correlation_of_perfect_and_reversed_orders():
    up = np.arange(8.0)
    assert stats.rank_correlation(up, np.exp(up))[:3] == pytest.approx((1.0, 1.0, 1.0))
    assert stats.rank_correlation(up, -up)[:3] == pytest.approx((-1.0, -1.0, -1.0))
    few = stats.rank_correlation(up[:4], up[:4])
    assert few.estimate == pytest.approx(1.0) and not few.known
    assert np.isnan(stats.rank_correlation(up, np.ones(8)).estimate)


def test_intervals_of_the_rank_correlation_cover_the_truth():
    """Normal pairs with correlation 0.6: Spearman's is 6 / pi asin(0.3)."""
    truth = 6.0 / np.pi * np.arcsin(0.3)
    random = np.random.default_rng(0)
    hits = []
    for number in range(300):
        x, other = random.normal(size=(2, 30))
        y = 0.6 * x + 0.8 * other
        hits.append(stats.rank_correlation(x, y, resamples=400, seed=number).covers(truth))
    assert 0.89 < np.mean(hits) < 0.985


@pytest.mark.parametrize("ties", [False, True])
def test_concordance_is_friedman_s(ties):
    scores = judged(5, 7, 3.0, 0)
    scores = np.round(scores / 3.0) if ties else scores
    statistic = friedmanchisquare(*scores.T).statistic
    assert stats.concordance(scores) == pytest.approx(statistic / (5 * 6))


def test_concordance_by_hand():
    """Three seeds, three methods: sums of ranks 4, 5, 9 around 6, S = 14, W = 12 14 / (9 24)."""
    scores = [[1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [1.0, 2.0, 3.0]]
    assert stats.concordance(scores) == pytest.approx(14 * 12 / (9 * 24))


def test_agreement_is_the_mean_of_pairs():
    scores = judged(6, 8, 2.0, 1)
    found = stats.rank_stability(scores)
    pairs = [spearmanr(scores[i], scores[j]).statistic for i in range(6) for j in range(i)]
    assert found.agreement.estimate == pytest.approx(np.mean(pairs))
    assert found.agreement.estimate == pytest.approx((6 * found.concordance - 1) / 5)


def test_agreement_s_interval_is_the_jackknife_s():
    scores = judged(5, 8, 2.0, 2)
    found = stats.rank_stability(scores).agreement
    without = [
        stats.rank_stability(np.delete(scores, row, axis=0), permutations=1).agreement.estimate
        for row in range(5)
    ]
    error = np.sqrt(4 / 5 * np.sum((np.array(without) - np.mean(without)) ** 2))
    margin = 2.7764451 * error  # Student's t, 4 degrees of freedom
    assert found.low == pytest.approx(max(found.estimate - margin, -1.0))
    assert found.high == pytest.approx(min(found.estimate + margin, 1.0))


def test_intervals_of_the_agreement_cover_the_truth():
    truth = stats.rank_stability(judged(400, 8, 1.5, 3), permutations=1).agreement.estimate
    hits = [
        stats.rank_stability(judged(5, 8, 1.5, seed), permutations=1).agreement.covers(truth)
        for seed in range(400)
    ]
    assert 0.85 < np.mean(hits) <= 0.99


def test_verdicts_of_clear_cases():
    clear = stats.rank_stability(judged(5, 8, 0.1, 0))
    assert clear.agreement[:3] == pytest.approx((1.0, 1.0, 1.0)) and clear.verdict == "stable"
    assert clear.concordance == pytest.approx(1.0) and clear.chance < 0.001
    noise = stats.rank_stability(np.random.default_rng(0).normal(size=(8, 10)))
    assert noise.verdict == "unstable" and noise.chance > 0.05
    assert stats.rank_stability(judged(2, 8, 0.1, 0)).verdict == "undecided"  # no interval


def test_verdicts_follow_the_interval():
    assert stats.verdict(Interval(0.8, 0.7, 0.9)) == "stable"
    assert stats.verdict(Interval(0.8, 0.69, 0.9)) == "undecided"
    assert stats.verdict(Interval(0.5, 0.3, 0.69)) == "unstable"
    assert stats.verdict(Interval(0.5, 0.3, 0.69), threshold=0.3) == "stable"
    assert stats.verdict(Interval(1.0, np.nan, np.nan)) == "undecided"


def test_chance_is_uniform_where_there_is_nothing():
    random = np.random.default_rng(0)
    chances = [
        stats.rank_stability(random.normal(size=(3, 5)), permutations=200, seed=k).chance
        for k in range(300)
    ]
    assert np.mean(np.array(chances) <= 0.1) == pytest.approx(0.1, abs=0.045)
    assert np.mean(chances) == pytest.approx(0.5, abs=0.07)


def test_methods_that_are_all_equal():
    flat = stats.rank_stability(np.zeros((4, 3)))
    assert np.isnan(flat.concordance) and np.isnan(flat.chance) and flat.verdict == "undecided"
    scores = judged(5, 6, 1.0, 0)
    scores[2] = 1.0
    rest = np.delete(scores, 2, axis=0)
    with_flat, without = (stats.rank_stability(s, permutations=9) for s in (scores, rest))
    assert with_flat.agreement == without.agreement
    assert with_flat.concordance < without.concordance


def test_holm_of_statsmodels():
    """statsmodels 0.15.0, multipletests(method="holm")."""
    adjusted = stats.holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert stats.holm([0.03]) == pytest.approx([0.03])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="3 estimates and 4 truths"):
        stats.rank_correlation([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match="nan at policies 1"):
        stats.rank_correlation([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="two seeds and two methods"):
        stats.rank_stability([[1.0, 2.0]])
    with pytest.raises(ValueError, match="between 0 and 1"):
        stats.holm([0.5, 1.2])
