"""A replay buffer that samples tensors: Tianshou's trainer takes it as it takes its own."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tianshou.data import ReplayBuffer

from data_tools.hdf5 import DatasetError, load_table
from data_tools.indexed_layout import is_indexed
from data_tools.indexed_loading import load_indexed
from data_tools.indexed_observations import IndexedObservations
from data_tools.observation_source import TableSource
from data_tools.observations import ObservationTable, held_as
from data_tools.statistics import Statistics
from data_tools.targets import n_step_targets, returns_to_go
from data_tools.tensor_columns import TensorColumns
from gym_trade import Market


class TensorReplayBuffer(TensorColumns):
    """A finished dataset whose columns are also tensors, on any device.

    ``sample`` draws the same indices as Tianshou's buffer with the same random state, but returns
    tensors without parsing them: on the CPU the columns share the memory of the buffer that it is
    made of, on a GPU they live there. Observations are held once (`ObservationTable`), or, in an
    indexed dataset, not at all: they are gathered from the market (`IndexedObservations`), which
    gives the same bits. Frames are stacked when they are drawn, where the buffer has a
    ``stack_num``; see `frames`.
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
        self._take(buffer, TableSource(ObservationTable.of(before, after, held)))
        self.to(device)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        market: Market | str | None = None,
        features: Any = None,
        mmap: bool = False,
    ) -> tuple[TensorReplayBuffer, dict[str, Any] | None]:
        """Load a dataset of any layout without ever holding its observations twice.

        Args:
            path: As `data_tools.hdf5.load_buffer` takes it.
            market: The market of an indexed dataset; None: where its provenance says it is.
            features: As for `market_windows.open_windows`.
            mmap: Leave decisions and accounts of an indexed dataset on disk, mapped into memory:
                for more transitions than fit.

        Returns:
            The buffer, on the CPU, and the file's provenance (None in a foreign file).

        Raises:
            DatasetError: As `data_tools.hdf5.load_buffer` does, or a full dataset is to be mapped.
        """
        made = cls.__new__(cls)
        if is_indexed(path):
            plain, indexed, provenance = load_indexed(
                path, market=market, features=features, mmap=mmap
            )
            made._take(plain, IndexedObservations(indexed))
            return made, provenance
        if mmap:
            raise DatasetError(
                f"{path} holds whole observations, which are not mapped. Make it an indexed "
                f"dataset: python -m data_tools.relayout {path} TARGET --layout indexed"
            )
        plain, table, found = load_table(path)
        made._take(plain, TableSource(table))
        return made, found

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
        total, power, last = n_step_targets(self, gamma, n_step)
        self._columns["rew"] = self._tensor(total)
        self._columns["discount"] = self._tensor(power)
        self._end_rows = None if n_step == 1 else last
        self.keys = tuple(dict.fromkeys((*self.keys, "discount")))

    def returns_to_go(self, gamma: float) -> npt.NDArray[np.float64]:
        """The discounted sum of rewards from each row to the end of its episode, float64 (rows,).

        What a truncated or unfinished episode would have earned afterwards is not in it.
        """
        return returns_to_go(self, gamma)

    def statistics(self) -> Statistics:
        """Mean and deviation of each observation column; see `column_statistics`.

        Raises:
            ValueError: Observations are not flat, or one is not finite.
        """
        if len(self._observations.shape) != 1:
            raise ValueError(
                f"observations of shape {self._observations.shape} cannot be normalised column by "
                "column. Expected flat observations (collect writes them so), or pass --norm-obs 0."
            )
        return self._observations.statistics()

    def normalise(self, statistics: Statistics) -> None:
        """Normalise ``obs`` and ``obs_next``: see `Statistics`.

        It is done in place, or whenever an observation of an indexed dataset is drawn. The
        arithmetic is float64, as the network's own normaliser does it for observations that come
        from an environment: the results are the same bits.
        """
        self._observations.normalise(statistics)

    def scale_pixels(self, scale: float) -> None:
        """Let batches hold pixels, which stay uint8 here, as flat float32 (n, D) over `scale`."""
        self._pixel_scale = scale
