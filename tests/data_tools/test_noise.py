"""Random actions among those that are allowed, and the probabilities that are written down."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from data_tools.noise import (
    EpsilonNoise,
    log_of,
    random_actions,
    random_probability,
    replace_some,
)
from data_tools.policies import make_policy
from tests.data_tools.test_policies import make

FOUR = gym.spaces.Discrete(4)


def test_draws_are_even_among_what_is_allowed() -> None:
    mask = np.tile(np.array([[1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 1, 1]], np.int8), (4000, 1))
    drawn = random_actions(FOUR, 12000, np.random.default_rng(0), mask)
    for lane, allowed in enumerate(mask[:3]):
        shares = np.bincount(drawn[lane::3], minlength=4) / 4000
        np.testing.assert_allclose(shares, allowed / allowed.sum(), atol=0.03)
        assert (shares[allowed == 0] == 0).all()
    chances = random_probability(FOUR, 12000, mask)
    np.testing.assert_allclose(chances[:3], [1 / 3, 1, 1 / 4])


def test_no_mask_draws_as_ever() -> None:
    plain = np.random.default_rng(5).integers(0, 4, 9)
    np.testing.assert_array_equal(random_actions(FOUR, 9, np.random.default_rng(5)), plain)


@pytest.mark.parametrize("epsilon", [0.1, 0.6, 1.0])
def test_probabilities_are_the_frequencies(epsilon: float) -> None:
    lanes = 40_000
    mask = np.tile(np.array([1, 1, 0, 1], bool), (lanes, 1))
    noise = EpsilonNoise(FOUR, epsilon, np.random.default_rng(2), lambda: mask)
    own = np.full(lanes, 3)
    taken = noise(own)
    chances = noise.probability(taken, (taken == own).astype(float))
    for action in (0, 1, 3):
        (chance,) = np.unique(chances[taken == action])
        assert chance == pytest.approx((taken == action).mean(), abs=0.01)
    assert not (taken == 2).any()


def test_continuous_actions_have_a_density_or_a_mass() -> None:
    box = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    noise = EpsilonNoise(box, 0.3, np.random.default_rng(0))
    own = np.zeros((5000, 2), np.float32)
    taken = noise(own)
    kept = (taken == own).all(axis=1)
    chances = noise.probability(taken, kept.astype(float))
    assert kept.mean() == pytest.approx(0.7, abs=0.02)
    assert np.unique(chances[kept]) == pytest.approx([0.7])
    assert np.unique(chances[~kept]) == pytest.approx([0.3 / 4])  # over an area of 4


def test_without_noise_nothing_is_drawn() -> None:
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    noise = EpsilonNoise(FOUR, 0.0, generator)
    own = np.arange(4)
    assert noise(own) is own
    assert noise.probability(own, np.ones(4)).tolist() == [1.0] * 4
    assert generator.bit_generator.state == before


def test_logarithms_are_finite() -> None:
    made = log_of(np.array([1.0, 0.25, 0.0]))
    assert made.dtype == np.float32
    assert made[:2].tolist() == [0.0, np.float32(math.log(0.25))]
    assert np.isfinite(made[2]) and made[2] < -1e38


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
@pytest.mark.parametrize("name", ["random", "flat", "flat+random"])
def test_policies_say_how_likely_their_actions_were(kind: str, name: str) -> None:
    """Given the member that a lane has drawn: of a mixture no lane gets an average."""
    venv = make(lanes=4000, leverage=2, action_type=kind)
    policy: Any = make_policy(name, venv, epsilon=0.2, seed=1)
    policy.begin(np.ones(4000, bool))
    taken = policy.act()
    chances = policy.probability(taken)
    even = 1 / 5 if kind == "discrete" else 1 / 2
    flat = (taken == (2 if kind == "discrete" else 0.0)).reshape(-1)
    certain = {  # of the flat action: by the rule itself, or drawn
        "discrete": 0.8 + 0.2 * even, "continuous": 0.8,
    }[kind]  # fmt: skip
    allowed = {"random": {even}, "flat": {certain, 0.2 * even}}
    wanted = allowed.get(name, allowed["random"] | allowed["flat"])
    assert {round(x, 9) for x in chances.tolist()} == {round(x, 9) for x in wanted}
    if name == "flat":
        assert np.unique(chances[flat]) == pytest.approx([certain])


def test_replacing_keeps_to_the_mask() -> None:
    mask = np.tile(np.array([1, 0, 0, 1], np.int8), (1000, 1))
    taken = replace_some(np.zeros(1000, int), FOUR, 0.5, np.random.default_rng(0), mask)
    assert set(taken.tolist()) == {0, 3}
