"""Writing what d3rlpy 2's ``ReplayBuffer.load`` reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_tools.formats.carried import CarriedWriter
from data_tools.formats.d3rlpy_file import V2_COLUMNS, V2_VERSION
from data_tools.formats.parts import apart
from data_tools.formats.places import Spillway
from data_tools.formats.trajectories import (
    Array,
    Block,
    Trajectories,
    segments,
)


def write_d3rlpy(given: Trajectories, path: Path, blocks: Iterator[Block]) -> None:
    """Write what d3rlpy 2's ``ReplayBuffer.load`` reads, to `path`, which is a temporary file's.

    Rewards keep their dtype: d3rlpy makes batches of float32 of them, but loads what is there.
    """
    ours = given.source.document if given.source is not None else {}
    ours = ours if ours.get("format") == "d3rlpy" else {}
    endings = given.source.arrays if given.source is not None and ours else {}
    place = Spillway(path)
    try:
        with h5py.File(place, "w") as root:
            carried = CarriedWriter(root, given)
            number, truncated = 0, 0
            for episode in segments(blocks):
                ended = bool(episode["terminated"][-1])
                _write_episode(root, number, episode, ours, endings, truncated)
                carried.add(episode)
                if ended:
                    carried.add_final(episode["obs_next"][-1])
                number += 1
                truncated += not ended
                place.check()
            carried.finish()
            root.create_dataset("columns", data=list(V2_COLUMNS))
            root.create_dataset("num_episodes", data=number)
            root.create_dataset("version", data=V2_VERSION)
        place.check()
    finally:
        place.close()


def _write_episode(
    root: h5py.File,
    number: int,
    episode: Block,
    ours: dict[str, Any],
    endings: dict[str, Array],
    truncated: int,
) -> None:
    ended = bool(episode["terminated"][-1])
    obs, rows = episode["obs"], len(episode["rew"])
    act = episode["act"].reshape(rows, -1) if episode["act"].ndim < 2 else episode["act"]
    rew = episode["rew"].reshape(rows, 1)
    if ours:
        act = act.astype(np.dtype(str(ours["actions"]))).reshape(rows, *ours["action_shape"])
        rew = rew.astype(np.dtype(str(ours["rewards"]))).reshape(rows, *ours["reward_shape"])
    if not ended:  # one more row, for the final observation alone
        obs = np.concatenate([obs, episode["obs_next"][-1:]])
        one = slice(truncated, truncated + 1)
        spare = {k: v[one] for k, v in endings.items() if k != "lengths"}
        act = np.concatenate([act, spare.get("last_actions", np.zeros_like(act[:1]))])
        rew = np.concatenate([rew, spare.get("last_rewards", np.zeros_like(rew[:1]))])
    if ours.get("parts"):
        for j, part in enumerate(apart(obs, ours["parts"]).values()):
            root.create_dataset(f"observations_{number}_{j}", data=part)
    else:
        dtype = np.dtype(str(ours["obs"])) if ours else obs.dtype
        root.create_dataset(f"observations_{number}", data=obs.astype(dtype))
    root.create_dataset(f"actions_{number}", data=act)
    root.create_dataset(f"rewards_{number}", data=rew)
    root.create_dataset(f"terminated_{number}", data=ended)
