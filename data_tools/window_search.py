"""At which decision instant a market's windows are the ones of an observation."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from data_tools.market_windows import MarketWindows
from gym_trade.types import ACCOUNT_STATE_WIDTH, Bool, Float32, Int64

_PRIME = np.uint64(1099511628211)  # of the 64-bit FNV-1a hash
Bits = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]


class WindowSearch:
    """Finds the decisions of observations by their windows' bits.

    Of several decisions with the same windows it does not matter which is found. The one after the
    last found is tried first.

    Args:
        windows: The market's.
    """

    def __init__(self, windows: MarketWindows) -> None:
        starts, lengths, features = windows.arrays
        self._market = starts, lengths, features.view(np.uint32)
        self._first = windows.first
        hashes = np.empty(windows.decisions - windows.first, np.uint64)
        _hash_windows(self._first, *self._market, hashes)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        self._expected = -1

    def are_unique(self, decisions: Int64) -> Bool:
        """Which decisions show windows that no other one shows, bool (n,)."""
        hashes = self._hashes
        other = np.concatenate(([True], hashes[1:] != hashes[:-1], [True]))
        alone = np.zeros(len(hashes), np.bool_)
        alone[self._order] = other[1:] & other[:-1]
        return np.asarray(alone[decisions - self._first])

    def find(self, before: Float32, after: Float32) -> tuple[Int64, Int64]:
        """The decisions at which transitions begin and end, in the order of a dataset's rows.

        Args:
            before: Observations, float32 (n, width).
            after: The ones after them.

        Returns:
            Two int64 (n,); -1 where the windows are none of the market's.
        """
        found = np.empty((2, len(before)), np.int64)
        self._expected = _find(
            _bits(before), _bits(after), *self._market, self._first, self._hashes, self._order,
            self._expected, found,
        )  # fmt: skip
        return found[0], found[1]


def _bits(observations: npt.NDArray[Any]) -> Bits:
    """The windows of observations, without the accounts, as bits."""
    windows = np.ascontiguousarray(observations[:, :-ACCOUNT_STATE_WIDTH], np.float32)
    return windows.view(np.uint32)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _hash_windows(
    first: int, starts: Int64, lengths: Int64, features: Bits, hashes: Hashes
) -> None:
    for number in range(len(hashes)):
        mixed = np.uint64(0)
        for frame in range(len(lengths)):
            begin = starts[first + number, frame]
            for place in range(begin, begin + lengths[frame]):
                mixed = (mixed ^ np.uint64(features[place])) * _PRIME
        hashes[number] = mixed


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _equal(row: Bits, decision: int, starts: Int64, lengths: Int64, features: Bits) -> bool:
    position = 0
    for frame in range(len(lengths)):
        begin = starts[decision, frame]
        for place in range(lengths[frame]):
            if row[position + place] != features[begin + place]:
                return False
        position += lengths[frame]
    return True


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _decision_of(
    row: Bits,
    starts: Int64,
    lengths: Int64,
    features: Bits,
    first: int,
    hashes: Hashes,
    order: Int64,
    expected: int,
) -> int:
    known = first <= expected < len(starts)
    if known and _equal(row, expected, starts, lengths, features):
        return expected
    mixed = np.uint64(0)
    for place in range(len(row)):
        mixed = (mixed ^ np.uint64(row[place])) * _PRIME
    match = int(np.searchsorted(hashes, mixed))
    while match < len(hashes) and hashes[match] == mixed:
        decision = first + int(order[match])
        if _equal(row, decision, starts, lengths, features):
            return decision
        match += 1
    return -1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _find(
    before: Bits,
    after: Bits,
    starts: Int64,
    lengths: Int64,
    features: Bits,
    first: int,
    hashes: Hashes,
    order: Int64,
    expected: int,
    found: Int64,
) -> int:
    """Fill `found`, int64 (2, n); returns the decision at which the next row is expected."""
    for i in range(len(before)):
        here = _decision_of(before[i], starts, lengths, features, first, hashes, order, expected)
        expected = _decision_of(after[i], starts, lengths, features, first, hashes, order, here + 1)
        found[0, i], found[1, i] = here, expected
    return expected
