"""The embedded markets: what is claimed of them, tested on the numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, synthetic
from gym_trade.synthetic import embedded_market, make_frame, simulate

COUNT = 60_000
KINDS = pytest.mark.parametrize("kind", synthetic.KINDS)


def errors(values):
    """How many standard errors the mean of `values` lies from 0."""
    return abs(values.mean()) / (values.std() / np.sqrt(len(values)))


@pytest.fixture(scope="module", params=synthetic.REGIME_KINDS)
def path(request):
    return simulate(request.param, COUNT, 3)


# --- bars -------------------------------------------------------------------------------


@KINDS
def test_the_same_seed_gives_the_same_bars_and_another_does_not(kind):
    frame = make_frame(kind, 5000, 7)
    pd.testing.assert_frame_equal(frame, make_frame(kind, 5000, 7), check_exact=True)
    np.random.seed(0)
    np.random.random(3)
    pd.testing.assert_frame_equal(frame, make_frame(kind, n_bars=5000, seed=7), check_exact=True)
    other = make_frame(kind, 5000, 8)
    assert (frame != other).mean().mean() > 0.99
    assert Market(frame) == Market(make_frame(kind, 5000, 7))


def test_the_kinds_differ_and_the_default_is_the_learnable_one():
    assert make_frame(n_bars=100, seed=1).equals(make_frame("mean_reverting", 100, 1))
    assert not make_frame("martingale", 100, 1).equals(make_frame("mean_reverting", 100, 1))


def test_a_valid_market_of_minutes(path):
    frame = path.frame
    market = Market(frame)  # every check of the door
    assert len(market) == COUNT
    assert str(market.time_frame) == "1min"
    assert market.span[0] == pd.Timestamp("2020-01-01", tz="UTC")
    assert list(frame.columns) == ["open", "high", "low", "close", "volume"]
    assert (frame["volume"] > 0).all()
    assert (np.diff(market.open_ns) == 60 * 10**9).all()


def test_opens_gap_away_from_the_last_close(path):
    opens, closes = path.frame["open"].to_numpy(), path.frame["close"].to_numpy()
    gaps = np.log(opens[1:] / closes[:-1])
    assert (gaps != 0.0).mean() > 0.999
    assert errors(gaps) < 4
    # the share of a bar's variance that falls into the gap
    sigma = np.where(path.nervous == 1, synthetic.NERVOUS_VOLATILITY, synthetic.CALM_VOLATILITY)
    scaled = gaps / sigma[1:]
    assert scaled.var() == pytest.approx(synthetic.GAP_SHARE, rel=0.03)


def test_high_and_low_have_the_law_of_a_bridges_extremes(path):
    """For a bridge from o to c, exp(-2 (h - o) (h - c) / var) is uniform; so for the low."""
    log = np.log(path.frame[["open", "high", "low", "close"]].to_numpy())
    sigma = np.where(path.nervous == 1, synthetic.NERVOUS_VOLATILITY, synthetic.CALM_VOLATILITY)
    variance = sigma**2 * (1.0 - synthetic.GAP_SHARE)
    if path.deviation.any():
        decay = 0.5 ** (1.0 / synthetic.HALF_LIFE)
        variance = variance + synthetic.DEVIATION**2 * (1.0 - decay**2)
    levels = np.linspace(0.05, 0.95, 19)
    for edge in (1, 2):
        reach = np.exp(-2.0 * (log[:, edge] - log[:, 0]) * (log[:, edge] - log[:, 3]) / variance)
        found = np.searchsorted(np.sort(reach), levels) / COUNT
        assert np.abs(found - levels).max() < 1.95 / np.sqrt(COUNT)  # Kolmogorov, one in a thousand


@pytest.mark.parametrize("arguments, message", [
    ({"kind": "trend"}, "kind='trend': expected one of mean_reverting, martingale"),
    ({"n_bars": 1}, "n_bars=1: expected at least 2"), ({"n_bars": -5}, "n_bars=-5"),
])  # fmt: skip
def test_bad_arguments_are_refused(arguments, message):
    for function in (simulate, make_frame, embedded_market):
        with pytest.raises(ValueError, match=message):
            function(**arguments)


def test_the_embedded_market_is_made_once():
    market = embedded_market()
    assert embedded_market() is market
    assert market.has_volume and len(market) == synthetic.DEFAULT_BARS
    small = embedded_market("martingale", n_bars=50, seed=2)
    assert small == Market(make_frame("martingale", 50, 2))


# --- the martingale ---------------------------------------------------------------------


def test_the_martingale_is_a_fair_game(monkeypatch):
    """E[exp(increment)] is 1 for the gap, the bar and both, in either regime.

    Volatility and gaps are made large, or the drift of half a variance that a missing correction
    would leave could not be told from chance.
    """
    monkeypatch.setattr(synthetic, "CALM_VOLATILITY", 0.05)
    monkeypatch.setattr(synthetic, "NERVOUS_VOLATILITY", 0.09)
    monkeypatch.setattr(synthetic, "GAP_SHARE", 0.5)
    gross = {"gap": [], "bar": [], "both": []}
    nervous = []
    for seed in range(40):
        made = simulate("martingale", 10_000, seed)
        opens, closes = np.log(made.frame["open"]), np.log(made.frame["close"])
        gross["gap"].append(np.exp((opens - closes.shift(1)).to_numpy()[1:]))
        gross["bar"].append(np.exp((closes - opens).to_numpy()[1:]))
        gross["both"].append(np.exp(closes.diff().to_numpy()[1:]))
        nervous.append(made.nervous[1:])
        assert not made.deviation.any()
    state = np.concatenate(nervous)
    for parts in gross.values():
        profit = np.concatenate(parts) - 1.0
        assert errors(profit) < 4
        assert errors(profit[state == 0]) < 4
        assert errors(profit[state == 1]) < 4
        assert errors(np.log1p(profit)) > 8  # the test would see a drift of half a variance


def test_the_martingales_past_says_nothing_of_its_future():
    """Returns are uncorrelated with past returns, deviations from a mean, volume and regime."""
    made = simulate("martingale", 200_000, 1)
    log = np.log(made.frame["close"])
    moves = log.diff()
    past = {
        "last": moves.shift(1), "fifth": moves.shift(5),
        "trend": log.shift(1) - log.shift(61),
        "deviation": log.shift(1) - log.rolling(40).mean().shift(1),
        "volume": np.log(made.frame["volume"]).shift(1),
        "gap": (np.log(made.frame["open"]) - log.shift(1)).shift(1),
    }  # fmt: skip
    for known in past.values():
        product = (moves / moves.std()) * ((known - known.mean()) / known.std())
        assert errors(product.dropna().to_numpy()) < 4


# --- what can be learned ----------------------------------------------------------------


def test_the_deviation_decays_with_its_half_life():
    x = simulate("mean_reverting", 400_000, 5).deviation
    assert abs(x.mean()) < 3e-4
    assert x.std() == pytest.approx(synthetic.DEVIATION, rel=0.03)
    half = int(synthetic.HALF_LIFE)
    for lag in (1, half // 2, half, 2 * half, 3 * half):
        found = np.mean(x[:-lag] * x[lag:]) / np.mean(x * x)
        assert found == pytest.approx(0.5 ** (lag / half), abs=0.03)


def test_the_deviation_starts_in_its_stationary_law():
    first = np.array([simulate("mean_reverting", 2, seed).deviation[0] for seed in range(2000)])
    assert first.std() == pytest.approx(synthetic.DEVIATION, rel=0.06)
    assert errors(first) < 4


def test_the_deviation_is_in_the_price_and_its_return_can_be_earned():
    """The next return leans against the deviation; what is left is a fair game."""
    made = simulate("mean_reverting", 200_000, 6)
    moves = np.diff(np.log(made.frame["close"].to_numpy()))
    x = made.deviation
    decay = 0.5 ** (1.0 / synthetic.HALF_LIFE)
    slope = np.mean(moves * x[:-1]) / np.mean(x[:-1] ** 2)
    assert slope == pytest.approx(decay - 1.0, rel=0.1)
    rest = moves - np.diff(x)
    assert errors(rest * x[:-1]) < 4
    # seen from prices alone: a fall follows a rise above a moving average
    log = np.log(made.frame["close"])
    seen = (log - log.ewm(halflife=20).mean()).to_numpy()
    later = (log.shift(-20) - log).to_numpy()
    assert np.corrcoef(seen[100:-20], later[100:-20])[0, 1] < -0.2


# --- regimes ----------------------------------------------------------------------------


def test_regimes_switch_and_last_as_documented():
    state = simulate("martingale", 2_000_000, 9).nervous
    calm, nervous = synthetic.CALM_MINUTES, synthetic.NERVOUS_MINUTES
    assert set(np.unique(state)) == {0, 1}
    assert state.mean() == pytest.approx(nervous / (calm + nervous), abs=0.02)
    changes = np.flatnonzero(np.diff(state))
    stays = np.diff(changes)
    begun = state[changes[:-1] + 1]
    assert stays[begun == 1].mean() == pytest.approx(nervous, rel=0.12)
    assert stays[begun == 0].mean() == pytest.approx(calm, rel=0.12)


def test_the_nervous_regime_moves_and_trades_more():
    made = simulate("martingale", 400_000, 10)
    moves = np.diff(np.log(made.frame["close"].to_numpy()))
    nervous = made.nervous[1:] == 1
    assert moves[nervous].std() == pytest.approx(synthetic.NERVOUS_VOLATILITY, rel=0.02)
    assert moves[~nervous].std() == pytest.approx(synthetic.CALM_VOLATILITY, rel=0.02)
    volume = made.frame["volume"].to_numpy()[1:]
    assert volume[~nervous].mean() == pytest.approx(synthetic.MEAN_VOLUME, rel=0.02)
    assert volume[nervous].mean() == pytest.approx(3 * synthetic.MEAN_VOLUME, rel=0.02)
