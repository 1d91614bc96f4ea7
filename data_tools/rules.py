"""The rules that scripted policies follow: what level of exposure each wants, and when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from data_tools.acting import Acting, PolicyError
from data_tools.noise import Actions, same_actions
from data_tools.signals import (
    Closes,
    beliefs,
    breakout_levels,
    mean_reversion_levels,
    moving_average_levels,
)
from gym_trade import VectorTradeEnv

Number = int | float


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
        self._own: Actions = np.zeros(0)

    @abstractmethod
    def _choose(self) -> Actions:
        """What `act` returns."""

    def act(self) -> Actions:
        self._own = self._choose()
        return self._own

    def probability(self, taken: Actions) -> npt.NDArray[np.float64]:
        return same_actions(taken, self._own).astype(np.float64)


class _Constant(_Certain):
    """The action nearest to one level, always."""

    @abstractmethod
    def _level(self) -> float:
        """The level of exposure to hold."""

    def _choose(self) -> Actions:
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

    def _choose(self) -> Actions:
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


class FilteredReversion(_Certain):
    """Long once the price is thought to lie below its fair value, flat once above; else as it is.

    The optimal policy of `gym_trade.reversion`'s markets, with the parameters that
    ``python -m benchmarks.optimum`` prints; the defaults are those of reversion_medium.
    """

    name = "filtered-reversion"
    defaults: ClassVar[dict[str, Number]] = {
        "enter": -0.00122, "leave": 0.00118, "gain": 0.493, "memory": 0.873, "drift": -4.05e-6,
    }  # fmt: skip

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        filtering = {name: self.parameters[name] for name in ("gain", "memory", "drift")}
        if not self.parameters["enter"] <= self.parameters["leave"]:
            raise PolicyError(f"{self.name}: expected enter <= leave, got {self.parameters}.")
        try:
            every = [
                beliefs(market, **filtering)[tables.bar_end - 1]
                for market, tables in zip(self.venv.markets, self.venv.tables, strict=True)
            ]
        except ValueError as error:
            raise PolicyError(f"{self.name}: {error}") from None
        self._beliefs = np.concatenate(every)
        self._firsts = np.cumsum([0, *map(len, every[:-1])])

    def _choose(self) -> Actions:
        places = self.venv.decision_index
        if len(self._firsts) > 1:
            places = places + self._firsts[self.venv.account()["market"]]
        belief, held = self._beliefs[places], self.venv.held_levels
        stay = np.where(belief > self.parameters["leave"], 0.0, held)
        return self.acting.nearest(
            np.where(belief < self.parameters["enter"], self.acting.high, stay)
        )


RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        Random,
        Flat,
        BuyAndHold,
        MovingAverageCross,
        MeanReversion,
        Breakout,
        FilteredReversion,
    )
}
