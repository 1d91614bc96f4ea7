"""Observations gathered afterwards are those that the environment showed."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from gym_trade.windows import following_places, gather_observations
from tests import markets

ARGUMENTS = {"time_frames": ["1hour", "4hour"], "window_sizes": [5, 3], "leverage": 3}


def walk(observation: str, steps: int = 40):
    """What every lane shows at each step, and the environment."""
    venv = gymnasium.make_vec(
        "Trade-Sequential-v0", num_envs=3, df=markets.hourly(400, 2), observation=observation,
        autoreset_mode="SameStep", episode_steps=15, **ARGUMENTS,
    ).unwrapped  # fmt: skip
    shown, random = [venv.reset(seed=4)[0]], np.random.default_rng(0)
    for _ in range(steps):
        shown.append(venv.step(random.integers(0, 5, 3))[0])
    return shown, venv


@pytest.mark.parametrize("split", [0, 50, 123])
def test_they_are_what_the_lanes_showed(split):
    flat = np.concatenate(walk("flat")[0])
    shown, venv = walk("index")
    decisions = np.concatenate([part["decision_index"] for part in shown]).astype(np.int32)
    accounts = np.concatenate([part["account_state"] for part in shown])
    tables = venv.tables[0]
    windows = (tables.starts, tables.lengths, tables.features)
    held = (decisions[:split], accounts[:split].ravel(), decisions[split:],
            accounts[split:].ravel())  # fmt: skip
    random = np.random.default_rng(1)
    mean, std = random.normal(size=flat.shape[1]), random.uniform(0.1, 2.0, flat.shape[1])
    limit = random.choice([0.1, 5.0, np.inf], flat.shape[1])
    for count in (0, 1, 5, 300):
        places = random.integers(0, len(flat), count)
        for columns in (0, 6, flat.shape[1]):
            out = np.full((count, flat.shape[1]), np.nan, np.float32)
            first = flat.shape[1] - columns
            moments = (mean[first:], std[first:], limit[first:])
            gather_observations(places, held, windows, moments, out)
            expected = flat[places].astype(np.float64)
            scaled = (expected[:, first:] - mean[first:]) / std[first:]
            expected[:, first:] = np.clip(scaled, -limit[first:], limit[first:])
            np.testing.assert_array_equal(out, expected.astype(np.float32))


def test_what_follows_is_in_the_next_row_or_apart():
    apart = np.array([False, True, False, False, True, True])
    rows, out = np.array([5, 0, 1, 4, 3, 1]), np.zeros(6, np.int64)
    following_places(rows, apart, np.flatnonzero(apart), out)
    assert out.tolist() == [8, 1, 6, 7, 4, 6]
