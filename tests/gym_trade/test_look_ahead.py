"""A user's own features: look-ahead is caught, causal functions are accepted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, SequentialEnv, check_look_ahead, default_features
from tests import markets

BARS = markets.bars(600, 21, missing=0.0)
FRAMES = ("1min", "5min")
WINDOWS = {"time_frames": FRAMES, "window_sizes": (6, 4), "execute_on": "5min"}


def environment(frame=BARS, **arguments):
    return SequentialEnv(df=frame, random_start=False, **(WINDOWS | arguments))


def table(**columns):
    return pd.DataFrame(columns)


def leading(bars):
    return table(x=bars["close"].shift(-1))


CHEATS = {
    "next bar": leading,
    "next bar, its end filled": lambda bars: table(x=bars["close"].shift(-1).ffill()),
    "next bar's volume": lambda bars: table(x=bars["close"], v=bars["volume"].shift(-1)),
    "far ahead": lambda bars: table(x=bars["close"].shift(-50)),
    "centred mean": lambda bars: table(x=bars["close"].rolling(5, center=True).mean()),
    "centred mean, edges filled": lambda bars: table(
        x=bars["close"].rolling(5, center=True, min_periods=1).mean()
    ),
    "z-score of all": lambda bars: table(
        x=(bars["close"] - bars["close"].mean()) / bars["close"].std()
    ),
    "min-max of all": lambda bars: table(x=bars["close"] / bars["close"].max()),
    "rank in all": lambda bars: table(x=bars["close"].rank(pct=True)),
    "minus the last": lambda bars: table(x=bars["close"] - bars["close"].iloc[-1]),
    "warm-up filled backwards": lambda bars: table(x=bars["close"].rolling(20).mean().bfill()),
    "first row filled backwards": lambda bars: table(x=bars["close"].pct_change().bfill()),
    "warm-up filled with the mean": lambda bars: table(
        x=bars["close"].rolling(9).mean().fillna(bars["close"].mean())
    ),
    "gaps filled backwards": lambda bars: table(
        x=bars["volume"].where(bars["volume"] > 8.0).bfill().fillna(0.0)
    ),
    "gaps interpolated": lambda bars: table(
        x=bars["close"].where(np.arange(len(bars)) % 2 == 0).interpolate().fillna(0.0)
    ),
    "reversed sums": lambda bars: table(x=bars["volume"][::-1].cumsum()[::-1]),
    "day's close": lambda bars: table(x=bars.groupby(bars.index.floor("1h"))["close"].transform(
        "last")),
    "length": lambda bars: table(x=bars["close"] * 0.0 + len(bars)),
    "scaled by principal part": lambda bars: table(
        x=bars["close"] / np.linalg.norm(bars["close"])
    ),
}  # fmt: skip

HONEST = {
    "returns": lambda bars: table(x=np.log(bars["close"]).diff()),
    "mean": lambda bars: table(x=bars["close"].rolling(20).mean() / bars["close"]),
    "deviation": lambda bars: table(x=bars["close"].rolling(20).std()),
    "expanding": lambda bars: table(x=bars["close"] / bars["close"].expanding().max()),
    "expanding z-score": lambda bars: table(
        x=(bars["close"] - bars["close"].expanding(30).mean()) / bars["close"].expanding(30).std()
    ),
    "exponential": lambda bars: table(x=bars["close"].ewm(span=12).mean()),
    "warm-up filled with zeros": lambda bars: table(x=bars["close"].pct_change(10).fillna(0.0)),
    "gaps filled forwards": lambda bars: table(
        x=bars["volume"].where(bars["volume"] > 8.0).ffill().fillna(0.0)
    ),
    "hour of day": lambda bars: table(x=bars["close"] * 0.0 + bars.index.hour),
    "several": lambda bars: bars[["open", "close"]].pct_change(),
    "day so far": lambda bars: table(
        x=bars.groupby(bars.index.floor("1h"))["volume"].cumsum()
    ),
    "default": lambda bars: default_features(bars, 8),
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
def test_look_ahead_is_caught(name):
    with pytest.raises(ValueError) as caught:
        check_look_ahead(CHEATS[name], BARS)
    text = str(caught.value)
    assert "look ahead: column '" in text
    assert "Use only the bar itself and earlier ones" in text
    with pytest.raises(ValueError, match="features for the 1min bars look ahead"):
        environment(features=CHEATS[name])


@pytest.mark.parametrize("name", HONEST)
def test_causal_features_are_accepted(name):
    check_look_ahead(HONEST[name], BARS)
    environment(features=HONEST[name]).reset(seed=0)


def test_the_message_names_the_bar_and_both_values():
    with pytest.raises(ValueError) as caught:
        check_look_ahead(lambda bars: leading(bars).fillna(-1.0), BARS, "these bars")
    text = str(caught.value)
    assert text.startswith("features for these bars look ahead: column 'x' at 2023-01-02 21:00:00")
    assert "is -1.0 when the bars end at 2023-01-02 21:00:00" in text
    assert f"but {BARS['close'].iloc[1]} when later bars are there too" in text


@pytest.mark.parametrize("function, message", [
    (lambda bars: bars["close"], "must return a DataFrame with the index.*got Series"),
    (lambda bars: bars.to_numpy(), "must return a DataFrame.*got ndarray"),
    (lambda bars: None, "must return a DataFrame.*got NoneType"),
    (lambda bars: bars.iloc[1:], r"\(600 rows\), got DataFrame with 599 rows"),
    (lambda bars: bars.dropna().reset_index(drop=True), "must return a DataFrame with the index"),
    (lambda bars: bars[[]], "without columns"),
    (lambda bars: bars.iloc[:, : 1 + (len(bars) > 300)], "columns change with the length"),
], ids=range(7))  # fmt: skip
def test_a_function_that_returns_something_else(function, message):
    with pytest.raises(ValueError, match=message):
        check_look_ahead(function, BARS)


def test_a_function_may_spoil_its_input():
    def spoil(bars):
        bars["close"] = bars["close"].pct_change()
        bars["extra"] = 1.0
        return bars[["close", "extra"]]

    market = Market(BARS)
    before = market.content_hash, BARS.copy()
    environment(market, features=spoil)
    assert Market(BARS).content_hash == before[0]
    pd.testing.assert_frame_equal(BARS, before[1])
