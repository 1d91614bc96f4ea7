"""Where walk-forward folds lie in a market: train, validation and test, one behind the other.

The last part of a market is cut into equal test periods without gaps. Before each one lies what the
scripts of ``offline_algos`` validate on, of the length that `offline_algos.periods.split` gives it
(30 parts to 70 of what it is given), and before that everything that may be learned from, or a
rolling window of it. Between them are embargoes: until no window shows a bar of the part before.

    learned from | embargo | validation | embargo | test
                    learned from ...    | embargo | validation | embargo | test
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_tools.embargo import clear_of
from gym_trade import VectorTradeEnv
from offline_algos.periods import VALIDATION_SHARE, Period, PeriodError, split

FIRST_SHARE = 0.4


class FoldError(ValueError):
    """There are no such folds; the message says what to do."""


@dataclass(frozen=True)
class Fold:
    """Times are ISO 8601, UTC, each the instant of a decision.

    Attributes:
        number: From 1 on.
        train: First decision, and the instant by which the last one is over.
        validation: What the checkpoint is chosen on.
        test: What it is judged on; the next fold's begins where it ends.
    """

    number: int
    train: tuple[str, str]
    validation: Period
    test: Period

    @property
    def name(self) -> str:
        """Of its files."""
        return f"fold-{self.number}"

    @property
    def flags(self) -> tuple[str, ...]:
        """Of a script that is trained on this fold: it finds the same periods."""
        return ("--test-start", self.validation.start, "--test-end", self.test.end)

    def to_dict(self) -> dict[str, Any]:
        """This fold as JSON-able fields."""
        return {**asdict(self), "train": list(self.train)}


class Finder:
    """Decisions of a market by the embargoes between them.

    Args:
        environment: One over the whole market.
    """

    def __init__(self, environment: VectorTradeEnv) -> None:
        self.environment = environment
        self.times = environment.decision_times
        self.low, self.high = environment.decision_range

    def clear_after(self, decision: int) -> int:
        """The first decision whose windows show nothing from before another one."""
        edge = pd.Timestamp(self.times[decision], tz="UTC")
        market, layout = self.environment.markets[0], self.environment.layout
        clear = clear_of(market, layout, edge).tz_localize(None)
        return int(np.searchsorted(self.times, np.datetime64(clear)))

    def last_clear_of(self, decision: int) -> int | None:
        """The last decision that another one's windows begin after; None without any."""
        if self.clear_after(self.low) > decision:
            return None
        step = 1  # back by ever more: the embargo is short beside the market
        while self.clear_after(max(decision - step, self.low)) > decision:
            step *= 2
        low, high = max(decision - step, self.low), decision
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.clear_after(middle) <= decision else (low, middle)
        return low

    def text(self, decision: int) -> str:
        """A decision's instant."""
        return pd.Timestamp(self.times[decision], tz="UTC").isoformat()


def find_folds(
    environment: VectorTradeEnv,
    count: int,
    *,
    first: float = FIRST_SHARE,
    rolling: str | None = None,
) -> list[Fold]:
    """Cut a market into walk-forward folds.

    Args:
        environment: One over the whole market.
        count: Folds.
        first: Share of the market before the first test period: to learn and to validate.
        rolling: What is learned from is at most so long, such as "90d"; None: from the market's
            first decision on.

    Returns:
        In the order of time. Test periods are of equal length, up to what gaps in the data and
        coarse windows allow; each ends where the next begins, the last at the market's end.

    Raises:
        FoldError: A number is out of range, or the market is too short for so many.
    """
    if count < 1:
        raise FoldError(f"--folds {count}: expected a whole number >= 1.")
    if not 0.0 < first < 1.0:
        raise FoldError(f"--first {first:g}: expected a number above 0 and below 1.")
    length = None if rolling is None else _read_length(rolling)
    finder = Finder(environment)
    begin = finder.low + int(np.ceil(first * (finder.high - finder.low)))
    aims = np.linspace(begin, finder.high, count + 1).round().astype(int)[:-1]
    made: list[Fold] = []
    finish = finder.high
    for number in range(count, 0, -1):  # a fold ends where the next one's test could begin
        fold, finish = _fold_before(finder, number, int(aims[number - 1]), finish, length)
        made.insert(0, fold)
    return made


def _fold_before(
    finder: Finder, number: int, aim: int, finish: int, length: pd.Timedelta | None
) -> tuple[Fold, int]:
    """A fold whose test ends at one decision and begins at or before another, and where it does."""
    middle = finder.last_clear_of(aim) if aim < finish else None
    begin = None if middle is None else _begin_of(middle, finish)
    cut = None if begin is None or begin <= finder.low else finder.last_clear_of(begin)
    if middle is None or begin is None or cut is None or cut <= finder.low:
        raise FoldError(_too_many(finder, number, "nothing is left to learn from"))
    first, last = (pd.Timestamp(finder.times[index], tz="UTC") for index in (begin, finish))
    try:
        validation, test = split(finder.environment, first, last)
    except PeriodError:
        found = f"of {finish - begin} decisions too few are left to validate and test on"
        raise FoldError(_too_many(finder, number, found)) from None
    train = (_train_begin(finder, cut, length), cut)
    if train[0] >= cut:
        raise FoldError(f"--rolling: no decision lies in the time before {finder.text(cut)}.")
    fold = Fold(number, (finder.text(train[0]), finder.text(cut)), validation, test)
    return fold, finish - test.steps


def _begin_of(middle: int, finish: int) -> int:
    """Where a range begins whose validation ends at `middle`; as `periods.split` cuts it."""
    begin = int((middle - VALIDATION_SHARE * finish) / (1.0 - VALIDATION_SHARE)) - 2
    while begin + int(VALIDATION_SHARE * (finish - begin)) < middle:
        begin += 1
    return begin


def _train_begin(finder: Finder, cut: int, length: pd.Timedelta | None) -> int:
    if length is None:
        return finder.low
    wanted: npt.NDArray[np.datetime64] = finder.times[cut] - length.to_timedelta64()
    return max(finder.low, int(np.searchsorted(finder.times, wanted)))


def _too_many(finder: Finder, number: int, wrong: str) -> str:
    decisions = finder.high - finder.low
    return (
        f"fold {number}: {wrong}, with the embargoes of the longest window, in a market of "
        f"{decisions:,} decisions. Ask for fewer --folds, choose another --first (the share "
        "before the first test: more lengthens training, less the tests), or use a longer market."
    )


def _read_length(text: str) -> pd.Timedelta:
    try:
        length = pd.Timedelta(text)
    except ValueError:
        length = None
    if length is None or pd.isna(length) or length <= pd.Timedelta(0):
        raise FoldError(f"--rolling {text}: expected a length such as 90d or 12h.")
    return length
