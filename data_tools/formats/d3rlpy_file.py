"""d3rlpy's HDF5 files: what ``ReplayBuffer.dump`` of version 2 writes.

It stores episodes: as many observations as actions. A terminated episode's final observation is not
in it; a truncated one's last row holds nothing but its final observation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_tools.flat_layout import DatasetError, open_file, read_rows
from data_tools.formats.carried import GROUP, Carried
from data_tools.formats.d3rlpy_version_1 import KEYS as V1_KEYS
from data_tools.formats.d3rlpy_version_1 import read_version_1
from data_tools.formats.parts import Parts
from data_tools.formats.scalars import plain, read_plain
from data_tools.formats.trajectories import (
    Array,
    Block,
    Source,
    Trajectories,
    exactly,
    gathered,
    held_dtype,
    transition_columns,
)

V2_KEYS = ("columns", "num_episodes")
V2_COLUMNS = ("observations", "actions", "rewards", "terminated")
V2_VERSION = "2.1"
MOST_EPISODES = 10**8
REWARDS = ("auto", "shifted", "aligned")


@contextmanager
def open_d3rlpy(
    path: Path, *, task: str | None = None, rewards: str = "auto"
) -> Iterator[Trajectories]:
    """Open a file of d3rlpy 1 or 2.

    Args:
        path: The file.
        task: The Gymnasium id of its task, if known.
        rewards: Of version 1: "shifted" (each row has the reward for reaching it), "aligned" (the
            reward for leaving it), or "auto": shifted if every episode's first reward is 0.

    Raises:
        DatasetError: It is not one, or damaged.
    """
    with open_file(path) as root:
        if all(key in root for key in V2_KEYS):
            yield _version_2(path, root, task)
        elif all(key in root for key in V1_KEYS):
            yield read_version_1(path, root, task, rewards)
        else:
            seen = ", ".join(list(root)[:12]) or "(none)"
            raise DatasetError(
                f"{path} is no file of d3rlpy. Keys seen: {seen}. Expected {', '.join(V2_KEYS)} "
                f"and episodes (version 2), or {', '.join(V1_KEYS)} (version 1)."
            )


class _Episode:
    """One episode's datasets."""

    def __init__(self, root: h5py.File, number: int) -> None:
        self.where = f"{root.filename}: episode {number}"
        if f"observations_{number}" in root:
            self.parts = {"": plain(root, f"observations_{number}")}
        else:
            self.parts = {}
            while f"observations_{number}_{len(self.parts)}" in root:
                key = str(len(self.parts))
                self.parts[key] = plain(root, f"observations_{number}_{key}")
        self.actions = plain(root, f"actions_{number}")
        self.rewards = plain(root, f"rewards_{number}")
        ended = plain(root, f"terminated_{number}")
        if ended.size != 1:
            raise DatasetError(f"{self.where}: terminated has shape {ended.shape}. Expected ().")
        self.terminated = bool(np.asarray(ended[()]).reshape(())) if ended.size else False
        self.size = len(self.actions) if self.actions.shape else 0
        lengths = [*(p.shape[:1] for p in self.parts.values()), self.rewards.shape[:1]]
        if not self.parts or set(lengths) != {(self.size,)}:
            raise DatasetError(
                f"{self.where}: observations, actions and rewards differ in length: "
                f"{[length[0] if length else 0 for length in lengths]} and {self.size}."
            )
        self.rows = self.size if self.terminated else self.size - 1


def _version_2(path: Path, root: h5py.File, task: str | None) -> Trajectories:
    number = int(read_plain(plain(root, "num_episodes", ("i", "u"))).reshape(-1)[0])
    listed = root["columns"]
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in listed[()]]
    if not 0 < number <= MOST_EPISODES or any(name not in names for name in V2_COLUMNS):
        raise DatasetError(
            f"{path} holds {number} episodes of {', '.join(names)}. Expected at least one of "
            f"{', '.join(V2_COLUMNS)}."
        )
    sizes = [_Episode(root, i) for i in range(min(number, 1))]
    first = sizes[0]
    obs = Parts({k: (p.shape[1:], p.dtype) for k, p in first.parts.items()}, "obs")
    whole = first.actions.dtype.kind in "iub" and first.actions.shape[1:] in ((), (1,))
    shape = () if whole else first.actions.shape[1:] or (1,)
    action = (shape, held_dtype(first.actions.dtype, "act"))
    reward = held_dtype(first.rewards.dtype, "rew")
    rows, skipped = 0, 0
    for i in range(number):
        episode = _Episode(root, i)
        rows += episode.rows
        skipped += episode.rows == 0
    if rows == 0:
        raise DatasetError(f"{path}: its {number} episodes hold no transition.")
    carried = Carried(root[GROUP]) if GROUP in root else None
    lost = carried is None or carried.document.get("rows") != rows
    finals = None if lost or carried is None or carried.finals is None else carried.finals
    source = Source(
        {"format": "d3rlpy", "version": 2, "actions": first.actions.dtype.str,
         "action_shape": list(first.actions.shape[1:]), "rewards": first.rewards.dtype.str,
         "reward_shape": list(first.rewards.shape[1:]),
         "parts": None if obs.single else obs.layout, "obs": obs.layout[0]["dtype"]},
    )  # fmt: skip

    def read() -> Iterator[Block]:
        taken = 0
        endings: dict[str, list[Array]] = {"last_actions": [], "last_rewards": []}
        lengths = []
        for i in range(number):
            episode = _Episode(root, i)
            lengths.append(episode.rows)
            if not episode.terminated:
                endings["last_actions"].append(
                    read_rows(episode.actions, episode.rows, episode.size)
                )
                endings["last_rewards"].append(
                    read_rows(episode.rewards, episode.rows, episode.size)
                )
            if episode.rows == 0:
                continue
            seen = obs.hold({k: read_plain(p) for k, p in episode.parts.items()}, episode.where)
            if not episode.terminated:
                final = seen[-1:]
            elif finals is not None and taken < len(finals):
                final, taken = _final(finals, taken, seen), taken + 1
            else:
                final = seen[-1:]
            yield _episode_block(episode, seen[: episode.rows], final, action, reward)
        source.arrays |= {k: np.concatenate(v) for k, v in endings.items() if v}
        source.arrays["lengths"] = np.array(lengths)

    if carried is not None and not lost:
        columns = transition_columns(obs.held, action, reward)
        restored = carried.restore("d3rlpy", rows, lambda: gathered(read(), columns))
        if restored is not None:
            return restored
    notes = [f"{number} episodes of d3rlpy 2; the final observations of terminated ones are not in "
             "the file: obs_next is obs there, and nothing is bootstrapped from it"]  # fmt: skip
    if skipped:
        notes.append(f"{skipped} episodes of one row, which hold no transition")
    columns = transition_columns(obs.held, action, reward)
    return Trajectories(
        format="d3rlpy", rows=rows, columns=columns, read=lambda: gathered(read(), columns),
        task=task, source=source, layout=None if obs.single else obs.layout, notes=notes,
        facts={"format": "d3rlpy", "version": 2, "episodes": number},
    )  # fmt: skip


def _final(finals: h5py.Dataset, number: int, seen: Array) -> Array:
    """The final observation that was carried along, shaped like those that were seen."""
    final = read_rows(finals, number, number + 1)
    if final.size != seen[:1].size:
        raise DatasetError(f"{finals.file.filename}: {finals.name} has shape {finals.shape}.")
    return exactly(final, seen.dtype, "a final observation").reshape(seen[:1].shape)


def _episode_block(
    episode: _Episode,
    obs: Array,
    final: Array,
    action: tuple[tuple[int, ...], np.dtype[Any]],
    reward: np.dtype[Any],
) -> Block:
    rows = episode.rows
    acts = exactly(read_rows(episode.actions, 0, rows), action[1], f"{episode.where}: actions")
    rews = exactly(read_rows(episode.rewards, 0, rows), reward, f"{episode.where}: rewards")
    terminated, truncated = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    (terminated if episode.terminated else truncated)[-1] = True
    return {
        "obs": obs, "act": acts.reshape(rows, *action[0]), "rew": rews.reshape(rows),
        "terminated": terminated, "truncated": truncated, "done": terminated | truncated,
        "obs_next": np.concatenate([obs[1:], final]),
    }  # fmt: skip
