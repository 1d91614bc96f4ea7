"""The dtypes and codes that cross into jitted code.

State is one structured array, a record a lane: one argument for the kernel, and a row that can be
read from Python by name. No field is named like an attribute of ``numpy.record`` (``size``,
``fill``): un-jitted code would silently read that attribute instead (a test compares them).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gym_trade.aligned import CACHE_LINE

Float64: TypeAlias = npt.NDArray[np.float64]
Float32: TypeAlias = npt.NDArray[np.float32]
Int64: TypeAlias = npt.NDArray[np.int64]
Int8: TypeAlias = npt.NDArray[np.int8]
Bool: TypeAlias = npt.NDArray[np.bool_]

# A structured array or one record of it; its fields are those of the dtypes below.
Record: TypeAlias = Any
# (bars, funding, bar_end, bins, ranges), (window starts, window lengths, features) and the rest:
# see `kernel.step_lanes`.
MarketArrays: TypeAlias = tuple[Float64, Float64, Int64, Float64, Int64]
Windows: TypeAlias = tuple[Int64, Int64, Float32]
Outputs: TypeAlias = tuple[Float32, Float32, Int64, Float64, Bool, Bool, Float64]
Journal: TypeAlias = tuple[Record, Record]

# Columns of a market's bar matrix, float64 (bars, 4): one bar is one half of a cache line.
OPEN, HIGH, LOW, CLOSE = 0, 1, 2, 3

# Why a fill happened; also the exit reason of a step.
NO_EXIT, AGENT, LIQUIDATION, STOP_LOSS, TAKE_PROFIT, MARGIN_CALL, ROLLOUT_END = 0, 1, 2, 3, 4, 5, 6
REASON_NAMES = (
    "", "agent", "liquidation", "stop_loss", "take_profit", "margin_call", "rollout_end",
)  # fmt: skip

# What became of an order.
ORDER_NONE, ORDER_FILLED, ORDER_REFUSED = 0, 1, 2

# What a discrete action asks for: see `orders.place_order`.
HOLD, CLOSE_ALL, LEVEL, BRACKET = 0, 1, 2, 3
NO_ACTION = -1  # the later steps of a one-step rollout

# One environment step takes one decision step, or a whole rollout of them.
SINGLE, ROLLOUT = 0, 1

# Autoreset, in the order of gymnasium.vector.AutoresetMode's documentation.
NEXT_STEP, SAME_STEP, DISABLED = 0, 1, 2

# Built-in rewards; CUSTOM is computed by the facade from the same equities.
REWARDS = ("log_return", "simple_return", "pnl", "differential_sharpe", "drawdown_penalty")
LOG_RETURN, SIMPLE_RETURN, PNL, DIFFERENTIAL_SHARPE, DRAWDOWN_PENALTY, CUSTOM = 0, 1, 2, 3, 4, 5

# The fills that one decision step can hold, which key its slippage draws: a liquidation at the fill
# bar's open, the agent's order, an exit while the bars are walked, the close that ends a rollout.
SLOT_OPENING_LIQUIDATION, SLOT_ORDER, SLOT_EXIT, SLOT_ROLLOUT_END = 0, 1, 2, 3
FILL_SLOTS = 4

ACCOUNT_STATE_WIDTH = 6

# Grouped by how often a step touches them, eight fields to a cache line: a batch is larger than the
# nearest cache, so a step is as fast as few lines can be read and written.
_LANE_FIELDS = (
    # the account: equity at price m is wallet + quantity * (m - entry_price)
    ("wallet", np.float64),
    ("quantity", np.float64),
    ("entry_price", np.float64),
    ("held_level", np.float64),
    ("stop_price", np.float64),  # 0: no stop
    ("target_price", np.float64),  # 0: no take-profit
    ("steps_held", np.int64),
    ("opened", np.int64),  # 1 where this step opened or flipped the position
    # where the lane stands, and what this step did
    ("decision", np.int64),  # index of the current decision instant, over all markets
    ("last_decision", np.int64),  # the episode is truncated on reaching it
    ("steps", np.int64),
    ("ended", np.int64),
    ("exit_reason", np.int64),
    ("liquidated", np.int64),  # 1 where this step liquidated, also before its order
    ("order_code", np.int64),
    ("reward", np.float64),
    # marks, and the first of the running moments: see metrics.py
    ("initial_cash", np.float64),
    ("equity", np.float64),
    ("price", np.float64),
    ("exposure", np.float64),  # notional over equity; 0 where equity is not positive
    ("n_returns", np.int64),
    ("first_return", np.float64),
    ("return_total", np.float64),  # of the returns less the first one, as are the squares
    ("return_squares", np.float64),
    # the other moments, and those of the differential Sharpe ratio
    ("downside_squares", np.float64),
    ("peak_equity", np.float64),
    ("max_drawdown", np.float64),
    ("drawdown_steps", np.int64),
    ("max_drawdown_steps", np.int64),
    ("exposure_total", np.float64),
    ("equity_total", np.float64),
    ("sharpe_first", np.float64),
    ("sharpe_second", np.float64),
    # the last fill, and sums over the episode in quote currency
    ("fill_quantity", np.float64),
    ("fill_price", np.float64),
    ("fill_reference", np.float64),
    ("fill_fee", np.float64),
    ("fees", np.float64),
    ("slippage_cost", np.float64),
    ("turnover", np.float64),
    ("n_fills", np.int64),
    # round trips
    ("trade_wallet", np.float64),  # the wallet before the open trade's first fill
    ("n_trades", np.int64),
    ("n_wins", np.int64),
    ("gross_profit", np.float64),
    ("gross_loss", np.float64),
    # what happens rarely
    ("refused_orders", np.int64),
    ("funding", np.float64),  # received; negative when paid
    ("shortfall", np.float64),
    ("ambiguous_bars", np.int64),
    ("liquidations", np.int64),
    ("seed", np.int64),
    ("episode", np.int64),
    ("market", np.int64),
    ("initial_price", np.float64),
)
_FIELD = 8  # bytes; every field has as many
LANE_DTYPE = np.dtype(
    {
        "names": [name for name, _ in _LANE_FIELDS],
        "formats": [kind for _, kind in _LANE_FIELDS],
        "offsets": [number * _FIELD for number in range(len(_LANE_FIELDS))],
        "itemsize": -(-len(_LANE_FIELDS) * _FIELD // CACHE_LINE) * CACHE_LINE,
    }
)

RULES_DTYPE = np.dtype(
    [
        ("leverage", np.float64),
        ("fee_rate", np.float64),
        ("liquidation_fee_rate", np.float64),
        ("slippage", np.float64),
        ("steps_kind", np.int64),  # SINGLE or ROLLOUT
        ("continuous", np.int64),  # 1: levels are given; 0: indices of choices
        ("replace_brackets", np.int64),
        ("lock_until_exit", np.int64),
        ("close_at_end", np.int64),
        ("recorded_lane", np.int64),  # the lane that the journal follows; -1: none
        ("uniform_slippage", np.int64),
        ("fill_at_close", np.int64),
        ("isolated", np.int64),
        ("maintenance_rate", np.float64),
        ("margin_call_threshold", np.float64),  # 0: none
        ("has_funding", np.int64),
        ("rebalance_threshold", np.float64),  # 0 for discrete actions
        ("lot_size", np.float64),
        ("min_notional", np.float64),
        ("bankrupt_threshold", np.float64),
        ("cash_low", np.float64),
        ("cash_high", np.float64),
        ("episode_steps", np.int64),  # 0: to the end of the data; a rollout's longest
        ("random_start", np.int64),
        ("reward", np.int64),
        ("autoreset", np.int64),
    ],
    align=True,
)

# What a discrete action means, a row an action.
CHOICE_DTYPE = np.dtype(
    [
        ("operation", np.int64),
        ("level", np.float64),  # the exposure asked for, as a share of the leverage
        ("stop", np.float64),  # a bracket's stop and target: signed fractions of the entry price
        ("target", np.float64),
    ],
    align=True,
)

# One execution, as the journal keeps it.
FILL_DTYPE = np.dtype(
    [
        ("step", np.int64),  # decision steps of the episode before it
        ("bar", np.int64),
        ("quantity", np.float64),
        ("reference_price", np.float64),  # before slippage
        ("price", np.float64),
        ("fee", np.float64),
        ("reason", np.int64),
        ("position", np.float64),  # afterwards, as are the next two
        ("entry_price", np.float64),
        ("cash", np.float64),
    ],
    align=True,
)

# The account at a decision instant, as the journal keeps it.
MARK_DTYPE = np.dtype(
    [
        ("decision", np.int64),
        ("action", np.float64),  # NO_ACTION at the reset and while a rollout holds
        ("reward", np.float64),
        ("price", np.float64),
        ("portfolio_value", np.float64),
        ("cash", np.float64),
        ("position", np.float64),
        ("entry_price", np.float64),
        ("stop_price", np.float64),
        ("target_price", np.float64),
        ("steps_held", np.int64),
        ("fees_paid", np.float64),
        ("funding", np.float64),
        ("exit_reason", np.int64),
    ],
    align=True,
)
