"""A configuration whole: as JSON, as ``config=``, with several markets or with a mere reference."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest

from gym_trade import Market, SequentialConfig, SequentialEnv, VectorTradeEnv
from tests import markets, slow_market
from tests.rollouts import SMALL, assert_same

FRAME = markets.bars(300).assign(feature_x=0.5, funding_rate=1e-4)
OTHER = markets.bars(280, seed=1).assign(feature_x=0.5, funding_rate=1e-4)
MARKET = Market(FRAME)


class Holder:
    """Somewhere to put callables that have no importable name of their own."""

    def method(self, equity):
        return equity

    @staticmethod
    def function(equity):
        return equity

    def __call__(self, equity):
        return equity


def local():
    def inner(equity):
        return equity

    return inner


EVERY = {
    "df": FRAME, "time_frames": ["60sec", "5min"], "window_sizes": (4, 3), "execute_on": "300s",
    "features": {"1min": slow_market.raw_features, "5min": "default"}, "stamp": "open",
    "offset": None, "start": "2023-01-02 22:00", "end": "2023-01-03 01:00",
    "initial_cash": (0.1, 1 / 3), "leverage": 3, "allow_short": True, "action_type": "discrete",
    "action_levels": [-1, 0.1, 1 / 3], "transaction_fee": 0.1 + 0.2, "slippage": 1e-17,
    "slippage_model": "uniform", "fill_at": "close", "rebalance_threshold": 0.03,
    "lot_size": 0.001, "min_notional": 5, "margin_mode": "isolated",
    "maintenance_margin_rate": 0.005, "liquidation_fee": 0.015, "margin_call_threshold": 0.5,
    "funding_rate": "funding_rate", "bankrupt_threshold": 0.2, "episode_steps": 7,
    "random_start": False, "reward": slow_market.gain, "observation": "flat", "render_mode": None,
}  # fmt: skip


# --- JSON -------------------------------------------------------------------------------


def test_every_argument_survives():
    config = SequentialConfig(**EVERY)
    assert set(EVERY) == set(SequentialConfig.__dataclass_fields__)
    text = config.to_json()
    fields = json.loads(text)
    assert sorted(fields) == sorted(EVERY)
    assert fields["df"] == Market(FRAME).content_hash
    assert fields["reward"] == "callable:tests.slow_market:gain"
    assert fields["features"] == {
        "1min": "callable:tests.slow_market:raw_features", "5min": "default",
    }  # fmt: skip
    for df in (FRAME, MARKET, Market(FRAME)):
        again = SequentialConfig.from_json(text, df=df)
        assert again == config
        assert again.to_json() == text
        assert again.reward is slow_market.gain
        assert again.features["1min"] is slow_market.raw_features
    assert "NaN" not in text and "Infinity" not in text


@pytest.mark.parametrize("name", EVERY)
def test_each_argument_survives_by_itself(name):
    alone = {"features": {"5min": "columns"}, "action_levels": [1.0, 0.0]} | {
        key: EVERY[key] for key in EVERY if key not in ("features", "action_levels")
    }
    needed = {"funding_rate": {"df": FRAME}}.get(name, {})
    config = SequentialConfig(**(needed | {name: alone[name]}))
    df = FRAME if name in ("df", "funding_rate") else None
    assert SequentialConfig.from_json(config.to_json(), df=df) == config


def test_the_environment_of_the_copy_is_the_same():
    arguments = EVERY | {"transaction_fee": 0.001, "slippage": 0.001, "initial_cash": (1e3, 1e5)}
    config = SequentialConfig(**arguments)
    copied = SequentialConfig.from_json(config.to_json(), df=FRAME.copy())
    one, other = SequentialEnv(config), SequentialEnv(copied)
    assert_same(one.reset(seed=1)[0], other.reset(seed=1)[0])
    for step in range(7):
        left, right = one.step(step % 3), other.step(step % 3)
        assert_same(left[0], right[0])
        assert left[1:] == right[1:]


@pytest.mark.parametrize("source", [[FRAME, OTHER], {"a": FRAME, "b": OTHER}], ids=["list", "dict"])
def test_several_markets_survive_in_their_shape(source):
    config = SequentialConfig(df=source, **SMALL)
    text = config.to_json()
    encoded = json.loads(text)["df"]
    hashes = [Market(FRAME).content_hash, Market(OTHER).content_hash]
    assert encoded == (hashes if isinstance(source, list) else dict(zip("ab", hashes, strict=True)))
    assert SequentialConfig.from_json(text, df=source) == config
    swapped = source[::-1] if isinstance(source, list) else {"a": OTHER, "b": FRAME}
    for wrong in (swapped, FRAME, [FRAME], {"a": FRAME, "c": OTHER}, [FRAME, OTHER, FRAME]):
        with pytest.raises(ValueError, match=r"df: its content hash is .* but the configuration w"):
            SequentialConfig.from_json(text, df=wrong)


def test_closing_stamps_and_offsets_survive():
    frame = markets.bars(200, interval="1h", start="2023-01-02 09:30", missing=0.0)
    config = SequentialConfig(df=frame, stamp="close", offset="30min", window_sizes=4)
    for df in (frame, Market(frame, stamp="close", offset="1800s")):
        assert SequentialConfig.from_json(config.to_json(), df=df) == config


def test_another_market_is_refused():
    text = SequentialConfig(df=FRAME).to_json()
    with pytest.raises(ValueError) as caught:
        SequentialConfig.from_json(text, df=OTHER)
    message = str(caught.value)
    assert Market(FRAME).content_hash in message and Market(OTHER).content_hash in message
    assert "use replace(df=...) to change it" in message
    with pytest.raises(ValueError, match="content hash"):
        SequentialConfig.from_json(SequentialConfig().to_json(), df=FRAME)


def test_the_embedded_market_needs_no_reference():
    config = SequentialConfig.from_json(SequentialConfig(leverage=2).to_json())
    assert config == SequentialConfig(leverage=2)
    SequentialEnv(config).reset(seed=0)


def test_a_reference_is_no_market():
    for source in (FRAME, [FRAME, OTHER], {"a": FRAME}):
        config = SequentialConfig(df=source, leverage=2, **SMALL)
        reference = SequentialConfig.from_json(config.to_json())
        assert reference.to_json() == config.to_json()
        assert reference.leverage == 2.0
        for door in (SequentialEnv, VectorTradeEnv):
            with pytest.raises(ValueError) as caught:
                door(reference)
            assert Market(FRAME).content_hash[:16] in str(caught.value)
            assert "Pass that market: from_json(text, df=...) or replace(df=...)" in str(
                caught.value
            )
        SequentialEnv(reference.replace(df=source)).reset(seed=0)
        SequentialEnv(reference, df=source).reset(seed=0)


@pytest.mark.parametrize("reward", [
    lambda equity: equity, local(), Holder(), Holder().method,
], ids=["lambda", "local", "instance", "method"])  # fmt: skip
def test_a_callable_without_an_importable_name_is_refused(reward):
    config = SequentialConfig(reward=reward)  # which an environment takes all the same
    with pytest.raises(ValueError) as caught:
        config.to_json()
    assert str(caught.value).startswith("reward=")
    assert "top level of a module" in str(caught.value)


def test_a_lambda_among_features_is_refused():
    config = SequentialConfig(features={"1min": lambda bars: bars[["close"]]})
    with pytest.raises(ValueError, match=r"features=<function .*<lambda>.* has no importable name"):
        config.to_json()


@pytest.mark.parametrize("text, message", [
    ("[]", "expected a JSON object"), ("3", "expected a JSON object"),
    ("{", "Expecting property name"),
    ('{"windows": 3}', "unknown argument windows=3. Here it is called window_sizes"),
    ('{"leverage": 0}', "leverage=0: expected a number >= 1"),
    ('{"reward": "callable:tests.slow_market:nothing"}', "reward=.* cannot be imported"),
    ('{"reward": "callable:no_such_module:gain"}', "reward=.* cannot be imported: No module"),
])  # fmt: skip
def test_a_bad_text_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        SequentialConfig.from_json(text)


# --- config= ----------------------------------------------------------------------------


def test_a_whole_configuration_and_keywords_over_it():
    config = SequentialConfig(df=MARKET, leverage=5, slippage=0.01, **SMALL)
    for make in (
        lambda **more: SequentialEnv(config, **more),
        lambda **more: SequentialEnv(config=config, **more),
        lambda **more: VectorTradeEnv(config=config, num_envs=2, **more),
        lambda **more: gym.make("Trade-Sequential-v0", config=config, **more).unwrapped,
        lambda **more: gym.make_vec("Trade-Sequential-v0", num_envs=2, config=config, **more),
    ):
        assert make().config == config
        changed = make(leverage=2, reward="pnl").config
        assert changed == config.replace(leverage=2, reward="pnl")
        assert (changed.leverage, changed.slippage, changed.reward) == (2.0, 0.01, "pnl")
        assert changed.df is MARKET
        with pytest.raises(ValueError, match="unknown argument trading_fees"):
            make(trading_fees=1)
        with pytest.raises(ValueError, match="below 1/leverage"):
            make(maintenance_margin_rate=0.3)
    assert config.leverage == 5.0


@pytest.mark.parametrize("wrong", [FRAME, MARKET, {"leverage": 2}, "config.json"], ids=type)
def test_something_else_as_a_configuration(wrong):
    with pytest.raises(ValueError, match=r"config=.*: expected a SequentialConfig") as caught:
        SequentialEnv(wrong)
    assert len(str(caught.value)) < 200


def test_replace_checks_again_and_keeps_the_market():
    config = SequentialConfig(df=FRAME, **SMALL)
    assert config.replace(leverage=3).df is config.df
    with pytest.raises(ValueError, match="leverage=300"):
        config.replace(leverage=300)


# --- several markets --------------------------------------------------------------------


@pytest.mark.parametrize("source, names", [
    ([FRAME, OTHER], ["0", "1"]), ({"a": FRAME, "b": OTHER}, ["a", "b"]),
    ((MARKET, OTHER), ["0", "1"]),
], ids=["list", "dict", "tuple"])  # fmt: skip
def test_each_reset_draws_a_market(source, names):
    env = SequentialEnv(df=source, episode_steps=3, **SMALL)
    frames = [FRAME, OTHER]
    drawn = []
    for seed in range(40):
        _, info = env.reset(seed=seed)
        number = names.index(info["market"])
        drawn.append(number)
        close = frames[number].loc[: np.datetime64(info["timestamp"][:19])]["close"]
        before = close.index + np.timedelta64(1, "m") <= np.datetime64(info["timestamp"][:19])
        assert info["price"] == close[before].iloc[-1]
        assert env.reset(seed=seed)[1] == info
    assert 8 < sum(drawn) < 32
    assert [len(market) for market in env.markets] == [len(FRAME), len(OTHER)]


def test_one_market_in_a_list_is_that_market():
    alone, listed = (SequentialEnv(df=df, **SMALL) for df in (FRAME, [FRAME]))
    assert_same(alone.reset(seed=4)[0], listed.reset(seed=4)[0])


def test_markets_of_different_features_do_not_mix():
    with pytest.raises(ValueError, match=r"different numbers of features: 0 \(6,\), 1 \(5,\)"):
        SequentialEnv(df=[FRAME, OTHER.drop(columns="feature_x")], **SMALL)
