"""Observations outside an environment are the environment's, bit for bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, MarketDataError, SequentialConfig, VectorTradeEnv, observe, synthetic
from gym_trade import account_state as make_account_state
from tests import markets

FRAME = markets.bars(3000, 5)  # with holes
WHOLE = synthetic.make_frame(n_bars=3000, seed=2)
WINDOWS = {"time_frames": ("1min", "7min", "15min"), "window_sizes": (6, 4, 3)}
FLAT = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0], np.float32)


def config(**changes):
    return SequentialConfig(**({"execute_on": "5min", **WINDOWS} | changes))


def walked(made, frame, steps=300, **changes):
    """(instant, observation, accounts before) at each step of an episode of random actions."""
    env = VectorTradeEnv(made.replace(df=frame, observation="flat", random_start=False, **changes))
    observations, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        instant = pd.Timestamp(env.decision_times[env.decision_index[0]])
        yield instant, observations[0].copy(), env.account()
        level = (
            rng.uniform(-1, 1, (1, 1)) if made.continuous else rng.integers(0, len(made.levels), 1)
        )
        observations, _, terminated, _, _ = env.step(level)
        assert not terminated[0]


def closed(frame, instant, interval="1min"):
    return frame[frame.index + pd.Timedelta(interval) <= instant]


@pytest.mark.parametrize("action_type", ["discrete", "continuous"])
def test_at_each_instant_it_is_the_environment_s(action_type):
    made = config(leverage=3, action_type=action_type)
    held = set()
    for number, (instant, seen, _) in enumerate(walked(made, FRAME)):
        bars = closed(FRAME, instant)
        given = observe(made, bars, seen[-6:], now=instant)
        assert given.dtype == np.float32
        np.testing.assert_array_equal(given, seen)
        held.add(float(seen[-5]))
        if number % 10 == 0:  # the same bars as a market, and with the index's zone
            market = Market(bars.tz_localize("UTC"))
            np.testing.assert_array_equal(observe(made, market, seen[-6:], now=instant), seen)
    assert {-1.0, 1.0} <= held


def test_as_few_bars_as_the_message_asks_for_are_enough():
    made = config()
    for instant, seen, _ in walked(made, WHOLE, 40):
        bars = closed(WHOLE, instant)
        with pytest.raises(MarketDataError, match="too few") as refused:
            observe(made, bars.iloc[-20:], seen[-6:])
        asked = int(str(refused.value).split("Pass at least ")[1].split()[0])
        np.testing.assert_array_equal(observe(made, bars.iloc[-asked:], seen[-6:]), seen)
        with pytest.raises(MarketDataError, match="too few"):
            observe(made, bars.iloc[-asked + 1 :], seen[-6:])


def test_a_window_is_not_begun_with_half_a_coarse_bar():
    """The oldest 15-minute bar would lack what the environment has seen of it."""
    made = config(time_frames=("15min",), window_sizes=(2,), features="columns", execute_on="15min")
    frame = WHOLE.assign(feature_close=WHOLE["close"])
    instant = frame.index[900] + pd.Timedelta("1min")
    instant = instant.ceil("15min")
    bars = closed(frame, instant)
    assert len(observe(made, bars.iloc[-30:], FLAT)) == 2 + 6
    with pytest.raises(MarketDataError, match="needs 2 whole 15min bars and has 1"):
        observe(made, bars.iloc[-29:], FLAT)


def momentum(bars):
    return pd.DataFrame({"momentum": np.log(bars["close"]).diff(5)})


def test_own_features_stamps_and_offset():
    hourly = markets.hourly(400, 3)
    shifted = hourly.set_axis(hourly.index + pd.Timedelta("90min"))  # stamps name closes, from :30
    made = SequentialConfig(
        stamp="close", offset="30min", time_frames=("1h", "4h"), window_sizes=(5, 3),
        features={"1h": momentum, "4h": "default"},
    )  # fmt: skip
    for instant, seen, _ in walked(made, shifted, 20, initial_cash=50.0):
        bars = shifted[shifted.index <= instant]
        np.testing.assert_array_equal(observe(made, bars, seen[-6:]), seen)


@pytest.mark.parametrize("margin", ["cross", "isolated"])
def test_an_account_s_six_numbers(margin):
    made = config(leverage=5, margin_mode=margin)
    directions = set()
    for _, seen, account in walked(made, FRAME, 200):
        given = make_account_state(
            made, cash=account["cash"][0], position=account["position"][0],
            entry_price=account["entry_price"][0], price=account["price"][0],
            steps_held=account["steps_held"][0],
        )  # fmt: skip
        np.testing.assert_array_equal(given, seen[-6:])
        directions.add(float(seen[-5]))
    assert directions == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"price": 0.0}, "price"),
        ({"position": 1.0, "entry_price": -1.0}, "entry_price"),
        ({"cash": float("nan")}, "cash"),
    ],
)
def test_an_account_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        make_account_state(config(), **({"cash": 10.0, "price": 100.0} | changes))


def test_bars_that_do_not_end_with_a_decision():
    instant = pd.Timestamp("2023-01-03 10:00")
    bars = closed(FRAME, instant)
    with pytest.raises(ValueError, match=r"every 5min: of these bars at 2023-01-03 10:00:00"):
        observe(config(), bars[bars.index < "2023-01-03 09:58"], FLAT)
    cut = bars[bars.index < "2023-01-03 09:58"]
    assert observe(config(), cut, FLAT, now=instant).shape == ((6 + 4 + 3) * 5 + 6,)
    with pytest.raises(ValueError, match="now is 2023-01-03 10:05:00"):
        observe(config(), cut, FLAT, now="2023-01-03 10:05")


@pytest.mark.parametrize(
    ("account", "message"),
    [
        (FLAT[:5], "six finite numbers"),
        (FLAT * np.nan, "six finite numbers"),
        (FLAT + np.float32([0, 0, 0, 0, 2, 0]), "leverage of 1, fifth"),
        (FLAT + np.float32([0, 0.5, 0, 0, 0, 0]), "direction of -1, 0 or 1"),
    ],
)
def test_an_account_state_of_something_else(account, message):
    with pytest.raises(ValueError, match=message):
        observe(config(), closed(FRAME, pd.Timestamp("2023-01-03 10:00")), account)
