"""d3rlpy 1's MDPDataset files: all rows one behind the other.

Made as d3rlpy's own collection and its ``get_d4rl`` made it, each row holds the reward for
*reaching* it (the first is 0), and an episode's last row only its final observation
(takuseno/d3rlpy, issues 98 and 135). Later releases of version 1 hold the reward for leaving it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from data_tools.flat_layout import DatasetError, read_rows
from data_tools.formats.parts import Parts
from data_tools.formats.scalars import plain, read_plain
from data_tools.formats.trajectories import (
    Array,
    Block,
    Trajectories,
    block_rows,
    exactly,
    held_dtype,
    transition_columns,
)

KEYS = ("observations", "actions", "rewards", "terminals")
V2_KEYS = ("columns", "num_episodes")
V2_COLUMNS = ("observations", "actions", "rewards", "terminated")
V2_VERSION = "2.1"
KEYS = ("observations", "actions", "rewards", "terminals")


def read_version_1(path: Path, root: h5py.File, task: str | None, rewards: str) -> Trajectories:
    """Read an open file; see `d3rlpy_file.open_d3rlpy`."""
    items = {name: plain(root, name) for name in KEYS}
    size = len(items["rewards"]) if items["rewards"].shape else 0
    if size == 0 or any(item.shape[:1] != (size,) for item in items.values()):
        shapes = ", ".join(f"{name} {item.shape}" for name, item in items.items())
        raise DatasetError(f"{path}: its columns differ in length or are empty: {shapes}.")
    given = read_plain(items["rewards"]).reshape(-1)
    terminals = _flags(path, items["terminals"], size)
    ends = terminals.copy()
    if "episode_terminals" in root:
        ends |= _flags(path, plain(root, "episode_terminals"), size)
    ends[-1] = True
    last = np.flatnonzero(ends)
    first = np.concatenate([[0], last[:-1] + 1])
    if rewards == "auto":
        rewards = "shifted" if not given[first].any() and given.any() else "aligned"
    shifted = rewards == "shifted"
    # aligned: a terminated episode's last row is a transition, whose final observation is lost
    kept = ~ends if shifted else ~ends | terminals
    rows = int(np.count_nonzero(kept))
    if rows == 0:
        raise DatasetError(f"{path}: its {len(last)} episodes hold no transition.")
    obs, acts = items["observations"], items["actions"]
    parts = Parts({"": (obs.shape[1:], obs.dtype)}, "obs")
    whole = acts.dtype.kind in "iub" and acts.shape[1:] in ((), (1,))
    shape = () if whole else acts.shape[1:] or (1,)
    action = (shape, held_dtype(acts.dtype, "act"))
    reward = held_dtype(given.dtype, "rew")
    columns = transition_columns(parts.held, action, reward)

    def read() -> Iterator[Block]:
        step, begin = block_rows(columns), 0
        while begin < size:  # whole episodes
            stop = int(last[np.searchsorted(last, min(begin + step, size) - 1)]) + 1
            keep = kept[begin:stop]
            seen = parts.hold({"": read_rows(obs, begin, stop)}, str(path))
            following = np.concatenate([seen[1:], seen[-1:]])
            earned = np.append(given[begin + 1 : stop], 0) if shifted else given[begin:stop]
            terminated = terminals[begin:stop].copy()
            over = ends[begin:stop].copy()
            if shifted:  # the row before the last one is the one that ends
                terminated = np.append(terminated[1:], False)
                over = np.append(over[1:], False)
            else:
                following[ends[begin:stop]] = seen[ends[begin:stop]]
                over |= np.append(over[1:] & ~terminated[1:], False)
            made = {
                "obs": seen, "act": exactly(read_rows(acts, begin, stop), action[1], str(path)),
                "rew": exactly(earned, reward, str(path)), "terminated": terminated,
                "truncated": over & ~terminated, "done": over, "obs_next": following,
            }  # fmt: skip
            block = {name: values[keep] for name, values in made.items()}
            block["act"] = block["act"].reshape(len(block["rew"]), *shape)
            begin = stop
            if len(block["rew"]):
                yield block

    found = "each row has the reward for reaching it, and an episode's last row only its final " \
            "observation" if shifted else "each row has the reward for leaving it"  # fmt: skip
    return Trajectories(
        format="d3rlpy", rows=rows, columns=columns, read=read, task=task,
        facts={"format": "d3rlpy", "version": 1, "rewards": rewards, "episodes": len(last)},
        notes=[f"{size} rows of {len(last)} episodes of d3rlpy 1: {found}"],
    )  # fmt: skip


def _flags(path: Path, item: h5py.Dataset, size: int) -> Array:
    values = read_plain(item).reshape(-1)
    if len(values) != size or ((values != 0) & (values != 1)).any():
        raise DatasetError(f"{path}: {item.name} is not {size} values of 0 or 1.")
    return values.astype(np.bool_)
