"""What a correlation of few points says: against counted orders, scipy, and copies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test, spearmanr

from benchmarks.rank_evidence import chance_of, clustered_rank_correlation
from benchmarks.ranks import rank_correlation


def test_one_order_of_all_is_as_good_as_the_perfect_one():
    up = np.arange(5.0)
    assert chance_of(up, np.exp(up)) == pytest.approx(1 / 120)
    assert chance_of(up, -up) == 1.0
    # one pair of neighbours exchanged: as good or better are the perfect order and four such
    assert chance_of(up, [0, 1, 2, 4, 3]) == pytest.approx(5 / 120)
    assert np.isnan(chance_of(up, np.ones(5)))


@pytest.mark.parametrize("count", [6, 12])
def test_the_chance_is_scipy_s(count):
    random = np.random.default_rng(count)
    x = random.normal(size=count)
    y = x + random.normal(size=count)
    other = permutation_test(
        (x,), lambda drawn: spearmanr(drawn, y).statistic, permutation_type="pairings",
        alternative="greater", n_resamples=1_000, vectorized=False,
    )  # fmt: skip
    assert chance_of(x, y) == pytest.approx(other.pvalue, abs=0.02)


def test_copies_of_policies_do_not_make_the_interval_shorter():
    random = np.random.default_rng(1)
    x = random.normal(size=8)
    y = x + random.normal(size=8)
    single = rank_correlation(x, y)
    names = [str(number) for number in range(8)]
    for copies in (1, 6):
        found = clustered_rank_correlation(np.repeat(x, copies), np.repeat(y, copies),
                                           np.repeat(names, copies).tolist())  # fmt: skip
        assert found.estimate == pytest.approx(single.estimate)
        assert (found.low, found.high) == pytest.approx((single.low, single.high), abs=0.06)
    naive = rank_correlation(np.repeat(x, 6), np.repeat(y, 6))
    assert naive.high - naive.low < 0.7 * (single.high - single.low)


def test_too_few_clusters_have_no_interval():
    up = np.arange(8.0)
    found = clustered_rank_correlation(up, up, list("aabbccdd"))
    assert found.estimate == pytest.approx(1.0) and not found.known


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="2 clusters"):
        clustered_rank_correlation([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], ["a", "b"])
    with pytest.raises(ValueError, match="nan"):
        chance_of([1.0, float("nan")], [1.0, 2.0])
