"""From a configuration and its markets to the arrays that the kernel reads."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gym_trade import aligned
from gym_trade.base_config import TradeConfig
from gym_trade.market import Market
from gym_trade.tables import Tables
from gym_trade.timeframe import NANOSECONDS, TimeFrame, parse_time_frame
from gym_trade.types import Float32, Float64, Int64
from gym_trade.validation import MarketDataError, stamp_text

MINUTE_FRAMES = ("1min", "5min", "15min", "1hour")
MINUTE_WINDOWS = (12, 8, 8, 24)
MINUTE_EXECUTE_ON = "5min"
DEFAULT_WINDOW = 32
LARGEST_FUNDING_RATE = 1.0
FUNDING_INTERVAL_NS = 8 * NANOSECONDS["Hour"]
YEAR_NS = 365.25 * NANOSECONDS["Day"]


@dataclass(frozen=True, eq=False)
class Grid:
    """The joined arrays of all markets.

    Attributes:
        bars: float64 (bars, 4).
        instants: int64 (decisions,), UTC nanoseconds.
        bar_end: int64 (decisions,), index into `bars` after each decision's last base bar.
        bins: float64 (decisions, 4), open, high, low, close of each decision's bin.
        starts: int64 (decisions, frames), index into `features` of each window.
        features: float32, flat.
        first_decisions: int64 (markets,), index of each market's decision 0.
        periods_per_year: float64 (markets,), decisions a year of 365.25 days.
    """

    bars: Float64
    instants: Int64
    bar_end: Int64
    bins: Float64
    starts: Int64
    features: Float32
    first_decisions: Int64
    periods_per_year: Float64


def frame_choice(
    config: TradeConfig, market: Market
) -> tuple[tuple[TimeFrame, ...], tuple[int, ...], TimeFrame]:
    """The time frames, window sizes and decision interval, with the defaults filled in."""
    minutes = market.interval_ns == NANOSECONDS["Minute"]
    defaults = MINUTE_FRAMES if minutes else (market.time_frame.name,)
    names = config.time_frames or defaults
    sizes = config.window_sizes
    if sizes is None:
        sizes = MINUTE_WINDOWS if names == MINUTE_FRAMES else (DEFAULT_WINDOW,)
    if len(sizes) == 1:
        sizes = sizes * len(names)
    if len(sizes) != len(names):
        raise ValueError(
            f"window_sizes={sizes} has {len(sizes)} elements, but the default time_frames are "
            f"{names}. Give time_frames too, or {len(names)} sizes."
        )
    base = MINUTE_EXECUTE_ON if minutes else market.time_frame.name
    execute_on = parse_time_frame(config.execute_on or base, "execute_on")
    return tuple(parse_time_frame(name) for name in names), sizes, execute_on


def _features(config: TradeConfig, frames: Sequence[TimeFrame]) -> Any:
    if not isinstance(config.features, Mapping):
        return config.features
    named = {parse_time_frame(name): choice for name, choice in config.features.items()}
    unused = [str(frame) for frame in named if frame not in frames]
    if unused:
        raise ValueError(
            f"features has an entry for {unused[0]}, which is none of the time_frames "
            f"{', '.join(map(str, frames))}."
        )
    return named


def market_tables(
    config: TradeConfig, names: Sequence[str], markets: Sequence[Market]
) -> list[Tables]:
    """Each market's tables.

    Raises:
        ValueError: Markets of different base intervals or feature counts, or a time frame that is
            no multiple of the base interval.
        MarketDataError: A market is too short for the windows.
    """
    intervals = {market.interval_ns for market in markets}
    if len(intervals) > 1:
        raise ValueError(
            "df: the markets have different base intervals: "
            + ", ".join(f"{n} {m.time_frame}" for n, m in zip(names, markets, strict=True))
            + ". Resample them to one."
        )
    for name, market in zip(names, markets, strict=True):
        if not market.has_volume:
            warnings.warn(f"market {name} has no volume column: it counts as 0.", stacklevel=2)
    frames, sizes, execute_on = frame_choice(config, markets[0])
    features = _features(config, frames)
    tables = [market.tables(frames, sizes, execute_on, features) for market in markets]
    if len({table.widths for table in tables}) > 1:
        raise ValueError(
            "df: the markets give different numbers of features: "
            + ", ".join(f"{n} {t.widths}" for n, t in zip(names, tables, strict=True))
        )
    return tables


def decision_ranges(config: TradeConfig, names: Sequence[str], tables: Sequence[Tables]) -> Int64:
    """Each market's first decision and last mark after slicing, int64 (markets, 2).

    Raises:
        ValueError: A slice holds no step, or fewer than `episode_steps`.
    """
    ranges = np.zeros((len(tables), 2), np.int64)
    needed = config.longest_episode or 1
    for number, (name, table) in enumerate(zip(names, tables, strict=True)):
        first, last = table.first_decision, len(table.instants) - 1
        if config.start is not None:
            begin = pd.Timestamp(config.start).value
            first = max(first, int(np.searchsorted(table.instants, begin, side="left")))
        if config.end is not None:
            end = pd.Timestamp(config.end).value
            last = min(last, int(np.searchsorted(table.instants, end, side="right")) - 1)
        if last - first < needed:
            usable = stamp_text(table.instants[table.first_decision])
            raise ValueError(
                f"market {name} has {max(last - first, 0)} steps between start={config.start} and "
                f"end={config.end}; {needed} are needed ({config.episode_limits}). "
                f"Its windows are full from {usable} on, its data ends at "
                f"{stamp_text(table.instants[-1])}."
            )
        ranges[number] = first, last
    return ranges


def join_tables(markets: Sequence[Market], tables: Sequence[Tables]) -> Grid:
    """Lay the markets behind one another; a single market's arrays are used as they are."""
    counts = np.array([len(table.instants) for table in tables])
    spans = np.array([float(table.instants[-1] - table.instants[0]) for table in tables])
    periods = np.where(spans > 0.0, (counts - 1) / np.maximum(spans / YEAR_NS, 1e-12), 1.0)
    firsts = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int64)
    if len(markets) == 1:
        table = tables[0]
        return Grid(
            markets[0].bars, table.instants, table.bar_end, table.bins, table.starts,
            table.features, firsts, periods,
        )  # fmt: skip
    bar_offsets = np.concatenate(([0], np.cumsum([len(market) for market in markets])[:-1]))
    sizes = np.concatenate(([0], np.cumsum([table.features.size for table in tables])[:-1]))
    return Grid(
        aligned.concatenate([market.bars for market in markets]),
        np.concatenate([table.instants for table in tables]),
        np.concatenate([t.bar_end + o for t, o in zip(tables, bar_offsets, strict=True)]),
        aligned.concatenate([table.bins for table in tables]),
        aligned.concatenate([t.starts + o for t, o in zip(tables, sizes, strict=True)]),
        np.concatenate([table.features for table in tables]),
        firsts,
        periods,
    )


def settlement_rates(funding_rate: float | str | None, markets: Sequence[Market]) -> Float64:
    """The funding rate settled at each base bar's open, float64 (bars,); empty without funding.

    It is due at 00:00, 08:00 and 16:00 UTC, on the bar that opens exactly then.

    Raises:
        ValueError: The base interval is longer than 8 hours, or the column is missing.
        MarketDataError: The column is not finite where it is due.
    """
    if funding_rate is None:
        return np.zeros(0)
    parts = []
    for market in markets:
        if market.interval_ns > FUNDING_INTERVAL_NS:
            raise ValueError(
                f"funding_rate={funding_rate!r} needs bars of 8 hours or less; the market has "
                f"{market.time_frame} bars."
            )
        due = market.open_ns % FUNDING_INTERVAL_NS == 0
        if isinstance(funding_rate, str):
            if funding_rate.lower() not in market.extras:
                raise ValueError(
                    f"funding_rate={funding_rate!r} names no column that the market kept "
                    f"({list(market.extras)}). Pass a number, or a df with that column."
                )
            values = market.extras[funding_rate.lower()]
            bad = due & ~(np.abs(values) <= LARGEST_FUNDING_RATE)
            if bad.any():
                row = int(bad.argmax())
                raise MarketDataError(
                    f"row {row} ({stamp_text(market.open_ns[row])}): {funding_rate} is "
                    f"{values[row]} where funding is due; it must be a fraction of notional, from "
                    "-1 to 1. Fix that row."
                )
        else:
            values = np.full(len(market), funding_rate)
        parts.append(np.where(due, values, 0.0))
    return np.concatenate(parts)
