"""What the tests of descriptions share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from tianshou.data import Batch, ReplayBuffer

from data_tools.collect import collect
from data_tools.describe import describe
from tests import markets

REPOSITORY = Path(__file__).resolve().parents[2]


def bars(count: int = 60) -> pd.DataFrame:
    return markets.hourly(count, 1)


def save(path: Path, frame: pd.DataFrame) -> Path:
    frame.rename_axis("timestamp").to_csv(path)
    return path


def text(path: Path, **options: Any) -> str:
    return "\n".join(describe(path, **options))


def collected(tmp_path: Path) -> Path:
    """A dataset of two rules' episodes, some of them bankrupt."""
    path = tmp_path / "a.hdf5"
    market = save(tmp_path / "m.csv", bars(900))
    collect(
        path, market=str(market), buffer_size=1000, num_envs=7, episode_steps=40, seed=4,
        policy="ma-cross:fast=3,slow=9+random", epsilon=0.25, progress=False, echo=None,
        env={"window_sizes": 6, "leverage": 20},
    )  # fmt: skip
    return path


def foreign(path: Path, states: np.ndarray, *, continuous: bool = False, ends: int = 10) -> None:
    """A dataset without provenance, whose last episode is not finished."""
    count = len(states)
    done = np.arange(count) % ends == ends - 1
    done[-1] = False
    buffer = ReplayBuffer(count)
    act = np.linspace(-1, 1, count, dtype=np.float32)[:, None]
    buffer._meta = Batch(
        obs=states[:, None], obs_next=states[:, None], rew=np.ones(count), done=done,
        act=act if continuous else np.arange(count) % 3, terminated=done, truncated=done & False,
        info=Batch(),
    )  # fmt: skip
    buffer._size, buffer.last_index = count, np.array([count - 1])
    buffer.save_hdf5(str(path))
    with h5py.File(path, "r+") as file:
        del file["_random_state"]
