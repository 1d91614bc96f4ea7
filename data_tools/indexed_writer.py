"""Writing the indexed layout as the transitions come: tens of bytes each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from data_tools.flat_skeleton import Columns, allocate
from data_tools.indexed_format import (
    APART,
    BITS,
    CONSTANTS,
    EXTRA,
    LAYOUT,
    LAYOUT_VERSION,
    pack_bits,
    pack_flags,
    shown_dtype,
    split_accounts,
    stored_action,
    stored_extra,
)
from data_tools.lane_writer import LaneWriter

# A column can be mapped where it lies, and a row that is asked for ahead is at most two lines.
_ALIGNED = {"alignment_threshold": 1, "alignment_interval": 64}
_BLOCK_BYTES = 4 * 2**20


class IndexedWriter(LaneWriter):
    """Streams transitions of several lanes into one file of the indexed layout.

    `add` takes records as `indexed_format.shown_dtype` describes them for observations. The last
    observations of episodes are held until the file is finished, 36 bytes each.

    Args:
        path: The target.
        size: Transitions to be written, exactly.
        num_lanes: Lanes, at most `size`.
        decisions: Decision instants of the market.
        action_shape: Shape of one action: ``()`` for discrete.
        action_dtype: int64 for discrete, float32 for continuous.
        actions: How many discrete actions there are; None: continuous ones, or unknown.
        reward_dtype: float64, but for rewards that were rounded already.
        extra: Further columns: name -> shape and dtype of one row.
        overwrite: Replace an existing target.
        check_room: Refuse at once what the disk has no room for.
        block_bytes: Memory for observations before they are written.

    Raises:
        DatasetError: The target exists or cannot be written, or the disk is too small.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: int,
        num_lanes: int,
        decisions: int,
        action_shape: tuple[int, ...] = (),
        action_dtype: npt.DTypeLike = np.int64,
        actions: int | None = None,
        reward_dtype: npt.DTypeLike = np.float64,
        extra: Columns | None = None,
        overwrite: bool = False,
        check_room: bool = True,
        block_bytes: int = _BLOCK_BYTES,
    ) -> None:
        extra = dict(sorted((extra or {}).items()))  # as every reader will list them
        self.shown = shown_dtype(decisions)
        parts = {name: self.shown[name] for name in self.shown.names or ()}
        self._action = tuple(action_shape), np.dtype(action_dtype)
        largest = None if actions is None else actions - 1
        stored = {f"{EXTRA}/{name}": stored_extra(*column) for name, column in extra.items()}
        self._bits = {name: bits for name, (*_, bits) in stored.items() if bits}
        columns: Columns = {
            "rew": ((), np.dtype(reward_dtype)),
            **{name: (part.shape, part.base) for name, part in parts.items()},
            "act": (self._action[0], stored_action(self._action[1], largest)),
            "flags": ((), np.dtype(np.uint8)),
            **{name: (shape, dtype) for name, (shape, dtype, _) in stored.items()},
        }
        self._extra = tuple(extra)
        self._last: list[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]] = []
        super().__init__(
            path, size=size, num_lanes=num_lanes, columns=columns, observed=((), self.shown),
            action=self._action, extra=extra, overwrite=overwrite, check_room=check_room,
            block_bytes=block_bytes,
        )  # fmt: skip

    def _lay_out(self) -> dict[str, int]:
        with h5py.File(self._skeleton, "w", **_ALIGNED) as root:
            root.attrs["layout"], root.attrs["layout_version"] = LAYOUT, LAYOUT_VERSION
            offsets = {
                name: allocate(root, name, (self.size, *shape), dtype)
                for name, (shape, dtype) in self._columns.items()
            }
            root["act"].attrs["read_as"] = self._action[1].name
            for name, bits in self._bits.items():
                root[name].attrs[BITS] = bits
        return offsets

    def _write_rows(self, used: int) -> None:
        terminated, truncated = (self._blocks[n][:, :used] for n in ("terminated", "truncated"))
        apart = terminated | truncated
        for name in ("act", "rew"):
            self._write(name, self._blocks[name][:, :used])
        for name in self._extra:
            stored = f"{EXTRA}/{name}"
            self._write(stored, self._packed(stored, self._blocks[name][:, :used]))
        self._write("flags", pack_flags(terminated, truncated, apart))
        for name in self.shown.names or ():
            self._write(name, self._observations[name][:, :used])
        self._put_finals()
        after = self._observations[:, 1 : used + 1]
        for lane, (begin, count) in enumerate(self._places(used)):
            steps = np.flatnonzero(apart[lane, :count])
            self._last.append((begin + steps, after[lane, steps]))

    def add_rows(self, rows: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the next rows of a single lane whole, in the place of `start` and `add`.

        Args:
            rows: Every column, (n, ...), and ``last``: records, one for each row marked `APART`.

        Raises:
            DatasetError: The rows cannot be written.
        """
        marked = self._written + np.flatnonzero(rows["flags"] & APART)
        self._last.append((marked, rows["last"]))
        super().add_rows({name: self._packed(name, rows[name]) for name in self._columns})

    def _packed(self, name: str, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column's rows, (..., n, *shape), as they are stored."""
        return pack_bits(rows) if name in self._bits else rows

    def _complete(self) -> None:
        """Add the observations that stand apart, in the order of their rows."""
        order = np.argsort(np.concatenate([rows for rows, _ in self._last]), kind="stable")
        last = np.concatenate([records for _, records in self._last])[order]
        constants, accounts = split_accounts(np.ascontiguousarray(last["account_state"]))
        parts = {"last_decision": np.ascontiguousarray(last["decision"])}
        if accounts.shape[1]:
            parts["last_account_state"] = accounts
        with h5py.File(self._skeleton, "r+", **_ALIGNED) as root:
            offsets = {
                name: allocate(root, name, part.shape, part.dtype) for name, part in parts.items()
            }
            root["last_decision"].attrs[CONSTANTS] = constants
        for name, part in parts.items():
            self._target.write_at(offsets[name], part)
