"""The header of a market table: which of its columns are read."""

from __future__ import annotations

from data_tools.market_layout import Layout
from data_tools.market_text import MarketText
from gym_trade import MarketDataError
from gym_trade.validation import PRICES, TIME_COLUMNS


def recognise_header(text: MarketText, first: list[str]) -> Layout:
    """Recognise OHLCV text by the names in its first line; the last of the recognisers.

    Args:
        text: The text.
        first: The cells of its first line.

    Raises:
        MarketDataError: There is no header, or it cannot be used.
    """
    names = [_plain(cell) for cell in first]
    known = {*TIME_COLUMNS, *PRICES, "volume"}
    if not known.intersection(names) and any(is_number(cell) for cell in first):
        raise MarketDataError(
            f"{text.name} has no header: its first line is {_seen(first)}. Expected a first line "
            "that names the columns; add one, such as open_time,open,high,low,close,volume."
        )
    return choose_columns(text.name, first, "OHLCV text with a header")


def choose_columns(name: str, header: list[str], family: str) -> Layout:
    """Decide by their names which columns are used.

    Args:
        name: How errors call the file.
        header: The columns' names, in any letter case.
        family: Words for the format.

    Raises:
        MarketDataError: A column is missing or named twice, or there are several time columns.
    """
    names = [_plain(cell) for cell in header]
    times = [index for index, plain in enumerate(names) if plain in TIME_COLUMNS]
    missing = [price for price in PRICES if price not in names]
    if missing or not times:
        needed = ([] if times else [f"a time column ({', '.join(TIME_COLUMNS)})"]) + missing
        raise MarketDataError(
            f"{name} lacks {', '.join(needed)}. Columns seen: {_seen(header)}. "
            f"{_column_hint(header)}Rename the columns."
        )
    if len(times) > 1:
        named = ", ".join(header[index] for index in times)
        raise MarketDataError(
            f"{name} has {len(times)} time columns: {named}. Expected one; rename or drop the "
            "others."
        )
    wanted = {
        index: plain
        for index, plain in enumerate(names)
        if plain in {*PRICES, "volume", "funding_rate"} or plain.startswith("feature_")
    }
    repeated = sorted({plain for plain in wanted.values() if names.count(plain) > 1})
    if repeated:
        raise MarketDataError(
            f"{name} names a column more than once: {', '.join(repeated)} (in any letter case). "
            f"Columns seen: {_seen(header)}. Rename or drop one."
        )
    ignored = [header[i] for i in range(len(header)) if i not in wanted and i != times[0]]
    return Layout(family, times[0], wanted, tuple(ignored), tuple(header))


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _seen(header: list[str]) -> str:
    shown = ", ".join(repr(cell[:40]) for cell in header[:40])
    return shown + (f" and {len(header) - 40} more" if len(header) > 40 else "")


def _column_hint(header: list[str]) -> str:
    if len(header) == 1:
        for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in header[0]:
                return f"It seems to be separated by {name}; only commas are read. "
    if header and header[0] == "":
        return "Its first column has no name; if it holds the time, name it timestamp. "
    return ""


def is_number(cell: str) -> bool:
    """Whether a cell reads as a float."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
