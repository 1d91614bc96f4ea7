"""Exact normal expectations of functions that are piecewise linear, clipped or not."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Array = npt.NDArray[np.float64]


def linear_weights(left: Array, right: Array, mean: Array, deviation: float) -> tuple[Array, Array]:
    """Integrals of functions that are linear between two points, under normal laws.

    Args:
        left: Left ends, broadcast with `right` and `mean`.
        right: Right ends, > left.
        mean: Means of the laws.
        deviation: Their common deviation.

    Returns:
        Weights of the function's values at the left and at the right ends.
    """
    low, high = (left - mean) / deviation, (right - mean) / deviation
    mass = ndtr(high) - ndtr(low)
    density = (np.exp(-0.5 * low**2) - np.exp(-0.5 * high**2)) / math.sqrt(2.0 * math.pi)
    share = ((mean - left) * mass + deviation * density) / (right - left)
    return mass - share, share


def with_kinks(nodes: Array, values: Array, levels: tuple[float, ...]) -> tuple[Array, Array]:
    """The nodes of a piecewise linear, falling function and those where it crosses levels."""
    kinks = [
        float(np.interp(-level, -values, nodes))
        for level in levels
        if values[-1] < level < values[0]
    ]
    points = np.union1d(nodes, kinks)
    return points, np.interp(points, nodes, values)


class ClippedExpectation:
    """E[f(b')], f a piecewise linear, falling function that is clipped to a range.

    Below its first node f is the range's upper end, above its last the lower one. ``b'`` is normal.

    Args:
        nodes: Where f is given, increasing, (n,).
        means: Of b', one for each expectation, (m,).
        deviation: Of b'.
        clip: The range, (low, high).
    """

    def __init__(
        self, nodes: Array, means: Array, deviation: float, clip: tuple[float, float]
    ) -> None:
        self.nodes, self.means, self.deviation, self.clip = nodes, means[:, None], deviation, clip
        first, second = linear_weights(nodes[:-1], nodes[1:], self.means, deviation)
        self.weights = np.zeros((len(means), len(nodes)))
        self.weights[:, :-1] += first
        self.weights[:, 1:] += second
        below, above = (nodes[[0, -1]] - self.means).T / deviation
        self.outside = clip[1] * ndtr(below) + clip[0] * ndtr(-above)

    def __call__(self, values: Array) -> Array:
        """The expectations, (m,), from f's values at the nodes before clipping, (n,)."""
        total = self.outside + self.weights @ np.clip(values, *self.clip)
        for cell in self._kinked(values):
            total += self._correction(cell, values)
        return total

    def _kinked(self, values: Array) -> list[int]:
        """The cells in which f crosses an end of the range: there the clipped function bends."""
        cells = {int(np.searchsorted(-values, -level)) - 1 for level in self.clip}
        return sorted(cell for cell in cells if 0 <= cell < len(values) - 1)

    def _correction(self, cell: int, values: Array) -> Array:
        """What the exact integral over a cell with a bend has more than the chord's."""
        ends = slice(cell, cell + 2)
        points, inside = with_kinks(self.nodes[ends], values[ends], self.clip)
        if len(points) == 2:
            return np.zeros(len(self.means))
        chord = np.interp(points, self.nodes[ends], np.clip(values[ends], *self.clip))
        excess = np.clip(inside, *self.clip) - chord
        first, second = linear_weights(points[:-1], points[1:], self.means, self.deviation)
        return np.asarray(first @ excess[:-1] + second @ excess[1:])
