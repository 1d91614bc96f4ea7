"""The random stream: Random123's known answers, uniformity, independence of its keys."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gym_trade import philox

ALL = 0xFFFFFFFF
# From the test vectors of Random123 (Salmon et al., SC 2011): philox4x32, 10 rounds.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ALL,) * 4, (ALL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter, key, words):
    got = philox.philox(*map(np.uint64, counter), *map(np.uint64, key))
    assert tuple(map(int, got)) == words


def test_a_draw_is_53_bits_of_the_known_words():
    """Counter (episode, step, slot, domain), key the seed's two halves, first two words used."""
    words = philox.philox(*map(np.uint64, (7, 5, 2, 1, 0x89ABCDEF, 0x01234567)))
    expected = ((int(words[0]) >> 5) * 2**26 + (int(words[1]) >> 6)) / 2**53
    assert philox.uniform(0x0123456789ABCDEF, 7, 5, 2, 1) == expected


def test_draws_are_uniform():
    draws = np.array([philox.uniform(11, e, s, 0, 0) for e in range(100) for s in range(200)])
    assert 0.0 <= draws.min() < 1e-3 and 1.0 - 1e-3 < draws.max() < 1.0
    counts, _ = np.histogram(draws, bins=50, range=(0.0, 1.0))
    assert ((counts - 400.0) ** 2 / 400.0).sum() < 49 + 5 * np.sqrt(2 * 49)
    assert draws.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * len(draws)))
    assert draws.var() == pytest.approx(1 / 12, rel=0.03)


@pytest.mark.parametrize("key", range(5))
def test_every_key_matters_and_neighbours_are_uncorrelated(key):
    """Seed, episode, step, slot, domain: one more of any is another draw."""
    base = [(s, e, t, 1, 0) for s, e, t in itertools.product(range(20), range(10), range(10))]
    ones = np.array([philox.uniform(*k) for k in base])
    others = np.array([philox.uniform(*(v + (i == key) for i, v in enumerate(k))) for k in base])
    assert not (ones == others).any()
    assert abs(np.corrcoef(ones, others)[0, 1]) < 5 / np.sqrt(len(base))


def test_seeds_use_all_their_bits():
    seeds = [0, 1, 2**31, 2**32, 2**32 + 1, 2**40, 2**62, 2**63 - 1]
    assert len({philox.uniform(seed, 0, 0, 0, 0) for seed in seeds}) == len(seeds)


def test_indices_cover_their_range_evenly():
    for count in (1, 2, 7):
        drawn = np.array([philox.uniform_index(seed, 0, 1, count) for seed in range(4000)])
        counts = np.bincount(drawn, minlength=count)
        assert len(counts) == count
        assert (np.abs(counts - 4000 / count) < 5 * np.sqrt(4000 / count)).all()
