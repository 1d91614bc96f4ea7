"""The jitted environment against the independent ledger in fractions, step by step."""

from __future__ import annotations

import itertools
from fractions import Fraction

import gymnasium as gym
import numpy as np
import pytest

import gym_trade  # noqa: F401
from gym_trade.philox import DOMAIN_SLIPPAGE, uniform
from tests import markets, reference

GRID = Fraction(1, 2**200)
STEPS = 60


def reference_bars(market, rates=None):
    """A market's base bars as the reference takes them."""
    return [
        reference.Bar(int(ns), *map(float, row), funding_rate=0.0 if rates is None else rates)
        for ns, row in zip(market.open_ns, market.bars, strict=True)
    ]


def assert_close(ours: float, exact: Fraction, scale: float, what: str) -> None:
    assert ours == pytest.approx(float(exact), rel=1e-9, abs=1e-9 * scale), what


def compare(frame, seed, actions, **arguments):
    """Run the scalar environment and the reference side by side; returns what happened."""
    env = gym.make(
        "Trade-Sequential-v0", df=frame, time_frames=["1min"], window_sizes=4, **arguments
    ).unwrapped
    _, info = env.reset(seed=seed)
    config, lane = env.config, env.engine.lanes[0]
    rate = config.funding_rate
    uniform_model = config.slippage_model == "uniform"
    ledger = reference.ReferenceLedger(
        reference_bars(env.markets[0], rate),
        reference.Rules(
            execute_on_ns=env.engine.tables.execute_on.interval_ns,
            leverage=config.leverage,
            fee=config.transaction_fee,
            slippage=config.slippage,
            fill_at=config.fill_at,
            margin_mode=config.margin_mode,
            maintenance=config.maintenance_margin_rate,
            liquidation_fee=config.liquidation_fee,
            funding=rate is not None,
            rebalance_threshold=config.rebalance_threshold,
            continuous=config.action_type == "continuous",
            lot_size=config.lot_size,
            min_notional=config.min_notional,
            margin_call_threshold=config.margin_call_threshold,
            bankrupt_threshold=config.bankrupt_threshold,
        ),
        info["portfolio_value"],
        int(lane.decision),
        (lambda step, slot: Fraction(
            config.slippage * uniform(seed, 0, step, slot, DOMAIN_SLIPPAGE)
        )) if uniform_model else None,
        GRID,
    )  # fmt: skip
    seen = dict.fromkeys(("liquidation", "margin_call", "refused", "funding", "terminated"), 0)
    before = dict(info)
    for action in actions:
        level = (
            config.levels[action] if config.action_type == "discrete" else float(np.float32(action))
        )
        argument = action if config.action_type == "discrete" else np.array([action], np.float32)
        _, _, terminated, truncated, info = env.step(argument)
        expected = ledger.step(Fraction(level))
        scale = before["portfolio_value"] * config.leverage
        assert_close(info["portfolio_value"], expected.equity, scale, "equity")
        assert_close(info["cash"], expected.wallet, scale, "wallet")
        assert_close(info["price"], expected.mark, 1.0, "mark")
        notional = scale / info["price"]
        assert_close(info["position"], expected.position, notional, "position")
        assert_close(info["entry_price"], expected.entry, info["price"], "entry")
        for key, value, sign in (
            ("fees_paid", expected.fees, 1),
            ("slippage_cost", expected.slippage_cost, 1),
            ("funding_paid", expected.funding, -1),
            ("shortfall", expected.shortfall, 1),
        ):
            assert_close(info[key] - before[key], sign * value, scale, key)
        # the account state's integers and the flags
        account = env.engine.lanes[0]
        assert int(account.steps_held) == expected.steps_held
        assert float(account.held_level) == float(expected.held_level)
        assert info["liquidated"] == expected.liquidated
        assert info["exit_reason"] == expected.exit_reason
        assert info["refused_orders"] - before["refused_orders"] == expected.refused
        assert terminated == expected.terminated
        fills = env.fills()
        assert list(fills["reason"]) == [fill.reason for fill in expected.fills]
        for ours, theirs in zip(fills.itertuples(), expected.fills, strict=True):
            assert ours.bar == theirs.bar
            assert_close(ours.quantity, theirs.quantity, notional, "fill quantity")
            assert_close(ours.price, theirs.price, 1.0, "fill price")
            assert_close(ours.reference_price, theirs.reference_price, 1.0, "reference price")
            assert_close(ours.fee, theirs.fee, scale, "fill fee")
        # the identity, from the reference's independent price profit
        costs = info["fees_paid"] + info["slippage_cost"] + info["funding_paid"]
        costs -= before["fees_paid"] + before["slippage_cost"] + before["funding_paid"]
        absorbed = info["shortfall"] - before["shortfall"]
        change = info["portfolio_value"] - before["portfolio_value"]
        assert change == pytest.approx(
            float(expected.price_pnl) - costs + absorbed, rel=1e-9, abs=1e-9 * scale
        )
        seen["liquidation"] += expected.liquidated
        seen["margin_call"] += expected.exit_reason == "margin_call"
        seen["refused"] += expected.refused
        seen["funding"] += expected.funding != 0
        seen["terminated"] += terminated
        before = dict(info)
        if terminated or truncated:
            break
    return seen


@pytest.mark.parametrize("fill_at", ["next_open", "close"])
@pytest.mark.parametrize("margin_mode", ["cross", "isolated"])
@pytest.mark.parametrize("leverage", [1, 5, 50])
def test_discrete(leverage, margin_mode, fill_at):
    seen = dict.fromkeys(("liquidation", "funding"), 0)
    for seed in range(6):
        frame = markets.bars(900, seed=seed, volatility=0.004)
        rng = np.random.default_rng(seed)
        levels = [-1.0, -0.4, 0.0, 0.3, 1.0]
        got = compare(
            frame,
            seed,
            rng.integers(0, 5, STEPS),
            execute_on="5min",
            leverage=leverage,
            allow_short=True,
            action_levels=levels,
            margin_mode=margin_mode,
            fill_at=fill_at,
            transaction_fee=0.0007,
            slippage=0.0005 if seed % 2 else 0.002,
            slippage_model="uniform" if seed % 3 == 0 else "fixed",
            funding_rate=0.0009 if seed % 2 else -0.002,
            bankrupt_threshold=0.02,
            liquidation_fee=0.01 if seed % 2 else None,
            start="2023-01-02 23:55",  # funding is due at the first fill bar
            random_start=seed > 3,
        )
        for key in seen:
            seen[key] += got[key]
    assert seen["funding"] > 0
    if leverage == 50:
        assert seen["liquidation"] > 0


@pytest.mark.parametrize("margin_mode", ["cross", "isolated"])
def test_continuous_lots_notional_and_margin_calls(margin_mode):
    seen = dict.fromkeys(("liquidation", "margin_call", "refused"), 0)
    for seed, leverage in itertools.product(range(5), (1.0, 3.0, 20.0)):
        frame = markets.bars(700, seed=100 + seed, volatility=0.003)
        rng = np.random.default_rng(seed)
        actions = np.where(rng.random(STEPS) < 0.1, 0.0, rng.uniform(-1, 1, STEPS))
        got = compare(
            frame,
            seed,
            np.where(rng.random(STEPS) < 0.3, np.roll(actions, 1) + 0.01, actions).clip(-1, 1),
            execute_on="3min",
            action_type="continuous",
            leverage=leverage,
            allow_short=True,
            margin_mode=margin_mode,
            lot_size=0.25,
            min_notional=1500.0,
            slippage=0.001,
            margin_call_threshold=0.7,
            rebalance_threshold=0.05,
        )
        for key in seen:
            seen[key] += got[key]
    assert seen["margin_call"] > 0
    assert seen["refused"] > 0


def test_gap_through_liquidation_at_the_fill_bar():
    """The next open is far beyond the liquidation price: capped loss, then the order re-enters."""
    frame = markets.flat_bars(120)
    frame.iloc[60:, :4] = 60.0
    for action in (0, 2):
        seen = compare(
            frame, 0, [2] * 9 + [action] * 6, execute_on="5min", leverage=10,
            random_start=False, start="2023-01-02 00:15", bankrupt_threshold=0.0,
            action_levels=[0.0, 0.5, 1.0], margin_mode="isolated", slippage=0.01,
        )  # fmt: skip
        assert seen["liquidation"] == 1
