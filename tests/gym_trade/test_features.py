"""The default features against arithmetic by hand, and which features a frame shows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_trade import MarketDataError, SequentialEnv, default_features
from gym_trade.features import trailing_mean
from tests import markets, slow_market

BARS = markets.bars(600, 21, missing=0.0)
FRAMES = ("1min", "5min")
WINDOWS = {"time_frames": FRAMES, "window_sizes": (6, 4), "execute_on": "5min"}


def environment(frame=BARS, **arguments):
    return SequentialEnv(df=frame, random_start=False, **(WINDOWS | arguments))


def changes(bars):
    return bars[["open", "close"]].pct_change()


# --- the default features ---------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2, 7, 32, 600])
def test_default_features_by_hand(window):
    bars = slow_market.base_bars(BARS, 60 * 10**9)
    table = default_features(BARS, window)
    assert list(table.columns) == ["open", "high", "low", "close", "volume"]
    assert table.index.equals(BARS.index)
    for position in [*range(3 * window + 3), *range(40, 600, 7), 599]:
        if position >= len(bars):
            continue
        expected = slow_market.default_features(bars, position, window)
        shown = table.iloc[position]
        if expected is None:
            assert shown.isna().any()
        else:
            np.testing.assert_allclose(shown, expected, rtol=1e-9, atol=1e-14)


def test_default_features_do_not_know_the_price_level_or_the_unit_of_volume():
    scaled = BARS.copy()
    scaled[["open", "high", "low", "close"]] *= 1e6
    np.testing.assert_allclose(default_features(scaled, 8), default_features(BARS, 8), atol=1e-12)


def test_a_flat_market_is_all_zeros():
    frame = markets.flat_bars(300, price=0.1)
    table = default_features(frame, 30).iloc[29:]
    assert (table[["open", "high", "low", "close"]] == 0.0).all(axis=None)
    np.testing.assert_allclose(table["volume"], 0.0, atol=1e-15)


def test_extreme_numbers_stay_finite_in_float32():
    frame = BARS.copy()
    frame[["open", "high", "low", "close"]] *= 1e-200
    frame["volume"] = 1e300 * (np.arange(600) % 7 > 3)
    observation, _ = environment(frame).reset(seed=0)
    for value in observation.values():
        assert value.dtype == np.float32 and np.isfinite(value).all()


def test_a_volume_of_zero_throughout_is_exactly_zero():
    """A stretch of zeros gives 0, whatever stood before it."""
    frame = BARS.assign(volume=1e12 * np.random.default_rng(0).random(600))
    frame.iloc[200:300, 4] = 0.0
    volume = default_features(frame, 24)["volume"].to_numpy()
    assert (volume[223:300] == 0.0).all()
    assert (volume[200:223] < 0.0).all()
    assert volume[300] > 0.0


# --- the trailing mean ------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e9), max_size=70), st.integers(1, 80))
def test_trailing_mean_against_every_sum_by_itself(values, length):
    means = trailing_mean(np.array(values, np.float64), length)
    assert means.shape == (len(values),)
    for position, mean in enumerate(means.tolist()):
        inside = values[max(0, position - length + 1) : position + 1]
        if len(inside) < length:
            assert math.isnan(mean)
        else:
            assert mean == pytest.approx(math.fsum(inside) / length, rel=1e-13, abs=0.0)


@given(st.integers(0, 40), st.integers(1, 12), st.integers(0, 40))
def test_trailing_mean_of_zeros_is_exactly_zero(before, length, zeros):
    values = np.concatenate([1e17 / (1 + np.arange(before)), np.zeros(zeros)])
    means = trailing_mean(values, length)
    full = [k for k in range(length - 1, len(values)) if k - length + 1 >= before]
    assert (means[full] == 0.0).all()


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.integers(1, 9), st.data())
def test_trailing_mean_has_no_part_of_later_values(values, length, data):
    cut = data.draw(st.integers(1, len(values)))
    whole = trailing_mean(np.array(values), length)[:cut]
    np.testing.assert_array_equal(whole, trailing_mean(np.array(values[:cut]), length))


# --- which features a frame shows -------------------------------------------------------


def test_one_choice_per_frame():
    env = environment(features={(60, "sec"): changes, "300s": slow_market.raw_features})
    observation, _ = env.reset(seed=0)
    assert observation["market_data_1Minute"].shape == (6, 2)
    assert observation["market_data_5Minute"].shape == (4, 7)
    at = env.engine.tables.first_decision
    end = env.engine.tables.bar_end[at]
    expected = BARS[["open", "close"]].pct_change().iloc[end - 6 : end]
    np.testing.assert_array_equal(observation["market_data_1Minute"], expected.astype(np.float32))


def test_a_frame_without_a_choice_has_the_default():
    plain, _ = environment().reset(seed=0)
    for choice in (None, "default"):
        env = environment(features={"1min": changes, "5min": choice})
        np.testing.assert_array_equal(
            env.reset(seed=0)[0]["market_data_5Minute"], plain["market_data_5Minute"]
        )
    other, _ = environment(features={"1min": changes}).reset(seed=0)
    np.testing.assert_array_equal(other["market_data_5Minute"], plain["market_data_5Minute"])


def test_a_choice_for_a_frame_that_is_not_there():
    with pytest.raises(ValueError, match="features has an entry for 15min, which is none of the t"):
        environment(features={"15min": "default"})


def ready():
    rng = np.random.default_rng(5)
    return BARS.assign(
        Feature_One=rng.normal(size=600), FEATURE_two=np.arange(600.0), unrelated=np.nan
    )


def test_ready_columns_stand_after_the_default_ones():
    frame = ready()
    env = environment(frame)
    observation, _ = env.reset(seed=0)
    end = env.engine.tables.bar_end[env.engine.tables.first_decision]
    minute, five = observation["market_data_1Minute"], observation["market_data_5Minute"]
    assert minute.shape == (6, 7) and five.shape == (4, 7)
    plain, _ = environment().reset(seed=0)
    np.testing.assert_array_equal(minute[:, :5], plain["market_data_1Minute"])
    own = frame[["Feature_One", "FEATURE_two"]].to_numpy(np.float32)
    np.testing.assert_array_equal(minute[:, 5:], own[end - 6 : end])
    # a coarse bar shows the value of its last base bar, which is what was known at its end
    np.testing.assert_array_equal(five[:, 5:], own[end - 1 - 15 : end : 5])


def test_ready_columns_alone_or_not_at_all():
    frame = ready()
    alone, _ = environment(frame, features="columns").reset(seed=0)
    none, _ = environment(frame, features="default").reset(seed=0)
    assert alone["market_data_1Minute"].shape == (6, 2)
    assert none["market_data_1Minute"].shape == (6, 5)
    with pytest.raises(ValueError, match="features='columns', but the input has no column named f"):
        environment(features="columns")


def test_ready_columns_are_there_for_a_function():
    env = environment(ready(), features=lambda bars: bars[["feature_two"]] * 2.0)
    observation, _ = env.reset(seed=0)
    end = env.engine.tables.bar_end[env.engine.tables.first_decision]
    assert observation["market_data_1Minute"][-1, 0] == 2.0 * (end - 1)


@pytest.mark.parametrize(
    "value, shown", [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e300, "inf")]
)
def test_a_value_that_is_not_finite_in_the_middle_is_refused(value, shown):
    """Also one that only float32 cannot hold."""
    frame = BARS.assign(feature_x=1.0)
    frame.iloc[444, 5] = value
    with pytest.raises(MarketDataError) as caught:
        environment(frame)
    text = str(caught.value)
    assert f"feature 'feature_x' of the 1min bars is {shown} at {BARS.index[444]}" in text
    assert "every value must be finite" in text


def test_missing_values_at_the_beginning_only_delay_the_first_decision():
    frame = BARS.assign(feature_x=np.where(np.arange(600) < 400, np.nan, 1.0))
    env = environment(frame)
    observation, info = env.reset(seed=0)
    assert np.isfinite(observation["market_data_5Minute"]).all()
    # bar 404 is the last one of the first 5min bar whose value is known; four such are needed
    first = BARS.index[400] + pd.Timedelta("20min")
    assert pd.Timestamp(info["timestamp"]).tz_localize(None) == first


def test_a_feature_that_is_never_finite_is_refused():
    with pytest.raises(MarketDataError, match="none of which has all its features yet"):
        environment(BARS.assign(feature_x=np.nan))
