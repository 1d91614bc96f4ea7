"""One step: the order of its events, and what the agent sees of its account."""

from __future__ import annotations

import numpy as np
import pytest

from tests import markets
from tests.rollouts import CRASH, flat_then, play, scalar, vector

# --- the order of events in a step ------------------------------------------------------


def test_fill_at_next_open_or_at_the_last_visible_close():
    """On bars that gap between close and next open, with adverse slippage."""
    frame = markets.bars(100, missing=0.0)
    for fill_at, bar, column in (("next_open", 60, "open"), ("close", 59, "close")):
        env = scalar(frame, fill_at=fill_at, slippage=0.01, random_start=False,
                     start="2023-01-02 22:00")  # fmt: skip
        env.reset(seed=0)
        *_, info = env.step(2)
        (filled,) = env.fills().itertuples()
        assert filled.bar == bar
        assert filled.reference_price == frame[column].iloc[bar]
        assert filled.price == filled.reference_price * 1.01
        assert info["entry_price"] == filled.price
        assert info["price"] == frame["close"].iloc[64]
        assert info["timestamp"] == "2023-01-02T22:05:00+00:00"


def test_a_closed_market_is_a_gap_not_a_bar():
    """The order waits for the first bar after the close, and one step spans the night."""
    frame = markets.bars(200, missing=0.0)
    night = frame.iloc[60:120]
    frame = frame.drop(index=night.index)
    env = scalar(frame, random_start=False, start="2023-01-02 22:00")
    infos, _, _ = play(env, [2, 2])
    assert [info["timestamp"][11:16] for info in infos] == ["22:00", "23:05", "23:10"]
    assert infos[1]["entry_price"] == frame["open"].iloc[60]
    assert infos[0]["price"] == frame["close"].iloc[59]


@pytest.mark.parametrize("bar", range(5))
def test_every_bar_of_a_decision_bin_is_walked(bar):
    """The bar of the fill included, the last one included: a low in any of them liquidates."""
    frame = markets.flat_bars(60)
    frame.iloc[30 + bar, frame.columns.get_loc("low")] = 85.0
    env = scalar(frame, leverage=10, **CRASH)
    infos, _, _ = play(env, [4])
    assert infos[-1]["exit_reason"] == "liquidation"
    fills = env.fills()
    assert list(fills["reason"]) == ["agent", "liquidation"]
    assert list(fills["bar"]) == [30, 30 + bar]
    assert fills["price"].iloc[1] == pytest.approx(90.0 / 0.996)
    assert infos[-1]["liquidated"] and infos[-1]["position"] == 0.0
    # the spike lies before the fill: no liquidation
    infos, _, _ = play(scalar(frame, leverage=10, **(CRASH | {"start": "2023-01-02 00:35"})), [4])
    assert not infos[-1]["liquidated"]


def test_after_a_liquidation_the_same_action_is_a_new_order():
    """The level held is 0 then, in account and observation."""
    frame = markets.flat_bars(60)
    frame.iloc[32, frame.columns.get_loc("low")] = 85.0
    env = vector(frame, num_envs=1, leverage=10, bankrupt_threshold=0.0, **CRASH)
    env.reset(seed=0)
    env.step([4])
    assert env.account()["held_level"] == [0.0]
    assert env.account()["steps_held"] == [0]
    env.step([4])
    left = env.portfolio_value[0]
    assert env.account()["held_level"] == [1.0]
    assert env.account()["position"][0] == pytest.approx(10.0 * left / 100.0)


@pytest.mark.parametrize(("action", "level"), [(4, 1.0), (0, -1.0), (2, 0.0)])
def test_a_gap_liquidates_first_and_the_order_trades_what_is_left(action, level):
    """By hand: isolated, half in margin at leverage 10, open at 80 far below 90.36."""
    env = scalar(
        flat_then(60, 80.0, at=35), leverage=10, margin_mode="isolated",
        slippage=0.01, **(CRASH | {"transaction_fee": 0.001}),
    )  # fmt: skip
    infos, rewards, _ = play(env, [3, action])
    entry, quantity = 101.0, infos[1]["position"]
    assert infos[1]["entry_price"] == pytest.approx(entry)
    assert quantity * entry == pytest.approx(5.0 * infos[1]["cash"])
    left = infos[1]["cash"] - quantity * entry / 10.0  # all of the margin is gone, no more
    fills = env.fills()
    assert fills["price"].iloc[0] == pytest.approx(80.0 * 0.99)
    assert fills["fee"].iloc[0] == 0.0
    shortfall = quantity * (entry - 79.2) - quantity * entry / 10.0
    assert infos[2]["shortfall"] == pytest.approx(shortfall)
    assert infos[2]["liquidated"] and infos[2]["exit_reason"] == "liquidation"
    if level == 0.0:
        assert infos[2]["cash"] == pytest.approx(left, rel=1e-12)
        assert len(fills) == 1
    else:
        price = 80.0 * (1.0 + 0.01 * level)
        assert fills["price"].iloc[1] == pytest.approx(price)
        worth = infos[2]["cash"]
        assert infos[2]["position"] * price == pytest.approx(10.0 * level * worth)
        assert worth + fills["fee"].iloc[1] == pytest.approx(left)
    assert rewards[1] == pytest.approx(
        np.log(infos[2]["portfolio_value"] / infos[1]["portfolio_value"])
    )


def test_no_order_after_a_gap_that_bankrupts():
    for margin_mode, threshold in (("cross", 0.0), ("isolated", 0.6)):
        env = scalar(flat_then(60, 80.0, at=35), leverage=10, margin_mode=margin_mode,
                     **(CRASH | {"bankrupt_threshold": threshold}))  # fmt: skip
        infos, _, flags = play(env, [3, 0])
        assert list(env.fills()["reason"]) == ["liquidation"]
        assert flags == (True, False)
        assert infos[-1]["position"] == 0.0


# --- what the agent sees of its account -------------------------------------------------


@pytest.mark.parametrize("margin_mode", ["cross", "isolated"])
@pytest.mark.parametrize("leverage", [1, 5])
def test_account_state(leverage, margin_mode):
    """Six float32: exposure, direction, profit, steps held, leverage, distance to liquidation."""
    env = scalar(markets.bars(900, volatility=0.004), leverage=leverage, allow_short=True,
                 action_levels=[-1, -0.3, 0, 0.4, 1], margin_mode=margin_mode,
                 random_start=False)  # fmt: skip
    obs, info = env.reset(seed=2)
    np.testing.assert_array_equal(obs["account_state"], np.float32([0, 0, 0, 0, leverage, 1]))
    rng, held, position, longest, action = np.random.default_rng(0), 0, 0.0, 0, 0
    for _ in range(120):
        action = int(rng.integers(0, 5)) if rng.random() < 0.4 else action
        obs, _, terminated, truncated, info = env.step(action)
        state = obs["account_state"]
        assert state.dtype == np.float32 and state.shape == (6,)
        q, price, equity = info["position"], info["price"], info["portfolio_value"]
        entry, wallet = info["entry_price"], info["cash"]
        opened = any(fill.reason == "agent" for fill in env.fills().itertuples())
        kept = q * position > 0 and not (opened and info["liquidated"])
        held = 0 if q == 0 else held + 1 if kept else 1
        direction = np.sign(q)
        distance = 1.0
        if q != 0 and (leverage > 1 or q < 0):
            if margin_mode == "cross":
                level = (q * entry - wallet) / (q - 0.004 * abs(q))
            else:
                level = entry * (1 - direction / leverage) / (1 - direction * 0.004)
            distance = min(abs(price - level) / price, 1.0) if level > 0 else 1.0
        profit = direction * (price - entry) / entry if q else 0.0
        expected = [abs(q) * price / equity, direction, profit, held, leverage, distance]
        np.testing.assert_allclose(state, expected, rtol=1e-6, atol=1e-7)
        position, longest = q, max(longest, held)
        if terminated or truncated:
            break
    assert longest > 4


def test_steps_held():
    """1 on opening, counting through a resize, again 1 on a flip, 0 when flat."""
    env = scalar(leverage=2, random_start=False)
    env.reset(seed=0)
    actions = [2, 3, 3, 4, 3, 0, 1, 2, 2, 4]
    held = [float(env.step(action)[0]["account_state"][3]) for action in actions]
    assert held == [0, 1, 2, 3, 4, 1, 2, 0, 0, 1]
