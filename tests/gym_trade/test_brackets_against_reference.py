"""The jitted bracket environments against the independent ledger in fractions, step by step.

Every test also says what has to have happened in its runs, so that it cannot pass by quietness.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests import markets
from tests.comparison import bracket_actions, compare, compare_rollouts, make_env

STEPS = 40
SLTP = "Trade-SLTP-v0"
TIGHT = {
    "stoploss_levels": (-0.004, -0.03),
    "takeprofit_levels": (0.005, 0.025),
    "transaction_fee": 0.0007,
    "allow_short": True,
    "bankrupt_threshold": 0.02,
}


def actions_of(config, seed, count, hold):
    """Random actions, of which about this share is action 0 where that is hold."""
    rng = np.random.default_rng(1000 + seed)
    chosen = rng.integers(0, len(bracket_actions(config)), count)
    return np.where(rng.random(count) < hold, 0, chosen)


def run(seed, frame=None, **arguments):
    """One SLTP episode on random bars with gaps and holes; returns what happened in it."""
    frame = markets.bars(500, seed=seed, volatility=0.003) if frame is None else frame
    arguments = TIGHT | {"execute_on": "5min", "slippage": 0.001} | arguments
    config = make_env(SLTP, frame, **arguments).config
    return compare(SLTP, frame, seed, actions_of(config, seed, STEPS, 0.3), **arguments)


def total(runs):
    return sum(runs, Counter())


def occurred(seen, *names):
    missing = [name for name in names if not seen[name]]
    assert not missing, f"never: {missing}, of {dict(seen)}"


def costs(seed):
    """Slippage, funding and liquidation fees of all kinds, by seed."""
    return {
        "slippage": 0.0005 if seed % 2 else 0.002,
        "slippage_model": "uniform" if seed % 3 == 0 else "fixed",
        "funding_rate": 0.0009 if seed % 2 else -0.002,
        "liquidation_fee": 0.01 if seed % 2 else None,
        "start": "2023-01-02 23:55",  # funding is due at the first fill bar
    }


@pytest.mark.parametrize("fill_at", ["next_open", "close"])
@pytest.mark.parametrize("margin_mode", ["cross", "isolated"])
@pytest.mark.parametrize("leverage", [1, 5, 50])
def test_brackets(leverage, margin_mode, fill_at):
    """Every seed with another set of costs; at leverage 50 liquidation lies between the stops."""
    seen = total(
        run(
            seed,
            leverage=leverage,
            margin_mode=margin_mode,
            fill_at=fill_at,
            replace_brackets=seed % 2 == 1,
            include_close_action=seed % 4 == 2,
            random_start=seed > 3,
            **costs(seed),
        )
        for seed in range(16 if leverage == 50 else 5)
    )
    occurred(seen, "stop_loss", "stop_loss at the open", "take_profit", "take_profit at the open",
             "ambiguous", "funding", "short", "flip")  # fmt: skip
    if leverage == 50:
        occurred(seen, "liquidation", "liquidation at the open")


@pytest.mark.parametrize("margin_mode", ["cross", "isolated"])
def test_liquidation_beside_brackets(margin_mode):
    """Both stops lie about the liquidation price; a part of the cash outlives many of them."""
    seen = total(
        run(
            seed,
            markets.bars(500, seed=seed, volatility=0.006),
            leverage=40,
            margin_mode=margin_mode,
            position_fraction=0.25 if margin_mode == "isolated" else 1.0,
            stoploss_levels=(-0.018, -0.024),
            takeprofit_levels=(0.006, 0.03),
            initial_cash=3000.0,
            bankrupt_threshold=0.0,
            maintenance_margin_rate=0.006,
        )
        for seed in range(20, 36)
    )
    occurred(seen, "liquidation", "liquidation at the open", "stop_loss", "take_profit",
             "ambiguous", "shortfall")  # fmt: skip
    if margin_mode == "isolated":
        occurred(seen, "ordered after liquidation")


@pytest.mark.parametrize("margin_mode", ["cross", "isolated"])
@pytest.mark.parametrize("action", [1, 2])
def test_a_liquidation_can_be_in_an_ambiguous_bar(action, margin_mode):
    """Liquidation, near 10%, is nearer than the stop at 12%; the bar reaches the target too."""
    frame = markets.flat_bars(60)
    frame.iloc[27, 1:3] = 115.0, 85.0
    seen = compare(
        SLTP, frame, 0, [action, 0, 0], execute_on="5min", start="2023-01-02 00:20", leverage=10,
        random_start=False, stoploss_levels=(-0.12,), takeprofit_levels=(0.05,),
        margin_mode=margin_mode, position_fraction=0.9, bankrupt_threshold=0.0,
    )  # fmt: skip
    assert (seen["ambiguous"], seen["liquidation"]) == (1, 1)
    assert seen["ambiguous liquidation"] == 1


def test_lots_notional_fractions_and_margin_calls():
    seen = total(
        run(
            seed,
            leverage=(3.0, 20.0)[seed % 2],
            margin_mode=("cross", "isolated")[seed // 2 % 2],
            position_fraction=(0.35, 1.0, 0.6)[seed % 3],
            lot_size=0.25,
            min_notional=12_000.0,
            margin_call_threshold=0.7,
            execute_on=("3min", "1min", "15min")[seed % 3],
            stoploss_levels=(-0.006, -0.2),
            include_close_action=True,
            include_hold_action=seed % 4 != 0,
        )
        for seed in range(40, 48)
    )
    occurred(seen, "refused", "margin_call", "agent's close", "stop_loss", "take_profit", "flip")


def test_a_flip_that_lots_cut_to_a_close():
    """20 units are a lot: at 60 the short would be 6 2/3 units, at 20 it is 20."""
    frame = markets.flat_bars(60)
    frame.iloc[25:, :4], frame.iloc[30:, :4] = 60.0, 19.9
    seen = compare(
        SLTP, frame, 0, [1, 2, 2, 0, 1, 2], execute_on="5min", start="2023-01-02 00:20",
        random_start=False, leverage=10, position_fraction=0.2, lot_size=20.0, initial_cash=1000.0,
        stoploss_levels=(-0.45,), takeprofit_levels=(0.5,), transaction_fee=0.0,
        maintenance_margin_rate=0.0, bankrupt_threshold=0.0,
    )  # fmt: skip
    assert (seen["agent's close"], seen["flip"], seen["agent"]) == (1, 2, 5)


def test_replaced_brackets():
    seen = total(
        run(seed, leverage=4, replace_brackets=True, stoploss_levels=(-0.006, -0.009, -0.02))
        for seed in range(60, 64)
    )
    occurred(seen, "replaced", "stop_loss", "take_profit", "flip")


def test_locked_until_exit():
    seen = total(
        run(seed, leverage=45, lock_until_exit=True, margin_mode="isolated", position_fraction=0.2,
            stoploss_levels=(-0.012, -0.1))
        for seed in range(70, 75)
    )  # fmt: skip
    occurred(seen, "stop_loss", "take_profit", "liquidation", "ordered after liquidation")
    assert not seen["flip"]
    assert not seen["agent's close"]


def test_long_only_spot_and_shorts_in_spot():
    for allow_short in (None, True):
        seen = total(
            run(seed, leverage=1, allow_short=allow_short, include_close_action=True,
                stoploss_levels=(-0.01,), takeprofit_levels=(0.008, 0.5))
            for seed in range(80, 83)
        )  # fmt: skip
        occurred(seen, "stop_loss", "take_profit", "agent's close")
        assert bool(seen["short"]) == bool(allow_short)


def test_a_short_in_spot_is_liquidated_where_the_price_has_doubled():
    frame = markets.bars(400)
    frame.iloc[:, :4] *= np.exp(np.linspace(0.0, 2.0, len(frame)))[:, None]
    for margin_mode in ("cross", "isolated"):
        seen = compare(
            SLTP, frame, 0, [2] + [0] * 49, leverage=1, allow_short=True, execute_on="5min",
            random_start=False, stoploss_levels=(-0.99,), takeprofit_levels=(0.9,), slippage=0.001,
            margin_mode=margin_mode, bankrupt_threshold=0.0,
        )  # fmt: skip
        occurred(seen, "liquidation")


def rollouts(seed, frame=None, count=30, **arguments):
    """One-step episodes on random bars, a seed and an action each; returns what happened."""
    frame = markets.bars(500, seed=seed, volatility=0.003) if frame is None else frame
    arguments = TIGHT | {"execute_on": "5min", "rollout_steps": 4} | arguments
    config = make_env("Trade-OneStep-v0", frame, **arguments).config
    actions = actions_of(config, seed, count, 0.05)
    return compare_rollouts(frame, range(seed, seed + count), actions, **arguments)


@pytest.mark.parametrize("close_at_end", [True, False])
@pytest.mark.parametrize("leverage", [1, 5, 50])
def test_one_step(leverage, close_at_end):
    seen = total(
        rollouts(
            seed,
            leverage=leverage,
            close_at_end=close_at_end,
            margin_mode=("cross", "isolated")[seed // 2 % 2],
            fill_at=("next_open", "close")[seed % 2],
            execute_on=("5min", "3min", "1min")[seed % 3],
            rollout_steps=(3, 7, 24)[seed % 3],
            position_fraction=(1.0, 0.4)[seed // 3],
            include_close_action=seed == 4,
            **costs(seed),
        )
        for seed in range(6)
    )
    occurred(seen, "stop_loss", "take_profit", "stop_loss at the open", "take_profit at the open",
             "ambiguous", "short", "cut short", "full length", "funding")  # fmt: skip
    assert bool(seen["rollout_end"]) == close_at_end
    assert bool(seen["left open"]) != close_at_end or leverage == 50
    if leverage == 50:
        occurred(seen, "liquidation", "liquidation at the open")


def test_one_step_refusals_and_margin_calls():
    seen = total(
        rollouts(
            seed,
            leverage=(8.0, 25.0)[seed % 2],
            stoploss_levels=(-0.3, -0.01),
            lot_size=40.0,
            min_notional=25_000.0,
            initial_cash=(1000.0, 15_000.0),
            margin_call_threshold=(0.8, None)[seed % 2],
            bankrupt_threshold=0.0,
            slippage=0.002,
            slippage_model="uniform",
        )
        for seed in range(100, 104)
    )
    occurred(seen, "refused", "margin_call", "rollout_end", "full length")


def test_a_bankrupt_rollout_is_closed():
    """It ends in whichever step that is, and so does the position."""
    seen = total(
        rollouts(seed, leverage=8.0, stoploss_levels=(-0.3,), bankrupt_threshold=0.9)
        for seed in range(110, 112)
    )
    occurred(seen, "rollout_end", "full length", "cut short")
    assert not seen["left open"]


def test_one_rollout_to_the_very_end_of_the_data():
    """The data hold exactly one rollout beyond the first decision."""
    frame = markets.bars(100, seed=5, missing=0.0)
    seen = compare_rollouts(
        frame, [0, 0, 0], [0, 1, 2], execute_on="5min", start="2023-01-02 21:10",
        random_start=False, rollout_steps=18, leverage=2,
        stoploss_levels=(-0.2,), takeprofit_levels=(0.2,),
    )  # fmt: skip
    assert seen["rollout_end"] == 2
    assert seen["full length"] == 2
