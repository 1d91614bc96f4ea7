"""What the lanes of an environment can do: from a wanted level of exposure to an action."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from data_tools.noise import Actions, Mask, random_actions, random_probability
from gym_trade import VectorTradeEnv
from gym_trade.types import BRACKET, CLOSE_ALL, HOLD

Levels = npt.NDArray[np.float64]


class PolicyError(ValueError):
    """A policy that does not exist, or that the environment cannot follow."""


class Acting(ABC):
    """How a rule acts in an environment.

    Attributes:
        num_lanes: Lanes.
        actions: A single lane's action space.
        low: The lowest level of exposure that can be wanted.
        high: The highest.
    """

    low: float
    high: float

    def __init__(self, venv: VectorTradeEnv) -> None:
        self.venv, self.num_lanes = venv, venv.num_envs
        self.actions: gym.Space[Any] = venv.single_action_space

    def mask(self) -> Mask | None:
        """Which actions each lane may take now, (lanes, actions); None: all."""
        return None

    @abstractmethod
    def nearest(self, wanted: Levels) -> Actions:
        """The lanes' actions that come nearest to these levels, one a lane."""

    @abstractmethod
    def schedule(self, wanted: Levels) -> Any:
        """What `scheduled` reads: made once of the levels wanted at each decision instant, (N,)."""

    @abstractmethod
    def scheduled(self, plan: Any) -> Actions:
        """The lanes' actions at their present decision instants."""

    def random(self, generator: np.random.Generator) -> Actions:
        """One uniformly random action a lane, among those that are allowed."""
        return random_actions(self.actions, self.num_lanes, generator, self.mask())

    def random_probability(self) -> Levels:
        """How likely each of `random`'s actions was; see `noise.random_probability`."""
        return random_probability(self.actions, self.num_lanes, self.mask())

    def require_waiting(self, rule: str) -> None:
        """Refuse a rule that wants to wait where nothing can be left as it is.

        Raises:
            PolicyError: There is no such action.
        """
        return None


class LevelActing(Acting):
    """Actions are levels of exposure, discrete or continuous."""

    def __init__(self, venv: VectorTradeEnv) -> None:
        super().__init__(venv)
        space: Any = self.actions
        self.levels = venv.action_levels
        self.low = float(space.low[0]) if self.levels is None else float(self.levels.min())
        self.high = float(space.high[0]) if self.levels is None else float(self.levels.max())

    def nearest(self, wanted: Levels) -> Actions:
        """Turn levels of any shape into actions; between two equally near ones, the lower."""
        if self.levels is None:
            clipped = np.clip(wanted, self.low, self.high).astype(np.float32)
            return np.asarray(clipped[..., None])
        order = np.argsort(self.levels, kind="stable")
        distances = np.abs(np.asarray(wanted)[..., None] - self.levels[order])
        return np.asarray(order[np.argmin(distances, axis=-1)], np.int64)

    def schedule(self, wanted: Levels) -> Any:
        """See `Acting.schedule`."""
        return self.nearest(wanted)

    def scheduled(self, plan: Any) -> Actions:
        """See `Acting.scheduled`."""
        return np.asarray(plan[self.venv.decision_index])


class BracketActing(Acting):
    """Actions open positions with a stop and a target; only the sign of a wanted level counts.

    In the wanted direction, or with nothing to change it with, a position is held. Another one is
    flipped by the bracket with the widest stop and target, the one that interferes least with the
    rule; it is closed by the close action where there is one, and otherwise left to its stop and
    target. A position that no order can change yet (``lock_until_exit``) is held.
    """

    def __init__(self, venv: VectorTradeEnv) -> None:
        super().__init__(venv)
        self.low, self.high = (-1.0 if venv.config.shorts else 0.0), 1.0
        masks = venv.direction_masks
        assert masks is not None
        self._masks: npt.NDArray[Any] = masks != 0
        self._holds = self._first(HOLD) is not None
        # [wanted direction, direction of the position]
        self._table = np.array(
            [[self._action(wanted, held) for held in (0, 1, -1)] for wanted in (0, 1, -1)]
        )

    def _first(self, operation: int, side: float = 0.0) -> int | None:
        """The action of an operation: of brackets that of one side with the widest levels."""
        found = [
            (choice.stop, -choice.target, number)
            for number, choice in enumerate(self.venv.config.choices)
            if choice.operation == operation and choice.level * side >= 0.0
            and (operation != BRACKET or choice.level * side > 0.0)
        ]  # fmt: skip
        return min(found)[2] if found else None

    def _action(self, wanted: int, held: int) -> int:
        """What to do about a position; 0 where nothing that is allowed fits."""
        asked = [self._first(HOLD)]
        if wanted == 0 and held != 0:
            asked.insert(0, self._first(CLOSE_ALL))
        elif wanted != held:
            asked.insert(0, self._first(BRACKET, float(wanted)))
        allowed = [action for action in asked if action is not None and self._masks[held][action]]
        return allowed[0] if allowed else int(np.argmax(self._masks[held]))

    def mask(self) -> Mask:
        """See `Acting.mask`."""
        return np.asarray(self._masks[self.venv.directions])

    def nearest(self, wanted: Levels) -> Actions:
        """See `Acting.nearest`."""
        return np.asarray(self._table[np.sign(wanted).astype(np.int64), self.venv.directions])

    def schedule(self, wanted: Levels) -> Any:
        """See `Acting.schedule`."""
        return wanted

    def scheduled(self, plan: Any) -> Actions:
        """See `Acting.scheduled`."""
        return self.nearest(plan[self.venv.decision_index])

    def require_waiting(self, rule: str) -> None:
        """See `Acting.require_waiting`."""
        if not self._holds:
            raise PolicyError(
                f"{rule} holds what it has between its trades, and with include_hold_action=False "
                "no action does. Leave that argument out, or take the policy random."
            )


def acting_in(venv: VectorTradeEnv) -> Acting:
    """How rules act in an environment."""
    return LevelActing(venv) if venv.direction_masks is None else BracketActing(venv)
