"""Episodes found in rows, whichever pieces the rows come in."""

from __future__ import annotations

import math

import numpy as np
import pytest

from data_tools.episode_scan import EpisodeScan, EpisodeTable


def scanned(
    reward: np.ndarray, terminated: np.ndarray, done: np.ndarray, step: int
) -> EpisodeTable:
    scan = EpisodeScan()
    for start in range(0, len(reward), step):
        part = slice(start, start + step)
        scan.add(reward[part], terminated[part], done[part])
    return scan.table()


@pytest.mark.parametrize("open_end", [False, True])
def test_pieces_make_no_difference(open_end: bool) -> None:
    random = np.random.default_rng(0)
    reward, done = random.normal(size=400), random.random(400) < 0.1
    terminated = done & (random.random(400) < 0.5)
    done[-1], terminated[-1] = not open_end, False
    whole = scanned(reward, terminated, done, 400)
    stops = [*(np.flatnonzero(done) + 1), *([400] if open_end else [])]
    assert whole.stops.tolist() == stops
    for begin, stop, found in zip([0, *stops[:-1]], stops, whole.returns, strict=True):
        assert math.isclose(found, math.fsum(reward[begin:stop]), abs_tol=1e-12)
    assert whole.terminated.tolist() == [bool(terminated[stop - 1]) for stop in stops]
    assert whole.cut.tolist() == [False] * (len(stops) - 1) + [open_end]
    for step in (1, 7, 399):
        parts = scanned(reward, terminated, done, step)
        for name in ("lengths", "returns", "terminated", "cut"):
            assert np.array_equal(getattr(parts, name), getattr(whole, name)), name


def test_episodes_that_were_cut_are_told_apart() -> None:
    table = EpisodeTable(
        np.array([5, 5, 2, 3]), np.array([1.0, 3.0, 50.0, 5.0]),
        np.array([False, False, False, True]), np.zeros(4, np.bool_),
    )  # fmt: skip
    every, known = table.summary(), table.summary(longest=5)
    assert (every.complete, every.cut) == (4, 0) and every.max_return == 50.0
    assert (known.complete, known.cut, known.terminated) == (3, 1, 1)
    assert known.mean_return == 3.0 and known.mean_length == pytest.approx(13 / 3)
    only = EpisodeTable(*(column[2:3] for column in (
        table.lengths, table.returns, table.terminated, table.cut)))  # fmt: skip
    assert only.summary(longest=5).mean_return == 50.0
