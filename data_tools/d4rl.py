"""Datasets of D4RL (Fu et al. 2020, arXiv:2004.07219): HDF5 files with a column a root key.

``observations`` (N, D), ``actions`` (N, A), ``rewards`` and ``terminals`` are always there;
``timeouts`` and ``next_observations`` may be missing. Everything else, such as ``infos/`` and
``metadata/``, is left alone. Nothing here unpickles.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from data_tools.d4rl_facts import D4RLFacts
from data_tools.flat_layout import DatasetError, open_file, read_into

if TYPE_CHECKING:
    from tianshou.data import ReplayBuffer

NEEDED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("timeouts", "next_observations")
BLOCK_ROWS = 65_536

Flags = npt.NDArray[np.bool_]


def read_d4rl(
    path: str | os.PathLike[str], *, time_limit: int | None = None
) -> tuple[ReplayBuffer, D4RLFacts]:
    """Read a D4RL file as Tianshou's flat ``ReplayBuffer``, as `hdf5.load_buffer` gives it.

    Observations and actions become float32, rewards float64. An end that the environment did not
    choose is truncated, never terminated, and its ``obs_next`` is the true final observation. Where
    the file does not hold that one, the row is left out and the one before ends the episode. The
    ``obs_next`` of a terminated row, which nothing is bootstrapped from, is then the row's own
    observation.

    Args:
        path: The file.
        time_limit: Steps after which the task truncates an episode: needed where the file has
            neither ``timeouts`` nor ``next_observations``.

    Raises:
        DatasetError: The file is missing or of another layout, its columns do not fit each other,
            hold NaN or Python objects, or do not tell where episodes end.
    """
    file = Path(path)
    with open_file(file) as root:
        rows = _check(file, root)
        obs = _numbers(file, root, "observations", rows, np.float32)
        columns = {
            "obs": obs,
            "act": _numbers(file, root, "actions", rows, np.float32),
            "rew": _numbers(file, root, "rewards", rows, np.float64).reshape(rows),
            "terminated": _flags(file, root, "terminals", rows),
        }
        timeouts = _flags(file, root, "timeouts", rows) if "timeouts" in root else None
        following = None
        if "next_observations" in root:
            following = _numbers(file, root, "next_observations", rows, np.float32)
            if following.shape != obs.shape:
                raise DatasetError(
                    f"{file}: next_observations have shape {following.shape}, observations "
                    f"{obs.shape}. Expected the same."
                )
    truncated, found = _time_limits(file, columns, timeouts, following, time_limit)
    returns = _returns(columns["rew"], columns["terminated"] | truncated)
    cut = not bool(truncated[-1] or columns["terminated"][-1])
    truncated[-1] |= cut  # here the file ends
    kept = _follow(columns, truncated) if following is None else None
    columns |= {"truncated": truncated, "done": columns["terminated"] | truncated}
    columns["obs_next"] = _next_rows(columns) if following is None else following
    if kept is not None and not kept.all():
        columns = {name: values[kept] for name, values in columns.items()}
    if not len(columns["rew"]):
        raise DatasetError(f"{file}: no row of it has a next observation: nothing can be learned.")
    complete = returns if not cut or len(returns) == 1 else returns[:-1]
    facts = D4RLFacts(
        rows=rows,
        transitions=len(columns["rew"]),
        dropped=rows - len(columns["rew"]),
        complete_episodes=len(returns) - int(cut),
        cut_episodes=int(cut),
        behavior_return=float(complete.mean()),
        behavior_return_std=float(complete.std()),
        timeouts=found,
        next_observations=following is not None,
    )
    return _buffer(columns), facts


def _check(file: Path, root: h5py.File) -> int:
    """Check that the columns are there, plain and of one length, and return the whole rows."""
    missing = [name for name in NEEDED if name not in root]
    if missing:
        seen = ", ".join(list(root)[:16])
        raise DatasetError(
            f"{file} lacks {', '.join(missing)}. Keys seen: {seen or '(none)'}. Expected D4RL's "
            f"layout: {', '.join(NEEDED)} and, if there are any, {' and '.join(OPTIONAL)}."
        )
    lengths = {}
    for name in (*NEEDED, *(name for name in OPTIONAL if name in root)):
        if not isinstance(root.get(name, getlink=True), h5py.HardLink):
            raise DatasetError(f"{file}: {name} is a link. Expected the data itself.")
        column = root[name]
        if not isinstance(column, h5py.Dataset) or column.dtype.kind not in "fiub":
            kind = column.dtype if isinstance(column, h5py.Dataset) else "a group"
            raise DatasetError(f"{file}: {name} is {kind}. Expected a column of plain numbers.")
        wide = name in ("observations", "next_observations", "actions")
        flat = column.ndim == 1 or (column.ndim == 2 and column.shape[1] == 1)
        if (column.ndim != 2) if wide else not flat:
            raise DatasetError(
                f"{file}: {name} has shape {column.shape}. Expected "
                f"{'(rows, numbers)' if wide else '(rows,) or (rows, 1)'}."
            )
        lengths[name] = len(column)
    rows = min(lengths.values())
    if max(lengths.values()) > rows + 1:  # by one: the last row was cut
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DatasetError(f"{file}: its columns differ in length: {listed}. Load the file anew.")
    if rows == 0:
        raise DatasetError(f"{file} is empty: it holds 0 rows.")
    return rows


def _numbers(
    file: Path, root: h5py.File, name: str, rows: int, dtype: type[np.floating[Any]]
) -> npt.NDArray[Any]:
    """A column, converted while it is read, and refused where it is not finite."""
    values = np.empty((rows, *root[name].shape[1:]), dtype)
    read_into(root[name], values, 0)
    for start in range(0, len(values), BLOCK_ROWS):
        finite = np.isfinite(values[start : start + BLOCK_ROWS])
        if not finite.all():
            place = np.unravel_index(int(np.argmin(finite)), finite.shape)
            row = start + int(place[0])
            raise DatasetError(
                f"{file}: {name} of row {row} is {values[(row, *place[1:])]}. Expected finite "
                "numbers; load the file anew, or cut such rows out."
            )
    return values


def _flags(file: Path, root: h5py.File, name: str, rows: int) -> Flags:
    """A column of flags, which some files store as numbers and as (N, 1)."""
    column = root[name]
    values = np.empty((rows, *column.shape[1:]), column.dtype)
    read_into(column, values, 0)
    values = values.reshape(-1)
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(f"{file}: {name} of row {row} is {values[row]}. Expected 0 or 1.")
    return np.asarray(values, np.bool_)


def _time_limits(
    file: Path,
    columns: dict[str, npt.NDArray[Any]],
    timeouts: Flags | None,
    following: npt.NDArray[np.float32] | None,
    time_limit: int | None,
) -> tuple[Flags, str]:
    """Which rows end an episode that was not terminated, and how that is known."""
    terminated = columns["terminated"]
    if following is not None:
        broken = ~_continues(columns["obs"], following) & ~terminated
        if timeouts is None:
            return broken, "observations"
        unmarked = bool((broken & ~timeouts).any())
        return timeouts | broken, "observations and column" if unmarked else "column"
    if timeouts is not None:
        return timeouts.copy(), "column"
    if time_limit is None:
        raise DatasetError(
            f"{file} has neither timeouts nor next_observations: where its episodes end cannot be "
            "known. Pass the task's time limit, or take a newer version of the dataset."
        )
    return _counted_limits(terminated, time_limit), "time limit"


def _continues(obs: npt.NDArray[np.float32], following: npt.NDArray[np.float32]) -> Flags:
    """Whether a row's next observation is the next row's; the last row has none after it."""
    same: Flags = np.ones(len(obs), np.bool_)
    for start in range(0, len(obs) - 1, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(obs) - 1)
        same[start:stop] = (following[start:stop] == obs[start + 1 : stop + 1]).all(1)
    return same


def _counted_limits(terminated: Flags, time_limit: int) -> Flags:
    rows = np.arange(len(terminated))
    begins = np.concatenate(([0], np.flatnonzero(terminated[:-1]) + 1))
    first = begins[np.searchsorted(begins, rows, side="right") - 1]
    limits: Flags = ((rows - first + 1) % time_limit == 0) & ~terminated
    return limits


def _returns(rewards: npt.NDArray[np.float64], ends: Flags) -> npt.NDArray[np.float64]:
    """Sums of rewards of the episodes, the one that the file cuts included."""
    begins = np.concatenate(([0], np.flatnonzero(ends[:-1]) + 1))
    returns: npt.NDArray[np.float64] = np.add.reduceat(rewards, begins)
    return returns


def _follow(columns: dict[str, npt.NDArray[Any]], truncated: Flags) -> Flags:
    """Which rows are followed by what they led to; the ones before the others end the episode."""
    lost: Flags = truncated & ~columns["terminated"]
    before = np.flatnonzero(lost[1:])
    ends = truncated | columns["terminated"]
    truncated[before[~ends[before]]] = True
    return np.logical_not(lost)


def _next_rows(columns: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """The following row's observations; a terminated row's own, which are never read."""
    obs = columns["obs"]
    following = np.concatenate((obs[1:], obs[-1:]))
    ended = columns["terminated"]
    following[ended] = obs[ended]
    return following


def _buffer(columns: dict[str, npt.NDArray[Any]]) -> ReplayBuffer:
    from tianshou.data import Batch, ReplayBuffer

    size = len(columns["rew"])
    buffer = ReplayBuffer(size)
    buffer._meta = Batch(columns | {"info": Batch()})
    buffer._size, buffer._insertion_idx = size, 0
    buffer.last_index = np.array([size - 1])
    return buffer
