"""The archive's files of one series: fetched on a few threads, and joined into one frame."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

import pandas as pd
from tqdm import tqdm

from data_tools import market_repairs
from data_tools.archive import MONTHLY_INTERVALS, Month, Series, months
from data_tools.fetch import DownloadError, Fetcher, MissingFileError, Stopped
from data_tools.load import read

Period = TypeVar("Period", Month, date)


@dataclass
class ArchiveFiles:
    """One series over a span of months, on its way into a folder.

    Attributes:
        series: What is fetched.
        folder: Where the archive's files go.
        fetcher: How they are fetched.
        jobs: Files fetched at a time.
        progress: Whether to show a bar.
    """

    series: Series
    folder: Path
    fetcher: Fetcher
    jobs: int = 4
    progress: bool = True

    def fetch(self, start: Month, end: Month, today: date) -> tuple[list[Path], list[date]]:
        """Fetch every month, or the days of one that has no file of its own.

        Args:
            start: First month.
            end: Last month, included.
            today: The day on which no file exists yet, UTC.

        Returns:
            The files by time, and the days for which there is none.

        Raises:
            DownloadError: A file cannot be fetched.
        """
        wanted = list(months(start, end))
        monthly = self._fetch_all(wanted, "months")
        days = [day for month in wanted if monthly[month] is None for day in month.days(today)]
        daily: dict[date, Path | None] = dict.fromkeys(days)
        if days and self.series.interval not in MONTHLY_INTERVALS:
            daily = self._fetch_all(days, "days")
        files: list[Path] = []
        for month in wanted:
            whole = monthly[month]
            parts = [daily[day] for day in month.days(today)] if whole is None else [whole]
            files += [part for part in parts if part is not None]
        return files, [day for day in days if daily[day] is None]

    def _fetch_all(self, periods: list[Period], words: str) -> dict[Period, Path | None]:
        """Fetch files on a few threads; None for those that do not exist.

        The threads are daemons, so that Ctrl-C need not wait for a silent server.
        """
        waiting: queue.SimpleQueue[Period] = queue.SimpleQueue()
        for period in periods:
            waiting.put(period)
        finished: queue.SimpleQueue[tuple[Period, Path | BaseException | None]] = (
            queue.SimpleQueue()
        )

        def work() -> None:
            while True:
                try:
                    period = waiting.get_nowait()
                except queue.Empty:
                    return
                finished.put((period, self._fetch_one(period)))

        found: dict[Period, Path | None] = {}
        try:
            with tqdm(total=len(periods), unit=f" {words}", disable=not self.progress) as bar:
                for _ in range(min(self.jobs, len(periods))):
                    threading.Thread(target=work, daemon=True).start()
                while len(found) < len(periods):
                    bar.set_postfix_str(f"{self.fetcher.received / 1e6:.1f} MB", refresh=False)
                    try:
                        period, outcome = finished.get(timeout=0.2)
                    except queue.Empty:
                        bar.refresh()
                        continue
                    if isinstance(outcome, BaseException):
                        raise outcome
                    found[period] = outcome
                    bar.update()
        except BaseException:
            self.fetcher.stop.set()
            raise
        return found

    def _fetch_one(self, period: Month | date) -> Path | BaseException | None:
        target = self.folder / self.series.file_name(period)
        try:
            self.fetcher.fetch(self.series.address(period), target)
        except MissingFileError:
            return None
        except OSError as error:
            return DownloadError(f"{error.filename or target}: {error.strerror or error}.")
        except (Exception, Stopped) as error:
            return error
        return target


def join(files: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """Join the archive's files into one frame.

    Args:
        files: At least one.

    Returns:
        Sorted rows without repetitions, and lines that say what was changed for that.

    Raises:
        MarketDataError: A file cannot be read, or two contradict each other.
    """
    frame = pd.concat([read(file).frame for file in files])
    lines: list[str] = []
    frame = market_repairs.sort(frame, lines)
    frame = market_repairs.drop_duplicates(frame, lines, keep=None)
    return frame, [line for line in lines if not line.endswith((": none", ": in order"))]
