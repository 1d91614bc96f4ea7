"""Where a policy may be evaluated: after its data, with embargoes between the parts."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_tools import stamps
from data_tools.embargo import clear_of
from gym_trade import VectorTradeEnv

VALIDATION_SHARE = 0.3
FEWEST_STEPS = 10

Span = tuple[pd.Timestamp, pd.Timestamp]


@dataclass(frozen=True)
class Words:
    """How messages call what a policy learns from.

    Attributes:
        span: The stretch that it covers.
        remedy: How to leave more for evaluation.
    """

    span: str
    remedy: str


DATASET_WORDS = Words(
    "the dataset's collection span",
    "leave a part of the market out of the dataset: python -m data_tools.collect "
    "--train-fraction 0.7",
)
TRAINING_WORDS = Words("the training span", "train on less of it: --train-fraction 0.7")


class PeriodError(ValueError):
    """There is no honest period to evaluate on; the message says what to do."""


@dataclass(frozen=True)
class Period:
    """A stretch of decision instants.

    Attributes:
        start: The first decision instant, ISO 8601, UTC.
        end: The last mark: equity is last valued here, and no bar beyond it is walked.
        steps: Decisions in between.
    """

    start: str
    end: str
    steps: int

    def __str__(self) -> str:
        return f"{self.start} to {self.end} ({self.steps} decisions)"

    def to_dict(self) -> dict[str, Any]:
        """This period as JSON-able fields."""
        return asdict(self)


def read_time(text: str, name: str = "time") -> pd.Timestamp:
    """Read a time, UTC where it has no zone.

    Raises:
        PeriodError: It cannot be read.
    """
    time = stamps.read_time(text)
    if time is None:
        raise PeriodError(f"{name}={text!r} is no time. Expected one such as 2023-11-01T00:00.")
    return time


def evaluation_range(
    environment: VectorTradeEnv,
    collection: Span | None,
    *,
    same_market: bool,
    start: str | None = None,
    end: str | None = None,
    allow_overlap: bool = False,
    words: Words = DATASET_WORDS,
) -> Span:
    """The stretch of a market that may be evaluated on.

    Args:
        environment: One over the whole market.
        collection: First decision and last mark of the dataset; None where it is not known.
        same_market: Whether the dataset was collected in this very market.
        start: Not before (UTC).
        end: Not after (UTC).
        allow_overlap: Allow dates inside the collection span.
        words: How messages call what is learned from.

    Returns:
        The first and the last usable instant, an embargo after the collection span.

    Raises:
        PeriodError: It overlaps the collection span, or the times cannot be read.
    """
    low, high = environment.decision_range
    times = environment.decision_times
    market_first, market_last = (pd.Timestamp(times[index], tz="UTC") for index in (low, high))
    first, last = market_first, market_last
    if start is not None:
        first = max(read_time(start, "--test-start"), market_first)
    if end is not None:
        last = min(read_time(end, "--test-end"), market_last)
    if collection is None or allow_overlap:
        return first, last
    if same_market and start is None:
        first = collection[1]
    if first < collection[1] and last > collection[0]:
        raise PeriodError(
            f"evaluation from {_text(first)} to {_text(last)} overlaps {words.span}, "
            f"{_text(collection[0])} to {_text(collection[1])}: the policy has seen it. Pass "
            f"--test-start {collection[1]:%Y-%m-%dT%H:%M}, another --test-market, or "
            "--allow-overlap if you must."
        )
    if same_market and last <= collection[0]:
        raise PeriodError(
            f"evaluation from {_text(first)} to {_text(last)} lies before {words.span}, "
            f"{_text(collection[0])} to {_text(collection[1])}: the policy was trained on "
            "what came after, and its windows show bars from before the span. Choose later dates, "
            "or pass --allow-overlap if you must."
        )
    if first >= collection[1]:
        first = max(first, clear_of(environment.markets[0], environment.layout, collection[1]))
    return first, last


def split(
    environment: VectorTradeEnv,
    first: pd.Timestamp,
    last: pd.Timestamp,
    words: Words = DATASET_WORDS,
) -> tuple[Period, Period]:
    """Cut a range into validation (the first 30%) and test, with an embargo between them.

    Raises:
        PeriodError: Too little is left for either.
    """
    times, begin, finish = _rows_between(environment, first, last)
    middle = begin + int(VALIDATION_SHARE * (finish - begin))
    resume = finish
    if middle > begin:
        edge = pd.Timestamp(times[middle], tz="UTC")
        resume = _at_or_after(times, clear_of(environment.markets[0], environment.layout, edge))
    if min(middle - begin, finish - resume) < FEWEST_STEPS:
        left = f"{max(finish - begin, 0)} decisions are left to validate and test on"
        raise PeriodError(_too_few(environment, left, words))
    return _period(times, begin, middle), _period(times, resume, finish)


def split_before(
    environment: VectorTradeEnv,
    seen: Span | None,
    first: pd.Timestamp,
    last: pd.Timestamp,
    words: Words = DATASET_WORDS,
) -> tuple[Period, Period] | None:
    """Test on all of a range, and validate on what lies before it, embargoes between them.

    Args:
        environment: One over the whole market.
        seen: First decision and last mark of what is learned from: what lies behind it validates,
            or in another market that ends before it, all of that.
        first: Where the test begins.
        last: Where it ends.
        words: How messages call what is learned from.

    Returns:
        Validation and test; None where too little lies before the test, or it is not known which
        of it has been learned from: then `split` cuts the range itself.

    Raises:
        PeriodError: Too little is left to test on.
    """
    if seen is None or seen[0] < first < seen[1]:
        return None
    market, layout = environment.markets[0], environment.layout
    times, begin = environment.decision_times, _rows_between(environment, first, last)[1]
    earliest = environment.decision_range[0]
    if first >= seen[1]:
        earliest = max(earliest, _at_or_after(times, clear_of(market, layout, seen[1])))

    def clear_at(decision: int) -> pd.Timestamp:
        return clear_of(market, layout, pd.Timestamp(times[decision], tz="UTC"))

    final = earliest + bisect_right(range(earliest, begin), first, key=clear_at) - 1
    if final - earliest < FEWEST_STEPS:
        return None
    return _period(times, earliest, final), whole_range(environment, first, last, words)


def whole_range(
    environment: VectorTradeEnv,
    first: pd.Timestamp,
    last: pd.Timestamp,
    words: Words = DATASET_WORDS,
) -> Period:
    """A range as one period, where nothing is validated.

    Raises:
        PeriodError: Too little is left.
    """
    times, begin, finish = _rows_between(environment, first, last)
    if finish - begin < FEWEST_STEPS:
        left = f"{max(finish - begin, 0)} decisions are left to test on"
        raise PeriodError(_too_few(environment, left, words, "an earlier --test-start, "))
    return _period(times, begin, finish)


def period_between(environment: VectorTradeEnv, start: str, end: str) -> Period:
    """The period of an environment's whole market between two instants, as `split` made it.

    Raises:
        PeriodError: No decision lies between them.
    """
    times = environment.decision_times
    begin = _at_or_after(times, read_time(start))
    finish = _at_or_after(times, read_time(end))
    low, high = environment.decision_range
    if not low <= begin < finish <= high:
        raise PeriodError(
            f"the market has no decisions from {start} to {end}: pass --test-start and --test-end."
        )
    return _period(times, begin, finish)


def _rows_between(
    environment: VectorTradeEnv, first: pd.Timestamp, last: pd.Timestamp
) -> tuple[npt.NDArray[np.datetime64], int, int]:
    """The decisions' times, and the first and the last decision of a range."""
    low, high = environment.decision_range
    times = environment.decision_times
    end = int(np.searchsorted(times, np.datetime64(last.tz_localize(None)), "right")) - 1
    return times, max(low, _at_or_after(times, first)), min(high, end)


def _too_few(environment: VectorTradeEnv, left: str, words: Words, other: str = "") -> str:
    high = environment.decision_range[1]
    end = _text(pd.Timestamp(environment.decision_times[high], tz="UTC"))
    return (
        f"{left}, in a market that ends {end}: too few, with the embargoes of the longest window. "
        f"Pass {other}--test-market FILE with later data, or {words.remedy}."
    )


def _at_or_after(times: npt.NDArray[np.datetime64], instant: pd.Timestamp) -> int:
    return int(np.searchsorted(times, np.datetime64(instant.tz_localize(None))))


def _period(times: npt.NDArray[np.datetime64], begin: int, finish: int) -> Period:
    start, end = (pd.Timestamp(times[index]).isoformat() for index in (begin, finish))
    return Period(start, end, finish - begin)


def _text(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
