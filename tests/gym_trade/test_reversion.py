"""The learnable markets with a known optimum: what is claimed of their bars and of the filter."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, VectorTradeEnv, synthetic
from gym_trade.reversion import (
    DEFAULT_BARS,
    DEVIATION_COLUMN,
    KINDS,
    MODELS,
    Reversion,
    simulate,
)
from gym_trade.simulated_bars import autoregression

COUNT = 200_000
HIDDEN = MODELS["reversion_medium"]
EVERY = pytest.mark.parametrize("kind", KINDS)


def errors(values):
    """How many standard errors the mean of `values` lies from 0."""
    return abs(values.mean()) / (values.std() / np.sqrt(len(values)))


@pytest.fixture(scope="module", params=KINDS)
def made(request):
    return MODELS[request.param], simulate(MODELS[request.param], COUNT, 11)


def moves_of(path):
    return np.log(path.frame["close"].to_numpy() / path.frame["open"].to_numpy())


# --- reachable ---------------------------------------------------------------------------


@EVERY
def test_the_embedded_market_of_each_kind_decides_every_hour(kind):
    market = synthetic.embedded_market(kind)
    assert len(market) == DEFAULT_BARS and str(market.time_frame) == "1hour"
    assert (DEVIATION_COLUMN in market.extras) == MODELS[kind].shown
    env = VectorTradeEnv(df=market, num_envs=1)
    assert set(env.single_observation_space) == {"market_data_1Hour", "account_state"}
    features = 6 if MODELS[kind].shown else 5
    assert env.single_observation_space["market_data_1Hour"].shape == (32, features)
    assert len(env.tables[0].instants) == DEFAULT_BARS


@EVERY
def test_the_same_seed_gives_the_same_bars_and_another_does_not(kind):
    first = simulate(MODELS[kind], 1000, 7).frame
    pd.testing.assert_frame_equal(first, simulate(MODELS[kind], 1000, 7).frame, check_exact=True)
    assert Market(first) != Market(simulate(MODELS[kind], 1000, 8).frame)


def test_the_shown_deviation_is_that_of_the_bars_close():
    path = simulate(MODELS["reversion_easy"], 100, 1)
    np.testing.assert_array_equal(path.frame[DEVIATION_COLUMN], path.deviation)


@pytest.mark.parametrize("change, name", [
    ({"decay": 1.0}, "decay=1.0"), ({"decay": 0.0}, "decay"), ({"deviation": -1.0}, "deviation"),
    ({"volatility": 0.0}, "volatility"), ({"gap_share": 1.0}, "gap_share"),
    ({"deviation": math.nan}, "deviation=nan"),
])  # fmt: skip
def test_parameters_out_of_range_are_refused(change, name):
    with pytest.raises(ValueError, match=name):
        Reversion(**({"decay": 0.5, "deviation": 0.01, "volatility": 0.01} | change))


def test_one_bar_is_no_market():
    with pytest.raises(ValueError, match="n_bars=1: expected at least 2"):
        simulate(HIDDEN, 1)


# --- the law of the bars -----------------------------------------------------------------


def test_gaps_are_a_fair_game_and_tell_nothing(made):
    model, path = made
    gaps = np.log(path.frame["open"].to_numpy()[1:] / path.frame["close"].to_numpy()[:-1])
    assert gaps.var() == pytest.approx(model.gap_variance, rel=0.02)
    assert errors(np.expm1(gaps)) < 4
    for known in (path.deviation[1:], path.deviation[:-1], moves_of(path)[1:]):
        assert errors(gaps * known) < 4


def test_moves_lean_against_the_deviation_before_them(made):
    model, path = made
    before, moves = path.deviation[:-1], moves_of(path)[1:]
    rest = moves + (1.0 - model.decay) * before + 0.5 * model.move_variance
    assert rest.var() == pytest.approx(model.bridge_variance, rel=0.02)
    assert errors(rest) < 4 and errors(rest * before) < 4
    # what is left when the deviation's own change is taken out is a fair game
    assert errors(np.expm1(moves - np.diff(path.deviation))) < 4


def test_the_deviation_is_stationary(made):
    model, path = made
    x = path.deviation
    assert x.std() == pytest.approx(model.deviation, rel=0.02)
    for lag in (1, 2, 5):
        found = np.mean(x[:-lag] * x[lag:]) / np.mean(x * x)
        assert found == pytest.approx(model.decay**lag, abs=0.02)


def test_high_and_low_tell_nothing_that_open_and_close_do_not(made):
    """Given open and close their law is that of a bridge of one variance, whatever x is."""
    model, path = made
    log = np.log(path.frame[["open", "high", "low", "close"]].to_numpy())[1:]
    levels = np.linspace(0.05, 0.95, 19)
    for edge in (1, 2):
        reach = (log[:, edge] - log[:, 0]) * (log[:, edge] - log[:, 3])
        uniform = np.exp(-2.0 * reach / model.bridge_variance)
        found = np.searchsorted(np.sort(uniform), levels) / len(uniform)
        assert np.abs(found - levels).max() < 1.95 / np.sqrt(len(uniform))
        for known in (path.deviation[:-1], path.deviation[1:], np.abs(path.deviation[1:])):
            assert errors((uniform - 0.5) * (known - known.mean())) < 4


# --- the filter --------------------------------------------------------------------------


@pytest.mark.parametrize("model", [
    HIDDEN, MODELS["reversion_hard"], Reversion(0.5, 0.02, 0.01), Reversion(0.9, 0.002, 0.01),
])  # fmt: skip
def test_the_filter_is_the_conditional_expectation(model):
    """Against the joint normal law of all moves and the last deviation, written down directly."""
    count = 300
    times = np.arange(-1, count)
    deviations = model.deviation**2 * model.decay ** np.abs(times[:, None] - times)
    change = np.diff(np.eye(count + 1), axis=0)  # x[t] - x[t-1]
    moves = change @ deviations @ change.T + model.move_variance * np.eye(count)
    with_last = change @ deviations[:, -1]
    weights = np.linalg.solve(moves, with_last)
    belief = model.belief()
    draws = np.random.default_rng(3).normal(0.0, 0.01, count)
    filtered = autoregression(belief.gain * (draws - belief.drift), belief.memory, 0.0)[-1]
    assert filtered == pytest.approx(weights @ (draws + 0.5 * model.move_variance), abs=1e-12)
    error = model.deviation**2 - weights @ with_last
    assert belief.error_variance == pytest.approx(error, rel=1e-6)
    assert belief.spread**2 == pytest.approx(model.deviation**2 - error, rel=1e-6)


def test_the_belief_follows_its_law():
    """It is what the next move leans against, and its surprises are independent of it."""
    path, belief = simulate(HIDDEN, COUNT, 5), HIDDEN.belief()
    moves = moves_of(path)
    held = autoregression(belief.gain * (moves - belief.drift), belief.memory, 0.0)[500:]
    assert held.std() == pytest.approx(belief.spread, rel=0.02)
    surprise = held[1:] - HIDDEN.decay * held[:-1]
    assert surprise.std() == pytest.approx(belief.innovation, rel=0.01)
    assert errors(surprise) < 4 and errors(surprise * held[:-1]) < 4
    expected = belief.drift - (1.0 - HIDDEN.decay) * held[:-1]
    assert errors(moves[501:] - expected) < 4
    assert errors((moves[501:] - expected) * held[:-1]) < 4
    unknown = path.deviation[500:] - held
    assert unknown.var() == pytest.approx(belief.error_variance, rel=0.02)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not MODELS[kind].shown])
def test_the_default_window_shows_nearly_all_that_the_filter_knows(kind):
    model = MODELS[kind]
    for length, share in ((16, 0.994), (32, 0.9999)):
        times = np.arange(-1, length)
        deviations = model.deviation**2 * model.decay ** np.abs(times[:, None] - times)
        change = np.diff(np.eye(length + 1), axis=0)
        moves = change @ deviations @ change.T + model.move_variance * np.eye(length)
        with_last = change @ deviations[:, -1]
        known = math.sqrt(with_last @ np.linalg.solve(moves, with_last))
        assert share < known / model.belief().spread < 1.0 + 1e-9


def test_a_shown_deviation_needs_no_filter():
    model = MODELS["reversion_easy"]
    belief = model.belief()
    assert (belief.gain, belief.error_variance, belief.spread) == (0.0, 0.0, model.deviation)
    assert belief.innovation == pytest.approx(model.deviation * math.sqrt(1 - model.decay**2))
