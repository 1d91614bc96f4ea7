"""The transitions that an online method has met: a ring that samples tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tianshou.data import Batch

from data_tools.gather import Rows
from data_tools.observation_source import normalise_rows
from data_tools.statistics import Statistics, column_statistics
from offline_algos.normalisation import deviation

ROWS_A_PASS = 4096
TENSORS = ("obs", "act", "obs_next")
NUMBERS = ("rew", "terminated", "ended")


class ReplayMemory:
    """A ring of transitions, one of every lane a step; the oldest step makes room for the newest.

    A batch has ``obs``, ``act``, ``rew``, ``discount`` and ``obs_next``, so that
    ``rew + discount * value(obs_next)`` is a target: the sum of ``n_step`` discounted rewards, less
    where the episode ends or has come to its newest step. ``discount`` is 0 only where an episode
    *terminated*; one that was truncated is bootstrapped from its true last observation.

    Tianshou's trainer takes it as the buffer of a collector. Tianshou's own buffer would look for
    numbers that are not finite in all its rows at each step, and convert every batch.

    Args:
        capacity: Transitions to keep, at least one of each lane; rounded down to whole steps.
        lanes: Environments that are stepped together.
        columns: Of an observation.
        action_width: Numbers of a continuous action; None for discrete ones.
        seed: Of the sampling.
        gamma: Discount, 0 to 1.
        n_step: Rewards in a target, at least 1.
        device: Where the tensors are to live.
    """

    def __init__(
        self,
        capacity: int,
        lanes: int,
        columns: int,
        action_width: int | None,
        *,
        seed: int,
        gamma: float,
        n_step: int = 1,
        device: str | torch.device = "cpu",
    ) -> None:
        self.lanes, self.capacity = lanes, capacity // lanes * lanes
        self.device, self.gamma, self.n_step = torch.device(device), gamma, n_step
        # zeros and empty take no memory before it is written to
        act = torch.empty(
            (self.capacity,) if action_width is None else (self.capacity, action_width),
            dtype=torch.int64 if action_width is None else torch.float32,
            device=self.device,
        )
        self._tensors = {
            "obs": torch.empty((self.capacity, columns), device=self.device),
            "act": act,
            "obs_next": torch.empty((self.capacity, columns), device=self.device),
        }
        self._numbers = {
            "rew": np.zeros(self.capacity),
            "terminated": np.zeros(self.capacity, np.bool_),
            "ended": np.zeros(self.capacity, np.bool_),
        }
        self._wide = {}
        if self.device.type == "cpu":
            tensors = self._tensors.items()
            self._wide = {name: Rows(x.numpy()) for name, x in tensors if x.ndim > 1}
        self._head, self._filled = 0, 0  # the row that is written next; rows that are written
        self._random_state = np.random.RandomState(seed)

    def __len__(self) -> int:
        return self._filled

    def hasnull(self) -> bool:
        """Whether a number is not finite: no, since `add` refuses it. Tianshou's trainer asks."""
        return False

    # --- filling -----------------------------------------------------------------------------

    def add(
        self,
        obs: torch.Tensor,
        act: npt.NDArray[Any],
        rew: npt.NDArray[np.float64],
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
        obs_next: torch.Tensor,
    ) -> None:
        """Add a step of every lane; each argument is (lanes, ...).

        Raises:
            ValueError: A reward or an observation is not finite.
        """
        if not (np.isfinite(rew).all() and bool(torch.isfinite(obs_next).all())):
            raise ValueError(
                "the environment gave a reward or an observation that is not finite: nothing can "
                "be learned from it. Mend the environment or its data."
            )
        rows = slice(self._head, self._head + self.lanes)
        self._tensors["obs"][rows] = obs
        self._tensors["act"][rows] = torch.from_numpy(act)
        self._tensors["obs_next"][rows] = obs_next
        self._numbers["rew"][rows] = rew
        self._numbers["terminated"][rows] = terminated
        self._numbers["ended"][rows] = terminated | truncated
        self._head = rows.stop % self.capacity
        self._filled = min(self._filled + self.lanes, self.capacity)

    def end_episodes(self) -> None:
        """The lanes are reset: what is added next does not follow the newest step."""
        if self._filled:
            newest = (self._head or self.capacity) - self.lanes
            self._numbers["ended"][newest : newest + self.lanes] = True

    def statistics(self) -> Statistics:
        """Mean and deviation of each observation column; see `column_statistics`."""
        return column_statistics(self._tensors["obs"].cpu().numpy(), np.arange(self._filled))

    def normalise(self, statistics: Statistics) -> None:
        """Normalise the observations, in place: see `Statistics`."""
        for name in ("obs", "obs_next"):
            normalise_rows(self._tensors[name][: self._filled], statistics)

    def reward_deviation(self) -> float:
        """The standard deviation of the rewards; 1 where they never change."""
        return deviation(self._numbers["rew"][: self._filled])

    def scale_rewards(self, scale: float) -> None:
        """Divide the rewards by a number."""
        self._numbers["rew"][: self._filled] /= scale

    # --- sampling ----------------------------------------------------------------------------

    def sample(self, batch_size: int) -> tuple[Any, npt.NDArray[np.int64]]:
        """Draw transitions evenly, with repetition: (batch, rows)."""
        rows = self._random_state.randint(0, self._filled, batch_size)
        return self.rows(rows), rows

    def rows(self, rows: npt.NDArray[np.int64]) -> Any:
        """The transitions of these rows, int64 (n,), with their targets' parts."""
        rew, discount, last = self._targets(rows)
        batch = Batch()
        members = batch.__dict__  # what Batch(...) fills, after looking into every value
        members["obs"], members["act"] = self._gather("obs", rows), self._gather("act", rows)
        members["rew"], members["discount"] = self._tensor(rew), self._tensor(discount)
        members["obs_next"] = self._gather("obs_next", last)
        return batch

    def _targets(
        self, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Sums of rewards, discounts of what follows, and the rows that it follows, each (n,)."""
        rew, terminated, ended = (self._numbers[name] for name in NUMBERS)
        total, last = rew[rows], rows
        power = np.full(len(rows), self.gamma)
        newest = (self._head or self.capacity) - self.lanes
        for _ in range(1, self.n_step):
            goes_on = ~(ended[last] | (last >= newest) & (last < newest + self.lanes))
            last = np.where(goes_on, (last + self.lanes) % self.capacity, last)
            total = total + np.where(goes_on, power * rew[last], 0.0)
            power = np.where(goes_on, power * self.gamma, power)
        return total, np.where(terminated[last], 0.0, power), last

    def _tensor(self, values: npt.NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.device)

    def _gather(self, name: str, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        if name in self._wide:
            return torch.from_numpy(self._wide[name](rows))
        return self._tensors[name].index_select(0, torch.from_numpy(rows).to(self.device))

    # --- saving ------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The filled part, for a file: tensors and numbers."""
        filled = self._filled
        return {
            "head": self._head,
            "filled": filled,
            # clones: a file would hold all of the storage that a slice looks at
            **{name: self._tensors[name][:filled].cpu().clone() for name in TENSORS},
            **{name: torch.from_numpy(self._numbers[name][:filled].copy()) for name in NUMBERS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from such a state, of a memory of the same size."""
        self._head, self._filled = state["head"], state["filled"]
        for name in TENSORS:
            self._tensors[name][: self._filled] = state[name].to(self.device)
        for name in NUMBERS:
            self._numbers[name][: self._filled] = state[name].numpy()
