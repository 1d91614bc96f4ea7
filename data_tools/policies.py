"""Scripted behaviour policies, vectorised over the lanes of an environment.

A name is a rule, ``random``, ``flat``, ``buy-and-hold``, ``ma-cross``, ``mean-reversion``,
``breakout`` or ``filtered-reversion``, with parameters if it has any (``ma-cross:fast=6,slow=36``),
or several joined by ``+``: then each lane draws one of them at the start of each episode. `epsilon`
replaces each action, with that probability, by a uniformly random one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.acting import Acting, PolicyError, acting_in
from data_tools.noise import Actions, EpsilonNoise
from data_tools.rules import RULES, Number, Policy, Rule
from gym_trade import VectorTradeEnv

__all__ = ["RULES", "Policy", "PolicyError", "make_policy"]


class _Mixture(Policy):
    """Each lane follows one of several rules, drawn anew for each episode."""

    def __init__(self, members: list[Rule], lanes: int, generator: np.random.Generator) -> None:
        self._members, self._generator = members, generator
        self._choice = np.zeros(lanes, np.int64)

    def begin(self, mask: npt.NDArray[np.bool_]) -> None:
        drawn = self._generator.integers(0, len(self._members), len(self._choice))
        self._choice = np.where(mask, drawn, self._choice)

    def act(self) -> Actions:
        return self._chosen([member.act() for member in self._members])

    def probability(self, taken: Actions) -> npt.NDArray[np.float64]:
        """Given the rule that each lane has drawn."""
        return self._chosen([member.probability(taken) for member in self._members])

    def certain(self) -> npt.NDArray[np.bool_]:
        return self._chosen([member.certain() for member in self._members])

    def _chosen(self, every: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.asarray(np.stack(every)[self._choice, np.arange(len(self._choice))])

    def describe(self) -> dict[str, Any]:
        return {
            "name": "+".join(member.name for member in self._members),
            "drawn": "each lane's each episode",
            "members": [member.describe() for member in self._members],
        }


class _Noisy(Policy):
    """A policy with some of its actions replaced by random ones."""

    def __init__(
        self, policy: Policy, epsilon: float, acting: Acting, generator: np.random.Generator
    ) -> None:
        self._policy, self._epsilon = policy, epsilon
        self._noise = EpsilonNoise(acting.actions, epsilon, generator, acting.mask)

    def begin(self, mask: npt.NDArray[np.bool_]) -> None:
        self._policy.begin(mask)

    def act(self) -> Actions:
        return self._noise(self._policy.act())

    def probability(self, taken: Actions) -> npt.NDArray[np.float64]:
        alone = self._policy.probability(taken)
        return self._noise.probability(taken, alone, self._policy.certain())

    def certain(self) -> npt.NDArray[np.bool_]:
        return np.zeros(len(self._policy.certain()), np.bool_)

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
    acting = acting_in(venv)
    specs = name.split("+")
    # Streams by what they are for, so that noise does not change what the policy itself draws.
    choice, noise, *own = (
        np.random.Generator(np.random.Philox(child))
        for child in np.random.SeedSequence(seed).spawn(2 + len(specs))
    )
    members = []
    for spec, generator in zip(specs, own, strict=True):
        rule, parameters = _parse(spec.strip())
        members.append(rule(venv, acting, generator, parameters))
    policy: Policy = members[0]
    if len(members) > 1:
        policy = _Mixture(members, venv.num_envs, choice)
    return _Noisy(policy, float(epsilon), acting, noise) if epsilon > 0.0 else policy


def _parse(spec: str) -> tuple[type[Rule], dict[str, Number]]:
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
        parameters[key] = _read(spec, key, value, parameters[key])
    return RULES[name], parameters


def _read(spec: str, key: str, value: str, default: Number) -> Number:
    """A parameter of the kind of its default."""
    if isinstance(default, int):
        if not value.isdigit():
            raise PolicyError(f"policy {spec!r}: {key} is {value!r}. Expected a whole number.")
        return int(value)
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise PolicyError(f"policy {spec!r}: {key} is {value!r}. Expected a number.")
    return number
