"""Join equal parts of several datasets of one task, in whole episodes, into a mixed one.

Example: random.hdf5 medium.hdf5 expert.hdf5 --buffer-size 100000 --save-buffer-name mixed.hdf5
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools import command_line
from data_tools.episodes import Episodes, RunningStatistics
from data_tools.flat_layout import COLUMNS, DatasetError, FlatDataset, open_flat, read_rows
from data_tools.flat_writer import FlatBufferWriter
from data_tools.provenance import describe_episodes
from data_tools.recording import check_counts, episodes_text

NAME = "mixture"
# What all sources must agree on. (Their configurations may name the same dates in other words.)
SHARED = ("task", "layout", "action", "span")
# What a source's provenance says of columns beside the usual ones, and of the files it lies in.
LEFT_OUT = ("columns", "shard", "shards")

Rows = dict[str, npt.NDArray[Any]]  # a column's name -> its rows of one episode


def mix(
    sources: Sequence[Path], path: Path, *, buffer_size: int, seed: int, overwrite: bool = False
) -> str:
    """Write a mixed dataset.

    Each source gives ``buffer_size / len(sources)`` transitions (one more the first ones, for the
    remainder): whole episodes, drawn without repetition. The last of each is cut where its part is
    full, and marked truncated.

    Args:
        sources: Datasets in the flat layout, of one task.
        path: The file to write.
        buffer_size: Transitions, exactly.
        seed: Which episodes are drawn.
        overwrite: Replace an existing file.

    Returns:
        What the episodes are like, as lines of text.

    Raises:
        DatasetError: A source cannot be read or is too small, they are not of one task, or the file
            cannot be written.
    """
    check_counts(buffer_size, None, seed)
    parts = [
        buffer_size // len(sources) + (number < buffer_size % len(sources))
        for number in range(len(sources))
    ]
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(open_flat(source)) for source in sources]
        provenance = _join(opened, parts, seed, buffer_size)
        first = opened[0]
        action = first.column("act")
        writer = stack.enter_context(
            FlatBufferWriter(
                path,
                size=buffer_size,
                num_lanes=1,
                observation_size=first.column("obs").shape[1:],
                observation_dtype=first.column("obs").dtype,
                action_shape=action.shape[1:],
                action_dtype=action.dtype,
                overwrite=overwrite,
            )
        )
        streams = np.random.SeedSequence(seed).spawn(len(sources))
        drawn = (
            episode
            for dataset, size, stream in zip(opened, parts, streams, strict=True)
            for episode in draw_episodes(dataset, size, np.random.default_rng(stream))
        )
        episodes = _write(writer, drawn)
        writer.finish(provenance | {"reference": describe_episodes(episodes)})
    return f"{episodes_text(buffer_size, episodes)}\n{path}"


def draw_episodes(
    dataset: FlatDataset, size: int, generator: np.random.Generator
) -> Iterator[tuple[Rows, bool]]:
    """Episodes of a dataset in random order, until their rows are `size`.

    Yields:
        (Its columns, whether it was cut here).

    Raises:
        DatasetError: There are fewer rows.
    """
    if dataset.size < size:
        raise DatasetError(
            f"{dataset.path} has {dataset.size} transitions and is to give {size}: make it larger, "
            "or ask for fewer."
        )
    ends = np.flatnonzero(read_rows(dataset.column("done"), 0, dataset.size)) + 1
    if not len(ends) or ends[-1] != dataset.size:
        ends = np.append(ends, dataset.size)
    begins = np.concatenate([[0], ends[:-1]])
    left = size
    for number in generator.permutation(len(ends)).tolist():
        start = int(begins[number])
        stop = min(int(ends[number]), start + left)
        yield (
            {name: read_rows(dataset.column(name), start, stop) for name in COLUMNS},
            stop < ends[number],
        )
        left -= stop - start
        if left == 0:
            return


class _Tally:
    """Returns and lengths of the episodes that are written."""

    def __init__(self) -> None:
        self._complete = RunningStatistics(), RunningStatistics()  # returns, lengths
        self._cut = RunningStatistics(), RunningStatistics()
        self._terminated = 0

    def add(self, rows: Rows, cut: bool) -> None:
        """Count one episode."""
        returns, lengths = self._cut if cut else self._complete
        returns.add(float(rows["rew"].sum()))
        lengths.add(float(len(rows["rew"])))
        self._terminated += int(rows["terminated"][-1])

    def episodes(self) -> Episodes:
        """What was counted."""
        returns, lengths = self._complete if self._complete[0].count else self._cut
        return Episodes(
            complete=self._complete[0].count, cut=self._cut[0].count, terminated=self._terminated,
            mean_return=returns.mean, std_return=returns.std, min_return=returns.minimum,
            max_return=returns.maximum, mean_length=lengths.mean,
        )  # fmt: skip


def _write(writer: FlatBufferWriter, episodes: Iterator[tuple[Rows, bool]]) -> Episodes:
    """Write episodes one behind the other; the writer wants to see each one's successor."""
    tally, held = _Tally(), None
    for rows, cut in episodes:
        tally.add(rows, cut)
        if held is None:
            writer.start(rows["obs"][:1])
        else:
            _write_episode(writer, held, rows["obs"][:1])
        held = rows
    if held is not None:
        _write_episode(writer, held, held["obs_next"][-1:])
    return tally.episodes()


def _write_episode(writer: FlatBufferWriter, rows: Rows, following: npt.NDArray[Any]) -> None:
    last = len(rows["rew"]) - 1
    goes_on, ends = np.array([False]), ~rows["terminated"][-1:]
    for row in range(last + 1):
        here = slice(row, row + 1)
        writer.add(
            rows["act"][here], rows["rew"][here], rows["terminated"][here],
            ends if row == last else goes_on,
            following if row == last else rows["obs_next"][here],
            {0: rows["obs_next"][row]} if row == last else None,
        )  # fmt: skip


def _join(
    datasets: Sequence[FlatDataset], parts: Sequence[int], seed: int, size: int
) -> dict[str, Any]:
    """What the mixed dataset says about itself, without its returns.

    Raises:
        DatasetError: A source says nothing, or they are not of one task.
    """
    first = datasets[0].provenance
    for dataset in datasets:
        if dataset.provenance is None or not dataset.has_next or dataset.stack_num > 1:
            raise DatasetError(
                f"{dataset.path}: expected a dataset with provenance, obs_next and flat "
                "observations, as data_tools.collect writes it."
            )
        assert first is not None
        for name in SHARED:
            if dataset.provenance.get(name) != first.get(name):
                raise DatasetError(
                    f"{dataset.path} and {datasets[0].path} differ in {name}: expected datasets "
                    "of one task."
                )
        hashes = [x.get("market", {}).get("content_hash") for x in (dataset.provenance, first)]
        if hashes[0] != hashes[1]:
            raise DatasetError(f"{dataset.path} and {datasets[0].path} are of different markets.")
    assert first is not None
    policy = {
        "name": NAME,
        "drawn": "whole episodes of each member's dataset, equal parts of the rows",
        "members": [
            (dataset.provenance or {})["policy"] | {"rows": rows}
            for dataset, rows in zip(datasets, parts, strict=True)
        ],
    }
    known = {name: value for name, value in first.items() if name not in LEFT_OUT}
    return known | {"policy": policy, "seed": seed, "num_envs": 1, "buffer_size": size}


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(prog="python -m benchmarks.mix", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="FILE", help="datasets of one task")
    add("--buffer-size", type=int, required=True, metavar="N", help="transitions, exactly")
    add("--seed", type=int, default=0, help="which episodes are drawn (default: %(default)s)")
    add("--save-buffer-name", required=True, type=Path, metavar="FILE", help="the file to write")
    add("--overwrite", action="store_true", help="replace an existing dataset")
    # fmt: on
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: 0, 2 for bad input, 130 after Ctrl-C."""

    def command() -> None:
        args = _parser().parse_args(argv)
        print(
            mix(
                args.sources,
                args.save_buffer_name,
                buffer_size=args.buffer_size,
                seed=args.seed,
                overwrite=args.overwrite,
            )
        )

    return command_line.run(command, interrupted="interrupted: nothing was written.")


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
