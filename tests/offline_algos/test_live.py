"""A checkpoint on new bars acts as it does in the environment."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, SequentialConfig
from offline_algos.checkpoint import load_policy, save_policy
from offline_algos.evaluation import evaluation_environment
from tests.offline_algos import samples

FRAME = samples.frame()
FLAT = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0], np.float32)


def test_bars_and_account_give_the_action_of_the_environment_s_observation(il_run, continuous_run):
    """At each instant of an evaluation: the same bytes."""
    for run in (il_run, continuous_run):
        policy = load_policy(run / "policy.pth")
        fields = json.dumps({k: v for k, v in policy.about["configuration"].items() if k != "df"})
        config = SequentialConfig.from_json(fields).replace(df=Market(FRAME))
        environment = evaluation_environment(config, "2020-01-04 08:00")
        observations, _ = environment.reset(seed=0)
        taken = []
        for _ in range(40):
            instant = environment.decision_times[environment.decision_index[0]]
            bars = FRAME[FRAME.index + pd.Timedelta("1min") <= instant]
            expected = policy.act(observations)
            for known in (bars, bars.iloc[-60:]):  # all the past, or an hour of it
                action = policy.act(known, observations[0, -6:])
                assert action.dtype == expected.dtype and action.shape == expected.shape[1:]
                assert action.tobytes() == expected[0].tobytes()
            taken.append(float(policy.exposure(action)))
            level = taken[-1]
            # half of the account's states come from other actions than the policy's own
            observations, _, _, _, _ = environment.step(expected)
            held = environment.account()["held_level"][0]
            assert held == pytest.approx(level, abs=0.021)  # less is not worth a trade
        if run is il_run:
            assert len(set(taken)) > 1 and set(taken) <= {0.0, 0.5, 1.0}


def test_exposure_counts_the_leverage(il_run, continuous_run):
    about = load_policy(il_run / "policy.pth").about
    actor = load_policy(il_run / "policy.pth")
    about["configuration"]["leverage"] = 3.0
    policy = type(actor)(actor.actor, about)
    np.testing.assert_array_equal(policy.exposure([2, 0, 1]), [3.0, 0.0, 1.5])
    continuous = load_policy(continuous_run / "policy.pth")
    np.testing.assert_array_equal(continuous.exposure(np.float32([[0.25], [1.0]])), [0.25, 1.0])


def test_what_is_missing_is_said(il_run, cart_run):
    policy = load_policy(il_run / "policy.pth")
    with pytest.raises(ValueError, match=r"20 1min bars .* Pass at least 55 1min bars"):
        policy.act(FRAME.iloc[980:1000], FLAT)
    with pytest.raises(ValueError, match="bars need an account_state"):
        policy.act(FRAME.iloc[:1000])
    with pytest.raises(ValueError, match="not ndarray"):
        policy.act(np.zeros((1, samples.COLUMNS)), FLAT)
    with pytest.raises(ValueError, match="every 5min"):
        policy.act(FRAME.iloc[:1001], FLAT)
    with pytest.raises(ValueError, match=r"make observations of 66 numbers, .* reads 56"):
        policy.act(FRAME.iloc[:1000].assign(feature_x=1.0), FLAT)
    with pytest.raises(ValueError, match="CartPole-v1 trades no market"):
        load_policy(cart_run / "policy.pth").act(FRAME, FLAT)
    with pytest.raises(ValueError, match="CartPole-v1 trades no market"):
        load_policy(cart_run / "policy.pth").exposure([0])


def close_returns(bars):
    return pd.DataFrame({name: np.log(bars["close"]).diff() for name in "abcde"})


def test_code_that_a_checkpoint_names_is_not_run(il_run, tmp_path):
    policy = load_policy(il_run / "policy.pth")
    about = json.loads(json.dumps(policy.about))
    about["configuration"]["features"] = "callable:no_such_module:harm"
    save_policy(tmp_path / "policy.pth", policy.actor, about)
    named = load_policy(tmp_path / "policy.pth")
    with pytest.raises(ValueError, match=r"code that would be imported and run.*config="):
        named.act(FRAME.iloc[:1000], FLAT)
    config = SequentialConfig(**(samples.SMALL | {"features": close_returns}))
    assert named.act(FRAME.iloc[:1000], FLAT, config=config).shape == ()
