"""What a transition is worth by the rewards that follow it in its episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tianshou.data import ReplayBuffer


class Targets(NamedTuple):
    """n-step targets: ``total + power * value(what follows row last)``.

    Attributes:
        total: Discounted rewards, float64 (rows,).
        power: Discount of the value, float64 (rows,); 0 where the episode terminated.
        last: Rows whose next observation has that value, int64 (rows,).
    """

    total: npt.NDArray[np.float64]
    power: npt.NDArray[np.float64]
    last: npt.NDArray[np.int64]


def n_step_targets(buffer: ReplayBuffer, gamma: float, n_step: int) -> Targets:
    """Targets of every row; see `buffers.TensorReplayBuffer.set_targets`."""
    rows = np.arange(len(buffer))
    reward = np.asarray(buffer.rew[: len(buffer)], np.float64)
    total, power, last = reward.copy(), np.full(len(buffer), gamma), rows
    for _ in range(1, n_step):
        following = buffer.next(last)
        goes_on = ~buffer.done[last] & (following != last)
        total[goes_on] += power[goes_on] * reward[following[goes_on]]
        power[goes_on] *= gamma
        last = np.where(goes_on, following, last)
    power[buffer.terminated[last]] = 0.0
    return Targets(total, power, last)


def returns_to_go(buffer: ReplayBuffer, gamma: float) -> npt.NDArray[np.float64]:
    """Returns of every row; see `buffers.TensorReplayBuffer.returns_to_go`."""
    totals = np.zeros(len(buffer))
    reward, done = np.asarray(buffer.rew, np.float64), np.asarray(buffer.done)
    _sum_backwards(buffer.sample_indices(0), reward, done, gamma, totals)
    return totals


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum_backwards(
    order: npt.NDArray[np.int64],
    reward: npt.NDArray[np.float64],
    done: npt.NDArray[np.bool_],
    gamma: float,
    totals: npt.NDArray[np.float64],
) -> None:
    ahead = 0.0
    for place in range(len(order) - 1, -1, -1):
        row = order[place]
        ahead = reward[row] + (0.0 if done[row] else gamma * ahead)
        totals[row] = ahead
