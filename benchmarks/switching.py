"""The optimal switch between two positions on a Gaussian AR(1) belief, with proven bounds.

A belief b moves by ``b' = decay b + innovation z``, z standard normal. Held through a bar, the long
position earns a mean ``reward(b) = -drift_cost - slope b``; through the gap before the next bar
whoever is long by then loses `gap_cost` on average. Entering costs `entry`, leaving `leave`. Let
D(b) be how much more it is worth, in the long run, to come to a decision long than flat, and

    Q(b) = reward(b) + E[D(b')]                    being long rather than flat after the decision.
    D(b) = -gap_cost + min(max(Q(b), -leave), entry)                              (the recursion)

Enter where Q > entry, leave where Q < -leave, else stay. The gain, the mean reward a decision, is
``E[max(Q(b) - entry, 0)]`` over the belief's stationary law: the value function h of being flat
obeys h(b) + gain = E[h(b')] + max(Q(b) - entry, 0), and E[h(b') - h(b)] = 0.

**Grid and bounds.** Q falls in b, and it is known beforehand where it leaves [-leave, entry]
(`certain_range`), so the grid covers exactly the rest: nothing is cut off. Between nodes Q is taken
to be linear; expectations of a piecewise linear, clipped function under a normal law are exact
(partial moments). The second derivative of E[D(b')] by b is at most
``curvature = (entry + leave) / 2 * (decay / innovation)^2 * E|z^2 - 1|``, so that interpolation is
off by at most ``curvature * cell^2 / 8``. The recursion is monotone in Q and contracts (a belief
leaves the grid with positive probability), so the solution of the recursion with that amount added
is above the true Q everywhere, the one with it taken off below: both are computed and the gain lies
between theirs. The rounding of floating-point numbers is allowed for, not proven; beyond 10
deviations of the belief (probability 1e-23) the gain's integral is cut off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmarks.gaussian_grid import Array, ClippedExpectation, linear_weights, with_kinks

MEAN_ABSOLUTE_CURVATURE = 4.0 * math.exp(-0.5) / math.sqrt(2.0 * math.pi)  # E|z^2 - 1|
CELLS = (400, 800)  # of the grid that covers the certain range, and of that which refines it
TAIL_CELLS = 800
TAIL_DEVIATIONS = 10.0
ROUNDING = 1e-13  # of the costs: what a node's value may be off for want of digits
MOST_ROUNDS = 40


@dataclass(frozen=True)
class Switching:
    """The problem; all in log returns.

    Attributes:
        decay: Of the belief, in [0, 1).
        innovation: Deviation of its surprises, > 0.
        slope: Mean reward lost by a unit of belief, > 0.
        drift_cost: Mean reward lost by holding through a bar.
        gap_cost: Mean reward lost by holding through a gap.
        entry: Cost of entering, >= 0.
        leave: Cost of leaving, >= 0.
    """

    decay: float
    innovation: float
    slope: float
    drift_cost: float
    gap_cost: float
    entry: float
    leave: float

    @property
    def spread(self) -> float:
        """Stationary deviation of the belief."""
        return self.innovation / math.sqrt(1.0 - self.decay**2)

    @property
    def curvature(self) -> float:
        """Largest second derivative of E[D(b')]."""
        bend = (self.decay / self.innovation) ** 2 * MEAN_ABSOLUTE_CURVATURE
        return 0.5 * (self.entry + self.leave) * bend

    def certain_range(self) -> tuple[float, float]:
        """Below the first belief everybody is long, above the second flat: D is within its range.

        ``reward - gap_cost - leave <= Q <= reward - gap_cost + entry``.
        """
        both, lost = self.entry + self.leave, self.drift_cost + self.gap_cost
        low, high = (-both - lost) / self.slope, (both - lost) / self.slope
        room = 1e-6 * self.spread  # without costs there would be no grid
        return low - room, high + room

    def reward(self, belief: Array) -> Array:
        """Mean reward of holding through a bar."""
        return -self.drift_cost - self.slope * belief


@dataclass(frozen=True)
class Solution:
    """Q at the nodes of a grid.

    Attributes:
        problem: What is solved.
        nodes: Beliefs, increasing, (n,).
        values: Q there, (n,).
    """

    problem: Switching
    nodes: Array
    values: Array

    def crossing(self, level: float) -> float:
        """The belief at which Q falls to `level`."""
        return float(np.interp(-level, -self.values, self.nodes))


@dataclass(frozen=True)
class Bounded:
    """A solution between two bounds.

    Attributes:
        lower: Q is nowhere below.
        middle: The estimate.
        upper: Q is nowhere above.
        gain: The estimate's gain.
        gain_range: The true gain is in it.
    """

    lower: Solution
    middle: Solution
    upper: Solution
    gain: float
    gain_range: tuple[float, float]

    @property
    def thresholds(self) -> tuple[float, float]:
        """Enter below the first belief, leave above the second."""
        problem = self.middle.problem
        return self.middle.crossing(problem.entry), self.middle.crossing(-problem.leave)


def _later(problem: Switching, nodes: Array, beliefs: Array) -> ClippedExpectation:
    """E[D(b')] + gap_cost at some beliefs, for any Q on the nodes of a grid."""
    clip = (-problem.leave, problem.entry)
    return ClippedExpectation(nodes, problem.decay * beliefs, problem.innovation, clip)


def _fixed_point(
    problem: Switching, expected: ClippedExpectation, shift: float, start: Array | None
) -> Array:
    """The Q with ``Q = reward - gap_cost + E[clipped Q] + shift`` at all nodes.

    Newton's method on a piecewise linear equation (policy iteration): the nodes at which Q is
    within the costs are solved for, the others follow.

    Raises:
        RuntimeError: It does not settle.
    """
    nodes = expected.nodes
    costs = problem.entry + problem.leave
    base = problem.reward(nodes) - problem.gap_cost + shift
    # It must begin with a policy that trades, or the first equations are singular.
    values = base - 4.0 * costs / problem.spread * nodes if start is None else start
    for _ in range(MOST_ROUNDS):
        change = base + expected(values) - values
        if np.abs(change).max() <= 0.1 * ROUNDING * costs + 1e-19:
            return values
        free = (values < problem.entry) & (values > -problem.leave)
        matrix = np.eye(len(nodes)) - expected.weights * free
        values = values + np.linalg.solve(matrix, change)
    raise RuntimeError(f"no solution after {MOST_ROUNDS} rounds: {np.abs(change).max():.1e} off.")


class _Gain:
    """The gain of a Q on the nodes of a grid."""

    def __init__(self, problem: Switching, nodes: Array) -> None:
        self.problem = problem
        far = min(-TAIL_DEVIATIONS * problem.spread, float(nodes[0]) - problem.spread)
        tail = np.linspace(far, nodes[0], TAIL_CELLS + 1)[:-1]
        self.points = np.concatenate([tail, nodes])
        self.expected = _later(problem, nodes, self.points)

    def __call__(self, values: Array, sign: int) -> float:
        """At least (sign -1), at most (1) or about (0)."""
        problem = self.problem
        later = self.expected(values) - problem.gap_cost
        earned = problem.reward(self.points) + later - problem.entry
        points, earned = with_kinks(self.points, earned, (0.0,))
        first, second = linear_weights(points[:-1], points[1:], np.zeros(1), problem.spread)
        above = np.maximum(earned, 0.0)
        total = float(first @ above[:-1] + second @ above[1:])
        # Interpolation is off by no more; a lower bound of 0 needs no allowance.
        slack = problem.curvature * np.diff(points) ** 2 / 8.0
        counts = (above[:-1] > 0.0) | (sign > 0)
        return total + sign * float(((first + second) * slack) @ counts)


def solve(problem: Switching, grids: tuple[int, ...] = CELLS) -> Bounded:
    """Solve the recursion between two bounds; see the module.

    Args:
        problem: What is to be solved.
        grids: Cells of each grid, of which there is at least one: the first covers the certain
            range, each further one what the bounds of the one before leave open.

    Raises:
        RuntimeError: It has no solution in floating-point numbers: costs are so high that a belief
            which leads to a trade practically never comes.
    """
    low, high = problem.certain_range()
    costs = problem.entry + problem.leave
    for cells in grids:
        nodes = np.linspace(low, high, cells + 1)
        error = problem.curvature * (nodes[1] - nodes[0]) ** 2 / 8.0 + ROUNDING * costs
        expected = _later(problem, nodes, nodes)
        middle = _fixed_point(problem, expected, 0.0, None)
        lower, upper = (_fixed_point(problem, expected, shift, middle) for shift in (-error, error))
        long = np.flatnonzero(lower >= problem.entry).max(initial=0)
        flat = np.flatnonzero(upper <= -problem.leave).min(initial=cells)
        if long < flat:
            low, high = float(nodes[long]), float(nodes[flat])
    gain = _Gain(problem, nodes)
    lower_solution, middle_solution, upper_solution = (
        Solution(problem, nodes, values) for values in (lower, middle, upper)
    )
    return Bounded(
        lower_solution, middle_solution, upper_solution, gain(middle, 0),
        (gain(lower, -1), gain(upper, 1)),
    )  # fmt: skip
