"""What ``df=`` may be: a frame, several, a `Market`, nothing (the embedded one), or a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gym_trade.market import Market
from gym_trade.synthetic import embedded_market
from gym_trade.timeframe import parse_time_frame


@dataclass(frozen=True)
class MarketReference:
    """A market known by its content hash only, as a configuration read from JSON holds it."""

    content_hash: str


def _one(source: Any, stamp: str, offset: object, columns: tuple[str, ...]) -> Any:
    if isinstance(source, MarketReference):
        return source
    if isinstance(source, Market):
        wanted = 0 if offset is None else parse_time_frame(offset, "offset").interval_ns
        if stamp not in ("open", source.stamp):
            raise ValueError(
                f"stamp={stamp!r} contradicts df, a Market made with stamp={source.stamp!r}."
            )
        if offset is not None and wanted != source.offset_ns:
            raise ValueError(
                f"offset={offset!r} contradicts df, a Market with an offset of "
                f"{source.offset_ns // 10**9} s."
            )
        missing = [name for name in columns if name.lower() not in source.extras]
        if missing:
            raise ValueError(
                f"funding_rate={missing[0]!r} names no column that the Market kept "
                f"({list(source.extras)}). Make it with Market(df, columns=[{missing[0]!r}])."
            )
        return source
    if isinstance(source, pd.DataFrame):
        names = [str(column).strip().lower() for column in source.columns]
        missing = [name for name in columns if name.lower() not in names]
        if missing:
            raise ValueError(
                f"funding_rate={missing[0]!r} names no column of df; it has {list(source.columns)}."
            )
        return Market(source, stamp=stamp, offset=offset, columns=columns)
    raise ValueError(
        f"df: expected a DataFrame, a Market, a list or dict of them, or None, got "
        f"{type(source).__name__}. data_tools.load reads a file."
    )


def as_markets(source: Any, stamp: str, offset: object, columns: tuple[str, ...]) -> Any:
    """Validate ``df=`` and turn every frame in it into a `Market`; None stays None."""
    if source is None:
        return None
    if isinstance(source, Mapping):
        made = {str(key): _one(item, stamp, offset, columns) for key, item in source.items()}
        if len(made) < len(source):
            raise ValueError(f"df: two of the names {list(source)} are the same as text.")
        return _not_empty(made)
    if isinstance(source, list | tuple):
        return _not_empty(tuple(_one(item, stamp, offset, columns) for item in source))
    return _one(source, stamp, offset, columns)


def _not_empty(markets: Any) -> Any:
    if not markets:
        raise ValueError("df: expected at least one market, got an empty collection.")
    return markets


def resolve_markets(source: Any) -> tuple[tuple[str, ...], tuple[Market, ...]]:
    """The names and markets behind a configuration's ``df``.

    Raises:
        ValueError: One of them is a reference whose market was never given.
    """
    if source is None:
        return ("embedded",), (embedded_market(),)
    if isinstance(source, Mapping):
        names, markets = tuple(source), tuple(source.values())
    elif isinstance(source, tuple):
        names, markets = tuple(map(str, range(len(source)))), source
    else:
        names, markets = ("0",), (source,)
    for market in markets:
        if isinstance(market, MarketReference):
            raise ValueError(
                f"df: this configuration was read from JSON and knows its market only by the "
                f"content hash {market.content_hash[:16]}... Pass that market: "
                "from_json(text, df=...) or replace(df=...)."
            )
    return names, markets


def _over(source: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(source, Mapping):
        return {key: function(item) for key, item in source.items()}
    if isinstance(source, list | tuple):
        return [function(item) for item in source]
    return None if source is None else function(source)


def encode_markets(source: Any) -> Any:
    """The JSON form of a configuration's ``df``: content hashes in the same shape."""
    return _over(source, lambda market: market.content_hash)


def decode_markets(encoded: Any) -> Any:
    """References in the shape that `encode_markets` wrote."""
    references = _over(encoded, MarketReference)
    return tuple(references) if isinstance(references, list) else references
