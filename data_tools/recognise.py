"""The formats of market text, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable

from data_tools.binance import recognise_klines
from data_tools.header import recognise_header
from data_tools.lean import recognise_lean
from data_tools.market_layout import Layout
from data_tools.market_text import MarketText
from gym_trade import MarketDataError

# A recogniser sees the text and the cells of its first line, and returns None for another format.
# The last one takes what names its columns, and says what is wrong with anything else.
RECOGNISERS: tuple[Callable[[MarketText, list[str]], Layout | None], ...] = (
    recognise_lean,
    recognise_klines,
    recognise_header,
)


def recognise(text: MarketText) -> Layout:
    """Tell the format of a text from its first line and its name.

    Raises:
        MarketDataError: It is none of the known ones; the message names the columns seen.
    """
    line, first = next(text.rows(), (1, []))
    cells = [cell.strip() for cell in first]
    if line != 1 or any("\n" in cell or "\r" in cell for cell in cells):
        raise MarketDataError(
            f"{text.name}: its first line is blank, or goes on in the next. Expected the columns' "
            "names or the first bar there."
        )
    found = (recogniser(text, cells) for recogniser in RECOGNISERS)
    return next(layout for layout in found if layout is not None)
