"""The jitted environments beside the reference ledger: every number of every step."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from fractions import Fraction

import gymnasium as gym
import numpy as np
import pytest

import gym_trade  # noqa: F401
from gym_trade.philox import DOMAIN_SLIPPAGE, uniform
from tests import reference, reference_brackets

GRID = Fraction(1, 2**200)
LEDGERS = {  # by environment: the ledger and its rules
    "Trade-Sequential-v0": (reference.ReferenceLedger, reference.Rules),
    "Trade-SLTP-v0": (reference_brackets.BracketLedger, reference_brackets.BracketRules),
    "Trade-OneStep-v0": (reference_brackets.BracketLedger, reference_brackets.BracketRules),
}
# what the rules call an argument otherwise
ARGUMENTS = {"fee": "transaction_fee", "maintenance": "maintenance_margin_rate"}


def assert_close(ours: float, exact: Fraction | float, scale: float, what: str) -> None:
    assert ours == pytest.approx(float(exact), rel=1e-9, abs=1e-9 * scale), what


def make_env(name, frame, **arguments):
    """A scalar environment with one short window."""
    short = {"time_frames": ["1min"], "window_sizes": 4}
    return gym.make(name, df=frame, **(short | arguments)).unwrapped


def reference_bars(market, rate=None):
    """A market's base bars as the reference takes them."""
    return [
        reference.Bar(int(ns), *map(float, row), funding_rate=0.0 if rate is None else rate)
        for ns, row in zip(market.open_ns, market.bars, strict=True)
    ]


def make_rules(env, kind):
    """The environment's arguments as the reference takes them."""
    config = env.config
    given = {
        "execute_on_ns": env.engine.tables.execute_on.interval_ns,
        "funding": config.funding_rate is not None,
        "continuous": getattr(config, "action_type", None) == "continuous",
    }
    for field in fields(kind):
        name = ARGUMENTS.get(field.name, field.name)
        if field.name not in given and hasattr(config, name):
            given[field.name] = getattr(config, name)
    return kind(**given)


def make_ledger(env, name, cash, seed, bars=None):
    """The reference ledger at the environment's first decision of a seed's first episode."""
    config = env.config

    def draw(step, slot):
        return Fraction(config.slippage * uniform(seed, 0, step, slot, DOMAIN_SLIPPAGE))

    ledger, rules = LEDGERS[name]
    return ledger(
        reference_bars(env.markets[0], config.funding_rate) if bars is None else bars,
        make_rules(env, rules),
        cash,
        int(env.engine.lanes[0].decision),
        draw if config.slippage_model == "uniform" else None,
        GRID,
    )


def bracket_actions(config):
    """The bracket environments' actions by number, from the arguments alone."""
    return reference_brackets.action_list(
        config.stoploss_levels,
        config.takeprofit_levels,
        shorts=config.leverage > 1 if config.allow_short is None else config.allow_short,
        hold=config.include_hold_action,
        close=config.include_close_action,
    )


def assert_account(env, info, expected, scale):
    """What the account holds after the step."""
    notional = scale / info["price"]
    assert_close(info["portfolio_value"], expected.equity, scale, "equity")
    assert_close(info["cash"], expected.wallet, scale, "wallet")
    assert_close(info["price"], expected.mark, 1.0, "mark")
    assert_close(info["position"], expected.position, notional, "position")
    assert_close(info["entry_price"], expected.entry, info["price"], "entry")
    lane = env.engine.lanes[0]
    assert int(lane.steps_held) == expected.steps_held
    assert float(lane.held_level) == float(expected.held_level)
    assert_close(float(lane.stop_price), expected.stop_price or 0, 1e-3, "stop price")
    assert_close(float(lane.target_price), expected.target_price or 0, 1e-3, "target price")


def assert_booked(info, before, expected, scale):
    """What the step has added to the episode's sums and counts, and the accounting identity."""
    for key, value, sign in (
        ("fees_paid", expected.fees, 1),
        ("slippage_cost", expected.slippage_cost, 1),
        ("funding_paid", expected.funding, -1),
        ("shortfall", expected.shortfall, 1),
    ):
        assert_close(info[key] - before[key], sign * value, scale, key)
    for key, count in (
        ("refused_orders", expected.refused),
        ("ambiguous_bars", expected.ambiguous_bars),
    ):
        assert info[key] - before[key] == count, key
    assert info["liquidated"] == expected.liquidated
    assert info["exit_reason"] == expected.exit_reason
    # the identity, from the reference's independent price profit
    costs = info["fees_paid"] + info["slippage_cost"] + info["funding_paid"]
    costs -= before["fees_paid"] + before["slippage_cost"] + before["funding_paid"]
    absorbed = info["shortfall"] - before["shortfall"]
    change = info["portfolio_value"] - before["portfolio_value"]
    assert_close(change, float(expected.price_pnl) - costs + absorbed, scale, "identity")


def assert_fills(env, info, expected, scale):
    fills = env.fills()
    assert list(fills["reason"]) == [fill.reason for fill in expected.fills]
    for ours, theirs in zip(fills.itertuples(), expected.fills, strict=True):
        assert ours.bar == theirs.bar
        assert_close(ours.quantity, theirs.quantity, scale / info["price"], "fill quantity")
        assert_close(ours.price, theirs.price, 1.0, "fill price")
        assert_close(ours.reference_price, theirs.reference_price, 1.0, "reference price")
        assert_close(ours.fee, theirs.fee, scale, "fill fee")


def assert_step(env, output, before, expected, ledger, leverage):
    """All that one step returns, against the reference's result."""
    observation, reward, terminated, _, info = output
    scale = max(before["portfolio_value"], 1.0) * leverage
    assert_account(env, info, expected, scale)
    assert_booked(info, before, expected, scale)
    assert_fills(env, info, expected, scale)
    assert terminated == expected.terminated
    assert int(env.engine.lanes[0].decision) == ledger.decision
    # the reward magnifies the equity's rounding where little equity is left
    floor = 1e-6 * float(ledger.initial_cash)
    left = max(min(float(expected.equity), before["portfolio_value"]), floor)
    assert reward == pytest.approx(expected.reward, rel=1e-9, abs=1e-9 * scale / left)
    state = [float(number) for number in ledger.account_state()]
    seen = observation["account_state"]
    assert seen == pytest.approx(np.float32(state), rel=2e-6, abs=1e-6 * max(1, scale / left))


def tally(seen, ledger, expected, position):
    """Count what happened in the step, so that a test can say what it has covered."""
    for fill in expected.fills:
        opens = fill.reference_price == ledger.bars[fill.bar].open
        seen[fill.reason] += 1
        seen[f"{fill.reason} at the open"] += opens
        seen["flip"] += position * (position + fill.quantity) < 0
        seen["short"] += fill.reason == "agent" and position + fill.quantity < 0
        position += fill.quantity
    reasons = [fill.reason for fill in expected.fills]
    seen["ordered after liquidation"] += reasons[:2] == ["liquidation", "agent"]
    seen["agent's close"] += expected.position == 0 and "agent" in reasons[-1:]
    seen["refused"] += expected.refused
    seen["funding"] += expected.funding != 0
    seen["ambiguous"] += expected.ambiguous_bars
    seen["ambiguous liquidation"] += expected.liquidated and expected.ambiguous_bars
    seen["shortfall"] += expected.shortfall > 0
    seen["terminated"] += expected.terminated


def compare(name, frame, seed, actions, **arguments):
    """Run a scalar environment and the reference side by side; returns what happened."""
    env = make_env(name, frame, **arguments)
    _, before = env.reset(seed=seed)
    config = env.config
    ledger = make_ledger(env, name, before["portfolio_value"], seed)
    meanings = config.levels if name == "Trade-Sequential-v0" else bracket_actions(config)
    seen = Counter()
    for action in actions:
        argument, meaning = action, None
        if ledger.rules.continuous:
            argument, meaning = np.array([action], np.float32), float(np.float32(action))
        else:
            meaning = meanings[action]
        output = env.step(argument)
        held, stop = ledger.position, ledger.stop
        expected = ledger.step(meaning)
        assert_step(env, output, before, expected, ledger, config.leverage)
        tally(seen, ledger, expected, held)
        moved = stop is not None and ledger.stop not in (None, stop)
        seen["replaced"] += moved and not expected.fills
        before = output[4]
        if output[2] or output[3]:
            break
    return seen


def compare_rollouts(frame, seeds, actions, **arguments):
    """As `compare`, a one-step episode for each seed and action."""
    name = "Trade-OneStep-v0"
    env = make_env(name, frame, **arguments)
    bars = reference_bars(env.markets[0], env.config.funding_rate)
    meanings = bracket_actions(env.config)
    assert env.action_space.n == len(meanings)
    seen = Counter()
    for seed, action in zip(seeds, actions, strict=True):
        _, before = env.reset(seed=int(seed))
        ledger = make_ledger(env, name, before["portfolio_value"], int(seed), bars)
        start = ledger.decision
        output = env.step(action)
        expected = ledger.rollout(meanings[action])
        assert_step(env, output, before, expected, ledger, env.config.leverage)
        assert output[2:4] == (True, False)
        tally(seen, ledger, expected, Fraction(0))
        steps = ledger.decision - start
        seen["full length"] += steps == env.config.rollout_steps
        seen["cut short"] += 1 < steps < env.config.rollout_steps
        seen["left open"] += expected.position != 0
    return seen
