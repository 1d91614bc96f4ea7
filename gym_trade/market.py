"""A market: OHLCV bars, validated once and shared, read-only, by every environment."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gym_trade import aligned
from gym_trade.shared_memory import Handle, attach, publish
from gym_trade.tables import Features, Tables, build_tables
from gym_trade.timeframe import TimeFrame, parse_time_frame
from gym_trade.types import CLOSE, HIGH, LOW, OPEN, Float64, Int64
from gym_trade.validation import (
    PRICES,
    MarketDataError,
    base_interval,
    check_bars,
    check_grid,
    check_order,
    named_columns,
    read_column,
    read_stamps,
    require_columns,
)

_TABLE_ARRAYS = ("instants", "bar_end", "starts", "lengths", "features")
_living: weakref.WeakValueDictionary[str, Market] = weakref.WeakValueDictionary()


class Market:
    """OHLCV bars of one asset.

    A market is never copied: ``copy.deepcopy`` returns the market itself, a pickle that another
    process on the same machine opens maps the same memory, and `content_hash` stands for it in
    JSON.

    Args:
        df: A frame with a ``DatetimeIndex`` or a column ``timestamp``, ``date`` or ``open_time``
            (UTC where it has no zone), and open, high, low, close and, if known, volume, in any
            letter case. It is not changed. ``feature_*`` and ``funding_rate`` columns are kept.
        stamp: "open" where stamps name a bar's open, "close" where they name its close.
        offset: Shift of the bar grid from the UTC epoch, such as "30min" for hourly bars from
            09:30.
        columns: Names of further columns to keep.

    Attributes:
        open_ns: Bars' open times, int64 (bars,), UTC nanoseconds.
        bars: float64 (bars, 4): open, high, low, close.
        volume: float64 (bars,), base units; zeros where the frame has none.
        extras: The kept further columns, each float64 (bars,).
        interval_ns: The base interval.
        offset_ns: The grid's shift.
        has_volume: Whether the frame had a volume column.
        stamp: What the frame's stamps named.

    Raises:
        MarketDataError: The frame is no valid market; the message names the row and the remedy.
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        df: pd.DataFrame,
        *,
        stamp: str = "open",
        offset: object = None,
        columns: Iterable[str] = (),
    ) -> None:
        if not isinstance(df, pd.DataFrame):
            raise MarketDataError(
                f"a market is made from a pandas DataFrame, got {type(df).__name__}. "
                "data_tools.load reads one from a file."
            )
        if stamp not in ("open", "close"):
            raise ValueError(f"stamp={stamp!r}: expected 'open' or 'close'.")
        columns = (columns,) if isinstance(columns, str) else tuple(columns)
        reserved = [name for name in columns if name.lower() in (*PRICES, "volume")]
        if reserved:
            raise ValueError(
                f"columns={columns!r}: {reserved[0]!r} is part of every bar. Name further columns, "
                "such as one of funding rates."
            )
        names = named_columns(df)
        require_columns(names, (*PRICES, *(name.lower() for name in columns)))
        if df.empty:
            raise MarketDataError("the frame has no rows.")
        open_ns = read_stamps(df, names)
        check_order(open_ns)
        interval_ns = base_interval(open_ns)
        if stamp == "close":
            open_ns = open_ns - interval_ns
        offset_ns = 0 if offset is None else parse_time_frame(offset, "offset").interval_ns
        check_grid(open_ns, interval_ns, offset_ns % interval_ns)
        bars = aligned.zeros((len(df), 4), np.float64)
        for position, name in enumerate(PRICES):
            bars[:, position] = read_column(df, names[name], open_ns)
        self.has_volume = "volume" in names
        volume = np.zeros(len(df))
        if self.has_volume:
            volume = read_column(df, names["volume"], open_ns)
        check_bars(open_ns, bars, volume)
        kept = [name for name in names if name.startswith("feature_")]
        kept += [name for name in ("funding_rate", *map(str.lower, columns)) if name in names]
        extras = {name: read_column(df, names[name], open_ns) for name in dict.fromkeys(kept)}
        self.stamp = stamp
        self._set(open_ns, bars, volume, extras, interval_ns, offset_ns)

    def _set(
        self,
        open_ns: Int64,
        bars: Float64,
        volume: Float64,
        extras: dict[str, Float64],
        interval_ns: int,
        offset_ns: int,
    ) -> None:
        self.open_ns, self.bars, self.volume, self.extras = open_ns, bars, volume, extras
        self.interval_ns, self.offset_ns = interval_ns, offset_ns
        for array in (open_ns, bars, volume, *extras.values()):
            array.flags.writeable = False
        self._tables: dict[Any, Tables] = {}
        self._content_hash: str | None = None
        self._handle: tuple[int, Handle] | None = None

    @property
    def time_frame(self) -> TimeFrame:
        """The base interval as a time frame."""
        return TimeFrame(self.interval_ns)

    @property
    def open(self) -> Float64:
        """Open prices, float64 (bars,)."""
        return self.bars[:, OPEN]

    @property
    def high(self) -> Float64:
        """High prices, float64 (bars,)."""
        return self.bars[:, HIGH]

    @property
    def low(self) -> Float64:
        """Low prices, float64 (bars,)."""
        return self.bars[:, LOW]

    @property
    def close(self) -> Float64:
        """Close prices, float64 (bars,)."""
        return self.bars[:, CLOSE]

    @property
    def open_times(self) -> npt.NDArray[np.datetime64]:
        """Bars' open times, datetime64[ns] (bars,), UTC."""
        return self.open_ns.view("datetime64[ns]")

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """The first bar's open and the last bar's close, UTC."""
        end = int(self.open_ns[-1]) + self.interval_ns
        return pd.Timestamp(int(self.open_ns[0]), tz="UTC"), pd.Timestamp(end, tz="UTC")

    @property
    def content_hash(self) -> str:
        """SHA-256 over everything that an environment can see of this market, in hex."""
        if self._content_hash is None:
            digest = hashlib.sha256(f"{self.interval_ns} {self.offset_ns}".encode())
            for array in (self.open_ns, self.bars, self.volume):
                digest.update(array.data)
            for name in sorted(self.extras):
                digest.update(name.encode() + b"\0" + self.extras[name].tobytes())
            self._content_hash = digest.hexdigest()
        return self._content_hash

    def to_frame(self) -> pd.DataFrame:
        """The bars as a new frame: open, high, low, close, volume and the kept columns."""
        data = {name: self.bars[:, position] for position, name in enumerate(PRICES)}
        data |= {"volume": self.volume} | self.extras
        index = pd.DatetimeIndex(self.open_times, name="timestamp")
        return pd.DataFrame(data, index=index)

    def tables(
        self,
        time_frames: tuple[TimeFrame, ...],
        window_sizes: tuple[int, ...],
        execute_on: TimeFrame,
        features: Features = None,
    ) -> Tables:
        """The tables of one choice of time frames, made once and kept; see `tables.Tables`.

        Raises:
            ValueError: A time frame is no multiple of the base interval.
            MarketDataError: The data is too short for its windows.
        """
        wanted = [("time_frames", frame) for frame in time_frames] + [("execute_on", execute_on)]
        for argument, frame in wanted:
            if frame.interval_ns % self.interval_ns:
                raise ValueError(
                    f"{argument}={frame} is no multiple of the market's {self.time_frame} bars."
                )
        feature_key = tuple(sorted(features.items())) if isinstance(features, dict) else features
        key = (time_frames, window_sizes, execute_on, feature_key)
        if key not in self._tables:
            self._tables[key] = build_tables(
                self.open_ns,
                self.bars,
                self.volume,
                {n: v for n, v in self.extras.items() if n.startswith("feature_")},
                self.offset_ns,
                time_frames,
                window_sizes,
                execute_on,
                features,
            )
        return self._tables[key]

    def __len__(self) -> int:
        return len(self.open_ns)

    def __repr__(self) -> str:
        start, end = self.span
        return f"Market({len(self)} {self.time_frame} bars, {start:%Y-%m-%d} to {end:%Y-%m-%d})"

    def __eq__(self, other: object) -> bool:
        return getattr(other, "content_hash", None) == self.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def __copy__(self) -> Market:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Market:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Tables made by a function that another process cannot import are made anew there.
        shared = {key: table for key, table in self._tables.items() if _importable(key[-1])}
        if self._handle is None or self._handle[0] != len(shared):
            arrays = {"open_ns": self.open_ns, "bars": self.bars, "volume": self.volume}
            arrays |= {f"extras {name}": values for name, values in self.extras.items()}
            for number, table in enumerate(shared.values()):
                arrays |= {f"{number} {name}": getattr(table, name) for name in _TABLE_ARRAYS}
                if table.bins is not self.bars:
                    arrays[f"{number} bins"] = table.bins
            self._handle = (len(shared), publish(arrays, self))
        _living[self.content_hash] = self
        tables = [
            (key, table.time_frames, table.window_sizes, table.execute_on, table.widths,
             table.first_decision)
            for key, table in shared.items()
        ]  # fmt: skip
        facts = (
            self.interval_ns,
            self.offset_ns,
            self.has_volume,
            self.stamp,
            self.content_hash,
            tables,
        )
        return _open_shared, (self._handle[1], facts)


def _importable(features: Any) -> bool:
    """Whether a pickle can name every function in a choice of features."""
    if isinstance(features, tuple):
        return all(_importable(choice) for _, choice in features)
    return not callable(features) or "<" not in getattr(features, "__qualname__", "<")


def _open_shared(handle: Handle, facts: tuple[Any, ...]) -> Market:
    """Unpickle: map the memory of the process that pickled, or find the market alive here."""
    interval_ns, offset_ns, has_volume, stamp, content_hash, tables = facts
    living = _living.get(content_hash)
    if living is not None:
        return living
    arrays = attach(handle)
    market = Market.__new__(Market)
    extras = {n.removeprefix("extras "): a for n, a in arrays.items() if n.startswith("extras ")}
    market._set(arrays["open_ns"], arrays["bars"], arrays["volume"], extras, interval_ns, offset_ns)
    market.has_volume, market.stamp, market._content_hash = has_volume, stamp, content_hash
    for number, (key, frames, sizes, execute_on, widths, first) in enumerate(tables):
        parts = {name: arrays[f"{number} {name}"] for name in _TABLE_ARRAYS}
        parts["bins"] = arrays.get(f"{number} bins", market.bars)
        market._tables[key] = Tables(
            time_frames=frames, window_sizes=sizes, execute_on=execute_on, widths=widths,
            first_decision=first, **parts,
        )  # fmt: skip
    market._handle = (len(tables), handle)
    _living[content_hash] = market
    return market
