"""Block bootstraps over time, and over time and seeds: against arch, enumeration, and theory."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmarks import stats

TRADING_DAYS = 252


def autoregressive(coefficient, shape, seed):
    """Stationary from its first step on when `shape` has several axes; deviation about 1."""
    shocks = np.random.RandomState(seed).standard_normal(shape)
    path = np.empty(shape)
    path[..., 0] = shocks[..., 0]
    for step in range(1, path.shape[-1]):
        path[..., step] = coefficient * path[..., step - 1] + shocks[..., step]
    return path


@pytest.mark.parametrize(
    ("coefficient", "steps", "seed", "stationary", "circular"),
    [
        (0.0, 500, 0, 0.6368747389813592, 0.7290395844343974),
        (0.3, 400, 1, 4.084435238468239, 4.675511190261307),
        (0.6, 1000, 2, 12.341812210097013, 14.127848215816664),
        (0.9, 1000, 3, 41.17188511398236, 47.13004328274512),
        (-0.4, 300, 4, 6.430927873644495, 7.361574729794067),
        (0.95, 200, 5, 14.084592441937033, 16.122833568844335),
        (0.5, 25, 6, 1.4680543909295865, 1.6805027701400543),
    ],
)
def test_arch_finds_the_same_block_lengths(coefficient, steps, seed, stationary, circular):
    """Of arch 8.0.0, `optimal_block_length`, which does not stop at 1."""
    found = stats.block_length(autoregressive(coefficient, steps, seed))
    expected = max(stationary, 1.0), max(circular, 1.0)
    assert found == pytest.approx(expected, rel=1e-9)


def test_block_lengths_of_extremes():
    assert stats.block_length(np.full(50, 0.1)) == (1.0, 1.0)
    assert stats.block_length(np.zeros(50)) == (1.0, 1.0)
    walk = np.cumsum(np.random.default_rng(0).normal(size=900))
    assert 20.0 < stats.block_length(walk).stationary <= 90.0  # 3 sqrt(n)
    with pytest.raises(ValueError, match="19 steps"):
        stats.block_length(walk[:19])


@pytest.mark.parametrize("length", [1.0, 4.0, 30.0])
def test_stationary_blocks_have_geometric_lengths(length):
    steps = 300
    drawn = stats.stationary_indices(steps, length, 400, np.random.default_rng(0))
    assert drawn.shape == (400, steps) and drawn.min() >= 0 and drawn.max() < steps
    goes_on = (np.diff(drawn, axis=1) % steps == 1).mean()
    # by the coin, or by a jump that happens to land there
    expected = 1.0 - 1.0 / length * (1.0 - 1.0 / steps)
    assert goes_on == pytest.approx(expected, abs=0.005)
    counts = np.bincount(drawn.ravel(), minlength=steps)
    assert counts.std() / counts.mean() < 0.05 * np.sqrt(2 * length)  # no step is preferred
    assert (drawn[:, 1:] == 0).any() and (drawn[:, 0] != 0).any()


def test_circular_blocks_have_one_length():
    drawn = stats.circular_indices(10, 3.2, 200, np.random.default_rng(0))
    assert drawn.shape == (200, 10)
    for row in drawn:
        assert (np.diff(row.reshape(-1)[:8].reshape(2, 4), axis=1) % 10 == 1).all()
        assert (row[9] - row[8]) % 10 == 1
    assert len(set(drawn[:, 0])) == 10
    for draw in (stats.circular_indices, stats.stationary_indices):
        with pytest.raises(ValueError, match="between 1 and the number of steps, 10"):
            draw(10, 0.5, 5, np.random.default_rng(0))
        with pytest.raises(ValueError, match="between 1"):
            draw(10, 10.5, 5, np.random.default_rng(0))


def test_the_circular_mean_has_its_known_variance():
    """Of n / b independent blocks: their sums' variance, over every place to begin."""
    series = autoregressive(0.7, 60, 3)
    sums = np.array([np.roll(series, -start)[:5].sum() for start in range(60)])
    drawn = stats.circular_indices(60, 5, 20_000, np.random.default_rng(0))
    assert series[drawn].mean(axis=1).var() == pytest.approx(sums.var() * 12 / 60**2, rel=0.03)


def test_the_stationary_mean_has_its_known_variance():
    """Politis and Romano 1994, their lemma 1: circular autocovariances, weighted."""
    steps, chance = 60, 1.0 / 6.0
    series = autoregressive(0.7, steps, 3)
    centred = series - series.mean()
    variance = centred @ centred / steps
    for lag in range(1, steps):
        weight = (1 - lag / steps) * (1 - chance) ** lag
        weight += lag / steps * (1 - chance) ** (steps - lag)
        variance += weight * (centred @ np.roll(centred, -lag)) / steps
    drawn = stats.stationary_indices(steps, 6.0, 20_000, np.random.default_rng(0))
    assert series[drawn].mean(axis=1).var() == pytest.approx(variance / steps, rel=0.03)


def test_scores_of_paths():
    equity = np.array([100.0, 110.0, 99.0, 120.0])
    returns = equity[1:] / equity[:-1] - 1.0
    assert stats.total_log_return(returns) == pytest.approx(np.log(1.2))
    assert stats.total_log_return([returns, returns]).shape == (2,)


def test_methods_get_the_same_blocks():
    """A method and its shadow: their difference is certain, whatever the market does."""
    market = 0.01 * autoregressive(0.3, (1, 300), 0)
    skilled = np.repeat(market, 4, axis=0)
    plain = (1.0 + skilled) * np.exp(-0.001) - 1.0
    alone = stats.joint_bootstrap(skilled)
    assert alone.high - alone.low > 0.2 and alone.covers(0.0)
    apart = stats.joint_difference(skilled, plain)
    assert apart[:3] == pytest.approx((0.3, 0.3, 0.3))
    draws = stats.joint_draws([skilled, plain, market[0]])
    np.testing.assert_allclose(draws[:, 0], draws[:, 2])
    assert draws.shape == (2000, 3)


def test_a_normalised_score_is_certain_where_its_references_move_along():
    """Half of what the expert earns, on any blocks of time: 50."""
    expert = np.expm1(0.002 + 0.01 * autoregressive(0.3, 300, 0))
    idle, method = np.zeros(300), np.expm1(0.5 * np.log1p(expert))
    random, best, found = stats.joint_draws([idle, expert, np.tile(method, (3, 1))]).T
    np.testing.assert_allclose(100.0 * (found - random) / (best - random), 50.0)


def test_seeds_may_be_aggregated_by_their_middle_half():
    levels = np.log1p([0.001, 0.002, 0.003, 0.004, 0.5])
    returns = np.repeat(np.expm1(levels)[:, None], 30, axis=1)
    found = stats.joint_bootstrap(returns, over_seeds=stats.interquartile_mean_over_seeds)
    assert found.estimate == pytest.approx(30 * levels[1:4].mean())


def test_seeds_are_drawn_too():
    """Returns that do not vary in time leave the bootstrap of the seeds."""
    levels = np.array([0.001, 0.002, 0.004, 0.008])
    returns = np.repeat(levels[:, None], 50, axis=1)
    found = stats.joint_bootstrap(returns)
    known = stats.stratified_bootstrap(50 * np.log1p(levels)[:, None], stats.mean)
    assert found.estimate == pytest.approx(known.estimate)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=0.03)


def test_a_flat_policy_is_certain():
    flat = stats.joint_bootstrap(np.zeros(100))
    assert flat[:3] == (0.0, 0.0, 0.0)
    assert stats.joint_bootstrap(np.zeros((3, 100)), stats.sharpe_ratio)[:3] == (0.0, 0.0, 0.0)


def test_intervals_of_the_sharpe_ratio():
    returns = 0.01 * np.random.default_rng(2).normal(0.1, 1.0, size=1000)
    yearly = partial(stats.sharpe_ratio, periods_per_year=TRADING_DAYS)
    found = stats.joint_bootstrap(returns, yearly, length=1.0)
    error = stats.sharpe_standard_error(*stats.moments(returns)) * TRADING_DAYS**0.5
    assert found.estimate == pytest.approx(yearly(returns))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.06)
    middle = stats.interquartile_mean_over_seeds
    five = stats.joint_bootstrap(np.tile(returns, (5, 1)), yearly, over_seeds=middle)
    assert five.estimate == pytest.approx(found.estimate)


def coverage(returns, **arguments):
    found = [
        stats.joint_bootstrap(
            rows, partial(np.mean, axis=-1), resamples=400, seed=number, **arguments
        ).covers(0.0)
        for number, rows in enumerate(returns)
    ]
    return float(np.mean(found))


def test_blocks_cover_where_single_steps_do_not():
    """The mean of autoregressive returns, whose truth is 0; numbers as documented."""
    returns = 0.003 * autoregressive(0.6, (300, 450), 0)[:, 50:]
    assert 0.86 < coverage(returns) < 0.96
    assert 0.86 < coverage(returns, kind="circular") < 0.96
    assert coverage(returns, length=1.0) < 0.75


def test_seeds_and_time_cover_where_either_alone_does_not():
    random = np.random.default_rng(1)
    market = 0.01 * autoregressive(0.3, (200, 1, 450), 1)[:, :, 50:]
    skill = 0.002 * random.standard_normal((200, 5, 1))
    returns = market + skill + 0.003 * random.standard_normal((200, 5, 400))
    assert 0.83 < coverage(returns) < 0.97
    assert coverage(returns.mean(axis=1)) < 0.81
    alone = [stats.stratified_bootstrap(rows.mean(axis=1)[:, None], stats.mean, resamples=400)
             for rows in returns]  # fmt: skip
    assert np.mean([interval.covers(0.0) for interval in alone]) < 0.81


def test_what_the_data_cannot_tell_is_not_made_up():
    path = 0.01 * autoregressive(0.0, 100, 0)
    assert stats.joint_bootstrap(path).known
    assert not stats.joint_bootstrap(path[None]).known  # one trained seed
    assert stats.joint_bootstrap(path[None]).estimate == pytest.approx(np.log1p(path).sum())
    assert not stats.joint_bootstrap(path[:19]).known
    assert stats.joint_bootstrap(path[:19], length=2.0).known
    assert not stats.joint_difference(np.tile(path, (3, 1)), path[None]).known
    assert stats.joint_difference(np.tile(path, (3, 1)), path).known  # buy-and-hold has no seed


def test_the_same_seed_gives_the_same_interval():
    path = 0.01 * autoregressive(0.0, (3, 100), 0)
    first, again, other = (stats.joint_bootstrap(path, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_bad_returns_are_refused():
    path = 0.01 * autoregressive(0.0, (2, 50), 0)
    gap = path.copy()
    gap[1, 7] = np.nan
    for returns, message in (
        (gap, "nan at seeds 1, steps 7"), (path - 1.0, "loses everything"),
        (np.zeros((0, 5)), "shape"), (np.zeros((2, 2, 30)), "shape"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            stats.joint_bootstrap(returns)
    with pytest.raises(ValueError, match="49, 50 steps"):
        stats.joint_difference(path, path[:, 1:])
    with pytest.raises(ValueError, match="stationary, circular, got 'moving'"):
        stats.joint_bootstrap(path, kind="moving")
    with pytest.raises(ValueError, match="no method"):
        stats.joint_draws([])
    with pytest.raises(ValueError, match="resamples=100"):
        stats.joint_bootstrap(path, resamples=100)
