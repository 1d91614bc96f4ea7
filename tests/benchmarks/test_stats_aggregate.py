"""Aggregate scores and comparisons of methods: against rliable, scipy, brute force, and theory."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, trim_mean

from benchmarks import stats

# (runs, tasks); the second ties with the first in one pair
X = np.array([
    [83.811, 40.681, 50.656], [58.15, 34.222, 50.041], [49.982, 14.906, 70.353],
    [62.01, 37.491, 46.569], [60.106, 44.773, 45.145],
])  # fmt: skip
Y = np.array([
    [58.15, 56.092, 47.478], [50.489, 14.47, 78.014], [48.087, 37.257, 85.581],
    [44.092, 15.986, 36.895], [-0.766, 65.988, 36.671],
])  # fmt: skip


def test_rliable_has_the_same_numbers():
    """Values of rliable 1.2.0 with arch 7.2.0, its intervals of 20,000 and 5,000 resamples."""
    assert stats.interquartile_mean(X) == pytest.approx(49.567)
    assert stats.mean(X) == pytest.approx(49.9264)
    assert stats.median(X) == pytest.approx(52.5528)
    assert stats.optimality_gap(X, 100.0) == pytest.approx(50.0736)
    middle = stats.stratified_bootstrap(X)
    assert (middle.low, middle.high) == pytest.approx((46.3774, 54.5650), abs=0.2)
    average = stats.stratified_bootstrap(X, stats.mean)
    assert (average.low, average.high) == pytest.approx((44.8137, 55.2542), abs=0.2)
    better = stats.probability_of_improvement(X, Y)
    assert better.estimate == pytest.approx(0.6333333)
    assert (better.low, better.high) == pytest.approx((0.44, 0.84), abs=0.02)
    profile = stats.performance_profile(X, [30.0, 50.0, 70.0])
    assert profile.estimate == pytest.approx([0.93333333, 0.46666667, 0.13333333])
    assert profile.low == pytest.approx([0.8, 0.26666667, 0.0], abs=0.07)  # one run is 0.067
    assert profile.high == pytest.approx([1.0, 0.66666667, 0.33333333], abs=0.07)


@pytest.mark.parametrize("count", range(1, 14))
def test_the_middle_half(count):
    """By scipy; and exactly half of it, by repeating each score four times."""
    scores = np.random.default_rng(count).normal(size=(count, 1))
    assert stats.interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25, axis=None))
    exact = trim_mean(np.repeat(scores, 4), 0.25)
    assert stats.interquartile_mean(scores, fractional=True) == pytest.approx(exact)
    agree = stats.interquartile_mean(scores) == pytest.approx(exact)
    assert agree == (count % 4 == 0 or count <= 2)


def test_statistics_take_leading_axes():
    scores = np.random.default_rng(0).normal(50.0, 40.0, size=(3, 2, 5, 4))
    for statistic in (
        stats.interquartile_mean, stats.mean, stats.median, stats.optimality_gap,
        lambda values: stats.interquartile_mean(values, fractional=True),
    ):  # fmt: skip
        one_by_one = [[statistic(matrix) for matrix in row] for row in scores]
        np.testing.assert_allclose(statistic(scores), one_by_one)


def test_the_bootstrap_has_the_distribution_of_all_its_draws():
    """Three runs of two tasks: all 27 x 27 equally likely draws, enumerated."""
    scores = np.array([[0.0, 10.0], [1.0, 30.0], [5.0, 70.0]])
    draws = [
        np.mean([scores[list(first), 0], scores[list(second), 1]])
        for first in product(range(3), repeat=3)
        for second in product(range(3), repeat=3)
    ]
    found = stats.stratified_draws(scores, stats.mean, resamples=40_000, seed=1)
    assert found.mean() == pytest.approx(np.mean(draws), abs=0.15)
    assert found.std() == pytest.approx(np.std(draws), rel=0.02)
    inside = stats.stratified_bootstrap(scores, stats.mean, confidence=0.9)
    assert (inside.low, inside.high) == pytest.approx(np.quantile(draws, [0.05, 0.95]), abs=0.7)


def test_runs_stay_within_their_task():
    scores = np.array([[0.0, 100.0, -7.0]] * 4)  # no task varies
    interval = stats.stratified_bootstrap(scores, stats.mean)
    assert interval.estimate == interval.low == interval.high == 31.0


def test_improvement_is_mann_whitney_s():
    expected = [mannwhitneyu(X[:, k], Y[:, k]).statistic / 25 for k in range(3)]
    assert stats.probability_of_improvement(X, Y).estimate == pytest.approx(np.mean(expected))
    assert stats.probability_of_improvement(Y, X).estimate == pytest.approx(1 - np.mean(expected))
    assert stats.probability_of_improvement(X, X).estimate == 0.5
    assert stats.probability_of_improvement(X, X - 200.0)[:3] == (1.0, 1.0, 1.0)
    # methods may have different numbers of runs
    assert stats.probability_of_improvement(X, Y[:2]).estimate == pytest.approx(
        np.mean([mannwhitneyu(X[:, k], Y[:2, k]).statistic / 10 for k in range(3)])
    )


def test_the_interval_of_improvement_is_that_of_resampled_runs():
    random = np.random.default_rng(3)
    draws = []
    for _ in range(4_000):
        one, other = random.integers(5, size=(5, 3)), random.integers(5, size=(5, 3))
        x, y = X[one, np.arange(3)], Y[other, np.arange(3)]
        draws.append(np.mean((np.sign(x[:, None] - y[None]) + 1) / 2))
    found = stats.probability_of_improvement(X, Y)
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.014)


def test_a_difference_is_that_of_independent_methods():
    found = stats.stratified_difference(X, Y, stats.mean)
    assert found.estimate == pytest.approx(stats.mean(X) - stats.mean(Y))
    variance = sum(scores.var(axis=0).sum() / 5 / 9 for scores in (X, Y))
    assert found.high - found.low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.05)
    # the same runs are drawn apart, not side by side
    assert stats.stratified_difference(X, X).low < 0.0 < stats.stratified_difference(X, X).high


def test_profiles_fall_from_one_to_zero():
    profile = stats.performance_profile(X, np.linspace(0.0, 100.0, 21))
    assert (profile.estimate[0], profile.estimate[-1]) == (1.0, 0.0)
    assert (np.diff(profile.estimate) <= 0.0).all()
    assert ((profile.low <= profile.estimate) & (profile.estimate <= profile.high)).all()
    # above, not at: the published form
    assert stats.performance_profile(np.ones((2, 1)), [1.0]).estimate == [0.0]


def test_one_run_has_no_interval():
    for interval in (
        stats.stratified_bootstrap(X[:1]), stats.stratified_difference(X, Y[:1]),
        stats.probability_of_improvement(X[:1], Y),
    ):  # fmt: skip
        assert np.isfinite(interval.estimate) and not interval.known
        with pytest.raises(ValueError, match="more seeds"):
            interval.covers(0.0)
    assert np.isnan(stats.performance_profile(X[:1], [50.0]).low).all()


def test_the_same_seed_gives_the_same_interval():
    first, again, other = (stats.stratified_bootstrap(X, seed=seed) for seed in (4, 4, 5))
    assert first == again != other


def test_intervals_cover_the_truth_about_as_often_as_documented():
    random = np.random.default_rng(0)
    sets = random.normal(size=(500, 5, 10))
    few = [stats.stratified_bootstrap(s, resamples=800).covers(0.0) for s in sets]
    assert 0.90 < np.mean(few) < 0.97  # 94%
    three = [stats.stratified_bootstrap(s[:3, :1], resamples=800).covers(0.0) for s in sets]
    assert 0.68 < np.mean(three) < 0.82  # 75%: nobody should take it for 95%


def test_bad_scores_are_refused():
    gap = X.copy()
    gap[3, 1] = np.nan
    for scores, message in (
        (gap, r"nan at runs 3, tasks 1 \(1 in all\)"), (X[:, 0], "shape"),
        (X[:0], "none of them 0"), ([[1.0, 2.0], [3.0]], "rectangle"), ([[np.inf]], "inf at"),
        ([["a"]], "rectangle"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            stats.stratified_bootstrap(scores)
        with pytest.raises(ValueError, match=message):
            stats.performance_profile(scores, [1.0])
    with pytest.raises(ValueError, match="3 and of 2 tasks"):
        stats.probability_of_improvement(X, Y[:, :2])
    with pytest.raises(ValueError, match="at least 400"):
        stats.stratified_bootstrap(X, resamples=399)
    stats.stratified_bootstrap(X, resamples=400)
    with pytest.raises(ValueError, match="confidence"):
        stats.stratified_difference(X, Y, confidence=95)
