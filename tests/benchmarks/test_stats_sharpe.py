"""The Sharpe ratio's statistics: against the papers' worked examples, simulation and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kurtosis, norm, skew

from benchmarks import stats
from gym_trade.metrics import from_equity

HEDGE_FUND = {"skew": -2.448, "kurtosis": 10.164}


def test_the_ratio_is_that_of_the_environments():
    returns = 0.01 * np.random.default_rng(0).normal(0.1, 1.0, size=400)
    equity = 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + returns]))
    known = from_equity(equity, periods_per_year=365.0)
    assert stats.sharpe_ratio(returns, 365.0) == pytest.approx(known["sharpe"], rel=1e-9)
    log_return = math.log1p(known["total_return"])
    assert stats.total_log_return(returns) == pytest.approx(log_return, rel=1e-9)
    assert stats.sharpe_ratio([returns, -returns]) == pytest.approx(
        [stats.sharpe_ratio(returns), -stats.sharpe_ratio(returns)]
    )
    assert (stats.sharpe_ratio([[0.0] * 9, [0.1] * 9]) == 0.0).all()
    assert stats.sharpe_ratio([0.1]) == 0.0


def test_moments_are_scipy_s():
    returns = np.random.default_rng(0).exponential(size=300) - 0.9
    found = stats.moments(returns)
    assert found.observations == 300
    assert found.sharpe == pytest.approx(stats.sharpe_ratio(returns))
    assert found.skew == pytest.approx(skew(returns))
    assert found.kurtosis == pytest.approx(kurtosis(returns, fisher=False))


def test_deflated_sharpe_of_the_paper():
    """Bailey and Lopez de Prado 2014, their numerical example: 5 years of 250 days, N = 100.

    A ratio of 2.5 a year and a variance of 1/2 between trials, both annualised; they print an
    expected maximum of 0.1132 a day and a deflated ratio of 0.9004, then 0.9505 had there been 46
    trials, and the same with normal returns and 88.
    """
    daily = {"sharpe": 2.5 / math.sqrt(250), "observations": 1250, "trial_variance": 0.5 / 250}
    assert stats.expected_maximum_sharpe(0.5 / 250, 100) == pytest.approx(0.1132, abs=5e-5)
    odd = {"skew": -3.0, "kurtosis": 10.0}
    assert stats.deflated_sharpe(**daily, **odd, trials=100) == pytest.approx(0.9004, abs=5e-5)
    assert stats.deflated_sharpe(**daily, **odd, trials=46) == pytest.approx(0.9505, abs=5e-5)
    assert stats.deflated_sharpe(**daily, trials=88) == pytest.approx(0.9505, abs=5e-5)


def test_probabilistic_sharpe_of_the_paper():
    """Bailey and Lopez de Prado 2012: 24 months, 0.458 a month; 0.982 if normal, 0.913 as it is."""
    assert stats.probabilistic_sharpe(0.458, 24) == pytest.approx(0.982, abs=5e-4)
    assert stats.probabilistic_sharpe(0.458, 24, **HEDGE_FUND) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(
    ("steps", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)], ids=["days", "weeks", "months"]
)
def test_minimum_track_record_of_the_paper(steps, years):
    """Their normal case: a ratio of 2 a year, above 1 with 95%."""
    needed = stats.minimum_track_record(2 / math.sqrt(steps), benchmark=1 / math.sqrt(steps))
    assert needed / steps == pytest.approx(years, abs=5e-3)


def test_minimum_track_record_of_skewed_returns_of_the_paper():
    """Theirs with skew -0.72 and kurtosis 5.78: 4.99 years of months."""
    needed = stats.minimum_track_record(2 / math.sqrt(12), -0.72, 5.78, benchmark=1 / math.sqrt(12))
    assert needed / 12 == pytest.approx(4.99, abs=5e-3)


def test_the_track_record_reaches_its_confidence():
    needed = stats.minimum_track_record(0.1, **HEDGE_FUND, confidence=0.9)
    chance = stats.probabilistic_sharpe(0.1, round(needed), **HEDGE_FUND)
    assert chance == pytest.approx(0.9, abs=1e-3)
    assert stats.minimum_track_record(0.1, benchmark=0.1) == math.inf


def test_the_standard_error_is_that_of_simulated_returns():
    """Lo's for normal returns; Mertens' for shifted exponential ones, skew 2 and kurtosis 9."""
    random = np.random.default_rng(0)
    normal = stats.sharpe_ratio(0.5 + random.normal(size=(5_000, 400)))
    assert normal.std() == pytest.approx(math.sqrt((1 + 0.5**2 / 2) / 400), rel=0.03)
    assert stats.sharpe_standard_error(0.5, 401) == pytest.approx(math.sqrt(1.125 / 400))
    odd = stats.sharpe_ratio(random.exponential(size=(5_000, 400)) - 0.5)
    assert odd.std() == pytest.approx(stats.sharpe_standard_error(0.5, 400, 2.0, 9.0), rel=0.04)
    # which, taken for normal, would be
    assert odd.std() < 0.9 * stats.sharpe_standard_error(0.5, 400)


@pytest.mark.parametrize("trials", [2, 10, 100, 1000])
def test_the_expected_maximum_is_near_the_exact_one(trials):
    """By quadrature; the paper's is an approximation for many trials."""
    exact, _ = quad(lambda x: x * trials * norm.pdf(x) * norm.cdf(x) ** (trials - 1), -9, 9)
    found = stats.expected_maximum_sharpe(4.0, trials) / 2.0
    assert found == pytest.approx(exact, rel=0.12 if trials < 10 else 0.03)


def test_luck_is_deflated():
    """The best of forty that are worth nothing looks good alone, and not among forty."""
    returns = 0.01 * np.random.default_rng(0).normal(size=(40, 500))
    found = stats.deflate_best(returns)
    assert found.best == int(np.argmax(stats.sharpe_ratio(returns))) and found.trials == 40
    alone = stats.probabilistic_sharpe(*stats.moments(returns[found.best]))
    assert alone > 0.95 and 0.1 < found.probability < 0.9
    assert stats.deflate_best(returns, trials=4000).probability < found.probability
    returns[7] += 0.003
    assert stats.deflate_best(returns).best == 7
    assert stats.deflate_best(returns).probability > 0.99


def test_the_deflated_ratio_is_calibrated_under_no_skill():
    """Of noise, it passes 0.95 in few cases; the undeflated ratio of the best in most."""
    returns = np.random.default_rng(1).normal(size=(150, 20, 250))
    deflated = [stats.deflate_best(rows).probability > 0.95 for rows in returns]
    best = [rows[np.argmax(stats.sharpe_ratio(rows))] for rows in returns]
    plain = [stats.probabilistic_sharpe(*stats.moments(row)) > 0.95 for row in best]
    assert np.mean(deflated) < 0.05 and np.mean(plain) > 0.5


def test_what_the_data_cannot_tell_is_nan():
    one = stats.deflate_best(np.random.default_rng(0).normal(size=(1, 50)))
    assert np.isnan(one.probability) and np.isfinite(one.sharpe)
    assert np.isnan(stats.deflate_best(np.zeros((3, 50))).probability)
    assert np.isnan(stats.moments(np.full(9, 0.1)).skew)
    assert np.isnan(stats.probabilistic_sharpe(*stats.moments(np.zeros(9))))
    # one trial was chosen from nothing
    assert stats.expected_maximum_sharpe(0.5, 1) == 0.0
    single = stats.deflated_sharpe(0.1, 100, trial_variance=0.0, trials=1)
    assert single == stats.probabilistic_sharpe(0.1, 100)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="no returns have skew -3 and kurtosis 7"):
        stats.sharpe_standard_error(0.1, 100, -3.0, 7.0)  # in excess of 3
    with pytest.raises(ValueError, match="1 observations"):
        stats.probabilistic_sharpe(0.1, 1)
    with pytest.raises(ValueError, match="confidence"):
        stats.minimum_track_record(0.1, confidence=95)
    for variance, trials in ((-1.0, 5), (1.0, 0), (math.nan, 5)):
        with pytest.raises(ValueError, match="trials must be at least 1"):
            stats.expected_maximum_sharpe(variance, trials)
    with pytest.raises(ValueError, match="trials=2, but there are returns of 3"):
        stats.deflate_best(np.zeros((3, 9)), trials=2)
    with pytest.raises(ValueError, match="one step"):
        stats.moments([0.1])
