"""Bars as QuantConnect's LEAN engine keeps them: no header, trades or quotes, some prices scaled.

Trade bars have the columns time, open, high, low, close, volume; quote bars have time, four bid
prices, bid size, four ask prices, ask size. Hourly and daily files spell the time YYYYMMDD HH:mm;
files of seconds and minutes are one a day, count milliseconds since midnight and have the day in
their name. Prices of equities and options are ten-thousandths of a dollar. The formats are those of
the readme files in github.com/QuantConnect/Lean, folder Data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_tools.header import is_number
from data_tools.market_layout import Layout, Stamps
from data_tools.market_text import MarketText
from data_tools.stamps import BadStampError, read_integers
from gym_trade import MarketDataError
from gym_trade.validation import PRICES

_TRADE = ("time", *PRICES, "volume")
_QUOTE = ("time", *(f"bid_{name}" for name in PRICES), "bid_size",
          *(f"ask_{name}" for name in PRICES), "ask_size")  # fmt: skip
_SCALE = 10_000.0
_SCALED = {"equity", "option", "indexoption"}
_FOLDER = re.compile(
    r"/(equity|option|indexoption|forex|cfd|crypto|cryptofuture|future|futureoption|index)/[^/]+/"
    r"(?:second|minute|hour|daily)/"
)
_MIDNIGHT_MS = 86_400_000
_WRITTEN = "times as written, which LEAN keeps in the market's own zone, are taken as UTC"


def recognise_lean(text: MarketText, first: list[str]) -> Layout | None:
    """Recognise LEAN's bars by their first line and, for minutes, the day in the file's name.

    Args:
        text: The text.
        first: The cells of its first line.

    Raises:
        MarketDataError: The names inside and outside a zip disagree about the day, or it cannot be
            told whether prices are scaled.
    """
    header = {len(names): names for names in (_TRADE, _QUOTE)}.get(len(first))
    if header is None or not all(is_number(cell) or not cell for cell in first[1:]):
        return None
    read_times: Callable[[pd.Series[Any]], Stamps]
    if re.fullmatch(r"\d{8} \d{2}:\d{2}", first[0]):
        read_times, spelling = _parse_dated, "hourly or daily"
    elif re.fullmatch(r"\d{1,8}", first[0]) and int(first[0]) < _MIDNIGHT_MS:
        day = _day_in_name(text)
        if day is None:
            return None
        read_times, spelling = partial(_parse_milliseconds, day=day), "one day"
    else:
        return None
    quotes = header is _QUOTE
    values = {i: name for i, name in enumerate(header) if i and not name.endswith("_size")}
    scale, why = _scale(text)
    prices = f"prices {'divided by 10000' if scale != 1.0 else 'as written'}, {why}"
    return Layout(
        family=f"LEAN {'bid and ask' if quotes else 'trade'} bars, {spelling} ({prices})", time=0,
        values=values, ignored=tuple(name for name in header if name.endswith("_size")),
        header=header, named=False, read_times=read_times,
        finish=partial(_mid_prices if quotes else _trade_prices, scale=scale),
    )  # fmt: skip


def _day_in_name(text: MarketText) -> date | None:
    """The day that the name of the member or of the file starts with."""
    found = {}
    for name in (text.member and Path(text.member).name, text.file.name):
        match = re.match(r"(\d{8})_", name or "")
        if name and match:
            try:
                found[name] = datetime.strptime(match[1], "%Y%m%d").date()
            except ValueError:
                return None
    if text.member and len(set(found.values())) == 2:
        raise MarketDataError(
            f"{text.name}: the two names begin with different days. Expected one day; rename one."
        )
    return next(iter(found.values()), None)


def _parse_dated(cells: pd.Series[Any]) -> Stamps:
    words = "Expected YYYYMMDD HH:mm throughout; fix the cell."
    whole = cells.str.fullmatch(r"[0-9]{8} [0-9]{2}:[0-9]{2}").to_numpy(dtype=bool)
    parsed = pd.to_datetime(cells, format="%Y%m%d %H:%M", errors="coerce")
    bad = np.asarray(parsed.isna()) | ~whole
    if bad.any():
        row = int(bad.argmax())
        raise BadStampError(row, f"{cells.iloc[row]!r}. {words}")
    return parsed.to_numpy().astype("datetime64[ns]"), "YYYYMMDD HH:mm"


def _parse_milliseconds(cells: pd.Series[Any], day: date) -> Stamps:
    words = f"Expected whole milliseconds since midnight, below {_MIDNIGHT_MS}; fix the cell."
    counts = read_integers(cells, words)
    bad = (counts < 0) | (counts >= _MIDNIGHT_MS)
    if bad.any():
        row = int(bad.argmax())
        raise BadStampError(row, f"{cells.iloc[row]!r}. {words}")
    stamps = np.datetime64(day, "ms") + counts.astype("timedelta64[ms]")
    return stamps.astype("datetime64[ns]"), f"milliseconds since midnight of {day}"


def _scale(text: MarketText) -> tuple[float, str]:
    """What prices are to be divided by, and why: from LEAN's own folders, else from the cells."""
    folder = _FOLDER.search(Path(os.path.abspath(text.file)).as_posix().lower())
    if folder:
        return (_SCALE if folder[1] in _SCALED else 1.0), f"as in LEAN's folder {folder[1]}"
    if b"." not in text.data:
        return _SCALE, "since no cell has a decimal point"
    decimal = rb"(?m)^[^,\n]*(?:,[^,\n]*){0,3},[^,.\n]*\."  # one of the first four prices
    if re.search(decimal, text.data):
        return 1.0, "since prices have decimal points"
    raise MarketDataError(
        f"{text.name}: LEAN bars whose prices have no decimal point while other cells have one. "
        "Whether prices are scaled by 10000 cannot be told; put the file where LEAN has it, such "
        "as equity/usa/daily/ or crypto/binance/daily/."
    )


def _trade_prices(frame: pd.DataFrame, scale: float) -> tuple[pd.DataFrame, str]:
    prices = frame[list(PRICES)] / scale
    return prices.assign(volume=frame["volume"]), _WRITTEN


def _mid_prices(frame: pd.DataFrame, scale: float) -> tuple[pd.DataFrame, str]:
    """Half-way between bid and ask; no price where a side has none, since half of one is none."""
    mids = {}
    for name in PRICES:
        bid, ask = frame[f"bid_{name}"].to_numpy(), frame[f"ask_{name}"].to_numpy()
        with np.errstate(all="ignore"):
            mids[name] = np.where((bid > 0.0) & (ask > 0.0), (bid + ask) / (2.0 * scale), np.nan)
    found = pd.DataFrame(mids)
    lacking = int(found.isna().any(axis=1).sum())
    note = "mid prices of bid and ask" + (f", missing in {lacking} rows that lack a side"
                                          if lacking else "")  # fmt: skip
    return found, f"{note}; {_WRITTEN}"
