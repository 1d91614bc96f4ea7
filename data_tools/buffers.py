"""A replay buffer that samples tensors: Tianshou's trainer takes it as it takes its own."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from tianshou.data import Batch, ReplayBuffer

from data_tools.frames import following_rows, stacked_rows
from data_tools.gather import Rows
from data_tools.hdf5 import load_table
from data_tools.observations import ObservationTable, held_as, is_image
from data_tools.statistics import Statistics, column_statistics

# What every batch holds; `discount` once `TensorReplayBuffer.set_targets` was called.
COLUMNS = ("obs", "act", "rew", "terminated", "truncated", "done", "obs_next")
ROWS_A_PASS = 4096


def normalise_rows(table: torch.Tensor, statistics: Statistics) -> None:
    """Subtract the mean of each column, divide by its deviation and end at its limit, in place.

    Args:
        table: Observations, float32 (rows, D). The arithmetic is float64.
        statistics: Of the columns.
    """
    mean, std, limit = (
        torch.as_tensor(part, device=table.device) for part in (*statistics, statistics.limit)
    )
    for begin in range(0, len(table), ROWS_A_PASS):
        part = table[begin : begin + ROWS_A_PASS]
        part.copy_(((part - mean) / std).clamp(-limit, limit))


class TensorReplayBuffer(ReplayBuffer):  # type: ignore[misc] # tianshou is not followed
    """A finished dataset whose columns are also tensors, on any device.

    ``sample`` draws the same indices as Tianshou's buffer with the same random state, but returns
    tensors without parsing them: on the CPU the columns share the memory of the buffer that it is
    made of, on a GPU they live there. Observations are held once; see `ObservationTable`. Frames
    are stacked when they are drawn, where the buffer has a ``stack_num``; see `frames`.
    Everything else is Tianshou's: ``prev``, ``next``, indexing (NumPy) and saving. Transitions
    cannot be added.

    Args:
        buffer: Tianshou's flat buffer, with ``obs_next`` stored. Observations are copied, the
            other arrays taken over.
        device: Where the tensors are to live.

    Raises:
        ValueError: The buffer is empty, or stores no ``obs_next``: at the end of an episode
            Tianshou would then bootstrap from the observation before it.

    Attributes:
        keys: The columns that a batch holds.
        device: Where they are.
    """

    def __init__(self, buffer: ReplayBuffer, device: str | torch.device = "cpu") -> None:
        if len(buffer) == 0:
            raise ValueError("the dataset holds no transitions: there is nothing to train on.")
        if "obs_next" not in buffer._meta.get_keys():
            raise ValueError(
                "the dataset stores no obs_next: the last state of a truncated episode is lost. "
                "Collect it with ReplayBuffer(..., ignore_obs_next=False)."
            )
        before, after = (buffer._meta[name][: len(buffer)] for name in ("obs", "obs_next"))
        held = held_as(before.dtype, before.shape[1:])
        self._take(buffer, ObservationTable.of(before, after, held))
        self.to(device)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple[TensorReplayBuffer, dict[str, Any] | None]:
        """Load a dataset without ever holding its observations twice.

        Args:
            path: As `data_tools.hdf5.load_buffer` takes it.

        Returns:
            The buffer, on the CPU, and the file's provenance (None in a foreign file).

        Raises:
            DatasetError: As `data_tools.hdf5.load_buffer` does.
        """
        plain, observations, provenance = load_table(path)
        made = cls.__new__(cls)
        made._take(plain, observations)
        return made, provenance

    def _take(self, buffer: ReplayBuffer, observations: ObservationTable) -> None:
        """Become `buffer`, with these observations."""
        # not super().__init__: it would allocate, and reset, which a finished dataset refuses
        self.__dict__.update(vars(buffer))
        self.device, self._observations = torch.device("cpu"), observations
        meta = {name: value for name, value in buffer._meta.items() if name != "obs_next"}
        self._meta = Batch(meta | {"obs": observations.before})
        self._columns = {
            name: self._tensor(meta[name][: len(buffer)])
            for name in COLUMNS
            if name not in ("obs", "obs_next")
        }
        self._columns["obs"] = self._tensor(observations.table)
        self._wide = self._gatherers()
        self._end_rows: npt.NDArray[np.int64] | None = None
        self._pixel_scale: float | None = None
        self.keys: tuple[str, ...] = COLUMNS

    @property
    def is_image(self) -> bool:
        """Whether observations are pixels."""
        return is_image(self.obs.dtype, self.obs.shape[1:])

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Of one observation in a batch: that of a frame, or of a stack of them."""
        frame = tuple(self.obs.shape[1:])
        return frame if self.stack_num == 1 else (self.stack_num, *frame)

    @property
    def left_out(self) -> int:
        """Transitions of the file that are not here, since it does not say what they led to."""
        return self._observations.left_out

    def to(self, device: str | torch.device) -> TensorReplayBuffer:
        """Move the tensors to a device; returns the buffer itself."""
        self.device = torch.device(device)
        self._columns = {name: values.to(self.device) for name, values in self._columns.items()}
        self._wide = self._gatherers()
        return self

    def _tensor(self, values: npt.NDArray[Any]) -> torch.Tensor:
        if values.dtype == np.float64:
            values = values.astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _gatherers(self) -> dict[str, Rows]:
        """Of the columns that are wide, where they are within reach of the CPU."""
        if self.device.type != "cpu":
            return {}
        columns = self._columns.items()
        return {name: Rows(values.numpy()) for name, values in columns if values.ndim > 1}

    # --- sampling ----------------------------------------------------------------------------

    def sample(self, batch_size: int | None) -> tuple[Any, npt.NDArray[np.int64]]:
        """Draw transitions as Tianshou does, as tensors.

        Args:
            batch_size: How many, with repetition; 0: all in order; None: all, shuffled.

        Returns:
            (batch, indices): the members named in `keys`, each (batch_size, ...).
        """
        indices = self.sample_indices(batch_size)
        return self.rows(indices), indices

    def rows(self, indices: npt.NDArray[np.int64]) -> Any:
        """The transitions at `indices`, int64 (n,), as a batch of tensors."""
        index = torch.from_numpy(indices).to(self.device)
        batch = Batch()
        members = batch.__dict__  # what Batch(...) fills, after looking into every value
        for name in self.keys:
            if name == "obs_next":
                ends = indices if self._end_rows is None else self._end_rows[indices]
                members[name] = self._draw(self._after(ends))
            elif name == "obs":
                members[name] = self._draw(self._before(indices), index)
            else:
                members[name] = self._gather(name, indices, index)
        members["info"] = Batch()
        return batch

    def _before(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where the observations of transitions are: (n,), or (n, stack_num)."""
        return rows if self.stack_num == 1 else stacked_rows(self, rows)

    def _after(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where the ones after them are."""
        newest = self._observations.following[rows]
        return newest if self.stack_num == 1 else following_rows(self, rows, newest)

    def _draw(self, rows: npt.NDArray[np.int64], index: torch.Tensor | None = None) -> torch.Tensor:
        """Observations from rows of the table, (n,) or (n, stack_num)."""
        if rows.ndim > 1:
            frames = self._gather("obs", rows.ravel(), None)
            made = frames.reshape(*rows.shape, *frames.shape[1:])
        else:
            made = self._gather("obs", rows, index)
        if self._pixel_scale is None:
            return made
        return made.flatten(1).to(torch.float32).div_(self._pixel_scale)

    def _gather(
        self, name: str, rows: npt.NDArray[np.int64], index: torch.Tensor | None
    ) -> torch.Tensor:
        if name in self._wide:
            return torch.from_numpy(self._wide[name](rows))
        if index is None:
            index = torch.from_numpy(rows).to(self.device)
        return self._columns[name].index_select(0, index)

    def get(
        self, index: Any, key: str, default_value: Any = None, stack_num: int | None = None
    ) -> Any:
        """As Tianshou's; ``obs_next`` comes from where it is kept."""
        if key != "obs_next":
            return super().get(index, key, default_value, stack_num)
        if 1 in (stack_num, self.stack_num):
            return self._observations.table[self._observations.following[index]]
        rows = np.asarray(index)
        stacks = self._after(rows.ravel())
        return self._observations.table[stacks.reshape(*rows.shape, -1)]

    def column(self, name: str) -> torch.Tensor:
        """A whole column, (rows, ...), on the device: change it only with care.

        ``obs_next`` is a copy. Frames are single ones here.
        """
        if name == "obs_next":
            return self._gather("obs", self._observations.following, None)
        return self._columns[name][: len(self)]

    def add_column(self, name: str, values: npt.NDArray[Any]) -> None:
        """Add a column, (rows, ...) in the order of the rows, to every batch."""
        self._set(name, values)
        self.keys = tuple(dict.fromkeys((*self.keys, name)))

    def replace(self, name: str, values: npt.NDArray[Any]) -> None:
        """Put other values, (rows, ...), in the place of ``act`` or ``rew``, before training.

        Raises:
            ValueError: There is not one a transition.
        """
        self._set(name, values)
        self._meta[name] = values

    def _set(self, name: str, values: npt.NDArray[Any]) -> None:
        if len(values) != len(self):
            raise ValueError(f"{name}: {len(values)} values for {len(self)} transitions.")
        self._columns[name] = self._tensor(np.asarray(values))
        self._wide = self._gatherers()

    # --- what a method prepares once ----------------------------------------------------------

    def set_targets(self, gamma: float, n_step: int = 1) -> None:
        """Prepare n-step targets: afterwards ``rew + discount * value(obs_next)`` is one.

        The sum of rewards stops at the end of an episode. ``discount`` is gamma to the number of
        rewards in it, and 0 only where the episode *terminated*: a time limit is not a death, and
        its value is bootstrapped from the true last observation.

        Args:
            gamma: Discount, 0 to 1.
            n_step: Rewards in a target, at least 1.
        """
        rows = np.arange(len(self))
        reward = np.asarray(self.rew[: len(self)], np.float64)
        total, power, last = reward.copy(), np.full(len(self), gamma), rows
        for _ in range(1, n_step):
            following = self.next(last)
            goes_on = ~self.done[last] & (following != last)
            total[goes_on] += power[goes_on] * reward[following[goes_on]]
            power[goes_on] *= gamma
            last = np.where(goes_on, following, last)
        power[self.terminated[last]] = 0.0
        self._columns["rew"] = self._tensor(total)
        self._columns["discount"] = self._tensor(power)
        self._end_rows = None if n_step == 1 else last
        self.keys = tuple(dict.fromkeys((*self.keys, "discount")))

    def returns_to_go(self, gamma: float) -> npt.NDArray[np.float64]:
        """The discounted sum of rewards from each row to the end of its episode, float64 (rows,).

        What a truncated or unfinished episode would have earned afterwards is not in it.
        """
        order = self.sample_indices(0)
        totals, ahead = np.zeros(len(self)), 0.0
        reward, done = np.asarray(self.rew, np.float64), self.done
        for row in order[::-1].tolist():
            ahead = reward[row] + (0.0 if done[row] else gamma * ahead)
            totals[row] = ahead
        return totals

    def statistics(self) -> Statistics:
        """Mean and deviation of each observation column; see `column_statistics`.

        Raises:
            ValueError: Observations are not flat, or one is not finite.
        """
        if self.obs.ndim != 2:
            raise ValueError(
                f"observations of shape {self.obs.shape[1:]} cannot be normalised column by "
                "column. Expected flat observations (collect writes them so), or pass --norm-obs 0."
            )
        return column_statistics(self.obs, np.arange(len(self)))

    def normalise(self, statistics: Statistics) -> None:
        """Normalise ``obs`` and ``obs_next``, in place: see `Statistics`.

        The arithmetic is float64, as the network's own normaliser does it for observations that
        come from an environment: the results are the same bits.
        """
        normalise_rows(self._columns["obs"], statistics)

    def scale_pixels(self, scale: float) -> None:
        """Let batches hold pixels, which stay uint8 here, as flat float32 (n, D) over `scale`."""
        self._pixel_scale = scale

    # --- what a finished dataset refuses ------------------------------------------------------

    def _refuse(self, *arguments: Any, **keywords: Any) -> NoReturn:
        raise TypeError(
            "a TensorReplayBuffer is a finished dataset: change the ReplayBuffer that it is made "
            "of, and make it anew."
        )

    add = update = set_array_at_key = set_batch = _refuse
    reset = _refuse

    def save_hdf5(self, path: str, compression: str | None = None) -> None:
        """Save as Tianshou does, without the tensors."""
        plain = ReplayBuffer(len(self), stack_num=self.stack_num)
        own = ("device", "keys", "_observations", "_columns", "_wide", "_end_rows", "_pixel_scale")
        plain.__dict__.update({k: v for k, v in vars(self).items() if k not in own})
        following = self.get(np.arange(len(self)), "obs_next", stack_num=1)
        plain._meta = Batch(dict(self._meta.items()) | {"obs_next": following})
        plain.save_hdf5(path, compression)
