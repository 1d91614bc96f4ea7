"""``trades()``: every round trip equals what its fills, taken alone, say that it was."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from gym_trade.history import TRADE_COLUMNS
from tests import markets
from tests.rollouts import CONFIGURATIONS, CRASH, configured_scalar, flat_then, scalar
from tests.round_trips import round_trips

KINDS = {
    "entry_time": "datetime64[ns]", "exit_time": "datetime64[ns]", "direction": "int64",
    "quantity": "float64", "entry_price": "float64", "exit_price": "float64", "reason": "object",
    "pnl": "float64", "return": "float64", "fees": "float64", "slippage_cost": "float64",
    "steps_held": "int64",
}  # fmt: skip
ROUGH = {"leverage": 30, "bankrupt_threshold": 0.0, "slippage": 0.002, "episode_steps": 60}
MORE = {  # episodes beside those of CONFIGURATIONS, and what has to occur in them
    "levels": {"leverage": 4, "episode_steps": 80, "slippage": 0.001},
    "capped": ROUGH | {"margin_mode": "isolated", "liquidation_fee": 0.01, "fill_at": "close"},
    "called": ROUGH | {"margin_call_threshold": 0.8, "action_type": "continuous"},
    "funded": {"leverage": 3, "funding_rate": 0.01, "episode_steps": 90},
    "stopped": ROUGH | {
        "kind": "SLTP", "stoploss_levels": (-0.006, -0.2), "takeprofit_levels": (0.006, 0.3),
        "position_fraction": 0.7, "include_close_action": True,
    },
}  # fmt: skip
OCCURS = {
    "spot": ("resize", "open"), "wild": ("liquidation", "agent"), "continuous": ("flip", "resize"),
    "brackets": ("stop_loss", "take_profit", "liquidation"), "locked": ("stop_loss", "open"),
    "one step": ("rollout_end", "stop_loss"), "left open": ("open", "stop_loss"),
    "levels": ("flip", "resize", "agent", "open"), "capped": ("liquidation", "shortfall", "flip"),
    "called": ("margin_call", "liquidation", "resize"), "funded": ("funding", "flip", "open"),
    "stopped": ("stop_loss", "take_profit", "agent", "flip", "liquidation", "open"),
    "index": ("flip", "resize"),
}  # fmt: skip


def made(name):
    if name in CONFIGURATIONS:
        return configured_scalar(name)
    return scalar(markets.bars(900, seed=4, volatility=0.005), **MORE[name])


def episode(env, rng, seed):
    """Play an episode; returns its last info and the sum over it of what loss caps absorbed."""
    _, info = env.reset(seed=seed)
    over = False
    while not over:
        if env.config.continuous:
            action = rng.uniform(-1, 1, 1).astype(np.float32) * (rng.random() < 0.8)
        else:
            action = int(rng.integers(0, env.action_space.n))
        *_, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    return info


def compare(trades, expected, seen, plain):
    """A frame of trades with the round trips worked out from the fills."""
    assert trades.dtypes.astype(str).to_dict() == TRADE_COLUMNS
    assert len(trades) == len(expected)
    for trade, row in zip(trades.to_dict("records"), expected, strict=True):
        for column, value in row.items():
            if isinstance(value, float):
                if column == "pnl" and not plain:
                    continue  # funding and what a cap absorbs are in no fill
                tolerance = 1e-9 * abs(trade["quantity"] * trade["entry_price"])
                assert trade[column] == pytest.approx(value, rel=1e-9, abs=tolerance), column
            else:
                same = trade[column] == value or (value is pd.NaT and trade[column] is pd.NaT)
                assert same, (column, trade, row)
        seen[trade["reason"]] += 1


@pytest.mark.parametrize("name", OCCURS)
def test_trades_are_the_round_trips_of_the_fills(name):
    env, rng, seen = made(name), np.random.default_rng(0), Counter()
    for seed in range(100, 140 if env.config.rollout else 116):
        info = episode(env, rng, seed)
        marks, fills, trades = env.history(), env.all_fills(), env.trades()
        trips = round_trips(fills, marks)
        last = float(marks["price"].iloc[-1])
        plain = info["funding_paid"] == 0.0 and info["shortfall"] == 0.0
        compare(trades, [trip.row(last) for trip in trips], seen, plain)
        if len(trades):
            kinds = {column: str(kind) for column, kind in trades.dtypes.items()}
            assert kinds == KINDS
        check_totals(trades, marks, info)
        check_steps_held(trades, marks, fills)
        seen["flip"] += sum((fills["position"] * (fills["position"] - fills["quantity"])) < -1e-6)
        seen["resize"] += sum(len(trip.legs) > 2 for trip in trips)
        seen["funding"] += info["funding_paid"] != 0.0
        seen["shortfall"] += info["shortfall"] > 0.0
    assert not [event for event in OCCURS[name] if not seen[event]], seen


def check_totals(trades, marks, info):
    """Sums over the round trips are those of the account."""
    equity = marks["portfolio_value"]
    change = equity.iloc[-1] - equity.iloc[0]
    most = float(equity.abs().max())
    assert trades["pnl"].sum() == pytest.approx(change, rel=1e-9, abs=1e-9 * most)
    assert trades["fees"].sum() == pytest.approx(info["fees_paid"], rel=1e-9)
    assert trades["slippage_cost"].sum() == pytest.approx(info["slippage_cost"], rel=1e-9)
    closed = trades["reason"] != "open"
    assert closed.sum() == info["n_trades"]
    assert trades["exit_time"].notna().tolist() == closed.tolist()
    assert (info["position"] != 0.0) == (len(trades) > closed.sum())
    assert closed.iloc[:-1].all() if len(trades) else True  # only the last one can be open
    before = equity.iloc[0] + trades["pnl"].cumsum() - trades["pnl"]
    expected = trades["pnl"] / before
    np.testing.assert_allclose(trades["return"].astype(float), expected.astype(float), rtol=1e-6)
    if "metrics" in info:
        wins = (trades["pnl"][closed] > 0.0).sum()
        rate = wins / closed.sum() if closed.any() else 0.0
        assert info["metrics"]["win_rate"] == pytest.approx(rate)


def check_steps_held(trades, marks, fills):
    """No instant is lost or counted twice, and the mark's own count agrees at the end."""
    held = marks["position"] != 0.0
    assert trades["steps_held"].sum() == held.sum()
    if held.iloc[-1]:
        assert trades["steps_held"].iloc[-1] == marks["steps_held"].iloc[-1]
    # a position held over an instant and closed by the next order was last counted there
    closing = fills[(fills["reason"] == "agent") & (fills["position"] == 0.0)]
    counted = marks["steps_held"].to_numpy()[closing["step"]]
    ended = trades[(trades["reason"] == "agent") & trades["exit_time"].isin(closing["timestamp"])]
    assert set(counted) <= set(ended["steps_held"])


# --- by hand ----------------------------------------------------------------------------


def test_a_flip_is_two_round_trips_that_share_its_fee():
    """Long 2 units from 100, short 4 units at 110: 6 units change hands, of which 2 close."""
    frame = flat_then(80, 110.0, at=32)
    env = scalar(frame, leverage=2, action_levels=[-1, 0, 1], transaction_fee=0.001,
                 random_start=False, start="2023-01-02 00:20", lot_size=1.0,
                 initial_cash=101.0)  # fmt: skip
    env.reset(seed=0)
    for action in (2, 2, 2, 0):
        env.step(action)
    first, second = env.trades().to_dict("records")
    flip = env.all_fills().iloc[1]
    assert (first["direction"], second["direction"]) == (1, -1)
    bought, sold = first["quantity"], second["quantity"]
    assert bought == 2.0 and flip["quantity"] == -bought - sold and sold >= 1.0
    assert first["fees"] == pytest.approx(0.001 * bought * (100.0 + 110.0))
    assert second["fees"] == pytest.approx(0.001 * sold * 110.0)
    assert first["pnl"] == pytest.approx(bought * 10.0 - first["fees"])
    assert second["pnl"] == pytest.approx(-second["fees"])
    assert (first["exit_time"], first["exit_price"]) == (second["entry_time"], 110.0)
    assert (first["reason"], second["reason"]) == ("agent", "open")
    assert (first["steps_held"], second["steps_held"]) == (3, 1)
    assert first["return"] == pytest.approx(first["pnl"] / 101.0)
    assert second["return"] == pytest.approx(second["pnl"] / (101.0 + first["pnl"]))


def test_a_loss_cap_is_part_of_the_round_trip():
    """Isolated margin: a gap far beyond the liquidation price costs the margin and no more."""
    env = scalar(flat_then(60, 40.0, at=42), leverage=4, margin_mode="isolated",
                 action_levels=[0, 0.5], bankrupt_threshold=0.0, **CRASH)  # fmt: skip
    env.reset(seed=0)
    for _ in range(3):
        *_, info = env.step(1)
    (trade,) = env.trades().to_dict("records")
    assert info["shortfall"] > 0.0 and trade["reason"] == "liquidation"
    assert trade["pnl"] == pytest.approx(-trade["quantity"] * 100.0 / 4)
    assert trade["exit_price"] == 40.0
    assert trade["pnl"] == pytest.approx(trade["quantity"] * -60.0 + info["shortfall"])


def test_funding_is_part_of_the_round_trip_that_paid_it():
    """Held over midnight, sold at once; the second round trip pays none."""
    env = scalar(markets.flat_bars(400).set_axis(
        pd.date_range("2023-01-02 23:00", periods=400, freq="1min", name="timestamp")
    ), leverage=2, funding_rate=0.001, random_start=False, start="2023-01-02 23:50",
        transaction_fee=0.0)  # fmt: skip
    env.reset(seed=0)
    for action in (4, 4, 4, 2, 4, 2):
        *_, info = env.step(action)
    first, second = env.trades().to_dict("records")
    assert info["funding_paid"] == pytest.approx(20_000.0 * 0.001)
    assert first["pnl"] == pytest.approx(-20.0) and second["pnl"] == 0.0
    assert env.history()["funding_paid"].tolist() == pytest.approx([0, 0, 0, 20, 20, 20, 20])
    assert second["return"] == 0.0 and first["return"] == pytest.approx(-0.002)


@pytest.mark.parametrize("kind", ["Sequential", "SLTP"])
def test_frames_without_rows_have_the_columns_and_dtypes_of_all_others(kind):
    """So that those of many episodes can be concatenated, quiet ones among them."""
    env = scalar(kind=kind, leverage=3, episode_steps=10)
    env.reset(seed=0)
    empty = {"trades": env.trades(), "fills": env.all_fills(), "last": env.fills()}
    for action in (1, 2, 2):
        env.step(action)
    full = {"trades": env.trades(), "fills": env.all_fills(), "last": env.all_fills()}
    for name, frame in empty.items():
        assert len(frame) == 0 < len(full[name])
        kinds = frame.dtypes.astype(str).to_dict()
        assert kinds == full[name].dtypes.astype(str).to_dict(), name
