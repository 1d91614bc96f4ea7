"""The rules that scripted policies follow: what level of exposure each wants, and when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_tools.acting import Acting, PolicyError
from data_tools.noise import Actions, same_actions
from gym_trade import VectorTradeEnv

Closes = npt.NDArray[np.float64]
Number = int | float
NUMBERS_A_PASS = 2**20


class Policy(ABC):
    """Acts for all lanes of one vector environment, from its current state."""

    @abstractmethod
    def act(self) -> Actions:
        """The lanes' actions: int64 (n,), or float32 (n, 1) where levels are continuous."""

    @abstractmethod
    def probability(self, taken: Actions) -> npt.NDArray[np.float64]:
        """How likely this policy was to take these actions, float64 (n,); after `act`, once a step.

        A probability of discrete actions; of continuous ones a density, or the mass of an action
        that the policy is certain of.
        """

    @abstractmethod
    def certain(self) -> npt.NDArray[np.bool_]:
        """On which lanes it has no choice, bool (n,): there `probability` is a mass."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Everything that makes this policy again, as a JSON object."""

    @abstractmethod
    def begin(self, mask: npt.NDArray[np.bool_]) -> None:
        """Take note of lanes, bool (n,), on which an episode has just begun."""


class Rule(Policy):
    """A policy with a name and parameters.

    Attributes:
        name: What it is called.
        has_no_choice: Whether chance has no part in it.
        defaults: Its parameters: whole numbers, or numbers where the default is a float.
    """

    name: ClassVar[str]
    has_no_choice: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Number]] = {}

    def __init__(
        self,
        venv: VectorTradeEnv,
        acting: Acting,
        generator: np.random.Generator,
        parameters: dict[str, Any],
    ) -> None:
        self.venv, self.acting, self.generator = venv, acting, generator
        self.parameters = parameters

    def certain(self) -> npt.NDArray[np.bool_]:
        """See `Policy.certain`."""
        return np.full(self.acting.num_lanes, self.has_no_choice)

    def begin(self, mask: npt.NDArray[np.bool_]) -> None:
        """Nothing to note: a rule looks at the market only."""

    def describe(self) -> dict[str, Any]:
        """See `Policy.describe`."""
        return {"name": self.name, **self.parameters}


class Random(Rule):
    """A uniformly random action at every step, among those that the lane may take."""

    name = "random"
    has_no_choice = False

    def act(self) -> Actions:
        """See `Policy.act`."""
        return self.acting.random(self.generator)

    def probability(self, taken: Actions) -> npt.NDArray[np.float64]:
        """See `Policy.probability`."""
        return self.acting.random_probability()


class _Certain(Rule):
    """A rule without chance."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.acting.require_waiting(self.name)

    def probability(self, taken: Actions) -> npt.NDArray[np.float64]:
        return same_actions(taken, self.act()).astype(np.float64)


class _Constant(_Certain):
    """The action nearest to one level, always."""

    @abstractmethod
    def _level(self) -> float:
        """The level of exposure to hold."""

    def act(self) -> Actions:
        return self.acting.nearest(np.full(self.acting.num_lanes, self._level()))


class Flat(_Constant):
    """No position."""

    name = "flat"

    def _level(self) -> float:
        return 0.0


class BuyAndHold(_Constant):
    """The highest level; a level equal to the one held is no trade."""

    name = "buy-and-hold"

    def _level(self) -> float:
        return self.acting.high


class _Scheduled(_Certain):
    """A level for each decision instant, whatever the account holds."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._check()
        if len(self.venv.markets) > 1:
            raise PolicyError(f"{self.name} reads one market's closes. Expected a single market.")
        below = min(self.acting.low, 0.0)
        wanted = self._wanted(self.venv.decision_closes, self.acting.high, below)
        self._plan = self.acting.schedule(wanted)

    @abstractmethod
    def _check(self) -> None:
        """Refuse parameters that contradict each other."""

    @abstractmethod
    def _wanted(self, closes: Closes, above: float, below: float) -> Closes:
        """The level at each instant, (N,), of closes (N,): `above` is long, `below` the rest."""

    def act(self) -> Actions:
        return self.acting.scheduled(self._plan)

    def _expect(self, holds: bool, expected: str) -> None:
        if not holds:
            given = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
            raise PolicyError(f"{self.name}: {given}. Expected {expected}.")


class MovingAverageCross(_Scheduled):
    """Long while a fast average of the closes is above a slow one, else short, or flat in spot."""

    name = "ma-cross"
    defaults: ClassVar[dict[str, Number]] = {"fast": 12, "slow": 48}

    def _check(self) -> None:
        fast, slow = self.parameters["fast"], self.parameters["slow"]
        self._expect(1 <= fast < slow, "1 <= fast < slow")

    def _wanted(self, closes: Closes, above: float, below: float) -> Closes:
        fast, slow = self.parameters["fast"], self.parameters["slow"]
        return moving_average_levels(closes, fast, slow, above, below)


class MeanReversion(_Scheduled):
    """Long once the close is far below its moving average, short (or flat) once far above it."""

    name = "mean-reversion"
    defaults: ClassVar[dict[str, Number]] = {"window": 48, "entry": 1.0, "exit": 0.0}

    def _check(self) -> None:
        window, entry, leave = (self.parameters[name] for name in ("window", "entry", "exit"))
        self._expect(window >= 2 and 0.0 <= leave < entry, "window >= 2 and 0 <= exit < entry")

    def _wanted(self, closes: Closes, above: float, below: float) -> Closes:
        return mean_reversion_levels(closes, above=above, below=below, **self.parameters)


class Breakout(_Scheduled):
    """Long once the close leaves its Donchian channel upwards, short (or flat) once downwards."""

    name = "breakout"
    defaults: ClassVar[dict[str, Number]] = {"window": 48}

    def _check(self) -> None:
        self._expect(self.parameters["window"] >= 1, "window >= 1")

    def _wanted(self, closes: Closes, above: float, below: float) -> Closes:
        return breakout_levels(closes, above=above, below=below, **self.parameters)


def moving_average_levels(
    closes: Closes, fast: int, slow: int, above: float, below: float
) -> Closes:
    """The level that a moving-average cross wants at each decision instant.

    Args:
        closes: Last visible close at each instant, (N,); element i uses only ``closes[: i + 1]``.
        fast: Closes in the fast average.
        slow: Closes in the slow average.
        above: Level while the fast average is above the slow one.
        below: Level otherwise.

    Returns:
        (N,), 0 until the slow average is full.
    """
    # Sums of differences from the first close: a constant price gives exactly equal averages.
    sums = np.concatenate([[0.0], np.cumsum(closes - closes[0])])
    levels = np.zeros(len(closes))
    ends = np.arange(slow, len(closes) + 1)
    fast_average = (sums[ends] - sums[ends - fast]) / fast
    slow_average = (sums[ends] - sums[ends - slow]) / slow
    levels[slow - 1 :] = np.where(fast_average > slow_average, above, below)
    return levels


def mean_reversion_levels(
    closes: Closes, window: int, entry: float, exit: float, above: float, below: float
) -> Closes:
    """The level that a bet on the return to the moving average wants at each decision instant.

    The z-score is the close less the mean of the last `window` closes, this one included, over
    their deviation (ddof 0); 0 where they are all equal.

    Args:
        closes: Last visible close at each instant, (N,); element i uses only ``closes[: i + 1]``.
        window: Closes in the average.
        entry: Long from a z-score of ``-entry`` or less on, short from `entry` or more on.
        exit: The long ends at ``-exit`` or more, the short at `exit` or less.
        above: Level of the long.
        below: Level of the short.

    Returns:
        (N,), 0 where neither is held.
    """
    mean, deviation = _moments(closes, window)
    flat = ~(deviation > 1e-12 * np.abs(closes))  # rounding beside the price is no deviation
    score = np.where(flat, 0.0, (closes - mean) / np.where(flat, 1.0, deviation))
    full = np.arange(len(closes)) >= window - 1
    long = _held(full & (score <= -entry), score >= -exit)
    short = _held(full & (score >= entry), score <= exit)
    return np.where(long, above, np.where(short, below, 0.0))


def _moments(closes: Closes, window: int) -> tuple[Closes, Closes]:
    """Mean and deviation (ddof 0) of the last `window` closes, (N,) each, 0 until they are full.

    Each window is summed by itself: running sums would carry what is past, to the last digit.
    """
    mean, deviation = np.zeros(len(closes)), np.zeros(len(closes))
    if len(closes) < window:
        return mean, deviation
    windows = np.lib.stride_tricks.sliding_window_view(closes, window)
    rows = max(1, NUMBERS_A_PASS // window)
    for begin in range(0, len(windows), rows):
        part = windows[begin : begin + rows]
        place = slice(window - 1 + begin, window - 1 + begin + len(part))
        mean[place], deviation[place] = part.mean(axis=1), part.std(axis=1)
    return mean, deviation


def breakout_levels(closes: Closes, window: int, above: float, below: float) -> Closes:
    """The level that a Donchian channel's breakout wants at each decision instant.

    The channel lies between the highest and the lowest of the `window` closes before this one.

    Args:
        closes: Last visible close at each instant, (N,); element i uses only ``closes[: i + 1]``.
        window: Closes in the channel.
        above: Level since the last close above it.
        below: Level since the last close below it.

    Returns:
        (N,), 0 until the first breakout.
    """
    before = pd.Series(closes).rolling(window)
    up = closes > before.max().shift(1).to_numpy()
    down = closes < before.min().shift(1).to_numpy()
    return np.where(_held(up, down), above, np.where(_held(down, up), below, 0.0))


def _held(begins: npt.NDArray[np.bool_], ends: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where something is held that begins and ends at these instants; bool (N,) each."""
    instants = np.arange(1, len(begins) + 1)
    begun = np.maximum.accumulate(np.where(begins, instants, 0))
    ended = np.maximum.accumulate(np.where(ends, instants, 0))
    return np.asarray(begun > ended)


RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (Random, Flat, BuyAndHold, MovingAverageCross, MeanReversion, Breakout)
}
