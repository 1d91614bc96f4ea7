"""One decision step of one lane: order, walk, mark, reward; and a rollout of such steps.

It allocates nothing, trusts its input (the doors have checked it) and writes into the caller's
records. `lanes` loops over lanes and writes what they observe.
"""

from __future__ import annotations

from gym_trade.accounting import close_position, crossed, liquidate, liquidation_price, walk
from gym_trade.fills import equity_at, slippage_rate
from gym_trade.jit import jit
from gym_trade.journal import record_fill, record_mark, record_start
from gym_trade.metrics import observe_return, start_moments
from gym_trade.observing import exposure_of
from gym_trade.orders import place_order
from gym_trade.philox import (
    DOMAIN_RESET,
    RESET_CASH,
    RESET_MARKET,
    RESET_START,
    uniform,
    uniform_index,
)
from gym_trade.rewards import TERMINATED_INPUT, TRUNCATED_INPUT, reward_of, write_inputs
from gym_trade.types import (
    AGENT,
    CLOSE,
    CUSTOM,
    LIQUIDATION,
    NO_ACTION,
    NO_EXIT,
    OPEN,
    ORDER_FILLED,
    ORDER_NONE,
    ORDER_REFUSED,
    ROLLOUT_END,
    SLOT_OPENING_LIQUIDATION,
    SLOT_ORDER,
    SLOT_ROLLOUT_END,
    Float64,
    Journal,
    MarketArrays,
    Record,
)


@jit
def reset_lane(lane: Record, rules: Record, market: MarketArrays, journal: Journal) -> None:
    """Begin the episode whose number stands in the lane; see `lanes.step_lanes` for `market`."""
    _, _, _, bins, ranges = market
    seed, episode = lane.seed, lane.episode
    number = uniform_index(seed, episode, RESET_MARKET, ranges.shape[0])
    first, last = ranges[number, 0], ranges[number, 1]
    start = first
    if rules.random_start != 0:
        steps = max(rules.episode_steps, 1)
        start = first + uniform_index(seed, episode, RESET_START, last - first - steps + 1)
    cash = rules.cash_low
    if rules.cash_high > cash:
        draw = uniform(seed, episode, 0, RESET_CASH, DOMAIN_RESET)
        cash += (rules.cash_high - cash) * draw
    lane.market = number
    lane.decision = start
    lane.last_decision = last
    lane.steps = 0
    lane.ended = 0
    lane.wallet = lane.initial_cash = lane.equity = cash
    lane.price = lane.initial_price = bins[start, CLOSE]
    lane.quantity = lane.entry_price = lane.held_level = lane.exposure = 0.0
    lane.stop_price = lane.target_price = 0.0
    lane.steps_held = lane.opened = 0
    lane.exit_reason = lane.order_code = lane.liquidated = 0
    lane.reward = 0.0
    lane.fees = lane.slippage_cost = lane.funding = lane.shortfall = lane.turnover = 0.0
    lane.refused_orders = lane.ambiguous_bars = lane.liquidations = 0
    lane.trade_wallet = cash
    lane.n_trades = lane.n_wins = 0
    lane.gross_profit = lane.gross_loss = 0.0
    lane.sharpe_first = lane.sharpe_second = 0.0
    start_moments(lane)
    record_start(journal, lane)


@jit
def open_bar(lane: Record, rules: Record, bar_open: float) -> bool:
    """Liquidate what the fill bar's open has already passed; True where that happened."""
    if rules.fill_at_close != 0 or lane.quantity == 0.0:
        return False
    level = liquidation_price(lane, rules)
    if level == 0.0 or not crossed(lane.quantity, bar_open, level):
        return False
    liquidate(lane, rules, level, bar_open, slippage_rate(lane, rules, SLOT_OPENING_LIQUIDATION))
    lane.exit_reason = LIQUIDATION
    return True


@jit
def trade(
    lane: Record,
    rules: Record,
    choices: Record,
    market: MarketArrays,
    action: int,
    level: float,
    journal: Journal,
) -> None:
    """Fill the order that the action asks for, then walk the bars of the next decision's bin."""
    _, _, bar_end, bins, _ = market
    decision = lane.decision
    lane.exit_reason = NO_EXIT
    lane.liquidated = lane.opened = 0
    may_trade = True
    if open_bar(lane, rules, bins[decision + 1, OPEN]):
        record_fill(journal, lane, bar_end[decision], LIQUIDATION)
        threshold = rules.bankrupt_threshold * lane.initial_cash
        may_trade = lane.wallet > 0.0 and lane.wallet >= threshold
    lane.order_code = ORDER_NONE
    if may_trade and action != NO_ACTION:
        at_close = rules.fill_at_close != 0
        reference = bins[decision, CLOSE] if at_close else bins[decision + 1, OPEN]
        slippage = slippage_rate(lane, rules, SLOT_ORDER)
        lane.order_code = place_order(lane, rules, choices, action, level, reference, slippage)
        if lane.order_code == ORDER_FILLED:
            record_fill(journal, lane, bar_end[decision] - rules.fill_at_close, AGENT)
        elif lane.order_code == ORDER_REFUSED:
            lane.refused_orders += 1
    reason, bar = walk(lane, rules, market, decision + 1)
    if reason != NO_EXIT:
        lane.exit_reason = reason
        record_fill(journal, lane, bar, reason)


@jit
def end_rollout(lane: Record, rules: Record, market: MarketArrays, journal: Journal) -> None:
    """Close what a rollout has left open, at the close that the lane has just been marked at."""
    _, _, bar_end, _, _ = market
    close_position(lane, rules, lane.price, slippage_rate(lane, rules, SLOT_ROLLOUT_END))
    lane.exit_reason = ROLLOUT_END
    lane.equity = lane.wallet
    record_fill(journal, lane, bar_end[lane.decision + 1] - 1, ROLLOUT_END)


@jit
def bankrupt(lane: Record, rules: Record) -> bool:
    """Whether equity is not positive, or below the bankruptcy level."""
    return lane.equity <= 0.0 or lane.equity < rules.bankrupt_threshold * lane.initial_cash


@jit
def step_lane(
    lane: Record,
    rules: Record,
    choices: Record,
    market: MarketArrays,
    action: int,
    level: float,
    journal: Journal,
    inputs: Float64,
) -> tuple[bool, bool]:
    """Take one decision step; its reward stands in the lane.

    Args:
        lane: The lane record, changed in place.
        rules: The rules record.
        choices: See `orders.place_order`.
        market: See `lanes.step_lanes`.
        action: Index into `choices`, NO_ACTION to hold.
        level: A continuous action.
        journal: (fills, marks), empty unless this lane is recorded.
        inputs: float64 (inputs,) for a custom reward: what `rewards.INPUTS` names.

    Returns:
        (terminated, truncated).
    """
    _, _, _, bins, _ = market
    previous = lane.equity
    trade(lane, rules, choices, market, action, level, journal)
    over = lane.decision + 1 == lane.last_decision or lane.steps + 1 == rules.episode_steps
    lane.price = bins[lane.decision + 1, CLOSE]
    lane.equity = equity_at(lane, lane.price)
    if rules.close_at_end != 0 and lane.quantity != 0.0 and (over or bankrupt(lane, rules)):
        end_rollout(lane, rules, market, journal)
    if lane.quantity == 0.0:
        lane.steps_held = 0
    else:
        lane.steps_held = 1 if lane.opened != 0 else lane.steps_held + 1
    lane.decision += 1
    lane.steps += 1
    lane.exposure = exposure_of(lane)
    growth = lane.equity / previous
    observe_return(lane, growth, lane.equity, lane.exposure)
    lane.reward = reward_of(lane, rules, previous, lane.equity, growth)
    terminated = bankrupt(lane, rules)
    truncated = over and not terminated
    lane.ended = 1 if terminated or over else 0
    if rules.reward == CUSTOM:
        write_inputs(lane, previous, terminated, truncated, inputs)
    record_mark(journal, lane, level if rules.continuous != 0 else float(action))
    return terminated, truncated


@jit
def roll_lane(
    lane: Record,
    rules: Record,
    choices: Record,
    market: MarketArrays,
    action: int,
    journal: Journal,
    inputs: Float64,
) -> float:
    """One action, then hold until flat or until the rollout is over; the episode ends with it.

    `inputs` is float64 (decision steps, inputs), see `step_lane`.

    Returns:
        The summed reward of its decision steps.
    """
    total = 0.0
    asked = action
    while True:
        row = min(lane.steps, inputs.shape[0] - 1)
        step_lane(lane, rules, choices, market, asked, 0.0, journal, inputs[row])
        total += lane.reward
        if lane.ended != 0 or lane.quantity == 0.0:
            break
        asked = NO_ACTION
    lane.ended = 1
    if rules.reward == CUSTOM:  # the environment's step terminates, whatever ended the rollout
        inputs[row, TERMINATED_INPUT], inputs[row, TRUNCATED_INPUT] = 1.0, 0.0
    return total
