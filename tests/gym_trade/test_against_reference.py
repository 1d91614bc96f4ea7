"""The jitted environment against the independent ledger in fractions, step by step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests import markets
from tests.comparison import compare

STEPS = 60
SEQUENTIAL = "Trade-Sequential-v0"


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
            SEQUENTIAL,
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
            SEQUENTIAL,
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
            SEQUENTIAL,
            frame, 0, [2] * 9 + [action] * 6, execute_on="5min", leverage=10,
            random_start=False, start="2023-01-02 00:15", bankrupt_threshold=0.0,
            action_levels=[0.0, 0.5, 1.0], margin_mode="isolated", slippage=0.01,
        )  # fmt: skip
        assert seen["liquidation"] == 1
