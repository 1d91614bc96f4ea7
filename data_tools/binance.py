"""Klines of Binance's public archive: twelve columns, with a header or without.

The columns are those of the exchange's kline endpoint (github.com/binance/binance-public-data).
Stamps are milliseconds, in spot files from 2025 on microseconds. Newer files of the futures have a
header.
"""

from __future__ import annotations

from data_tools.header import choose_columns, is_number
from data_tools.market_layout import Layout
from data_tools.market_text import MarketText

COLUMNS = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
_STAMP_DIGITS = (13, 16)  # of milliseconds and microseconds, from 2001 to 2286


def recognise_klines(text: MarketText, first: list[str]) -> Layout | None:
    """Recognise a kline file by its first line.

    Args:
        text: The text.
        first: The cells of its first line.
    """
    if len(first) != len(COLUMNS):
        return None
    names = [cell.lower().replace(" ", "_") for cell in first]
    if names[0] == "open_time" and names[6] == "close_time":
        return choose_columns(text.name, first, "Binance klines with a header")
    opens, closes = first[0], first[6]
    stamps = all(cell.isdecimal() and len(cell) in _STAMP_DIGITS for cell in (opens, closes))
    if not stamps or len(opens) != len(closes) or not all(is_number(cell) for cell in first[1:6]):
        return None
    return Layout(
        family="Binance klines without a header", time=0,
        values=dict(enumerate(COLUMNS[1:6], start=1)), ignored=COLUMNS[6:], header=COLUMNS,
        named=False,
    )  # fmt: skip
