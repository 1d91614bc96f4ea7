"""Observations outside an environment: of bars as they come, and of an account held elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from gym_trade.arguments import refuse
from gym_trade.base_config import TradeConfig
from gym_trade.features import FeatureFunction
from gym_trade.fills import equity_at
from gym_trade.grid import frame_choice, market_tables
from gym_trade.market import Market
from gym_trade.observing import exposure_of, write_account_state
from gym_trade.rules import AUTORESET_CODES, make_lanes, make_rules, plain
from gym_trade.tables import bin_edges
from gym_trade.timeframe import TimeFrame
from gym_trade.types import ACCOUNT_STATE_WIDTH, LANE_DTYPE, RULES_DTYPE, Float32
from gym_trade.validation import MarketDataError, stamp_text

LEVERAGE = 4  # its place in the account state


def observe(
    config: TradeConfig,
    bars: pd.DataFrame | Market,
    account_state: npt.ArrayLike,
    *,
    now: object = None,
) -> Float32:
    """The flat observation that an environment of `config` shows at the end of `bars`.

    It is the environment's own to the last bit if the bars go back as far as the environment's. If
    they begin later, the mean volume is summed in another order, which float32 hides but for once
    in some million numbers, and a feature of yours sees what history it is given.

    Args:
        config: Time frames, windows, features, stamps and leverage; market and period play no part.
        bars: Closed bars of the base interval, the newest last, as `Market` takes them; the forming
            bar left out.
        account_state: Six numbers, as an environment's; `account_state` makes them.
        now: The decision instant, UTC, where the last bars before it are missing; None: the end of
            the last bar.

    Returns:
        float32 (D,): each time frame's window, oldest bar first, then the account state.

    Raises:
        MarketDataError: The bars are no market, or too few; the message says how many are needed.
        ValueError: `now` is no decision instant, or the account state is not six numbers of this
            configuration's.
    """
    account = _read_account(config, account_state)
    if isinstance(bars, Market):
        market = bars
    else:
        market = Market(bars, stamp=config.stamp, offset=config.offset)
    execute_on = frame_choice(config, market)[2]
    now_ns = _decision_instant(market, execute_on, now)
    _require_history(config, market, now_ns)
    tables = market_tables(config, ("of the bars",), (market,))[0]
    decision = len(tables.instants) - 1
    windows = [tables.window(decision, number).ravel() for number in range(len(tables.widths))]
    return np.concatenate([*windows, account])


def account_state(
    config: TradeConfig,
    *,
    cash: float,
    position: float = 0.0,
    entry_price: float = 0.0,
    price: float,
    steps_held: int = 0,
) -> Float32:
    """The six numbers of an account, as an environment of `config` shows them.

    Args:
        config: Leverage, margin and fees.
        cash: The balance without the open position's profit, in quote currency.
        position: Base units, below 0 for a short.
        entry_price: Its average price.
        price: The last close.
        steps_held: Decisions since it was opened.

    Returns:
        float32 (6,): exposure, direction, unrealised return, steps held, leverage, distance to
        liquidation.

    Raises:
        ValueError: A number is not finite, or a price not positive.
    """
    numbers = {"cash": cash, "position": position, "price": price, "entry_price": entry_price}
    for name, value in numbers.items():
        if not np.isfinite(value):
            raise refuse(name, value, "a finite number")
    for name in ("price", "entry_price") if position else ("price",):
        if numbers[name] <= 0.0:
            raise refuse(name, numbers[name], "a number above 0")
    lanes = make_lanes(1)
    lane = lanes[0]
    lane.wallet, lane.quantity, lane.price, lane.steps_held = cash, position, price, steps_held
    lane.entry_price = entry_price if position else 0.0
    rules = make_rules(config, AUTORESET_CODES["Disabled"], -1)
    record, rule = plain(lanes, LANE_DTYPE)[0], plain(rules, RULES_DTYPE)[0]
    record["equity"] = equity_at(record, price)
    record["exposure"] = exposure_of(record)
    made = np.zeros(ACCOUNT_STATE_WIDTH, np.float32)
    write_account_state(record, rule, made)
    return made


def _read_account(config: TradeConfig, given: npt.ArrayLike) -> Float32:
    array = np.asarray(given, np.float32)
    if array.shape != (ACCOUNT_STATE_WIDTH,) or not np.isfinite(array).all():
        raise ValueError(
            f"account_state={given!r}: expected six finite numbers: exposure, direction, "
            "unrealised return, steps held, leverage, distance to liquidation."
        )
    if array[1] not in (-1.0, 0.0, 1.0) or array[LEVERAGE] != np.float32(config.leverage):
        raise ValueError(
            f"account_state={array.tolist()}: expected a direction of -1, 0 or 1, second, and the "
            f"configuration's leverage of {config.leverage:g}, fifth. gym_trade.account_state "
            "makes the six numbers."
        )
    return array


def _decision_instant(market: Market, execute_on: TimeFrame, now: object) -> int:
    """The instant to decide at: the end of the last decision bin, which must have come."""
    last_end = int(market.open_ns[-1]) + market.interval_ns
    opens, _, _ = bin_edges(market.open_ns, execute_on.interval_ns, market.offset_ns)
    instant = int(opens[-1]) + execute_on.interval_ns
    given = last_end if now is None else _nanoseconds(now)
    if given != instant:
        raise ValueError(
            f"now is {stamp_text(given)}, and decisions are made every {execute_on}: of these bars "
            f"at {stamp_text(instant)}. Wait for the bars up to then; if the last of them are "
            "missing in the market itself, pass now=."
        )
    return instant


def _nanoseconds(time: object) -> int:
    stamp = pd.Timestamp(time)  # type: ignore[arg-type]
    if pd.isna(stamp):
        raise refuse("now", time, "a time")
    return int((stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp).as_unit("ns").value)


def _first_row(config: TradeConfig, frame: TimeFrame, size: int) -> int:
    """Bars before the first one whose features are complete, as far as that is known here."""
    choice: FeatureFunction | str | None = config.features
    if isinstance(config.features, Mapping):
        choice = config.features.get(frame.name)
    if choice == "columns" or callable(choice):
        return 0
    return max(1, size - 1)  # a previous close, and the mean volume of a window


def _require_history(config: TradeConfig, market: Market, now_ns: int) -> None:
    """Refuse bars that begin too late for a window, or in the middle of its oldest coarse bar."""
    lacking = []
    frames, sizes, _ = frame_choice(config, market)
    for frame, size in zip(frames, sizes, strict=True):
        opens, _, _ = bin_edges(market.open_ns, frame.interval_ns, market.offset_ns)
        closed = int((opens + frame.interval_ns <= now_ns).sum())
        # what a coarse bar held before the first base bar is not known
        whole = max(0, closed - int(opens[0] != market.open_ns[0]))
        needed = _first_row(config, frame, size) + size
        if whole < needed:
            forming = (now_ns - market.offset_ns) % frame.interval_ns
            base_bars = (forming + needed * frame.interval_ns) // market.interval_ns
            lacking.append((base_bars, size, frame, needed, whole))
    if not lacking:
        return
    base_bars, size, frame, needed, whole = max(lacking, key=lambda lack: lack[0])
    raise MarketDataError(
        f"{len(market)} {market.time_frame} bars from {stamp_text(int(market.open_ns[0]))} are too "
        f"few: the window of {size} {frame} bars at {stamp_text(now_ns)} needs {needed} whole "
        f"{frame} bars and has {whole}. Pass at least {base_bars} {market.time_frame} bars, more "
        "where the market has gaps."
    )
