"""What a dataset holds: episodes, returns, actions and normalisation statistics, in one pass."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.content import content_hash
from data_tools.flat_layout import FlatDataset, read_rows, row_chunks
from data_tools.indexed_layout import open_dataset
from data_tools.observations import is_image
from data_tools.stored_rows import COUNTERFACTUAL

ACTION_BINS = 10


@dataclass(frozen=True)
class PartStatistics:
    """Mean and deviation over all numbers of one part of the observation, in float64.

    Attributes:
        key: The part, such as "market_data_1Minute".
        mean: Over rows and the part's elements.
        std: ddof 0.
        column_std: (smallest, largest) standard deviation of a single element.
    """

    key: str
    mean: float
    std: float
    column_std: tuple[float, float]


@dataclass(frozen=True)
class DatasetReport:
    """A dataset, described.

    Attributes:
        path: The file.
        kind: Its layout's name.
        provenance: What it says about itself; None in a foreign file.
        transitions: Rows.
        returns: Sum of rewards of each episode, float64 (episodes,).
        lengths: Its steps, int64 (episodes,).
        terminated: Rows that end an episode by termination.
        truncated: Rows that end one otherwise.
        unfinished: Whether the rows end in the middle of an episode, which is counted above.
        actions: (label, count) for each discrete action or each range of a continuous one.
        parts: Statistics of the observation.
        frames: What images are stored as, else None.
        has_next: Whether ``obs_next`` is stored.
        bad_numbers: NaN or infinite numbers in observations, rewards and actions.
        counterfactual: Rows that are no episode's, which returns to `unfinished` leave out; 0 where
            there are no others.
        sha256: Digest of the file.
    """

    path: Path
    kind: str
    provenance: dict[str, Any] | None
    transitions: int
    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    terminated: int
    truncated: int
    unfinished: bool
    actions: list[tuple[str, int]]
    parts: list[PartStatistics]
    frames: str | None
    has_next: bool
    bad_numbers: int
    counterfactual: int
    sha256: str


def report_dataset(path: Path) -> DatasetReport:
    """Describe a dataset, reading it in chunks.

    Raises:
        DatasetError: The file is missing, of another layout, or has pickled parts, or its windows'
            market cannot be used.
    """
    with open_dataset(path) as dataset:
        returns, lengths, unfinished = _episodes(dataset)
        walked = _walked(dataset)
        if walked is not None:
            whole = walked[np.cumsum(lengths) - 1]
            returns, lengths = returns[whole], lengths[whole]
        flags = {name: _count(dataset, name, walked) for name in ("terminated", "truncated")}
        actions, bad_actions = _actions(dataset)
        parts, bad_observations = _observation_statistics(dataset)
        bad = bad_actions + bad_observations + _bad_numbers(dataset, "rew")
        bad += _bad_numbers(dataset, "obs_next") if dataset.has_next else 0
        frames = _frames(dataset)
    digest = content_hash(path)
    return DatasetReport(
        path=path,
        kind=dataset.kind,
        provenance=dataset.provenance,
        transitions=dataset.size,
        returns=returns,
        lengths=lengths,
        terminated=flags["terminated"],
        truncated=flags["truncated"],
        unfinished=unfinished,
        actions=actions,
        parts=parts,
        frames=frames,
        has_next=dataset.has_next,
        bad_numbers=bad,
        counterfactual=0 if walked is None else int((~walked).sum()),
        sha256=digest,
    )


def _frames(dataset: FlatDataset) -> str | None:
    """What images are stored as."""
    column = dataset.column("obs")
    if not is_image(column.dtype, column.shape[1:]):
        return None
    stacked = f", {dataset.stack_num} stacked when drawn" if dataset.stack_num > 1 else ""
    return f"{column.dtype} {column.shape[1:]}{stacked}"


def _chunks(dataset: FlatDataset, name: str) -> Any:
    column = dataset.column(name)
    for start, stop in row_chunks(column, dataset.size):
        yield read_rows(column, start, stop)


def _count(dataset: FlatDataset, name: str, kept: npt.NDArray[np.bool_] | None) -> int:
    found = np.concatenate([np.asarray(rows, np.bool_) for rows in _chunks(dataset, name)])
    return int(np.count_nonzero(found if kept is None else found & kept))


def _bad_numbers(dataset: FlatDataset, name: str) -> int:
    if dataset.column(name).dtype.kind != "f":
        return 0
    return sum(int((~np.isfinite(rows)).sum()) for rows in _chunks(dataset, name))


def _episodes(
    dataset: FlatDataset,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], bool]:
    """Returns and lengths of the episodes, and whether the last one is not finished."""
    returns: list[npt.NDArray[np.float64]] = []
    lengths: list[npt.NDArray[np.int64]] = []
    carried_return, carried_length = 0.0, 0
    rewards = dataset.column("rew")
    for start, stop in row_chunks(rewards, dataset.size):
        reward = read_rows(rewards, start, stop).astype(np.float64)
        ends = np.flatnonzero(read_rows(dataset.column("done"), start, stop))
        begins = np.concatenate([[0], ends + 1])
        # the piece after the last end belongs to the next chunk
        sums = np.add.reduceat(np.append(reward, 0.0), begins)
        sizes = np.diff(np.append(begins, stop - start))
        sums[0] += carried_return
        sizes[0] += carried_length
        carried_return, carried_length = float(sums[-1]), int(sizes[-1])
        returns.append(sums[:-1])
        lengths.append(sizes[:-1])
    if carried_length:
        returns.append(np.array([carried_return]))
        lengths.append(np.array([carried_length]))
    return np.concatenate(returns), np.concatenate(lengths), carried_length > 0


def _walked(dataset: FlatDataset) -> npt.NDArray[np.bool_] | None:
    """Which rows were walked: those that are not counterfactual, each an episode of one step.

    None: all of them, or none.
    """
    if COUNTERFACTUAL not in dataset.meta:
        return None
    marked = [np.asarray(rows, np.bool_) for rows in _chunks(dataset, COUNTERFACTUAL)]
    walked: npt.NDArray[np.bool_] = ~np.concatenate(marked)
    return walked if walked.any() and not walked.all() else None


def _actions(dataset: FlatDataset) -> tuple[list[tuple[str, int]], int]:
    """The action histogram, and how many actions are no number."""
    if dataset.column("act").dtype.kind == "f":
        return _continuous_actions(dataset), _bad_numbers(dataset, "act")
    action = dataset.provenance["action"] if dataset.provenance else {}
    labels = _labels(action)
    counts = dict.fromkeys(range(len(labels)), 0)
    for rows in _chunks(dataset, "act"):
        for value, count in zip(*np.unique(rows, return_counts=True), strict=True):
            counts[int(value)] = counts.get(int(value), 0) + int(count)
    return [
        (f"{a} ({labels[a]})" if 0 <= a < len(labels) else str(a), counts[a])
        for a in sorted(counts)
    ], 0


def _labels(action: dict[str, Any]) -> list[str]:
    """What discrete actions mean, as a provenance says; nothing where it does not."""
    made = [f"level {level:g}" for level in action.get("levels") or []]
    for bracket in action.get("brackets", []):
        numbers = [bracket.get(name) for name in ("level", "stop", "target")]
        if all(isinstance(number, int | float) for number in numbers):
            level, stop, target = numbers
            made.append(f"{level:+g}, {stop:+.4g} / {target:+.4g}")
        else:
            made.append(str(bracket.get("order"))[:8])
    return made


def _continuous_actions(dataset: FlatDataset) -> list[tuple[str, int]]:
    low, high = np.inf, -np.inf
    for rows in _chunks(dataset, "act"):
        finite = rows[np.isfinite(rows)]
        low, high = min(low, finite.min(initial=np.inf)), max(high, finite.max(initial=-np.inf))
    if not low <= high:
        return []
    edges = np.linspace(low, high if high > low else low + 1.0, ACTION_BINS + 1)
    counts = np.zeros(ACTION_BINS, np.int64)
    for rows in _chunks(dataset, "act"):
        counts += np.histogram(rows[np.isfinite(rows)].astype(np.float64), edges)[0]
    labels = [f"{left:.3g} to {right:.3g}" for left, right in itertools.pairwise(edges)]
    return list(zip(labels, counts.tolist(), strict=True))


def _observation_statistics(dataset: FlatDataset) -> tuple[list[PartStatistics], int]:
    """Statistics of each part, by combining those of chunks (Chan, Golub and LeVeque 1983)."""
    column = dataset.column("obs")
    width = int(np.prod(column.shape[1:], dtype=np.int64))
    mean, squares, count, bad = np.zeros(width), np.zeros(width), 0, 0
    for rows in _chunks(dataset, "obs"):
        flat = rows.reshape(len(rows), width).astype(np.float64)
        bad += int((~np.isfinite(flat)).sum())
        with np.errstate(invalid="ignore"):
            chunk_mean = flat.mean(axis=0)
            chunk_squares = ((flat - chunk_mean) ** 2).sum(axis=0)
            difference = chunk_mean - mean
            total = count + len(flat)
            squares += chunk_squares + difference**2 * (count * len(flat) / total)
            mean += difference * (len(flat) / total)
        count = total
    variance = squares / count
    parts = [("observation", 0, width)]
    if dataset.provenance is not None:
        parts = [(p["key"], p["start"], p["stop"]) for p in dataset.provenance["layout"]]
    statistics = []
    for key, start, stop in parts:
        means, variances = mean[start:stop], variance[start:stop]
        with np.errstate(invalid="ignore"):
            spread = float(np.sqrt(variances.mean() + means.var()))
        ranged = float(np.sqrt(variances.min())), float(np.sqrt(variances.max()))
        statistics.append(PartStatistics(key, float(means.mean()), spread, ranged))
    return statistics, bad


def example_episode(path: Path) -> dict[str, Any]:
    """The first episode, at most 10,000 steps of it.

    Returns:
        "reward", float64 (steps,); "exposure", float32 (steps,), or None where unknown; "ended",
        whether its end is among them.
    """
    with open_dataset(path) as dataset:
        stop = min(dataset.size, 10_000)
        ends = np.flatnonzero(read_rows(dataset.column("done"), 0, stop))
        stop = int(ends[0]) + 1 if len(ends) else stop
        exposure = None
        for part in dataset.provenance["layout"] if dataset.provenance else []:
            if part["key"] == "account_state" and dataset.has_next:
                exposure = read_rows(dataset.column("obs_next"), 0, stop)[:, part["start"]]
        reward = read_rows(dataset.column("rew"), 0, stop)
    return {"reward": reward, "exposure": exposure, "ended": len(ends) > 0}
