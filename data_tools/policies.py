"""Scripted behaviour policies, vectorised over the lanes of an environment.

A name is a rule, ``random``, ``flat``, ``buy-and-hold`` or ``ma-cross``, with parameters if it has
any (``ma-cross:fast=6,slow=36``), or several joined by ``+``: then each lane draws one of them at
the start of each episode. `epsilon` replaces each action, with that probability, by a uniformly
random one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from data_tools.noise import Actions, random_actions, replace_some
from gym_trade import VectorTradeEnv


class PolicyError(ValueError):
    """A policy that does not exist, or that the environment cannot follow."""


class _Space:
    """What the lanes can do: the map from a wanted level to an action, and random actions."""

    def __init__(self, venv: VectorTradeEnv) -> None:
        self.num_lanes = venv.num_envs
        self.levels = venv.action_levels
        space: Any = venv.single_action_space
        self.actions = space
        if self.levels is None and not hasattr(space, "low"):
            raise PolicyError(
                f"actions {space}: the scripted policies act by level of exposure. Expected "
                "Trade-Sequential-v0."
            )
        low = float(space.low[0]) if self.levels is None else float(self.levels.min())
        high = float(space.high[0]) if self.levels is None else float(self.levels.max())
        self.low, self.high = low, high

    def nearest(self, wanted: npt.NDArray[np.float64]) -> Actions:
        """Turn levels of any shape into actions; between two equally near ones, the lower."""
        if self.levels is None:
            clipped = np.clip(wanted, self.low, self.high).astype(np.float32)
            return np.asarray(clipped[..., None])
        order = np.argsort(self.levels, kind="stable")
        distances = np.abs(np.asarray(wanted)[..., None] - self.levels[order])
        return np.asarray(order[np.argmin(distances, axis=-1)], np.int64)

    def random(self, generator: np.random.Generator) -> Actions:
        """One uniformly random action per lane."""
        return random_actions(self.actions, self.num_lanes, generator)


class Policy(ABC):
    """Acts for all lanes of one vector environment, from its current state."""

    @abstractmethod
    def act(self) -> Actions:
        """The lanes' actions: int64 (n,), or float32 (n, 1) where levels are continuous."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Everything that makes this policy again, as a JSON object."""

    @abstractmethod
    def begin(self, mask: npt.NDArray[np.bool_]) -> None:
        """Take note of lanes, bool (n,), on which an episode has just begun."""


class _Rule(Policy):
    """A policy with a name and whole-number parameters."""

    name: ClassVar[str]
    defaults: ClassVar[dict[str, int]] = {}

    def __init__(
        self,
        venv: VectorTradeEnv,
        space: _Space,
        generator: np.random.Generator,
        parameters: dict[str, int],
    ) -> None:
        self.venv, self.space, self.generator = venv, space, generator
        self.parameters = parameters

    def begin(self, mask: npt.NDArray[np.bool_]) -> None:
        pass  # a rule looks at the market only

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, **self.parameters}


class _Random(_Rule):
    """A uniformly random action at every step."""

    name = "random"

    def act(self) -> Actions:
        return self.space.random(self.generator)


class _Constant(_Rule):
    """The action nearest to one level, always."""

    @abstractmethod
    def _level(self) -> float:
        """The level of exposure to hold."""

    def act(self) -> Actions:
        return self.space.nearest(np.full(self.space.num_lanes, self._level()))


class _Flat(_Constant):
    """No position."""

    name = "flat"

    def _level(self) -> float:
        return 0.0


class _BuyAndHold(_Constant):
    """The highest level; a level equal to the one held is no trade."""

    name = "buy-and-hold"

    def _level(self) -> float:
        return self.space.high


class _MovingAverageCross(_Rule):
    """Long while a fast average of the closes is above a slow one, else short, or flat in spot."""

    name = "ma-cross"
    defaults: ClassVar[dict[str, int]] = {"fast": 12, "slow": 48}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        fast, slow = self.parameters["fast"], self.parameters["slow"]
        if not 1 <= fast < slow:
            raise PolicyError(f"ma-cross: fast={fast}, slow={slow}. Expected 1 <= fast < slow.")
        if len(self.venv.markets) > 1:
            raise PolicyError("ma-cross reads one market's closes. Expected a single market.")
        wanted = moving_average_levels(
            self.venv.decision_closes, fast, slow, self.space.high, min(self.space.low, 0.0)
        )
        self._actions = self.space.nearest(wanted)

    def act(self) -> Actions:
        return self._actions[self.venv.decision_index]


RULES: dict[str, type[_Rule]] = {
    rule.name: rule for rule in (_Random, _Flat, _BuyAndHold, _MovingAverageCross)
}


def moving_average_levels(
    closes: npt.NDArray[np.float64], fast: int, slow: int, above: float, below: float
) -> npt.NDArray[np.float64]:
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


class _Mixture(Policy):
    """Each lane follows one of several rules, drawn anew for each episode."""

    def __init__(self, members: list[_Rule], lanes: int, generator: np.random.Generator) -> None:
        self._members, self._generator = members, generator
        self._choice = np.zeros(lanes, np.int64)

    def begin(self, mask: npt.NDArray[np.bool_]) -> None:
        drawn = self._generator.integers(0, len(self._members), len(self._choice))
        self._choice = np.where(mask, drawn, self._choice)

    def act(self) -> Actions:
        every = np.stack([member.act() for member in self._members])
        return np.asarray(every[self._choice, np.arange(len(self._choice))])

    def describe(self) -> dict[str, Any]:
        return {
            "name": "+".join(member.name for member in self._members),
            "drawn": "each lane's each episode",
            "members": [member.describe() for member in self._members],
        }


class _Noisy(Policy):
    """A policy with some of its actions replaced by random ones."""

    def __init__(
        self, policy: Policy, epsilon: float, space: _Space, generator: np.random.Generator
    ) -> None:
        self._policy, self._epsilon = policy, epsilon
        self._space, self._generator = space, generator

    def begin(self, mask: npt.NDArray[np.bool_]) -> None:
        self._policy.begin(mask)

    def act(self) -> Actions:
        actions = self._policy.act()
        return replace_some(actions, self._space.actions, self._epsilon, self._generator)

    def describe(self) -> dict[str, Any]:
        return self._policy.describe() | {"epsilon": self._epsilon}


def make_policy(name: str, venv: VectorTradeEnv, *, epsilon: float = 0.0, seed: int = 0) -> Policy:
    """Make a scripted policy for an environment.

    Args:
        name: Rules joined by ``+``, each with parameters if wanted: ``ma-cross:fast=6,slow=36``.
        venv: The environment it will act in; call `Policy.begin` whenever lanes start episodes.
        epsilon: Probability in [0, 1] that an action is replaced by a uniformly random one.
        seed: Seed of the policy's own random numbers, >= 0; no global state is used.

    Raises:
        PolicyError: An unknown rule or parameter, a value out of range, or an environment that the
            rule cannot act in.
    """
    if not 0.0 <= epsilon <= 1.0:
        raise PolicyError(f"epsilon={epsilon}: expected a probability, 0 to 1.")
    space = _Space(venv)
    specs = name.split("+")
    # Streams by what they are for, so that noise does not change what the policy itself draws.
    choice, noise, *own = (
        np.random.Generator(np.random.Philox(child))
        for child in np.random.SeedSequence(seed).spawn(2 + len(specs))
    )
    members = []
    for spec, generator in zip(specs, own, strict=True):
        rule, parameters = _parse(spec.strip())
        members.append(rule(venv, space, generator, parameters))
    policy: Policy = members[0]
    if len(members) > 1:
        policy = _Mixture(members, venv.num_envs, choice)
    return _Noisy(policy, float(epsilon), space, noise) if epsilon > 0.0 else policy


def _parse(spec: str) -> tuple[type[_Rule], dict[str, int]]:
    """Read ``rule`` or ``rule:key=value,key=value``."""
    name, colon, text = spec.partition(":")
    if name not in RULES:
        raise PolicyError(
            f"policy {name!r} is unknown. Known: {', '.join(RULES)}; join several with +."
        )
    parameters = dict(RULES[name].defaults)
    for pair in text.split(",") if colon else []:
        key, _, value = pair.partition("=")
        if key not in parameters:
            known = ", ".join(f"{k}={v}" for k, v in parameters.items()) or "none"
            raise PolicyError(f"policy {spec!r}: unknown parameter {pair!r}. Known: {known}.")
        if not value.isdigit():
            raise PolicyError(f"policy {spec!r}: {key} is {value!r}. Expected a whole number.")
        parameters[key] = int(value)
    return RULES[name], parameters
