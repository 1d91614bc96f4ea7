"""Which other actions are tried at the states of logged transitions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.acting import acting_in
from data_tools.command_line import CommandLineError
from data_tools.driving import Behaviour
from data_tools.indexed_format import shown_dtype
from data_tools.indexed_lanes import seeing
from data_tools.noise import Actions, random_actions, same_actions
from data_tools.parts import MakeBehaviour
from data_tools.scripted import ScriptedBehaviour
from gym_trade import VectorTradeEnv
from gym_trade.types import REWARDS, Bool, Int64

Records = npt.NDArray[Any]  # of `indexed_format.shown_dtype`
ALL, RANDOM = "all", "random"
MOST_ACTIONS = 1024  # that are worth trying all


class Alternatives(ABC):
    """Chooses actions other than the logged ones; where an action mask forbids one, it is left out.

    Args:
        venv: The environment in which they are tried; it stands at the states in question.
    """

    def __init__(self, venv: VectorTradeEnv) -> None:
        self._venv, self._space = venv, venv.single_action_space
        self._acting = acting_in(venv)

    def begin(self, mask: Bool) -> None:  # noqa: B027 - nothing to note is legal
        """Take note of lanes, bool (num_envs,), on which an episode has just begun."""

    @abstractmethod
    def choose(
        self, lanes: Int64, logged: Actions, shown: Records
    ) -> Iterator[tuple[Actions, Bool]]:
        """Actions to try, one after the other; the lanes are put back in between.

        Args:
            lanes: Which lanes stand at a state, int64 (k,).
            logged: The actions logged there, (k,) or (k, 1).
            shown: What the lanes show, records (k,).

        Yields:
            (Actions of these lanes, where they are to be tried, bool (k,)).
        """

    def _allowed(self, lanes: Int64) -> npt.NDArray[Any] | None:
        mask = self._acting.mask()
        return None if mask is None else mask[lanes] != 0


class AllActions(Alternatives):
    """Every discrete action but the logged one.

    Raises:
        CommandLineError: Actions are continuous, or too many.
    """

    def __init__(self, venv: VectorTradeEnv) -> None:
        super().__init__(venv)
        self._count = int(getattr(self._space, "n", 0))
        if not 1 < self._count <= MOST_ACTIONS:
            raise CommandLineError(
                "--actions all: expected a dataset of discrete actions, at most "
                f"{MOST_ACTIONS}; this one's are {self._space}. Take --actions random."
            )

    def choose(
        self, lanes: Int64, logged: Actions, shown: Records
    ) -> Iterator[tuple[Actions, Bool]]:
        """See `Alternatives.choose`."""
        allowed = self._allowed(lanes)
        for action in range(self._count):
            wanted: Bool = np.asarray(logged != action, np.bool_)
            if allowed is not None:
                wanted &= allowed[:, action]
            yield np.full(len(lanes), action), wanted


class RandomActions(Alternatives):
    """Uniformly random actions other than the logged one.

    Args:
        venv: See `Alternatives`.
        samples: How many at each state.
        seed: Of the random numbers.
    """

    def __init__(self, venv: VectorTradeEnv, samples: int, seed: int) -> None:
        super().__init__(venv)
        self._samples, self._generator = samples, np.random.default_rng(seed)

    def choose(
        self, lanes: Int64, logged: Actions, shown: Records
    ) -> Iterator[tuple[Actions, Bool]]:
        """See `Alternatives.choose`; of discrete ones, none is tried twice at a state."""
        mask: npt.NDArray[Any] | None = None
        if logged.ndim == 1:
            count = int(getattr(self._space, "n", 0))
            allowed = self._allowed(lanes)
            mask = np.ones((len(lanes), count), np.bool_) if allowed is None else allowed.copy()
            mask[np.arange(len(lanes)), logged] = False
        for _ in range(self._samples):
            drawn = random_actions(self._space, len(lanes), self._generator, mask)
            if mask is None:
                yield drawn, ~same_actions(drawn, logged)
            else:
                left: Bool = np.asarray(mask.any(axis=1), np.bool_)
                mask[np.arange(len(lanes)), drawn] = False
                yield drawn, left


class PolicyActions(Alternatives):
    """What a policy would do, where that is something else.

    Args:
        venv: See `Alternatives`.
        make_behaviour: Makes the policy.
        seed: Of the policy.
    """

    def __init__(self, venv: VectorTradeEnv, make_behaviour: MakeBehaviour, seed: int) -> None:
        super().__init__(venv)
        behaviour = make_behaviour(venv, seed)
        self._behaviour: Behaviour = seeing(behaviour, venv)
        self.description = behaviour.description
        self._shown = np.zeros(venv.num_envs, shown_dtype(len(venv.decision_times)))
        self._shown["decision"] = venv.decision_range[0]  # of lanes that have nothing to do

    def begin(self, mask: Bool) -> None:
        """See `Alternatives.begin`."""
        self._behaviour.begin(mask)

    def choose(
        self, lanes: Int64, logged: Actions, shown: Records
    ) -> Iterator[tuple[Actions, Bool]]:
        """See `Alternatives.choose`."""
        self._shown[lanes] = shown
        actions = self._behaviour.act(self._shown)[lanes]
        yield actions, ~same_actions(actions, logged)


@dataclass(frozen=True)
class Wanted:
    """What is asked of `relabel.relabel`, by the same names.

    Raises:
        CommandLineError: A number or a name is out of range.
    """

    actions: str | MakeBehaviour | None
    samples: int
    epsilon: float
    reward: str | None
    counterfactual_only: bool
    seed: int

    def __post_init__(self) -> None:
        for flag, value, low in (("samples", self.samples, 1), ("seed", self.seed, 0)):
            if value < low:
                raise CommandLineError(f"--{flag} {value}: expected a whole number >= {low}.")
        if self.reward is not None and self.reward not in REWARDS:
            raise CommandLineError(f"--reward {self.reward}: expected one of {', '.join(REWARDS)}.")
        for flag, given, needed, fits in (
            ("samples", self.samples != 1, "random", self.actions == RANDOM),
            ("epsilon", self.epsilon != 0.0, "POLICY", self.actions not in (None, ALL, RANDOM)),
            ("counterfactual-only", self.counterfactual_only, "WHICH", self.actions is not None),
        ):
            if given and not fits:
                raise CommandLineError(f"--{flag} needs --actions {needed}.")

    def alternatives(self, venv: VectorTradeEnv) -> Alternatives | None:
        """The actions to try, anew: the same ones each time."""
        if self.actions is None:
            return None
        if self.actions == ALL:
            return AllActions(venv)
        if self.actions == RANDOM:
            return RandomActions(venv, self.samples, self.seed)
        make = self.actions
        if isinstance(make, str):
            make = ScriptedBehaviour(make, self.epsilon)
        return PolicyActions(venv, make, self.seed)
