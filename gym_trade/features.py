"""What an observation shows of a bar: the default features, and the check of a user's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from gym_trade.jit import jit
from gym_trade.types import Float32, Float64
from gym_trade.validation import MarketDataError

FeatureFunction = Callable[[pd.DataFrame], pd.DataFrame]

DEFAULT_NAMES = ("open", "high", "low", "close", "volume")


def trailing_mean(values: Float64, length: int) -> Float64:
    """The mean of the last `length` values at each position, NaN before there are that many.

    Each sum joins the tail of one block of `length` values to the head of the next (van Herk's
    scheme), so nothing is ever subtracted: a stretch of zeros gives exactly 0, a mean does not
    drift along the series, and no later value has any part in it.

    Args:
        values: float64 (n,).
        length: Window, >= 1.

    Returns:
        float64 (n,).
    """
    means = np.full(len(values), np.nan)
    write_trailing_means(np.ascontiguousarray(values), length, np.zeros(length), means)
    return means


@jit
def write_trailing_means(values: Float64, length: int, tails: Float64, out: Float64) -> None:
    """Write the means of `trailing_mean`; `tails`, float64 (length,), is room to work in."""
    last = length - 1
    head = 0.0
    for i in range(values.shape[0]):
        place = i % length
        head = values[i] if place == 0 else head + values[i]
        if i >= last:
            out[i] = (head if place == last else tails[place + 1] + head) / length
        if place == last:  # the block is complete: the sums of its tails, for the next one
            tail = values[i]
            tails[last] = tail
            for back in range(1, length):
                tail = tail + values[i - back]
                tails[last - back] = tail


def _default_columns(bars: pd.DataFrame, window: int) -> Iterator[Float64]:
    """The default features one after the other: together they would be large."""
    closes = bars["close"].to_numpy(np.float64)
    previous = np.concatenate(([np.nan], closes[:-1]))
    yield np.log(bars["open"].to_numpy(np.float64) / previous)
    yield np.log(bars["high"].to_numpy(np.float64) / closes)
    yield np.log(bars["low"].to_numpy(np.float64) / closes)
    yield np.log(closes / previous)
    volume = np.log1p(bars["volume"].to_numpy(np.float64))
    yield volume - trailing_mean(volume, window)


def default_features(bars: pd.DataFrame, window: int) -> pd.DataFrame:
    """Five causal, stationary features of each bar.

    Args:
        bars: open, high, low, close, volume, indexed by the bars' open times.
        window: The frame's window length, over which the mean log volume is taken.

    Returns:
        A frame with the same index: log(open / previous close), log(high / close),
        log(low / close), log(close / previous close), and log1p(volume) less its trailing mean.
        The rows that lack a previous close or a full mean hold NaN.
    """
    columns = _default_columns(bars, window)
    return pd.DataFrame(dict(zip(DEFAULT_NAMES, columns, strict=True)), index=bars.index)


def _table(result: object, bars: pd.DataFrame, where: str) -> pd.DataFrame:
    if not isinstance(result, pd.DataFrame) or not result.index.equals(bars.index):
        raise ValueError(
            f"features for {where} must return a DataFrame with the index of the bars it was given "
            f"({len(bars)} rows), got {type(result).__name__}"
            + (f" with {len(result)} rows." if isinstance(result, pd.DataFrame) else ".")
        )
    if result.shape[1] == 0:
        raise ValueError(f"features for {where} returned a DataFrame without columns.")
    return result


def check_look_ahead(function: FeatureFunction, bars: pd.DataFrame, where: str = "bars") -> None:
    """Refuse a feature function whose past output changes when the future is cut off.

    The function is run on the whole frame and on a few prefixes of it. A causal feature gives the
    same rows either way (to one part in a million, for sums that are grouped differently).

    Args:
        function: ``features(bars) -> frame``.
        bars: Bars to try it on, indexed by open time.
        where: What the bars are, for the message.

    Raises:
        ValueError: The output is no aligned frame, or row values depend on later bars.
    """
    whole = _table(function(bars.copy()), bars, where)
    count = len(bars)
    complete = np.isfinite(whole.to_numpy(np.float64)).all(axis=1)
    # Cut right after the first complete row: values filled backwards are not there any more.
    first = int(complete.argmax()) + 1 if complete.any() else count
    for cut in sorted({first, max(2, count // 4), max(2, count // 2), max(2, count - 1)}):
        if cut >= count:
            continue
        prefix = bars.iloc[:cut]
        part = _table(function(prefix.copy()), prefix, where)
        if list(part.columns) != list(whole.columns):
            raise ValueError(f"features for {where}: the columns change with the length of input.")
        left, right = part.to_numpy(np.float64), whole.iloc[:cut].to_numpy(np.float64)
        differs = np.asarray(~np.isclose(left, right, rtol=1e-6, atol=1e-12, equal_nan=True))
        if differs.any():
            row, column = (int(index) for index in np.argwhere(differs)[0])
            raise ValueError(
                f"features for {where} look ahead: column {whole.columns[column]!r} at "
                f"{bars.index[row]} is {left[row, column]} when the bars end at "
                f"{bars.index[cut - 1]}, but {right[row, column]} when later bars are there too. "
                "Use only the bar itself and earlier ones (rolling or expanding windows, shift > "
                "0, no statistics of the whole frame)."
            )


def feature_matrix(
    bars: pd.DataFrame,
    window: int,
    features: FeatureFunction | str | None,
    where: str,
) -> Float32:
    """The features of one time frame's bars.

    Args:
        bars: open, high, low, close, volume and any ``feature_*`` columns, indexed by open time.
        window: The frame's window length.
        features: None for the default features followed by the input's ``feature_*`` columns,
            "default" for the former alone, "columns" for the latter alone, or a function.
        where: The frame's name, for messages.

    Returns:
        float32 (bars, features), read in time order; rows before the first complete one are NaN.

    Raises:
        MarketDataError: A value after the first complete row is not finite.
        ValueError: The function looks ahead or returns something else than an aligned frame.
    """
    ready = [name for name in bars.columns if name.startswith("feature_")]
    if callable(features):
        check_look_ahead(features, bars, where)
        table = _table(features(bars.copy()), bars, where)
    elif features == "columns":
        if not ready:
            raise ValueError("features='columns', but the input has no column named feature_*.")
        table = bars[ready]
    else:
        return _finite(*_default_matrix(bars, window, ready if features is None else []), where)
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as inf below
        matrix = np.ascontiguousarray(table.to_numpy(np.float64)).astype(np.float32)
    return _finite(matrix, list(table.columns), bars, where)


def _default_matrix(
    bars: pd.DataFrame, window: int, ready: list[str]
) -> tuple[Float32, list[str], pd.DataFrame]:
    """The default features and some ready columns, with their names and their bars."""
    names = [*DEFAULT_NAMES, *ready]
    matrix = np.empty((len(bars), len(names)), np.float32)
    more = (bars[name].to_numpy(np.float64) for name in ready)
    with np.errstate(over="ignore"):
        for number, column in enumerate(itertools.chain(_default_columns(bars, window), more)):
            matrix[:, number] = column
    return matrix, names, bars


def _finite(matrix: Float32, names: list[str], bars: pd.DataFrame, where: str) -> Float32:
    """The matrix, if it is finite from its first complete row on."""
    finite = np.asarray(np.isfinite(matrix).all(axis=1))
    first = int(finite.argmax()) if finite.any() else len(matrix)
    if not finite[first:].all():
        row = first + int((~finite[first:]).argmax())
        column = int((~np.isfinite(matrix[row])).argmax())
        raise MarketDataError(
            f"feature {names[column]!r} of {where} is {matrix[row, column]} at "
            f"{bars.index[row]}; after the first complete row every value must be finite. Fill or "
            "drop it in the feature's own way (an environment never does)."
        )
    return matrix
