"""Where the exchange's public archive keeps its klines, and which files cover a span of months.

Layout: BASE/data/spot/monthly/klines/SYMBOL/INTERVAL/SYMBOL-INTERVAL-YYYY-MM.zip, the same under
daily with YYYY-MM-DD, and under futures/um instead of spot; beside each file one
named .CHECKSUM with its SHA-256 (github.com/binance/binance-public-data). A day's file appears the
day after, a month's in the first days of the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

BASE_URL = "https://data.binance.vision"
# Longer ones have files of months only. Its "1mo" is left out: months have no constant length.
MONTHLY_INTERVALS = ("3d", "1w")
INTERVALS = (
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d",
    *MONTHLY_INTERVALS,
)  # fmt: skip
MONTH = "1mo"
MARKETS = {"spot": "spot", "um": "futures/um"}
EARLIEST = date(2017, 1, 1)  # before the exchange's first trade


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read YYYY-MM.

        Raises:
            ValueError: It is none, or lies before the archive.
        """
        match = re.fullmatch(r"([0-9]{4})-([0-9]{2})", text)
        if not match or not 1 <= int(match[2]) <= 12:
            raise ValueError(f"{text!r}: expected a month as YYYY-MM, such as 2023-01.")
        month = cls(int(match[1]), int(match[2]))
        if month.first < EARLIEST:
            raise ValueError(f"{text}: the archive does not reach back before {EARLIEST:%Y-%m}.")
        return month

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, self.month, 1)

    @property
    def next(self) -> Month:
        """The month after."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def days(self, until: date) -> list[date]:
        """Its days before `until`."""
        end = min(self.next.first, until)
        return [self.first + timedelta(n) for n in range(max((end - self.first).days, 0))]


def months(start: Month, end: Month) -> Iterator[Month]:
    """The months from `start` to `end`, both included."""
    while start <= end:
        yield start
        start = start.next


@dataclass(frozen=True)
class Series:
    """One symbol's klines of one interval.

    Attributes:
        base_url: Address of the archive, without a slash at its end.
        market: A key of `MARKETS`.
        symbol: In capitals, such as BTCUSDT.
        interval: One of `INTERVALS`.
    """

    base_url: str
    market: str
    symbol: str
    interval: str

    def file_name(self, period: Month | date) -> str:
        """Name of a month's or a day's file."""
        return f"{self.symbol}-{self.interval}-{period}.zip"

    def address(self, period: Month | date) -> str:
        """Address of a month's or a day's file."""
        span = "monthly" if isinstance(period, Month) else "daily"
        folder = f"data/{MARKETS[self.market]}/{span}/klines/{self.symbol}/{self.interval}"
        return f"{self.base_url}/{folder}/{self.file_name(period)}"


def spans(days: list[date]) -> str:
    """Days in words, neighbours together: "2023-01-03 to 2023-01-05, 2023-02-01"."""
    words, days = [], sorted(days)
    while days:
        count = 1
        while count < len(days) and days[count] == days[0] + timedelta(count):
            count += 1
        words.append(f"{days[0]}" + (f" to {days[count - 1]}" if count > 1 else ""))
        days = days[count:]
    return ", ".join(words)
