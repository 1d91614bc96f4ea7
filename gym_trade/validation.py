"""The door of a market: what a frame must be, and the one message for what it is not.

Nothing is repaired here. Each check names the first offending row, its value and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from gym_trade.timeframe import TimeFrame
from gym_trade.types import Bool, Float64, Int64

_DAY_NS = 86_400_000_000_000
PRICES = ("open", "high", "low", "close")
TIME_COLUMNS = ("timestamp", "date", "datetime", "open_time", "time")
# Numeric stamps between 1973 and 2286 fall into disjoint ranges for the four usual units.
EPOCH_UNITS: tuple[tuple[Literal["s", "ms", "us", "ns"], int, int], ...] = (
    ("s", 10**8, 10**10),
    ("ms", 10**11, 10**13),
    ("us", 10**14, 10**16),
    ("ns", 10**17, 10**19),
)


class MarketDataError(ValueError):
    """Market data that cannot be traded on as it is; the message names the row and the remedy."""


def stamp_text(nanoseconds: int) -> str:
    """A UTC time stamp as text, to the second."""
    return str(np.datetime64(int(nanoseconds), "ns").astype("datetime64[s]")).replace("T", " ")


def _row(row: int, open_ns: Int64 | None) -> str:
    return f"row {row}" if open_ns is None else f"row {row} ({stamp_text(open_ns[row])})"


def _first(mask: npt.NDArray[np.bool_]) -> int | None:
    position = int(mask.argmax()) if mask.size else 0
    return position if mask.size and mask[position] else None


def named_columns(df: pd.DataFrame) -> dict[str, str]:
    """Lower-case name of each column -> its name in the frame."""
    names: dict[str, str] = {}
    for column in df.columns:
        lower = str(column).strip().lower()
        if lower in names:
            raise MarketDataError(
                f"columns {names[lower]!r} and {column!r} differ only in letter case. Drop one."
            )
        names[lower] = column
    return names


def _epoch_unit(values: pd.Series) -> Literal["s", "ms", "us", "ns"]:
    low, high = values.min(), values.max()
    for unit, smallest, largest in EPOCH_UNITS:
        if smallest <= low and high < largest:
            return unit
    raise MarketDataError(
        f"numeric time stamps from {low} to {high} are not epoch seconds, milliseconds, "
        "microseconds or nanoseconds since 1973. Convert the column with pandas.to_datetime."
    )


def read_stamps(df: pd.DataFrame, names: dict[str, str]) -> Int64:
    """The frame's time stamps as UTC nanoseconds, shape (rows,)."""
    if isinstance(df.index, pd.DatetimeIndex):
        stamps = df.index
    else:
        column = next((names[name] for name in TIME_COLUMNS if name in names), None)
        if column is None:
            raise MarketDataError(
                "no time stamps: the frame has neither a DatetimeIndex nor a column named one of "
                f"{', '.join(TIME_COLUMNS)}; its columns are {list(df.columns)}."
            )
        values = df[column]
        numeric = pd.api.types.is_numeric_dtype(values) and values.notna().any()
        unit = _epoch_unit(values) if numeric else None
        try:
            stamps = pd.DatetimeIndex(pd.to_datetime(values, unit=unit, utc=True))
        except (ValueError, TypeError) as error:
            raise MarketDataError(
                f"column {column!r} cannot be read as time stamps: {error}"
            ) from error
    if stamps.tz is not None:
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    row = _first(np.asarray(stamps.isna()))
    if row is not None:
        raise MarketDataError(f"row {row}: the time stamp is missing (NaT). Drop or fix that row.")
    try:
        return np.ascontiguousarray(stamps.as_unit("ns").to_numpy().astype(np.int64))
    except pd.errors.OutOfBoundsDatetime as error:
        raise MarketDataError(
            f"a time stamp is beyond what nanoseconds can count (1678 to 2261): {error}. Fix it."
        ) from None


def read_column(df: pd.DataFrame, column: str, open_ns: Int64) -> Float64:
    """One column as float64, shape (rows,); a cell that is no number is an error."""
    try:
        return np.array(df[column].to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        numbers = pd.to_numeric(df[column], errors="coerce")
        row = _first(numbers.isna().to_numpy() & df[column].notna().to_numpy())
        where = _row(row or 0, open_ns)
        raise MarketDataError(
            f"{where}: {column} is {df[column].iloc[row or 0]!r}, not a number. Fix that row."
        ) from None


def check_order(open_ns: Int64) -> None:
    """Refuse stamps that do not strictly increase."""
    steps = np.diff(open_ns)
    row = _first(steps <= 0)
    if row is None:
        return
    row += 1
    if open_ns[row] == open_ns[row - 1]:
        problem, remedy = "duplicates the stamp of the row before it", "Drop one of the two"
    elif (steps < 0).all():
        problem, remedy = "is older than the row before it", "The file is newest first: reverse it"
    else:
        problem, remedy = "is older than the row before it", "Sort the frame by time"
    raise MarketDataError(f"{_row(row, open_ns)} {problem}. {remedy}.")


def base_interval(open_ns: Int64) -> int:
    """The most common difference between stamps, in nanoseconds."""
    if len(open_ns) < 2:
        raise MarketDataError(
            f"{len(open_ns)} rows: at least two bars are needed to know their interval."
        )
    if is_calendar_months(open_ns):
        raise MarketDataError(
            f"{_row(1, open_ns)} and all others are first days of months: bars of calendar months "
            "have no constant length. Take bars of days or weeks of the same market."
        )
    differences, counts = np.unique(np.diff(open_ns), return_counts=True)
    return int(differences[counts.argmax()])


def is_calendar_months(open_ns: Int64) -> bool:
    """Whether stamps, strictly increasing, are first days of months, and of little else."""
    if len(open_ns) < 2 or int(np.diff(open_ns).min()) < 28 * _DAY_NS or (open_ns % _DAY_NS).any():
        return False
    days = open_ns.astype("datetime64[ns]").astype("datetime64[D]")
    return bool((days == days.astype("datetime64[M]")).all())


def check_grid(open_ns: Int64, interval_ns: int, offset_ns: int) -> None:
    """Refuse stamps off the base grid, which is anchored at the UTC epoch plus `offset_ns`."""
    if interval_ns % 1_000_000_000:
        raise MarketDataError(
            f"the bars' interval is {interval_ns} ns; whole seconds are supported. Resample first."
        )
    phase = (open_ns - offset_ns) % interval_ns
    row = _first(phase != 0)
    if row is None:
        return
    phases, counts = np.unique(phase, return_counts=True)
    common = int(phases[counts.argmax()])
    if common == 0:
        raise MarketDataError(
            f"{_row(row, open_ns)} is off the grid of {interval_ns // 10**9} s bars that most rows "
            "stand on. Drop or re-stamp that row."
        )
    wanted = (common + offset_ns) % interval_ns // 10**9 * 10**9
    if wanted == 0:
        raise MarketDataError(
            f"{_row(row, open_ns)} is off the grid of {interval_ns // 10**9} s bars that "
            f"offset='{TimeFrame(offset_ns).name}' asks for; most rows stand on the plain grid. "
            "Leave offset out."
        )
    thursday = ", a Thursday" if interval_ns % (7 * _DAY_NS) == 0 else ""
    raise MarketDataError(
        f"{_row(row, open_ns)} is off the grid of {interval_ns // 10**9} s bars, which is anchored "
        f"at the UTC epoch{thursday}. If the bars "
        f"really begin there, pass offset='{TimeFrame(wanted).name}'; if stamps are local times, "
        "convert them to UTC."
    )


def bar_faults(bars: Float64, volume: Float64) -> dict[tuple[str, str], Bool]:
    """Which rows break which rule of a bar; the only place that says what a bar must be.

    Args:
        bars: float64 (rows, 4), open, high, low, close.
        volume: float64 (rows,).

    Returns:
        (column, rule) -> bool (rows,), in this order: a price that is not finite and positive
        (rule "price"), a high below or a low above open or close ("open" or "close"), a volume that
        is not finite or negative ("volume").
    """
    sound = np.isfinite(bars) & (bars > 0.0)
    faults = {(name, "price"): ~sound[:, column] for column, name in enumerate(PRICES)}
    opens, highs, lows, closes = bars.T
    for other, values in (("open", opens), ("close", closes)):
        faults["high", other] = highs < values
    for other, values in (("open", opens), ("close", closes)):
        faults["low", other] = lows > values
    faults["volume", "volume"] = ~(np.isfinite(volume) & (volume >= 0.0))
    return faults


def check_bars(open_ns: Int64, bars: Float64, volume: Float64) -> None:
    """Refuse prices and volumes that no market can have, naming the first bad row.

    Args:
        open_ns: Stamps, int64 (rows,).
        bars: float64 (rows, 4), open, high, low, close.
        volume: float64 (rows,).
    """
    firsts = {fault: _first(mask) for fault, mask in bar_faults(bars, volume).items()}
    found = [(row, fault) for fault, row in firsts.items() if row is not None]
    if not found:
        return
    row, (name, rule) = min(found, key=lambda item: item[0])
    value = dict(zip(PRICES, bars[row], strict=True)) | {"volume": volume[row]}
    if rule == "price":
        text = "a price must be finite and positive. Fix or drop that row."
        text = f"{name} is {value[name]}; {text}"
    elif rule == "volume":
        text = (
            f"volume is {value[name]}; it must be finite and not negative. Fix that row, or leave "
            "the column out if volume is unknown."
        )
    else:
        side = "below" if name == "high" else "above"
        text = f"{name} {value[name]} is {side} {rule} {value[rule]}. Fix or drop that row."
    raise MarketDataError(f"{_row(row, open_ns)}: {text}")


def require_columns(names: dict[str, str], wanted: Iterable[str]) -> None:
    """Refuse a frame that lacks one of the wanted columns (lower-case)."""
    missing = [name for name in wanted if name not in names]
    if missing:
        raise MarketDataError(
            f"column{'s' if len(missing) > 1 else ''} {', '.join(missing)} missing; the frame has "
            f"{list(names.values())}."
        )
