"""A configuration as the records that compiled code reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from gym_trade import aligned, types
from gym_trade.base_config import TradeConfig
from gym_trade.jit import numba_config
from gym_trade.rewards import reward_code

AUTORESET_CODES = {
    "NextStep": types.NEXT_STEP,
    "SameStep": types.SAME_STEP,
    "Disabled": types.DISABLED,
}


def plain(records: types.Record, dtype: np.dtype[Any]) -> types.Record:
    """A record array as compiled code takes it: the same memory as a plain structured array.

    Numba looks at an argument's attributes, and those of a recarray are Python code: it takes three
    times as long, and a Ctrl-C that arrives meanwhile is lost. It also looks the dtype up, which
    takes no time for the very object that it has seen before and microseconds for an equal one.
    Un-jitted code needs the recarray.
    """
    return records if numba_config.DISABLE_JIT else records.view(dtype, np.ndarray)


def make_lanes(count: int) -> types.Record:
    """`count` lanes, all zero, that begin at a cache line."""
    return aligned.zeros(count, types.LANE_DTYPE).view(np.recarray)


def make_rules(config: TradeConfig, autoreset: int, recorded_lane: int) -> Any:
    """The configuration's numbers as the kernel's record, shape (1,)."""
    rules = np.zeros(1, types.RULES_DTYPE).view(np.recarray)
    rule = rules[0]
    fee = config.transaction_fee
    rule.leverage, rule.fee_rate = config.leverage, fee
    rule.liquidation_fee_rate = fee if config.liquidation_fee is None else config.liquidation_fee
    rule.slippage = config.slippage
    rule.uniform_slippage = config.slippage_model == "uniform"
    rule.fill_at_close = config.fill_at == "close"
    rule.isolated = config.margin_mode == "isolated"
    rule.maintenance_rate = config.maintenance_margin_rate
    rule.margin_call_threshold = config.margin_call_threshold or 0.0
    rule.has_funding = config.funding_rate is not None
    rule.lot_size, rule.min_notional = config.lot_size, config.min_notional
    rule.bankrupt_threshold = config.bankrupt_threshold
    cash = config.initial_cash
    rule.cash_low, rule.cash_high = cash if isinstance(cash, tuple) else (cash, cash)
    rule.episode_steps = config.longest_episode or 0
    rule.random_start = config.random_start
    rule.reward = reward_code(config.reward)
    rule.steps_kind = types.ROLLOUT if config.rollout else types.SINGLE
    rule.continuous = config.continuous
    for name in ("rebalance_threshold", "replace_brackets", "lock_until_exit", "close_at_end"):
        rule[name] = getattr(config, name, 0)
    if not config.continuous:
        rule.rebalance_threshold = 0.0
    rule.autoreset, rule.recorded_lane = autoreset, recorded_lane
    return rules


def make_choices(config: TradeConfig) -> Any:
    """What each discrete action means, shape (actions,); empty for continuous actions."""
    rows = [] if config.continuous else [tuple(choice) for choice in config.choices]
    return np.array(rows, types.CHOICE_DTYPE).view(np.recarray)
