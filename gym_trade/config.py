"""What an action is in each environment: its arguments, beside those of `base_config`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gym_trade.arguments import check_choice, flag, number, option, refuse, whole
from gym_trade.base_config import Choice, TradeConfig
from gym_trade.types import BRACKET, CLOSE_ALL, HOLD, LEVEL


@dataclass(frozen=True, kw_only=True)
class SequentialConfig(TradeConfig):
    """Arguments of ``Trade-Sequential-v0``: those of `TradeConfig`, and the levels of exposure.

    Raises:
        ValueError: A value is out of range or contradicts another; the message names the argument,
            the value and what is allowed.
    """

    action_type: str = option("discrete", "'discrete' levels or a 'continuous' level")
    action_levels: Any = option(None, "levels in [-1, 1]; spot 0 .5 1, else -1 -.5 0 .5 1")
    rebalance_threshold: float = option(0.02, "smallest change of a continuous level that trades")

    def _check_actions(self) -> None:
        check_choice("action_type", self.action_type, ("discrete", "continuous"))
        threshold = number("rebalance_threshold", self.rebalance_threshold, 0.0, 1.0, below=True)
        self._set("rebalance_threshold", threshold)
        if self.action_levels is None:
            return
        if self.continuous:
            raise ValueError(
                f"action_levels={self.action_levels!r} contradicts action_type='continuous'. Give "
                "one of the two."
            )
        levels = _numbers("action_levels", self.action_levels, -1.0, 1.0)
        if len(levels) < 2:
            raise ValueError(
                f"action_levels={list(levels)}: expected at least two different levels."
            )
        if min(levels) < 0.0 and not self.shorts:
            raise ValueError(
                f"action_levels={list(levels)} contains the short level {min(levels)}, but "
                f"allow_short={self.allow_short} with leverage={self.leverage:g} means no shorts. "
                "Pass allow_short=True or drop the level."
            )
        self._set("action_levels", levels)

    @property
    def continuous(self) -> bool:
        """Whether an action is a level, instead of an index into `levels`."""
        return self.action_type == "continuous"

    @property
    def levels(self) -> tuple[float, ...]:
        """The discrete action levels, in the order of the actions."""
        if self.action_levels is None:
            return (-1.0, -0.5, 0.0, 0.5, 1.0) if self.shorts else (0.0, 0.5, 1.0)
        return tuple(self.action_levels)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What each discrete action means."""
        return tuple(Choice(LEVEL, level) for level in self.levels)


@dataclass(frozen=True, kw_only=True)
class SLTPConfig(TradeConfig):
    """Arguments of ``Trade-SLTP-v0``: those of `TradeConfig`, and the brackets.

    The actions are, in this order: hold, close (each if included), a long position for every pair
    of a stop and a target (all targets of the first stop first), and the same short if shorts are
    allowed.

    Raises:
        ValueError: A value is out of range or contradicts another; the message names the argument,
            the value and what is allowed.
    """

    stoploss_levels: Any = option((-0.02, -0.05), "below 0, fractions of the entry price")
    takeprofit_levels: Any = option((0.05, 0.10), "above 0, fractions of the entry price")
    include_hold_action: bool = option(True, "action 0 leaves everything as it is")
    include_close_action: bool = option(False, "an action, after hold, that closes the position")
    position_fraction: float = option(1.0, "exposure of a new position, of the leverage")
    replace_brackets: bool = option(False, "the same direction again moves stop and target")
    lock_until_exit: bool = option(False, "in a position every order is ignored until its exit")

    def _check_actions(self) -> None:
        for name in ("include_hold_action", "include_close_action", "replace_brackets",
                     "lock_until_exit"):  # fmt: skip
            self._set(name, flag(name, getattr(self, name)))
        self._set("stoploss_levels", _numbers("stoploss_levels", self.stoploss_levels, -1.0, 0.0))
        highest = 1.0 if self.shorts else 1e6
        targets = _numbers("takeprofit_levels", self.takeprofit_levels, 0.0, highest)
        self._set("takeprofit_levels", targets)
        for name, ends in (("stoploss_levels", (-1.0, 0.0)), ("takeprofit_levels", (0.0, highest))):
            for level in getattr(self, name):
                if level in ends:
                    why = " (a short's target would not be a price)" if level == 1.0 else ""
                    between = f"numbers between {ends[0]:g} and {ends[1]:g}, both excluded"
                    raise refuse(name, getattr(self, name), between + why)
        fraction = number("position_fraction", self.position_fraction, 0.0, 1.0, above=True)
        self._set("position_fraction", fraction)
        for name in ("replace_brackets", "include_close_action"):
            if self.lock_until_exit and getattr(self, name):
                raise ValueError(
                    f"lock_until_exit=True contradicts {name}=True: a locked position ignores "
                    "every order until its stop, its target or a liquidation. Drop one of the two."
                )

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What each discrete action means."""
        made = [Choice(HOLD)] * self.include_hold_action
        made += [Choice(CLOSE_ALL)] * self.include_close_action
        pairs = list(itertools.product(self.stoploss_levels, self.takeprofit_levels))
        for side in (1.0, -1.0) if self.shorts else (1.0,):
            level = side * self.position_fraction
            made += [Choice(BRACKET, level, stop, target) for stop, target in pairs]
        return tuple(made)


@dataclass(frozen=True, kw_only=True)
class OneStepConfig(SLTPConfig):
    """Arguments of ``Trade-OneStep-v0``: those of `SLTPConfig`, and how long a position is held.

    Raises:
        ValueError: A value is out of range or contradicts another; the message names the argument,
            the value and what is allowed.
    """

    rollout_steps: int = option(24, "decision steps that the position is held at most")
    close_at_end: bool = option(True, "close what is still open then, at the last close")

    def _check_actions(self) -> None:
        super()._check_actions()
        self._set("rollout_steps", whole("rollout_steps", self.rollout_steps, 1))
        self._set("close_at_end", flag("close_at_end", self.close_at_end))

    @property
    def rollout(self) -> bool:
        """One environment step is a whole rollout."""
        return True

    @property
    def longest_episode(self) -> int:
        """Decision steps of a whole rollout; `episode_steps` can only shorten it."""
        return min(self.rollout_steps, self.episode_steps or self.rollout_steps)

    @property
    def episode_limits(self) -> str:
        """The arguments behind `longest_episode`, for messages."""
        return f"rollout_steps={self.rollout_steps}, episode_steps={self.episode_steps}"


def _numbers(name: str, given: Any, low: float, high: float) -> tuple[float, ...]:
    """Different finite numbers in [low, high], at least one, in the order given.

    Raises:
        ValueError: It is no list of such numbers.
    """
    ordered = hasattr(given, "__iter__") and not isinstance(given, str | set | Mapping)
    if not ordered or getattr(given, "ndim", 1) != 1:
        raise refuse(name, given, f"a list of numbers in [{low:g}, {high:g}]")
    numbers = tuple(number(name, value, low, high) for value in given)
    if not numbers:
        raise refuse(name, given, "at least one number")
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"{name}={list(numbers)}: expected different numbers, each once.")
    return numbers
