"""Metrics against independent formulas in numpy, and against a hand ledger of round trips."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_trade import metrics
from gym_trade.metrics import NAMES
from tests import markets
from tests.rollouts import flat_then, scalar, vector

YEAR = 365.25 * 24 * 12  # decisions of five minutes
CURVE = 10_000.0 * np.exp(np.cumsum(np.random.default_rng(0).normal(0.0001, 0.01, 400)))


def longest_under_water(curve):
    longest = current = 0
    peak = curve[0]
    for value in curve[1:]:
        peak, current = (value, 0) if value >= peak else (peak, current + 1)
        longest = max(longest, current)
    return longest


def expected(curve, periods):
    """The formulas, with numpy's own mean, std and running maximum."""
    returns = curve[1:] / curve[:-1] - 1.0
    count = len(returns)
    deviation = returns.std(ddof=1)
    downside = np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))
    drawdown = (1.0 - curve / np.maximum.accumulate(curve)).max()
    annual = (curve[-1] / curve[0]) ** (periods / count) - 1.0
    return {
        "total_return": curve[-1] / curve[0] - 1.0,
        "annualised_return": annual,
        "annualised_volatility": deviation * np.sqrt(periods),
        "sharpe": returns.mean() / deviation * np.sqrt(periods),
        "sortino": returns.mean() / downside * np.sqrt(periods),
        "calmar": annual / drawdown,
        "max_drawdown": drawdown,
        "max_drawdown_steps": longest_under_water(curve),
    }


@pytest.mark.parametrize("periods", [365.25, 2000.0])
@pytest.mark.parametrize("curve", [CURVE, CURVE[::-1].copy(), CURVE[:2], CURVE[:3]], ids=len)
def test_from_equity(curve, periods):
    got = metrics.from_equity(curve, periods_per_year=periods)
    assert tuple(got) == metrics.NAMES
    count = len(curve)
    if count == 2:  # one return: no deviation, and no second chance either
        assert got["sharpe"] == got["annualised_volatility"] == 0.0
        assert got["total_return"] == curve[1] / curve[0] - 1.0
        return
    for name, value in expected(curve, periods).items():
        assert got[name] == pytest.approx(value, rel=1e-9), name


def test_from_equity_with_exposure_and_price():
    exposure, price = np.linspace(0.0, 2.0, 400), np.linspace(100.0, 150.0, 400)
    got = metrics.from_equity(CURVE, periods_per_year=YEAR, exposure=exposure, price=price)
    assert got["mean_exposure"] == pytest.approx(exposure[1:].mean())
    assert got["buy_and_hold_return"] == pytest.approx(0.5)
    assert got["n_trades"] == got["turnover"] == got["fees_paid"] == 0.0


@pytest.mark.parametrize("curve", [
    [], [100.0], [100.0, 100.0], [100.0] * 50, [100.0, 0.0], [100.0, -5.0], [100.0, 1e-300],
    [100.0, 200.0], [100.0, 99.0], [100.0, 110.0, 109.999999, 121.0],
    list(100.0 * 1.01 ** np.arange(50)), list(100.0 * 0.99 ** np.arange(50)),
], ids=lambda curve: f"{len(curve)} {curve[-1:]}")  # fmt: skip
@pytest.mark.parametrize("periods", [1.0, 525_960.0])
def test_every_metric_is_a_finite_float(curve, periods):
    got = metrics.from_equity(curve, periods_per_year=periods)
    assert {type(value) for value in got.values()} == {float}
    assert all(math.isfinite(value) for value in got.values()), got
    assert 0.0 <= got["max_drawdown"]
    if len(set(curve)) < 2:
        assert set(got.values()) == {0.0}
    if len(curve) > 1 and curve[-1] <= 0.0:
        assert got["annualised_return"] == -1.0


@given(
    st.lists(st.floats(1e-3, 1e9), min_size=0, max_size=20),
    st.sampled_from([1.0, 365.0, 525_960.0]),
)
def test_any_curve_gives_finite_floats(curve, periods):
    got = metrics.from_equity(curve, periods_per_year=periods)
    assert all(type(value) is float and math.isfinite(value) for value in got.values()), got
    assert 0.0 <= got["max_drawdown"] < 1.0
    assert got["max_drawdown_steps"] <= max(len(curve) - 1, 0)


def test_zero_variance_is_no_infinite_sharpe_ratio():
    """Equal returns have no risk to relate the gain to; rounding must not pretend otherwise."""
    rising = metrics.from_equity(100.0 * 1.01 ** np.arange(300), periods_per_year=365.0)
    assert rising["sharpe"] == rising["annualised_volatility"] == 0.0
    assert rising["sortino"] == rising["calmar"] == rising["max_drawdown"] == 0.0
    falling = metrics.from_equity(100.0 * 0.99 ** np.arange(300), periods_per_year=365.0)
    assert falling["sortino"] == pytest.approx(-np.sqrt(365.0), rel=1e-9)


def test_an_annualised_return_of_a_short_span_is_capped_not_infinite():
    got = metrics.from_equity([100.0, 150.0], periods_per_year=525_960.0)
    assert 1e300 < got["annualised_return"] < math.inf


@pytest.mark.parametrize(("curve", "more"), [
    ([100.0, 0.0, 100.0], {}), ([100.0, np.nan], {}), ([100.0, np.inf], {}), ([[100.0]], {}),
    ([100.0, 101.0], {"exposure": [1.0]}), ([100.0], {"price": [[1.0]]}), (5.0, {}),
])  # fmt: skip
def test_bad_curves(curve, more):
    with pytest.raises(ValueError):
        metrics.from_equity(curve, periods_per_year=365.0, **more)


# --- in an episode ----------------------------------------------------------------------


def test_an_episodes_metrics():
    """From what every step's info said, by the formulas above."""
    frame = markets.bars(900, volatility=0.003)
    env = scalar(frame, leverage=3, slippage=0.001, episode_steps=120)
    _, info = env.reset(seed=3)
    curve, exposures, first = [info["portfolio_value"]], [], info["price"]
    rng = np.random.default_rng(0)
    for _ in range(120):
        *_, info = env.step(int(rng.choice(5, p=[0.1, 0.1, 0.2, 0.5, 0.1])))
        curve.append(info["portfolio_value"])
        exposures.append(abs(info["position"]) * info["price"] / info["portfolio_value"])
    got = info["metrics"]
    times = env.engine.tables.instants
    years = (times[-1] - times[0]) / (365.25 * 86_400e9)
    periods = (len(times) - 1) / years
    curve = np.array(curve)
    for name, value in expected(curve, periods).items():
        assert got[name] == pytest.approx(value, rel=1e-9), name
    assert got["turnover"] == pytest.approx(info["turnover"] / curve[1:].mean(), rel=1e-12)
    assert got["mean_exposure"] == pytest.approx(np.mean(exposures), rel=1e-12)
    assert got["fees_paid"] == info["fees_paid"] > 0.0
    assert got["n_trades"] == info["n_trades"] > 5
    assert got["buy_and_hold_return"] == pytest.approx(info["price"] / first - 1.0, rel=1e-12)
    assert {type(value) for value in got.values()} == {float}


def round_trips(fills):
    """The profit of each finished round trip, from the cash flows of the fills alone.

    A flip is cut into its closing and its opening part, which share the fee by size.
    """
    held, flow, profits = 0.0, 0.0, []
    for quantity, price, fee in fills:
        parts = [(quantity, fee)]
        if held * quantity < 0.0 and abs(quantity) > abs(held):
            share = abs(held / quantity)
            parts = [(-held, fee * share), (quantity + held, fee * (1.0 - share))]
        for part, cost in parts:
            held += part
            flow -= part * price + cost
            if held == 0.0:
                profits.append(flow)
                held, flow = 0.0, 0.0
    return profits


def test_trades_against_a_hand_ledger():
    """Win rate, profit factor and count, through resizes, flips and liquidations."""
    liquidations = shortfall = 0.0
    for seed in range(4):
        env = scalar(
            markets.bars(900, seed=seed, volatility=0.004), leverage=30, slippage=0.0005,
            margin_mode="isolated", bankrupt_threshold=0.0, action_levels=[-1, -0.3, 0, 0.3, 1],
            random_start=False, liquidation_fee=0.003, transaction_fee=0.001,
        )  # fmt: skip
        _, info = env.reset(seed=seed)
        rng, fills, done = np.random.default_rng(seed), [], False
        while not done:
            absorbed = info["shortfall"]
            _, _, terminated, truncated, info = env.step(int(rng.integers(0, 5)))
            absorbed = info["shortfall"] - absorbed
            done = terminated or truncated
            for row in env.fills().itertuples():
                # what a cap absorbs, its round trip has not lost
                credit = absorbed if row.reason == "liquidation" else 0.0
                absorbed -= credit
                fills.append((row.quantity, row.price, row.fee - credit))
        profits, got = np.array(round_trips(fills)), info["metrics"]
        assert got["n_trades"] == len(profits) > 15
        wins, losses = profits[profits > 0].sum(), -profits[profits <= 0].sum()
        assert got["win_rate"] == pytest.approx((profits > 0).mean())
        assert got["profit_factor"] == pytest.approx(wins / losses, rel=1e-6)
        liquidations += env.engine.lanes["liquidations"][0]
        shortfall += info["shortfall"]
    assert liquidations > 3 and shortfall > 0.0


def test_profit_factor_and_win_rate_by_hand():
    """One win, one loss and a flip between them; an open position is no trade yet."""
    frame = flat_then(70, 110.0, at=35)
    frame.iloc[45:, :4] = 99.0
    env = scalar(frame, random_start=False, start="2023-01-02 00:30", transaction_fee=0.0,
                 action_levels=[-1.0, 0.0, 1.0], allow_short=True, episode_steps=7)  # fmt: skip
    env.reset(seed=0)
    # long 100 at 100; flip to short at 110 (+1000); flip to long at 99 (+1100); flat (0); long
    wanted = [(2, 0), (2, 0), (0, 1), (0, 1), (2, 2), (1, 3), (2, 3)]
    for action, trades in wanted:
        *_, info = env.step(action)
        assert info["n_trades"] == trades
    got = info["metrics"]
    assert got["win_rate"] == pytest.approx(2.0 / 3.0)
    assert got["profit_factor"] == 0.0  # nothing lost: a ratio without denominator is 0
    assert got["total_return"] == pytest.approx(0.21)


def test_metrics_of_a_wipe_out():
    env = scalar(flat_then(60, 1.0, at=37), leverage=20, random_start=False,
                 start="2023-01-02 00:30", bankrupt_threshold=0.0)  # fmt: skip
    env.reset(seed=0)
    env.step(4)
    *_, info = env.step(4)
    got = info["metrics"]
    assert all(math.isfinite(value) for value in got.values())
    assert got["total_return"] == got["annualised_return"] == -1.0
    assert got["max_drawdown"] == 1.0
    assert (got["n_trades"], got["win_rate"]) == (1.0, 0.0)


def test_metrics_without_a_trade_are_all_zero_but_the_market():
    env = scalar(episode_steps=20)
    env.reset(seed=0)
    for _ in range(20):
        *_, info = env.step(0)
    got = dict(info["metrics"])
    assert got.pop("buy_and_hold_return") != 0.0
    assert set(got.values()) == {0.0}


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_vector_metrics_equal_scalar_ones(mode):
    """In the array of every mode, with 0 in the lanes that go on."""
    arguments = {"leverage": 20, "episode_steps": 25, "bankrupt_threshold": 0.7}
    frame = markets.bars(600, volatility=0.004)
    venv = vector(frame, num_envs=5, autoreset_mode=mode, **arguments)
    venv.reset(seed=8)
    envs = [scalar(frame, **arguments) for _ in range(5)]
    for lane, env in enumerate(envs):
        env.reset(seed=8 + lane)
    rng, open_lanes = np.random.default_rng(0), set(range(5))
    while open_lanes:
        actions = rng.integers(0, 5, 5)
        if mode == "Disabled":
            lanes = np.array(sorted(open_lanes))
            _, _, terminated, truncated = venv.step_lanes(lanes, actions[lanes])
            ended = np.zeros(5, bool)
            ended[lanes] = terminated | truncated
            columns = venv.engine.metric_columns(ended)
        else:
            *_, info = venv.step(actions)
            ended = info.get("_metrics", np.zeros(5, bool))
            columns = info.get("metrics", {})
        for name in NAMES if columns else ():
            assert (columns.pop(f"_{name}") == ended).all()
        for name, values in columns.items():
            assert values.dtype == np.float64 and values.shape == (5,)
            assert (values[~ended] == 0.0).all(), name
        for lane in sorted(open_lanes):
            *_, terminated, truncated, info = envs[lane].step(int(actions[lane]))
            assert (terminated or truncated) == ended[lane]
            if ended[lane]:
                assert {name: values[lane] for name, values in columns.items()} == info["metrics"]
                open_lanes.remove(lane)
