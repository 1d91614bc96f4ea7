"""The counter-based random stream of a lane: Philox4x32-10.

A draw is a pure function of (seed, episode, step, slot, domain), so it depends neither on another
lane nor on what the policy did before, and a lane can be replayed from any point. The generator is
that of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
All products are of two 32-bit words held in 64 bits, so nothing ever overflows.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from gym_trade.jit import jit, rare_jit

Word: TypeAlias = Any  # a uint64 below 2**32

_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)

# What a draw is for.
DOMAIN_RESET, DOMAIN_SLIPPAGE = 0, 1
# Slots of DOMAIN_RESET.
RESET_MARKET, RESET_START, RESET_CASH = 0, 1, 2


@jit
def philox(
    c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word
) -> tuple[Word, Word, Word, Word]:
    """Ten rounds of Philox4x32.

    The counter is c0 to c3, the key k0 and k1: uint64 below 2**32, as are the four returned words.
    """
    for _ in range(10):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (
            (product_1 >> _SHIFT) ^ c1 ^ k0,
            product_1 & _MASK,
            (product_0 >> _SHIFT) ^ c3 ^ k1,
            product_0 & _MASK,
        )
        k0 = (k0 + _WEYL_0) & _MASK
        k1 = (k1 + _WEYL_1) & _MASK
    return c0, c1, c2, c3


@rare_jit
def uniform(seed: int, episode: int, step: int, slot: int, domain: int) -> float:
    """One double in [0, 1) with 53 random bits, keyed by all five non-negative integers."""
    key = np.uint64(seed)
    word_0, word_1, _, _ = philox(
        np.uint64(episode) & _MASK,
        np.uint64(step) & _MASK,
        np.uint64(slot),
        np.uint64(domain),
        key & _MASK,
        key >> _SHIFT,
    )
    high = np.int64(word_0 >> np.uint64(5))
    low = np.int64(word_1 >> np.uint64(6))
    return (high * 67108864.0 + low) / 9007199254740992.0


@jit
def uniform_index(seed: int, episode: int, slot: int, count: int) -> Any:
    """One integer in [0, count), for a reset's draws."""
    index = np.int64(uniform(seed, episode, 0, slot, DOMAIN_RESET) * count)
    return index if index < count else count - 1
