"""The arguments of the bracket environments: taken, refused, contradicting, as JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import gymnasium as gym
import numpy as np
import pytest

from gym_trade import (
    Market,
    OneStepConfig,
    OneStepEnv,
    SequentialConfig,
    SequentialEnv,
    SLTPConfig,
    SLTPEnv,
    VectorOneStepEnv,
    VectorSLTPEnv,
)
from tests import markets, slow_market
from tests.argument_cases import cases
from tests.rollouts import SMALL, assert_same

FRAME = markets.bars(300).assign(feature_x=0.5, funding_rate=1e-4)
MARKET = Market(FRAME)
NAN, INF = math.nan, math.inf


def fields_of(config):
    return {field.name for field in dataclasses.fields(config)}


SHARED = fields_of(SequentialConfig) - {"action_type", "action_levels", "rebalance_threshold"}

# Of each argument: (value, what the configuration holds).
GOOD = {
    "stoploss_levels": [((-0.02, -0.05), (-0.02, -0.05)), ([-0.5], (-0.5,)),
                        (np.array([-0.1, -0.01]), (-0.1, -0.01)), ((-1 + 1e-9,),) * 2],
    "takeprofit_levels": [([0.05, 0.1], (0.05, 0.1)), ((1e-9,), (1e-9,)), ([3, 100], (3.0, 100.0))],
    "include_hold_action": [(True, True), (np.False_, False)],
    "include_close_action": [(True, True), (False, False)],
    "position_fraction": [(1, 1.0), (1e-9, 1e-9), (np.float32(0.5), 0.5)],
    "replace_brackets": [(True, True), (False, False)],
    "lock_until_exit": [(True, True), (np.True_, True)],
    "rollout_steps": [(1, 1), (np.int64(100), 100)],
    "close_at_end": [(False, False), (True, True)],
}  # fmt: skip

# Of each argument: values it refuses, and what the message says is allowed.
BETWEEN, FLAG = "numbers between -1 and 0, both excluded", "True or False"
BAD = {
    "stoploss_levels": [([0.0], BETWEEN), ([-1.0], BETWEEN), ([-0.1, 0], BETWEEN), ([0.02], "<= 0"),
                        ([-1.5], ">= -1"), ([], "at least one number"), ([NAN], ">= -1"),
                        ([-0.1, -0.1], "different numbers"), (-0.1, "[-1, 0]"), (None, "[-1, 0]"),
                        ("-0.1", "[-1, 0]"), ({-0.1}, "[-1, 0]"), (["-0.1"], ">= -1"),
                        (np.full((1, 1), -0.1), "[-1, 0]"), ([-0.1, True], "<= 0")],
    "takeprofit_levels": [([0.0], "both excluded"), ([-0.02], ">= 0"), ([], "at least one"),
                          ([1e6], "numbers between 0 and 1e+06"), ([INF], "<= 1e+06"),
                          ([NAN], ">= 0"), ([0.1, 0.1], "different numbers"), (0.1, "[0, 1e+06]"),
                          (None, "[0, 1e+06]"), ([0.1, [0.2]], ">= 0")],
    "include_hold_action": [(1, FLAG), ("yes", FLAG), (None, FLAG)],
    "include_close_action": [(0, FLAG), ("no", FLAG), (None, FLAG)],
    "position_fraction": [(0, "a number > 0 and <= 1"), (1.01, "<= 1"), (-0.5, "> 0"), (NAN, "> 0"),
                          ("1", "> 0"), (True, "> 0"), (None, "> 0")],
    "replace_brackets": [(1, FLAG), (None, FLAG)],
    "lock_until_exit": [(1, FLAG), ("no", FLAG)],
    "rollout_steps": [(0, "a whole number >= 1"), (-3, ">= 1"), (2.0, ">= 1"), (None, ">= 1"),
                      (True, ">= 1"), ("24", ">= 1"), (NAN, ">= 1")],
    "close_at_end": [(1, FLAG), (None, FLAG)],
}  # fmt: skip


@pytest.mark.parametrize("table", [GOOD, BAD], ids=["good", "bad"])
def test_no_argument_is_forgotten(table):
    brackets = set(table) - {"rollout_steps", "close_at_end"}
    assert fields_of(SLTPConfig) == SHARED | brackets
    assert fields_of(OneStepConfig) == SHARED | set(table)
    for field in dataclasses.fields(OneStepConfig):
        assert len(field.metadata["help"]) > 5


@pytest.mark.parametrize("name, value, held", cases(GOOD))
def test_a_good_value(name, value, held):
    config = OneStepConfig(**{name: value})
    got = getattr(config, name)
    assert type(got) is type(held) and got == held
    assert config == OneStepConfig(**{name: held})
    for other in fields_of(OneStepConfig) - {name}:
        assert getattr(config, other) == getattr(OneStepConfig(), other)


@pytest.mark.parametrize("name, value, allowed", cases(BAD))
def test_a_value_out_of_range_is_refused_by_name_value_and_range(name, value, allowed):
    for cls in (SLTPConfig, OneStepConfig):
        if name in fields_of(cls):
            with pytest.raises(ValueError) as caught:
                cls(**{name: value})
            text = str(caught.value)
            assert text.startswith(f"{name}=") and allowed in text
            assert len(text) < 400


def test_a_shorts_target_is_a_price():
    """A short gains 100% at most; a long's target may be anywhere above."""
    for short in ({"leverage": 2}, {"allow_short": True}):
        with pytest.raises(ValueError, match=r"takeprofit_levels=.*short's target"):
            SLTPConfig(takeprofit_levels=[1.0], **short)
        with pytest.raises(ValueError, match=r"takeprofit_levels=1.5: .*<= 1"):
            SLTPConfig(takeprofit_levels=[0.5, 1.5], **short)
        SLTPConfig(takeprofit_levels=[0.999], **short)
    SLTPConfig(takeprofit_levels=[1.0, 5.0])
    SLTPConfig(takeprofit_levels=[1.0, 5.0], leverage=3, allow_short=False)
    with pytest.raises(ValueError, match=r"takeprofit_levels="):
        SLTPConfig(takeprofit_levels=[1.5]).replace(leverage=2)


# --- contradictions, names and doors ----------------------------------------------------


def make(**arguments):
    return gym.make("Trade-SLTP-v0", **arguments)


def make_vec(**arguments):
    return gym.make_vec("Trade-OneStep-v0", num_envs=2, **arguments)


DOORS = [SLTPEnv, OneStepEnv, VectorSLTPEnv, VectorOneStepEnv, make, make_vec]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("other", ["replace_brackets", "include_close_action"])
def test_a_lock_contradicts_what_it_would_ignore(door, other):
    with pytest.raises(ValueError, match=rf"lock_until_exit=True contradicts {other}=True"):
        door(df=MARKET, lock_until_exit=True, **{other: True})
    with pytest.raises(ValueError, match=f"contradicts {other}=True"):
        SLTPConfig(**{other: True}).replace(lock_until_exit=True)
    SLTPConfig(lock_until_exit=True)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name, value", [
    ("action_levels", [0, 1]), ("action_type", "continuous"), ("rebalance_threshold", 0.1),
])  # fmt: skip
def test_levels_are_unknown_here(door, name, value):
    with pytest.raises(ValueError) as caught:
        door(df=MARKET, **{name: value})
    text = str(caught.value)
    assert f"unknown argument {name}=" in text
    known = text.split("Known: ")[1].rstrip(".").split(", ")
    assert known in ([f.name for f in dataclasses.fields(c)] for c in (SLTPConfig, OneStepConfig))


def test_brackets_are_unknown_there():
    with pytest.raises(ValueError, match=r"unknown argument stoploss_levels=.*Known: df, time_f"):
        SequentialEnv(df=MARKET, stoploss_levels=(-0.1,))
    for name in ("rollout_steps", "close_at_end"):
        with pytest.raises(ValueError, match=f"unknown argument {name}=5"):
            SLTPEnv(df=MARKET, **{name: 5})
    with pytest.raises(ValueError, match=r"stop_loss_levels=.*Did you mean stoploss_levels\?"):
        SLTPEnv(df=MARKET, stop_loss_levels=(-0.1,))


CONFIGS = {SequentialEnv: SequentialConfig, SLTPEnv: SLTPConfig, OneStepEnv: OneStepConfig,
           VectorSLTPEnv: SLTPConfig, VectorOneStepEnv: OneStepConfig}  # fmt: skip


@pytest.mark.parametrize("door", CONFIGS)
def test_a_configuration_of_another_environment_is_refused(door):
    own = CONFIGS[door]
    assert door(own(df=MARKET, **SMALL)).config == own(df=MARKET, **SMALL)
    assert door(own(df=MARKET, **SMALL), leverage=3).config.leverage == 3.0
    for other in {SequentialConfig, SLTPConfig, OneStepConfig} - {own}:
        with pytest.raises(ValueError, match=f"config=.*: expected a {own.__name__}"):
            door(other(df=MARKET, **SMALL))


# --- JSON -------------------------------------------------------------------------------


EVERY = {
    "df": FRAME, "time_frames": ["60sec", "5min"], "window_sizes": (4, 3), "execute_on": "300s",
    "features": {"1min": slow_market.raw_features, "5min": "default"}, "stamp": "open",
    "offset": None, "start": "2023-01-02 22:00", "end": "2023-01-03 01:00",
    "initial_cash": (100.0, 1000 / 3), "leverage": 3, "allow_short": True, "transaction_fee": 0.003,
    "slippage": 1 / 3000, "slippage_model": "uniform", "fill_at": "close", "lot_size": 0.001,
    "min_notional": 5, "margin_mode": "isolated", "maintenance_margin_rate": 0.005,
    "liquidation_fee": 0.015, "margin_call_threshold": 0.5, "funding_rate": "funding_rate",
    "bankrupt_threshold": 0.2, "episode_steps": 7, "random_start": False,
    "reward": slow_market.gain, "observation": "flat", "render_mode": None,
    "stoploss_levels": (-0.1, -1 / 3), "takeprofit_levels": np.array([0.1 + 0.2, 1e-17]),
    "include_hold_action": False, "include_close_action": True, "position_fraction": 2 / 3,
    "replace_brackets": True, "lock_until_exit": False, "rollout_steps": 9, "close_at_end": False,
}  # fmt: skip


@pytest.mark.parametrize("cls, door", [(SLTPConfig, SLTPEnv), (OneStepConfig, OneStepEnv)])
def test_every_argument_survives(cls, door):
    """And the environment of the copy gives the same numbers."""
    given = {name: value for name, value in EVERY.items() if name in fields_of(cls)}
    assert set(given) == fields_of(cls)
    config = cls(**given)
    text = config.to_json()
    assert json.loads(text)["takeprofit_levels"] == [0.1 + 0.2, 1e-17]
    again = cls.from_json(text, df=FRAME.copy())
    assert again == config and again.to_json() == text
    one, other = door(config), door(again)
    assert_same(one.reset(seed=1)[0], other.reset(seed=1)[0])
    for step in range(7 if cls is SLTPConfig else 1):
        left, right = one.step(step % 9), other.step(step % 9)
        assert_same(left[0], right[0])
        assert_same(left[4], right[4])
        assert left[1:4] == right[1:4]


@pytest.mark.parametrize("name", GOOD)
def test_each_argument_survives_by_itself(name):
    config = OneStepConfig(**{name: EVERY[name]})
    assert OneStepConfig.from_json(config.to_json()) == config


def test_the_text_of_another_environment_is_refused():
    with pytest.raises(ValueError, match="unknown argument action_type="):
        SLTPConfig.from_json(SequentialConfig().to_json())
    with pytest.raises(ValueError, match="unknown argument rollout_steps=24"):
        SLTPConfig.from_json(OneStepConfig().to_json())
    for text, message in (
        ('{"stoploss_levels": [0.1]}', "stoploss_levels=0.1"),
        ('{"rollout_steps": 0}', "rollout_steps=0: expected a whole number >= 1"),
        ('{"close_at_end": 1}', "close_at_end=1"),
    ):
        with pytest.raises(ValueError, match=message):
            OneStepConfig.from_json(text)
