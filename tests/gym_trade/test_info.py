"""What a scalar step says beside its observation: info and fills."""

from __future__ import annotations

import copy
import datetime

import numpy as np
import pytest

from gym_trade import metrics, types
from tests import markets
from tests.rollouts import flat_then, scalar

KINDS = {
    "portfolio_value": float, "cash": float, "position": float, "entry_price": float,
    "price": float, "timestamp": str, "fees_paid": float, "slippage_cost": float,
    "funding_paid": float, "shortfall": float, "turnover": float, "n_trades": int,
    "liquidated": bool, "exit_reason": str, "ambiguous_bars": int, "refused_orders": int,
}  # fmt: skip


def test_info_keys_types_and_meaning():
    """Plain Python values; cumulative sums equal those over the fills."""
    env = scalar(
        markets.bars(900, volatility=0.004), leverage=20, slippage=0.001, min_notional=2000.0,
        funding_rate=0.001, start="2023-01-02 23:30", random_start=False, bankrupt_threshold=0.0,
        margin_mode="isolated", action_levels=[-1, -0.2, 0, 0.2, 1],
    )  # fmt: skip
    _, info = env.reset(seed=0)
    assert {key: type(value) for key, value in info.items()} == KINDS
    sums = dict.fromkeys(("fees", "slippage", "turnover", "refused", "liquidated"), 0.0)
    start = env.engine.decision_index()[0]
    rng = np.random.default_rng(1)
    for step in range(1, 200):
        before = info
        _, _, terminated, truncated, info = env.step(int(rng.integers(0, 5)))
        kinds = KINDS | ({"metrics": dict} if terminated or truncated else {})
        assert {key: type(value) for key, value in info.items()} == kinds
        fills = env.fills()
        sums["fees"] += fills["fee"].sum()
        gap = fills["price"] - fills["reference_price"]
        assert (gap * fills["quantity"] >= 0).all()
        sums["slippage"] += (gap * fills["quantity"]).sum()
        sums["turnover"] += (fills["price"] * fills["quantity"].abs()).sum()
        assert info["fees_paid"] == pytest.approx(sums["fees"], rel=1e-9)
        assert info["slippage_cost"] == pytest.approx(sums["slippage"], rel=1e-9)
        assert info["turnover"] == pytest.approx(sums["turnover"], rel=1e-9)
        assert info["position"] == pytest.approx(before["position"] + fills["quantity"].sum())
        equity = info["cash"] + info["position"] * (info["price"] - info["entry_price"])
        assert info["portfolio_value"] == pytest.approx(equity, rel=1e-12)
        exits = [reason for reason in fills["reason"] if reason != "agent"]
        assert info["exit_reason"] == (exits[-1] if exits else "")
        assert info["liquidated"] == ("liquidation" in exits)
        sums["liquidated"] += info["liquidated"]
        index = env.engine.tables.bar_end[start + step] - 1
        assert info["price"] == env.markets[0].close[index]
        stamp = datetime.datetime.fromisoformat(info["timestamp"])
        assert stamp.tzinfo is not None
        assert np.datetime64(stamp.replace(tzinfo=None)) == env.engine.tables.instants[
            start + step
        ].view("datetime64[ns]")
        if terminated or truncated:
            break
    assert sums["liquidated"] > 0 and info["refused_orders"] > 0
    assert info["funding_paid"] != 0.0 and info["n_trades"] > 3
    assert list(info["metrics"]) == list(metrics.NAMES)
    assert info["metrics"]["fees_paid"] == info["fees_paid"]


def test_info_of_several_markets_names_the_market():
    frames = {"up": flat_then(60, 120.0, at=30), "down": flat_then(60, 80.0, at=30)}
    env = scalar(frames, random_start=False)
    seen = set()
    for seed in range(12):
        _, info = env.reset(seed=seed)
        for _ in range(6):
            *_, info = env.step(2)
        assert info["price"] == {"up": 120.0, "down": 80.0}[info["market"]]
        seen.add(info["market"])
    assert seen == {"up", "down"}


def test_an_info_is_not_changed_by_later_steps():
    env = scalar(episode_steps=5)
    infos = [env.reset(seed=0)[1]] + [env.step(a)[4] for a in (2, 0, 1, 2, 2)]
    copies = copy.deepcopy(infos)
    env.reset()
    env.step(1)
    assert infos == copies


def test_fills_is_a_frame_of_the_last_step():
    env = scalar()
    env.reset(seed=0)
    assert len(env.fills()) == 0
    env.step(2)
    fills = env.fills()
    assert sorted(fills.columns) == sorted(("timestamp", *types.FILL_DTYPE.names))
    assert list(fills["reason"]) == ["agent"]
    env.step(2)
    assert len(env.fills()) == 0
    assert list(fills["reason"]) == ["agent"]
    env.step(0)
    env.reset()
    assert len(env.fills()) == 0  # nothing of the last episode


def test_a_fill_names_the_bar_of_its_own_market():
    frames = [flat_then(60, 101.0, at=20), flat_then(80, 102.0, at=20)]
    env = scalar(frames, random_start=False)
    markets_seen = set()
    for seed in range(8):
        _, info = env.reset(seed=seed)
        env.step(2)
        assert list(env.fills()["bar"]) == [10]  # the first window is full at 00:10
        markets_seen.add(info["market"])
    assert markets_seen == {"0", "1"}
