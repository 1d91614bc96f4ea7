"""One step of one lane, and the loop over lanes: reset, order, walk, mark, reward, observation.

Every environment is this kernel: the scalar one with a single lane, a vector one with many. It
allocates nothing, trusts its input (the doors have checked it) and writes into the caller's arrays.
"""

from __future__ import annotations

from gym_trade.accounting import (
    advance,
    crossed,
    liquidate,
    liquidation_price,
)
from gym_trade.fills import equity_at, slippage_rate
from gym_trade.jit import jit
from gym_trade.metrics import observe_return, start_moments
from gym_trade.observing import exposure_of, observe
from gym_trade.orders import place_level_order
from gym_trade.philox import (
    DOMAIN_RESET,
    RESET_CASH,
    RESET_MARKET,
    RESET_START,
    uniform,
    uniform_index,
)
from gym_trade.rewards import reward_of
from gym_trade.types import (
    AGENT,
    CLOSE,
    LIQUIDATION,
    NEXT_STEP,
    NO_EXIT,
    OPEN,
    ORDER_FILLED,
    ORDER_NONE,
    ORDER_REFUSED,
    SAME_STEP,
    SLOT_EXIT,
    SLOT_OPENING_LIQUIDATION,
    SLOT_ORDER,
    Bool,
    Float32,
    Float64,
    Int64,
    MarketArrays,
    Outputs,
    Record,
    Windows,
)


@jit
def reset_lane(lane: Record, rules: Record, ranges: Int64, bars: Float64, bar_end: Int64) -> None:
    """Begin the episode whose number stands in the lane.

    `ranges` is int64 (markets, 2): each market's first decision that an episode may start at and
    its last mark, as indices into `bar_end`.
    """
    seed, episode = lane.seed, lane.episode
    market = uniform_index(seed, episode, RESET_MARKET, ranges.shape[0])
    first, last = ranges[market, 0], ranges[market, 1]
    start = first
    if rules.random_start != 0:
        steps = max(rules.episode_steps, 1)
        start = first + uniform_index(seed, episode, RESET_START, last - first - steps + 1)
    cash = rules.cash_low
    if rules.cash_high > cash:
        draw = uniform(seed, episode, 0, RESET_CASH, DOMAIN_RESET)
        cash += (rules.cash_high - cash) * draw
    lane.market = market
    lane.decision = start
    lane.last_decision = last
    lane.steps = 0
    lane.ended = 0
    lane.wallet = lane.initial_cash = lane.equity = cash
    lane.price = lane.initial_price = bars[bar_end[start] - 1, CLOSE]
    lane.quantity = lane.entry_price = lane.held_level = 0.0
    lane.stop_price = lane.target_price = 0.0
    lane.steps_held = lane.opened = 0
    lane.exit_reason = lane.order_code = lane.liquidated = 0
    lane.fees = lane.slippage_cost = lane.funding = lane.shortfall = lane.turnover = 0.0
    lane.refused_orders = lane.ambiguous_bars = lane.liquidations = 0
    lane.trade_wallet = cash
    lane.n_trades = lane.n_wins = 0
    lane.gross_profit = lane.gross_loss = 0.0
    lane.sharpe_first = lane.sharpe_second = 0.0
    start_moments(lane)


@jit
def record_fill(fills: Record, slot: int, lane: Record, bar: int, reason: int) -> None:
    """Copy the lane's last fill into its slot, where fills are recorded at all."""
    if fills.shape[0] > 0:
        entry = fills[slot]
        entry.bar = bar
        entry.quantity = lane.fill_quantity
        entry.reference_price = lane.fill_reference
        entry.price = lane.fill_price
        entry.fee = lane.fill_fee
        entry.reason = reason


@jit
def open_bar(lane: Record, rules: Record, bars: Float64, first: int) -> bool:
    """Liquidate what the fill bar's open has already passed; True where that happened."""
    if rules.fill_at_close != 0 or lane.quantity == 0.0:
        return False
    bar_open = bars[first, OPEN]
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
    bars: Float64,
    funding: Float64,
    first: int,
    last: int,
    level: float,
    fills: Record,
) -> None:
    """Fill the order that follows from `level`, then walk the bars ``first <= bar < last``."""
    lane.exit_reason = NO_EXIT
    lane.liquidated = lane.opened = 0
    may_trade = True
    if open_bar(lane, rules, bars, first):
        record_fill(fills, SLOT_OPENING_LIQUIDATION, lane, first, LIQUIDATION)
        threshold = rules.bankrupt_threshold * lane.initial_cash
        may_trade = lane.wallet > 0.0 and lane.wallet >= threshold
    lane.order_code = ORDER_NONE
    if may_trade:
        at_close = rules.fill_at_close != 0
        bar = first - 1 if at_close else first
        reference = bars[bar, CLOSE] if at_close else bars[bar, OPEN]
        slippage = slippage_rate(lane, rules, SLOT_ORDER)
        lane.order_code = place_level_order(lane, rules, level, reference, slippage)
        if lane.order_code == ORDER_FILLED:
            record_fill(fills, SLOT_ORDER, lane, bar, AGENT)
        elif lane.order_code == ORDER_REFUSED:
            lane.refused_orders += 1
    reason, bar = advance(lane, rules, bars, funding, first, last)
    if reason != NO_EXIT:
        lane.exit_reason = reason
        record_fill(fills, SLOT_EXIT, lane, bar, reason)


@jit
def step_lane(
    lane: Record,
    rules: Record,
    bars: Float64,
    funding: Float64,
    bar_end: Int64,
    level: float,
    fills: Record,
) -> tuple[float, float, bool, bool]:
    """Take one decision step.

    Returns:
        (previous equity, reward, terminated, truncated).
    """
    first, last = bar_end[lane.decision], bar_end[lane.decision + 1]
    previous = lane.equity
    for slot in range(fills.shape[0]):
        fills[slot].reason = NO_EXIT
    trade(lane, rules, bars, funding, first, last, level, fills)
    if lane.quantity == 0.0:
        lane.steps_held = 0
    else:
        lane.steps_held = 1 if lane.opened != 0 else lane.steps_held + 1
    lane.decision += 1
    lane.steps += 1
    lane.price = bars[last - 1, CLOSE]
    lane.equity = equity_at(lane, lane.price)
    observe_return(lane, previous, lane.equity, exposure_of(lane))
    reward = reward_of(lane, rules, previous, lane.equity)
    terminated = lane.equity <= 0.0 or lane.equity < rules.bankrupt_threshold * lane.initial_cash
    over = lane.decision == lane.last_decision or lane.steps == rules.episode_steps
    truncated = over and not terminated
    lane.ended = 1 if terminated or over else 0
    return previous, reward, terminated, truncated


@jit
def reset_lanes(
    mask: Bool,
    observe_all: bool,
    lanes: Record,
    rules: Record,
    ranges: Int64,
    market: MarketArrays,
    windows: Windows,
    features: Float32,
    observations: Float32,
) -> None:
    """Begin the episode whose number stands in each lane that `mask` (bool (n,)) names.

    Writes those lanes' observations, or every lane's with `observe_all`; see `step_lanes` for the
    other arguments.
    """
    bars, _, bar_end = market
    for i in range(lanes.shape[0]):
        if mask[i]:
            reset_lane(lanes[i], rules[0], ranges, bars, bar_end)
        if mask[i] or observe_all:
            observe(lanes[i], rules[0], windows, features, observations[i])


@jit
def step_lanes(
    begin: int,
    end: int,
    lanes: Record,
    rules: Record,
    ranges: Int64,
    market: MarketArrays,
    windows: Windows,
    features: Float32,
    levels: Float64,
    out: Outputs,
    fills: Record,
) -> None:
    """Step the lanes ``begin <= i < end`` with autoreset, writing into the arrays of `out`.

    Args:
        begin: First lane.
        end: Lane after the last.
        lanes: Structured (n,), `types.LANE_DTYPE`.
        rules: Structured (1,), `types.RULES_DTYPE`.
        ranges: int64 (markets, 2), see `reset_lane`.
        market: (bars, funding, bar_end) as in `accounting.advance`; `bar_end[d]` is the index after
            the last base bar of decision d.
        windows: See `observe`.
        features: See `observe`.
        levels: float64 (n,), the level that each lane asks for.
        out: (observations, final observations, rewards, previous equities, equities, terminated,
            truncated); final observations are written in SAME_STEP mode only, for ended lanes.
        fills: Structured (n, 3) to record fills, or (n, 0).
    """
    bars, funding, bar_end = market
    observations, finals, rewards, previous_equities, equities, terminated, truncated = out
    rule = rules[0]
    for i in range(begin, end):
        lane = lanes[i]
        if lane.ended != 0 and rule.autoreset == NEXT_STEP:
            lane.episode += 1
            reset_lane(lane, rule, ranges, bars, bar_end)
            rewards[i] = 0.0
            previous_equities[i] = equities[i] = lane.equity
            terminated[i] = truncated[i] = False
            for slot in range(fills.shape[1]):
                fills[i, slot].reason = NO_EXIT
        else:
            previous, reward, dead, cut = step_lane(
                lane, rule, bars, funding, bar_end, levels[i], fills[i]
            )
            rewards[i] = reward
            previous_equities[i], equities[i] = previous, lane.equity
            terminated[i], truncated[i] = dead, cut
            if lane.ended != 0 and rule.autoreset == SAME_STEP:
                observe(lane, rule, windows, features, finals[i])
                continue  # the facade reads the ended lane's metrics, then resets it
        observe(lane, rule, windows, features, observations[i])
