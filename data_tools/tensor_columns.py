"""A finished dataset's columns as tensors, and batches drawn from them."""

from __future__ import annotations

from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt
import torch
from tianshou.data import Batch, ReplayBuffer

from data_tools.frames import following_rows, stacked_rows
from data_tools.gather import Rows
from data_tools.observation_source import ObservationSource
from data_tools.observations import is_image

# What every batch holds; `discount` once `buffers.TensorReplayBuffer.set_targets` was called.
COLUMNS = ("obs", "act", "rew", "terminated", "truncated", "done", "obs_next")


class TensorColumns(ReplayBuffer):  # type: ignore[misc] # tianshou is not followed
    """What `buffers.TensorReplayBuffer` draws from.

    Attributes:
        keys: The columns that a batch holds.
        device: Where they are.
    """

    def _take(self, buffer: ReplayBuffer, observations: ObservationSource) -> None:
        """Become `buffer`, with these observations."""
        # not super().__init__: it would allocate, and reset, which a finished dataset refuses
        self.__dict__.update(vars(buffer))
        self.device, self._observations = torch.device("cpu"), observations
        meta = {k: v for k, v in buffer._meta.items() if k not in ("obs", "obs_next")}
        self._meta = Batch(meta)
        self._columns = {
            name: self._tensor(meta[name][: len(buffer)])
            for name in COLUMNS
            if name not in ("obs", "obs_next")
        }
        self._wide = self._gatherers()
        self._end_rows: npt.NDArray[np.int64] | None = None
        self._pixel_scale: float | None = None
        self.keys: tuple[str, ...] = COLUMNS

    @property
    def obs(self) -> npt.NDArray[Any]:
        """Every observation, (rows, ...); of an indexed dataset a copy, as large as a full one."""
        return self._observations.before()

    @property
    def obs_next(self) -> npt.NDArray[Any]:
        """What every transition led to, (rows, ...), a copy."""
        return self._observations.arrays(self._observations.following(np.arange(len(self))))

    @property
    def is_image(self) -> bool:
        """Whether observations are pixels."""
        return is_image(self._observations.dtype, self._observations.shape)

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Of one observation in a batch: that of a frame, or of a stack of them."""
        frame = tuple(self._observations.shape)
        return frame if self.stack_num == 1 else (self.stack_num, *frame)

    @property
    def left_out(self) -> int:
        """Transitions of the file that are not here, since it does not say what they led to."""
        return self._observations.left_out

    def to(self, device: str | torch.device) -> Self:
        """Move the tensors to a device; returns the buffer itself."""
        self.device = torch.device(device)
        self._columns = {name: values.to(self.device) for name, values in self._columns.items()}
        self._observations.to(self.device)
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
        newest = self._observations.following(rows)
        return newest if self.stack_num == 1 else following_rows(self, rows, newest)

    def _draw(self, rows: npt.NDArray[np.int64], index: torch.Tensor | None = None) -> torch.Tensor:
        """Observations by their places, (n,) or (n, stack_num)."""
        if rows.ndim > 1:
            frames = self._observations.draw(rows.ravel())
            made = frames.reshape(*rows.shape, *frames.shape[1:])
        else:
            made = self._observations.draw(rows, index)
        if self._pixel_scale is None:
            return made
        return made.flatten(1).to(torch.float32).div_(self._pixel_scale)

    def _gather(self, name: str, rows: npt.NDArray[np.int64], index: torch.Tensor) -> torch.Tensor:
        if name in self._wide:
            return torch.from_numpy(self._wide[name](rows))
        return self._columns[name].index_select(0, index)

    def get(
        self, index: Any, key: str, default_value: Any = None, stack_num: int | None = None
    ) -> Any:
        """As Tianshou's; observations come from where they are kept."""
        if key not in ("obs", "obs_next"):
            return super().get(index, key, default_value, stack_num)
        rows = np.asarray(self._indices[: len(self)][index])
        if key == "obs_next":
            single = 1 in (stack_num, self.stack_num)
            after = (self._observations.following if single else self._after)(rows.ravel())
            return self._observations.arrays(after.reshape(rows.shape + after.shape[1:]))
        stack = [rows]
        for _ in range((stack_num or self.stack_num) - 1):
            stack.insert(0, self.prev(stack[0]))
        return self._observations.arrays(rows if len(stack) == 1 else np.stack(stack, rows.ndim))

    def column(self, name: str) -> torch.Tensor:
        """A whole column, (rows, ...), on the device: change it only with care.

        ``obs_next`` is a copy, and so is ``obs`` of an indexed dataset. Frames are single ones
        here.
        """
        if name == "obs":
            return self._observations.column()
        if name == "obs_next":
            return self._observations.draw(self._observations.following(np.arange(len(self))))
        return self._columns[name][: len(self)]

    def _set(self, name: str, values: npt.NDArray[Any]) -> None:
        if len(values) != len(self):
            raise ValueError(f"{name}: {len(values)} values for {len(self)} transitions.")
        self._columns[name] = self._tensor(np.asarray(values))
        self._wide = self._gatherers()

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
        observations = {"obs": self.obs, "obs_next": self.obs_next}
        plain._meta = Batch(dict(self._meta.items()) | observations)
        plain.save_hdf5(path, compression)
