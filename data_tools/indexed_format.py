"""The indexed layout in HDF5: what its parts are called, and of which numbers they are.

A row a transition, in root datasets without compression or chunks, so that they can be mapped into
memory where they lie:

* ``decision``, int32 or int64 (n,): the decision instant before the transition, counted in its
  market, and ``account_state``, float32 (n, 6): the account there. Together with the market's
  windows at that instant they are the observation.
* ``act``, the smallest type that holds it; its attribute ``read_as`` is the type in memory.
* further columns of the full layout, as they are, in the group ``extra``, if there are any.
* ``rew``, as the full layout has it, and ``flags``, uint8: bits `TERMINATED`, `TRUNCATED`, `APART`.

What a transition leads to is the next row's observation, but for those marked `APART`: theirs are
``last_decision`` and ``last_account_state``, one a marked row, in the order of the rows. Root
attributes: ``layout`` and ``layout_version``, and the ``provenance``, the same as that of the full
layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gym_trade.types import ACCOUNT_STATE_WIDTH

LAYOUT, LAYOUT_VERSION = "indexed", 1
TERMINATED, TRUNCATED, APART = 1, 2, 4
ALL_FLAGS = TERMINATED | TRUNCATED | APART

EXTRA = "extra"
ROWS = ("decision", "account_state", "act", "rew", "flags")
LAST = ("last_decision", "last_account_state")


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
