"""The recursion and its bounds against closed forms and against plainer solvers."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from benchmarks.gaussian_grid import linear_weights
from benchmarks.switching import Switching, solve

PROBLEM = Switching(
    decay=0.75, innovation=0.0028, slope=0.25, drift_cost=4e-6, gap_cost=5e-7, entry=4e-4,
    leave=5e-4,
)  # fmt: skip


def chain_of(problem, states, width=6.0):
    """The belief on equally spaced states: (beliefs, transition matrix, stationary law)."""
    beliefs = np.linspace(-width, width, states) * problem.spread
    edges = np.concatenate([[-np.inf], 0.5 * (beliefs[1:] + beliefs[:-1]), [np.inf]])
    means = problem.decay * beliefs[:, None]
    moves = np.diff(ndtr((edges - means) / problem.innovation), axis=1)
    law = np.ones(states) / states
    for _ in range(300):
        law = law @ moves
    return beliefs, moves, law


def rewards_of(problem, beliefs):
    """Mean reward in [state, held, next held], straight from the account's rules."""
    made = np.zeros((len(beliefs), 2, 2))
    made[:, 1, :] -= problem.gap_cost
    made[:, :, 1] += problem.reward(beliefs)[:, None]
    made[:, 0, 1] -= problem.entry
    made[:, 1, 0] -= problem.leave
    return made


def value_iteration(problem, beliefs, moves, rounds=3000):
    """Relative value iteration on (state, held): bounds of the gain (Puterman 1994, 8.5)."""
    rewards, values = rewards_of(problem, beliefs), np.zeros((len(beliefs), 2))
    for _ in range(rounds):
        updated = (rewards + (moves @ values)[:, None, :]).max(axis=2)
        change = updated - values
        values = updated - updated[len(beliefs) // 2, 0]
        if np.ptp(change) < 1e-13:
            break
    return change.min(), change.max()


def gain_of(policy, rewards, moves):
    """The mean reward of one policy, bool (states, 2) to be long, by its stationary law."""
    states = len(moves)
    transition = np.zeros((states, 2, states, 2))
    for state, held in itertools.product(range(states), range(2)):
        transition[state, held, :, int(policy[state, held])] = moves[state]
    matrix = transition.reshape(2 * states, 2 * states)
    system = np.vstack([matrix.T - np.eye(2 * states), np.ones(2 * states)])
    law = np.linalg.lstsq(system, np.append(np.zeros(2 * states), 1.0), rcond=None)[0]
    earned = np.take_along_axis(rewards, policy.astype(int)[:, :, None], axis=2)[:, :, 0]
    return float(law @ earned.ravel())


def test_value_iteration_finds_the_best_of_all_policies_of_a_tiny_chain():
    coarse = replace(PROBLEM, entry=1e-3, leave=1e-3)
    beliefs, moves, _ = chain_of(coarse, 5, 1.5)
    rewards = rewards_of(coarse, beliefs)
    policies = (
        np.array(choice, np.bool_).reshape(5, 2) for choice in itertools.product((0, 1), repeat=10)
    )
    best = max(gain_of(policy, rewards, moves) for policy in policies)
    low, high = value_iteration(coarse, beliefs, moves)
    assert high - low < 1e-12
    assert best == pytest.approx(low, abs=1e-12)


@pytest.mark.parametrize("costs", [(4e-4, 5e-4), (0.0, 2e-3), (3e-3, 3e-3)])
def test_the_gain_is_that_of_value_iteration_on_a_fine_chain(costs):
    problem = replace(PROBLEM, entry=costs[0], leave=costs[1])
    low, high = value_iteration(problem, *chain_of(problem, 801)[:2])
    found = solve(problem)
    assert high - low < 1e-10
    assert found.gain == pytest.approx(low, rel=2e-4)
    assert found.gain_range[0] <= found.gain <= found.gain_range[1]
    assert found.gain_range[1] - found.gain_range[0] < 1e-3 * found.gain


def test_no_thresholds_on_the_chain_gain_more_and_the_optimal_ones_attain_it():
    found = solve(PROBLEM)
    beliefs, moves, law = chain_of(PROBLEM, 401)
    rewards = rewards_of(PROBLEM, beliefs)

    def gain(enter, leave):
        policy = np.stack([beliefs < enter, beliefs <= leave], axis=1)
        return gain_of(policy, rewards, moves)

    enter, leave = found.thresholds
    best = gain(enter, leave)
    assert law.sum() == pytest.approx(1.0)
    assert best == pytest.approx(found.gain, rel=1e-3)
    for x, y in ((0.5, 0.5), (2.0, 2.0), (0.0, 0.0), (2.0, 0.5), (0.5, 2.0)):
        assert gain(x * enter, y * leave) < 0.999 * best


def test_without_costs_there_is_a_closed_form():
    found = solve(replace(PROBLEM, entry=0.0, leave=0.0))
    mean, spread = -(PROBLEM.drift_cost + PROBLEM.gap_cost), PROBLEM.slope * PROBLEM.spread
    ratio = mean / spread
    density = math.exp(-0.5 * ratio**2) / math.sqrt(2.0 * math.pi)
    closed = mean * ndtr(ratio) + spread * density
    assert found.gain == pytest.approx(closed, rel=1e-9)
    assert found.gain_range == pytest.approx((closed, closed), rel=1e-9)
    assert found.thresholds == pytest.approx((mean / PROBLEM.slope,) * 2, rel=1e-3)


def test_bounds_of_coarse_grids_hold_and_close():
    fine = solve(PROBLEM)
    widths = []
    for cells in (20, 40, 80, 160):
        coarse = solve(PROBLEM, (cells,))
        low, high = coarse.gain_range
        assert low < fine.gain_range[0] and fine.gain_range[1] < high
        assert low < coarse.gain < high
        for bound, sign in ((coarse.lower, -1), (coarse.upper, 1)):
            truth = np.interp(bound.nodes, fine.middle.nodes, fine.middle.values)
            inside = (bound.nodes > fine.middle.nodes[0]) & (bound.nodes < fine.middle.nodes[-1])
            assert (sign * (bound.values - truth)[inside] > 0).all()
        widths.append(high - low)
    # second order in the cell, but for the fixed grid of the tails
    ratios = np.array(widths[:-1]) / np.array(widths[1:])
    assert ratios[0] == pytest.approx(4.0, rel=0.2) and (ratios > 2.0).all()


def test_the_gain_falls_with_costs_and_the_band_widens():
    found = [solve(replace(PROBLEM, entry=c, leave=c)) for c in (0.0, 4e-4, 1e-3, 2.5e-3)]
    gains = [one.gain for one in found]
    assert all(more > less for more, less in itertools.pairwise(gains))
    bands = [one.thresholds[1] - one.thresholds[0] for one in found]
    assert all(less < more for less, more in itertools.pairwise(bands))


def test_linear_functions_are_integrated_exactly():
    points = np.array([-3.0, -0.7, 0.1, 0.4, 2.0, 3.5])
    mean, deviation = 0.3, 0.8
    first, second = linear_weights(points[:-1], points[1:], np.array([mean]), deviation)
    line = 2.0 - 3.0 * points
    grid = np.linspace(-3.0, 3.5, 400_001)
    density = np.exp(-0.5 * ((grid - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    expected = np.trapezoid((2.0 - 3.0 * grid) * density, grid)
    assert first @ line[:-1] + second @ line[1:] == pytest.approx(expected, abs=1e-8)
