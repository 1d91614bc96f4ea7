"""Batches drawn by a thread while the step before them runs."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from offline_algos.transfer import Transfer

Drawn = tuple[Any, npt.NDArray[np.int64]]


class MovedBatches:
    """A buffer whose batches are copied to the device of the networks.

    Args:
        source: What a trainer samples.
        transfer: Copies its batches.
    """

    def __init__(self, source: Any, transfer: Transfer) -> None:
        self._source, self._transfer = source, transfer

    def __len__(self) -> int:
        return len(self._source)

    @property
    def _random_state(self) -> Any:
        """The source's."""
        return self._source._random_state

    @property
    def priorities(self) -> Any:
        """The source's; None where it has none."""
        return getattr(self._source, "priorities", None)

    def update_weight(self, rows: npt.NDArray[np.int64], errors: torch.Tensor) -> None:
        """Hand the errors of a batch to a prioritised source."""
        self._source.update_weight(rows, errors)

    def sample(self, batch_size: int | None) -> Drawn:
        """Draw a batch, and wait for it."""
        batch, rows = self._source.sample(batch_size)
        self._transfer.finish(batch, self._transfer.start(batch))
        return batch, rows


class BatchesAhead:
    """A buffer whose next batches a thread draws ahead of time: the same ones, in the same order.

    Its random state is that of the batches which were handed out. Those that are ready beyond them
    are forgotten when the state is set, when another size is asked for and in `close`, and the
    source's own state goes back to the one before them.

    Args:
        source: What a trainer samples; nobody else may draw from it meanwhile, and what is drawn
            must not depend on what was learned.
        count: Batches that are drawn ahead, at least 1.
        transfer: Copies batches to another device; None: they stay.

    Raises:
        ValueError: `count` is below 1.
    """

    def __init__(self, source: Any, count: int, transfer: Transfer | None = None) -> None:
        if count < 1:
            raise ValueError(f"count={count}: expected at least 1.")
        self._source, self._count, self._transfer = source, count, transfer
        self._state = source._random_state.get_state(legacy=True)
        self._thread: _Drawing | None = None

    def __len__(self) -> int:
        return len(self._source)

    @property
    def _random_state(self) -> BatchesAhead:
        """Under the name by which an interrupted run finds it in a Tianshou buffer."""
        return self

    def get_state(self, legacy: bool = True) -> Any:
        """The random state after the last batch that was handed out."""
        return self._state

    def set_state(self, state: Any) -> None:
        """Go on from another random state."""
        self.close()
        self._state = state
        self._source._random_state.set_state(state)

    def sample(self, batch_size: int | None) -> Drawn:
        """The next batch, (batch, rows); what failed while it was drawn is raised here."""
        if self._thread is None or self._thread.size != batch_size:
            self.close()
            self._thread = _Drawing(self._source, batch_size, self._transfer, 1 + self._count)
            self._thread.start()
        made = self._thread.ready.get()
        if isinstance(made, BaseException):
            self.close()
            raise made
        self._thread.more.put(True)
        batch, rows, arrived, self._state = made
        if self._transfer is not None:
            self._transfer.finish(batch, arrived)
        return batch, rows

    def close(self) -> None:
        """End the thread, if there is one; sampling begins another."""
        if self._thread is None:
            return
        self._thread.end()
        self._thread = None
        self._source._random_state.set_state(self._state)


class _Drawing(threading.Thread):
    """Draws a batch whenever one is asked for.

    It has queues of its own, and ends by a flag: whatever an interrupt cuts short elsewhere, there
    is no count that could be wrong, and nothing to wait for but the batch that it is drawing.
    """

    def __init__(self, source: Any, size: int | None, transfer: Transfer | None, first: int):
        super().__init__(name="prefetch", daemon=True)
        self.size, self._source, self._transfer = size, source, transfer
        self.more, self.ready = SimpleQueue[Any](), SimpleQueue[Any]()
        self._ended = False
        for _ in range(first):
            self.more.put(True)

    def end(self) -> None:
        """End it, and wait until it has."""
        self._ended = True
        self.more.put(False)
        if self.is_alive():  # an interrupt may have come before it was
            self.join()

    def run(self) -> None:
        """Draw until `end`, or until it fails."""
        while self.more.get() and not self._ended:
            try:
                made = self._draw()
            except BaseException as error:  # the thread that trains raises it
                self.ready.put(error)
                return
            self.ready.put(made)

    def _draw(self) -> Any:
        batch, rows = self._source.sample(self.size)
        state = self._source._random_state.get_state(legacy=True)
        return batch, rows, self._transfer and self._transfer.start(batch), state
