"""The indexed layout in HDF5: what its parts are called, and of which numbers they are.

A row a transition, in root datasets without compression or chunks, so that they can be mapped into
memory where they lie:

* ``decision``, int32 or int64 (n,): the decision instant before the transition, counted in its
  market, and ``account_state``, float32 (n, 6): the account there. Together with the market's
  windows at that instant they are the observation.
* ``act``, the smallest type that holds it; its attribute ``read_as`` is the type in memory.
* further columns of the full layout, as they are, in the group ``extra``, if there are any; but of
  flags, several a row, eight to a byte, the first in the lowest bit: the attribute ``bits`` says
  how many.
* ``rew``, as the full layout has it, and ``flags``, uint8: bits `TERMINATED`, `TRUNCATED`, `APART`.

What a transition leads to is the next row's observation, but for those marked `APART`: theirs are
``last_decision`` and ``last_account_state``, one a marked row, in the order of the rows. Numbers of
the account that are the same in all of those are stored once, in the attribute `CONSTANTS` of
``last_decision``, float32 (6,), NaN where they differ: ``last_account_state`` holds the others, and
is not there if there are none. A rollout ends without a position, so that all are the same.

Root attributes: ``layout`` and ``layout_version``, and the ``provenance``, the same as that of the
full layout. A file of version 1 has neither ``bits`` nor constants. A file that joins shards has no
columns: its provenance lists the files that do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gym_trade.types import ACCOUNT_STATE_WIDTH

LAYOUT, LAYOUT_VERSION = "indexed", 2
READABLE_VERSIONS = (1, 2)
TERMINATED, TRUNCATED, APART = 1, 2, 4
ALL_FLAGS = TERMINATED | TRUNCATED | APART

EXTRA = "extra"
ROWS = ("decision", "account_state", "act", "rew", "flags")
LAST = ("last_decision", "last_account_state")
BITS, CONSTANTS = "bits", "account_constants"


def shown_dtype(decisions: int) -> np.dtype[Any]:
    """What an observation is reduced to, one record: ``decision`` and ``account_state``.

    Args:
        decisions: Decision instants of the market.
    """
    index = np.int32 if decisions <= np.iinfo(np.int32).max else np.int64
    return np.dtype([("decision", index), ("account_state", np.float32, (ACCOUNT_STATE_WIDTH,))])


def stored_action(dtype: np.dtype[Any], largest: int | None) -> np.dtype[Any]:
    """The smallest type that holds actions.

    Args:
        dtype: Their type in memory.
        largest: The largest of them, where they are whole numbers from 0 on.
    """
    return dtype if largest is None else np.min_scalar_type(largest)


def pack_flags(
    terminated: npt.NDArray[np.bool_], truncated: npt.NDArray[np.bool_], apart: npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    """Flags as one byte a row."""
    packed = terminated * np.uint8(TERMINATED) | truncated * np.uint8(TRUNCATED)
    return np.asarray(packed | apart * np.uint8(APART), np.uint8)


def stored_extra(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, np.dtype[Any], int]:
    """How a further column is stored: shape and type of a row, and how many flags are packed."""
    if dtype == np.bool_ and len(shape) == 1 and shape[0] > 1:
        return (-(-shape[0] // 8),), np.dtype(np.uint8), shape[0]
    return shape, dtype, 0


def pack_bits(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Flags (..., n), eight to a byte."""
    return np.packbits(flags, axis=-1, bitorder="little")


def unpack_bits(packed: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.bool_]:
    """The opposite of `pack_bits`."""
    return np.unpackbits(packed, axis=-1, count=bits, bitorder="little").view(np.bool_)


def split_accounts(accounts: npt.NDArray[np.float32]) -> tuple[Any, Any]:
    """Accounts, float32 (n, 6), as what is the same in all of them and what is not.

    Returns:
        The constants, float32 (6,), NaN where rows differ; the other columns, float32 (n, k).
    """
    same = (accounts.view(np.uint32) == accounts[:1].view(np.uint32)).all(axis=0)
    constants = np.where(same, accounts[0], np.float32(np.nan)).astype(np.float32)
    return constants, np.ascontiguousarray(accounts[:, ~same])


def join_accounts(
    constants: npt.NDArray[np.float32], others: npt.NDArray[np.float32] | None, rows: int
) -> npt.NDArray[np.float32]:
    """The opposite of `split_accounts`, newly made."""
    made = np.empty((rows, ACCOUNT_STATE_WIDTH), np.float32)
    made[:] = constants
    if others is not None:
        made[:, np.isnan(constants)] = others
    return made
