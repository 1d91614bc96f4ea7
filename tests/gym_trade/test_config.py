"""Every argument: values it takes, values it refuses by name, and contradictions between two."""

from __future__ import annotations

import dataclasses
import datetime
import math

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, SequentialConfig, SequentialEnv, VectorTradeEnv
from gym_trade.base_config import PEER_NAMES
from tests import markets, slow_market
from tests.argument_cases import cases
from tests.rollouts import SMALL

FRAME = markets.bars(300).assign(funding_rate=1e-4)
MARKET = Market(FRAME)
NAMES = [field.name for field in dataclasses.fields(SequentialConfig)]
NAN, INF = math.nan, math.inf

# Of each argument: (value, what the configuration holds); and what else is needed with it.
GOOD = {
    "df": [(None, None), (MARKET, MARKET), (FRAME, MARKET), ([FRAME, MARKET], (MARKET, MARKET)),
           ({"a": FRAME}, {"a": MARKET}), ({1: MARKET}, {"1": MARKET}), ((MARKET,), (MARKET,))],
    "time_frames": [(None, None), ("60min", ("1hour",)), (["1min", "1h"], ("1min", "1hour"))],
    "window_sizes": [(None, None), (5, (5,)), ([5, 6], (5, 6)), (np.array([3]), (3,)),
                     (np.int64(1), (1,))],
    "execute_on": [(None, None), ("1h", "1hour"), ((5, "Minute"), "5min")],
    "features": [(None, None), ("default", "default"), ("columns", "columns"),
                 (slow_market.raw_features, slow_market.raw_features),
                 ({"60s": "default"}, {"1min": "default"}), ({"1h": None}, {"1hour": None})],
    "stamp": [("open", "open"), ("close", "close")],
    "offset": [(None, None), ("30min", "30min"), (datetime.timedelta(hours=2), "2hour")],
    "start": [(None, None), ("2023-01-01", "2023-01-01T00:00:00+00:00"),
              (datetime.date(2023, 1, 1), "2023-01-01T00:00:00+00:00"),
              ("2023-01-01 12:00+02:00", "2023-01-01T10:00:00+00:00")],
    "end": [(None, None), (pd.Timestamp("2023-01-01 10:00"), "2023-01-01T10:00:00+00:00"),
            (np.datetime64("2023-01-01"), "2023-01-01T00:00:00+00:00")],
    "initial_cash": [(1, 1.0), (1e-9, 1e-9), ((5, 6), (5.0, 6.0)), ([5, 5], (5.0, 5.0))],
    "leverage": [(1, 1.0), (125, 125.0), (2.5, 2.5), (np.float32(2), 2.0)],
    "allow_short": [(None, None), (True, True), (np.False_, False)],
    "action_type": [("discrete", "discrete"), ("continuous", "continuous")],
    "action_levels": [(None, None), ([0, 1], (0.0, 1.0)), (np.array([0.0, 0.25]), (0.0, 0.25)),
                      ((0.5, 0), (0.5, 0.0))],
    "transaction_fee": [(0, 0.0), (0.99, 0.99)],
    "slippage": [(0, 0.0), (0.99, 0.99)],
    "slippage_model": [("fixed", "fixed"), ("uniform", "uniform")],
    "fill_at": [("next_open", "next_open"), ("close", "close")],
    "rebalance_threshold": [(0, 0.0), (0.5, 0.5)],
    "lot_size": [(0, 0.0), (1000, 1000.0)],
    "min_notional": [(0, 0.0), (1e9, 1e9)],
    "margin_mode": [("cross", "cross"), ("isolated", "isolated")],
    "maintenance_margin_rate": [(0, 0.0), (0.99, 0.99)],
    "liquidation_fee": [(None, None), (0, 0.0), (0.5, 0.5)],
    "margin_call_threshold": [(None, None), (1, 1.0), (0.01, 0.01)],
    "funding_rate": [(None, None), (0.0, 0.0), (-1, -1.0), (1, 1.0), ("funding_rate",) * 2],
    "bankrupt_threshold": [(0, 0.0), (0.5, 0.5)],
    "episode_steps": [(None, None), (1, 1), (np.int64(7), 7)],
    "random_start": [(True, True), (np.False_, False)],
    "reward": [("log_return", "log_return"), ("simple_return", "simple_return"), ("pnl", "pnl"),
               ("differential_sharpe",) * 2, ("drawdown_penalty",) * 2, (slow_market.gain,) * 2],
    "observation": [("dict", "dict"), ("flat", "flat"), ("index", "index")],
    "render_mode": [(None, None), ("rgb_array", "rgb_array"), ("human", "human")],
}  # fmt: skip

# Of each argument: values it refuses, and what the message says is allowed.
NO_TIME, NO_FRAME = "a time from 1678 to 2261", "is not a time frame"
FRACTION = "a number >= 0 and < 1"
BAD = {
    "df": [(["bars.csv", "bars.csv"], "df: expected a DataFrame"), ("bars.csv", "a DataFrame"),
           (3, "a DataFrame, a Market, a list or dict of them, or None, got int"),
           ([], "at least one market"), ({}, "at least one market"), ([FRAME, 1], "got int"),
           ({"1": MARKET, 1: MARKET}, "are the same as text"), (np.ones((3, 5)), "got ndarray")],
    "time_frames": [("1mo", NO_FRAME), (5, NO_FRAME), ([], "at least one"), (["1min", 5], ""),
                    (["1h", "60min"], "none of them twice"), ("", NO_FRAME)],
    "window_sizes": [(0, "a whole number >= 1"), (-1, ">= 1"), (2.0, ">= 1"), (True, ">= 1"),
                     ([], "at least one"), ([3, 0], ">= 1"), ("12", ">= 1"), (NAN, ">= 1")],
    "execute_on": [("0min", NO_FRAME), (["5min", "1h"], NO_FRAME), (5, NO_FRAME)],
    "features": [("ohlc", "None, 'default', 'columns', a callable"), (1, "a callable"),
                 (FRAME, "a callable"), (["close"], "a callable"), (np.ones(3), "a callable"),
                 ({"1min": "ohlc"}, "a callable"), ({"5 apples": None}, NO_FRAME)],
    "stamp": [("end", "one of 'open', 'close'"), (None, "'open'"), (np.array(["open"]), "'open'")],
    "offset": [("-5min", NO_FRAME), (30, NO_FRAME), ("later", NO_FRAME)],
    "start": [("soon", NO_TIME), (20230101, NO_TIME), (1e9, NO_TIME), ("", NO_TIME),
              (True, NO_TIME), ([1], NO_TIME), (np.int64(1), NO_TIME), ("9999-01-01", NO_TIME)],
    "end": [("2023-13-01", NO_TIME), (pd.NaT, NO_TIME), (NAN, NO_TIME), ("0001-01-01", NO_TIME)],
    "initial_cash": [(0, "a number > 0"), (-1, "> 0"), (NAN, "> 0"), (INF, "> 0"), ("1", "> 0"),
                     ((5, 4), "a number >= 5"), ((0, 5), "> 0"), ((1, 2, 3), "(low, high) pair"),
                     ((1, INF), ">= 1"), (True, "> 0"), (None, "> 0")],
    "leverage": [(0.99, "a number >= 1 and <= 125"), (125.5, "<= 125"), (0, ">= 1"), (NAN, ">= 1"),
                 ("5", ">= 1"), (True, ">= 1"), (None, ">= 1"), (-3, ">= 1"), (INF, "<= 125")],
    "allow_short": [(1, "True or False"), ("yes", "True or False"), (0.0, "True or False")],
    "action_type": [("box", "one of 'discrete', 'continuous'"), (None, "'discrete'")],
    "action_levels": [([], "at least one number"), ([0.5], "at least two different"),
                      ([0, 0.5, 0.5], "different numbers"), ([0, 1.01], ">= -1 and <= 1"),
                      ([-1.01, 0], ">= -1"), ([0, NAN], ">= -1"), ("01", "[-1, 1]"),
                      (0.5, "[-1, 1]"), ({0.0, 1.0}, "[-1, 1]"), (np.array(0.5), "[-1, 1]"),
                      (np.ones((2, 2)), "[-1, 1]"), ([0, "1"], ">= -1"), ([0, [1]], ">= -1")],
    "transaction_fee": [(-1e-9, FRACTION), (1, FRACTION), (NAN, FRACTION), ("0", FRACTION),
                        (None, FRACTION)],
    "slippage": [(-1e-9, FRACTION), (1, FRACTION), (INF, FRACTION), ([0.1], FRACTION)],
    "slippage_model": [("normal", "one of 'fixed', 'uniform'"), (None, "'fixed'")],
    "fill_at": [("open", "one of 'next_open', 'close'"), (0, "'next_open'")],
    "rebalance_threshold": [(-0.1, FRACTION), (1, FRACTION), (NAN, FRACTION)],
    "lot_size": [(-1, "a number >= 0"), (NAN, ">= 0"), (INF, ">= 0"), (None, ">= 0")],
    "min_notional": [(-1, "a number >= 0"), (NAN, ">= 0"), ("5", ">= 0")],
    "margin_mode": [("portfolio", "one of 'cross', 'isolated'"), (True, "'cross'")],
    "maintenance_margin_rate": [(-0.1, FRACTION), (1, FRACTION), (NAN, FRACTION)],
    "liquidation_fee": [(-0.1, FRACTION), (1, FRACTION), (NAN, FRACTION)],
    "margin_call_threshold": [(0, "a number > 0 and <= 1"), (1.1, "<= 1"), (NAN, "> 0"),
                              (True, "> 0")],
    "funding_rate": [(1.1, "a number >= -1 and <= 1"), (-1.1, ">= -1"), (NAN, ">= -1"),
                     (True, ">= -1"), ([0.1], ">= -1")],
    "bankrupt_threshold": [(-0.1, FRACTION), (1, FRACTION), (NAN, FRACTION)],
    "episode_steps": [(0, "a whole number >= 1"), (-1, ">= 1"), (2.0, ">= 1"), (True, ">= 1"),
                      ("5", ">= 1"), (NAN, ">= 1")],
    "random_start": [(1, "True or False"), (None, "True or False"), ("no", "True or False")],
    "reward": [("sharpe", "a callable or one of log_return, simple_return, pnl"), (None, "pnl"),
               (1, "pnl"), (np.ones(2), "pnl"),
               (slow_market.unusable_reward, "no array is called 'tomorrow'. A reward may name")],
    "observation": [("array", "one of 'dict', 'flat', 'index'"), (None, "'dict'")],
    "render_mode": [("ascii", "one of 'rgb_array', 'human'")],
}  # fmt: skip


def equal(left, right):
    return left is right or (type(left) is type(right) and left == right)


@pytest.mark.parametrize("table", [GOOD, BAD], ids=["good", "bad"])
def test_no_argument_is_forgotten(table):
    assert sorted(table) == sorted(NAMES)
    for field in dataclasses.fields(SequentialConfig):
        assert len(field.metadata["help"]) > 5


@pytest.mark.parametrize("name, value, held", cases(GOOD))
def test_a_good_value(name, value, held):
    needed = {"funding_rate": {"df": FRAME}}.get(name, {}) if isinstance(value, str) else {}
    config = SequentialConfig(**{name: value}, **needed)
    assert equal(getattr(config, name), held)
    assert config == SequentialConfig(**{name: held}, **needed)  # the canonical value stands
    for other in NAMES:
        if other not in (name, *needed):
            assert equal(getattr(config, other), getattr(SequentialConfig(), other))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, value)


@pytest.mark.parametrize("name, value, allowed", cases(BAD))
def test_a_value_out_of_range_is_refused_by_name_value_and_range(name, value, allowed):
    with pytest.raises(ValueError) as caught:
        SequentialConfig(**{name: value})
    text = str(caught.value)
    assert name in text.split(":")[0] or text.startswith(f"{name}=")
    assert allowed in text
    innermost = value
    if isinstance(innermost, int | float | str) and name != "df":
        assert f"{name}={value!r}" in text
    assert len(text) < 400


def test_values_are_described_shortly():
    with pytest.raises(ValueError, match=r"features=<DataFrame of \d+ rows>: expected None"):
        SequentialConfig(features=FRAME)
    with pytest.raises(ValueError) as caught:
        SequentialConfig(stamp="x" * 10_000)
    assert len(str(caught.value)) < 200


# --- contradictions ---------------------------------------------------------------------


CONTRADICTIONS = [
    ({"action_levels": [-1, 0]}, "short level -1.0.*allow_short=None with leverage=1"),
    ({"action_levels": [-0.5, 0], "leverage": 5, "allow_short": False}, "short level -0.5.*False"),
    ({"action_levels": [-0.5, 0], "allow_short": False}, "Pass allow_short=True or drop the lev"),
    ({"action_levels": [0, 1], "action_type": "continuous"}, "contradicts action_type='continuou"),
    ({"transaction_fee": 0.01, "leverage": 100}, "transaction_fee=0.01 times leverage=100 must b"),
    ({"transaction_fee": 0.5, "leverage": 2.0}, "below 1.*Lower either"),
    ({"maintenance_margin_rate": 0.1, "leverage": 10}, "maintenance_margin_rate=0.1.*leverage=0.1"),
    ({"maintenance_margin_rate": 0.008, "leverage": 125}, "must be below.*Lower either"),
    ({"time_frames": ["1min", "5min"], "window_sizes": [1, 2, 3]}, "3 elements for 2 time_frames"),
    ({"df": MARKET, "stamp": "close"}, "stamp='close' contradicts df.*stamp='open'"),
    ({"df": MARKET, "offset": "30sec"}, "offset='30sec' contradicts df.*offset of 0 s"),
    ({"df": FRAME, "funding_rate": "Rate"}, "funding_rate='Rate' names no column of df"),
    ({"df": MARKET, "funding_rate": "rate"}, "funding_rate='rate' names no column that the Mark"),
]


@pytest.mark.parametrize("arguments, message", CONTRADICTIONS, ids=range(len(CONTRADICTIONS)))
def test_a_contradiction_names_both(arguments, message):
    with pytest.raises(ValueError, match=message):
        SequentialConfig(**arguments)
    with pytest.raises(ValueError, match=message):
        SequentialConfig().replace(**arguments)


def test_what_looks_like_a_contradiction_and_is_none():
    SequentialConfig(action_levels=[-1, 0], allow_short=True)
    SequentialConfig(action_levels=[-0.0, 1.0])
    SequentialConfig(leverage=124, maintenance_margin_rate=0.008)
    SequentialConfig(transaction_fee=0.0099, leverage=100)
    SequentialConfig(df=Market(FRAME, offset="1h"), offset="60min")
    SequentialConfig(df=Market(FRAME, stamp="close"), stamp="close")
    SequentialConfig(time_frames=["1min", "5min"], window_sizes=7)
    assert not SequentialConfig(allow_short=False, leverage=9).shorts
    assert SequentialConfig(allow_short=True).levels == (-1.0, -0.5, 0.0, 0.5, 1.0)
    assert SequentialConfig().levels == (0.0, 0.5, 1.0)


UNFIT = [
    ({"time_frames": "90sec"}, "time_frames=90sec is no multiple of the market's 1min bars"),
    ({"execute_on": "90sec"}, "execute_on=90sec is no multiple of the market's 1min bars"),
    ({"time_frames": None, "window_sizes": [3, 4]}, r"window_sizes=\(3, 4\) has 2 elements, but "),
    ({"features": {"5min": None}}, "features has an entry for 5min, which is none of the time_fr"),
    ({"features": "columns"}, "features='columns', but the input has no column named feature_"),
    ({"episode_steps": 500}, r"500 are needed \(episode_steps=500\)"),
    ({"start": "2024-01-01"}, "has 0 steps between start=2024-01-01T00:00:00"),
    ({"end": "2022-01-01"}, "end=2022-01-01T00:00:00"),
]


@pytest.mark.parametrize("arguments, message", UNFIT, ids=range(len(UNFIT)))
@pytest.mark.parametrize("cls", [SequentialEnv, VectorTradeEnv])
def test_what_does_not_fit_the_market(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(df=MARKET, **(SMALL | arguments))


def test_funding_needs_short_bars_and_a_column():
    daily = markets.bars(100, interval="1D", start="2023-01-01")
    with pytest.raises(ValueError, match=r"funding_rate=0.1 needs bars of 8 hours or less.*1day"):
        SequentialEnv(df=daily, funding_rate=0.1)
    with pytest.raises(ValueError, match="funding_rate='rate' names no column"):
        SequentialEnv(funding_rate="rate")
    due = FRAME.copy()
    due.loc["2023-01-03 00:00", "funding_rate"] = NAN
    with pytest.raises(ValueError, match=r"\(2023-01-03 00:00:00\): funding_rate is nan where fu"):
        SequentialEnv(df=due, funding_rate="funding_rate", **SMALL)
    elsewhere = FRAME.copy()
    elsewhere.loc["2023-01-03 00:01":"2023-01-03 01:00", "funding_rate"] = NAN
    SequentialEnv(df=elsewhere, funding_rate="FUNDING_RATE", **SMALL)


# --- names ------------------------------------------------------------------------------


def make(**arguments):
    return gym.make("Trade-Sequential-v0", **arguments)


def make_vec(**arguments):
    return gym.make_vec("Trade-Sequential-v0", num_envs=2, **arguments)


DOORS = [SequentialEnv, VectorTradeEnv, make, make_vec]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("peer", ["windows", "trading_fees", "portfolio_initial_value",
                                  "max_traj_length"])  # fmt: skip
def test_a_peers_name_gets_ours(door, peer):
    with pytest.raises(ValueError) as caught:
        door(df=MARKET, **{peer: 5})
    text = str(caught.value)
    assert f"unknown argument {peer}=5. Here it is called {PEER_NAMES[peer]}." in text
    assert all(name in text for name in NAMES)


def test_the_hints_are_arguments():
    for peer, ours in PEER_NAMES.items():
        assert peer not in NAMES
        assert set(ours.split(" and ")) <= {*NAMES, "reset(seed=...)"}


@pytest.mark.parametrize("wrong, meant", [
    ("leverge", "leverage"), ("slipage", "slippage"), ("episode_step", "episode_steps"),
    ("timeframe", "time_frames"), ("Leverage", "leverage"),
])  # fmt: skip
def test_a_slip_of_the_pen_gets_the_nearest_name(wrong, meant):
    with pytest.raises(ValueError, match=f"unknown argument {wrong}=1. Did you mean {meant}[?]"):
        SequentialEnv(**{wrong: 1})


@pytest.mark.parametrize("name", ["num_envs", "autoreset_mode", "copy", "threads"])
def test_a_vector_argument_is_pointed_to_make_vec(name):
    with pytest.raises(ValueError, match=f"unknown argument {name}=1. .*gym.make_vec"):
        SequentialEnv(**{name: 1})


def test_a_name_from_nowhere_gets_the_list():
    with pytest.raises(ValueError, match=r"unknown argument xyzzy=1\. Known: df, time_frames"):
        SequentialEnv(xyzzy=1)


@pytest.mark.parametrize("door", DOORS)
def test_a_bad_value_is_refused_at_every_door(door):
    with pytest.raises(ValueError, match="leverage=0: expected a number >= 1"):
        door(df=MARKET, leverage=0)
