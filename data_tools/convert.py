"""Convert a dataset between Tianshou's buffers and other packages' formats, without losing a bit.

The foreign dataset carries along what its format has no place for, so that converting it back gives
the same file; and the other way round. Rewards, observations and actions keep their precision.

Examples: trades.hdf5 trades-v0 --to minari
          hopper_medium-v2.hdf5 hopper.hdf5 --from d4rl --task Hopper-v5
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from tqdm import tqdm

from data_tools.command_line import ArgumentParser, run, terminate_cleanly
from data_tools.flat_layout import DatasetError, open_file, open_flat, refuse_unreadable
from data_tools.formats import (
    d3rlpy_file,
    d3rlpy_version_1,
    d3rlpy_writing,
    d4rl_file,
    flat_file,
    flat_file_writing,
    minari_folder,
    minari_writing,
    rl_unplugged,
    torchrl_folder,
    torchrl_writing,
)
from data_tools.formats.places import appearing, check_place, deferred_interrupts
from data_tools.formats.trajectories import Block, Trajectories

SOURCES = ("tianshou", "minari", "d4rl", "torchrl", "d3rlpy", "rlu")
TARGETS = ("tianshou", "minari", "d4rl", "torchrl", "d3rlpy")
FOLDERS = ("minari", "torchrl")
FORMATS = {
    "tianshou": "Tianshou's ReplayBuffer.save_hdf5, flat or vector, and this package's own files",
    "minari": "a Minari dataset's folder NAME-v0 (read: HDF5, Arrow, Parquet; written: HDF5)",
    "d4rl": "D4RL's HDF5 files",
    "torchrl": "a folder of TensorDict.memmap or of a dumped TorchRL replay buffer",
    "d3rlpy": "d3rlpy 2's ReplayBuffer.dump (read and written) and version 1's MDPDataset (read)",
    "rlu": "RL Unplugged's Atari TFRecords, by transition or by episode (read only)",
}


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        path: The target.
        source_format: What the source was.
        target_format: What the target is.
        transitions: Number of rows.
        facts: What was recognised in the source.
        notes: What was inferred or left out, a line each.
    """

    path: Path
    source_format: str
    target_format: str
    transitions: int
    facts: dict[str, Any]
    notes: tuple[str, ...]


def recognise(path: Path) -> str | None:
    """The format of a file or folder, or None where it is none of `SOURCES`.

    Raises:
        DatasetError: There is no such file, or it is damaged.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist. Expected a dataset's file or folder.")
    if path.is_dir():
        if minari_folder.data_folder(path) is not None:
            return "minari"
        return "torchrl" if torchrl_folder.storage_folder(path) is not None else None
    refuse_unreadable(path)
    if not h5py.is_hdf5(path):
        return "rlu" if rl_unplugged.recognise(path) else None
    with open_file(path) as root:
        names, indexed = set(root), "layout" in root.attrs
    if "_meta" in names or indexed:  # the reader says what to do with an indexed one
        return "tianshou"
    if names.issuperset(d3rlpy_file.V2_KEYS) or (
        names.issuperset(d3rlpy_version_1.KEYS)
        and names & {"episode_terminals", "discrete_action", "create_mask"}
    ):
        return "d3rlpy"
    return "d4rl" if {"observations", "actions"} <= names else None


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    source_format: str | None = None,
    target_format: str = "tianshou",
    task: str | None = None,
    time_limit: int | None = None,
    rewards: str = "auto",
    overwrite: bool = False,
    trust: bool = False,
    progress: bool = False,
    echo: Callable[[str], object] | None = None,
) -> Conversion:
    """Convert a dataset; the target appears whole or not at all.

    Args:
        source: A file or folder.
        target: The file or folder to write; Minari's is named like "trades-v0".
        source_format: One of `SOURCES`; None: it is recognised.
        target_format: One of `TARGETS`.
        task: The Gymnasium id of the task, where the source does not say it.
        time_limit: Steps of a D4RL task, where the file marks no timeouts.
        rewards: Of d3rlpy's version 1; see `d3rlpy_file.open_d3rlpy`.
        overwrite: Replace an existing target.
        trust: Take a source with pickled parts, which can run any code.
        progress: Show a progress bar on stderr.
        echo: Receives the lines that say what was inferred or left out.

    Raises:
        DatasetError: The source is missing, of another format, damaged, empty or not trusted, or
            the target cannot be written.
    """
    place, goal = Path(source), Path(target)
    found = recognise(place)
    _check_formats(place, found, source_format, target_format)
    chosen = source_format or str(found)
    if goal.resolve() == place.resolve() or place.resolve() in goal.resolve().parents:
        raise DatasetError(f"{goal}: the target lies in the source. Choose another place.")
    if target_format == "minari":
        minari_writing.check_name(goal)
    check_place(goal, overwrite)
    options = {"task": task, "time_limit": time_limit, "rewards": rewards, "trust": trust}
    try:
        with _open(place, chosen, options) as given:
            if task is not None and given.task is None:
                given.task = task
            if echo is not None:
                for line in given.notes:
                    echo(line)
            check_place(goal, overwrite, flat_file_writing.expected_bytes(given))
            _write(given, goal, target_format, progress)
    except MemoryError:
        raise DatasetError(
            f"{place} does not fit into memory: it is too large, or its sizes are made up."
        ) from None
    return Conversion(goal, chosen, target_format, given.rows, given.facts, tuple(given.notes))


def _check_formats(
    place: Path, found: str | None, source_format: str | None, target_format: str
) -> None:
    for name, known, flag in (
        (source_format or SOURCES[0], SOURCES, "--from"), (target_format, TARGETS, "--to")
    ):  # fmt: skip
        if name not in known:
            raise DatasetError(f"{flag} {name}: expected one of {', '.join(known)}.")
    if found is None and source_format is None:
        raise DatasetError(
            f"{place} is of no format that is recognised. Expected one of {', '.join(SOURCES)}; "
            "name it with --from."
        )
    if source_format is not None and found is not None and found != source_format:
        alike = {found, source_format} == {"d4rl", "d3rlpy"}  # version 1 has D4RL's keys
        if not alike:
            raise DatasetError(
                f"{place} is a dataset of {found}. Expected one of {source_format}; pass "
                f"--from {found}, or leave it out."
            )
    if (source_format or found) == target_format != "tianshou":
        raise DatasetError(f"{place} is of format {target_format} already.")


def _open(place: Path, name: str, options: dict[str, Any]) -> AbstractContextManager[Trajectories]:
    task, trust = options["task"], options["trust"]
    if name == "tianshou":
        return flat_file.open_tianshou(place, trust=trust)
    if name == "minari":
        return minari_folder.open_minari(place, task=task)
    if name == "d4rl":
        return d4rl_file.open_d4rl(place, task=task, time_limit=options["time_limit"])
    if name == "torchrl":
        return torchrl_folder.open_torchrl(place, task=task, trust=trust)
    if name == "d3rlpy":
        return d3rlpy_file.open_d3rlpy(place, task=task, rewards=options["rewards"])
    return rl_unplugged.open_rl_unplugged(place, task=task)


def _write(given: Trajectories, goal: Path, name: str, progress: bool) -> None:
    bar = tqdm(
        total=given.rows, desc="converting", unit="transition", unit_scale=True,
        disable=not progress,
    )  # fmt: skip
    with appearing(goal, folder=name in FOLDERS) as temporary, bar, deferred_interrupts() as check:
        try:
            _write_as(given, goal, name, temporary, _counted(given.read(), bar, check))
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            if given.source is None and given.flat is None:
                raise
            raise DatasetError(
                f"what was recorded of the dataset that this once was is damaged: {error!r}."
            ) from error


def _write_as(
    given: Trajectories, goal: Path, name: str, temporary: Path, blocks: Iterator[Block]
) -> None:
    if name == "tianshou":
        flat_file_writing.write_tianshou(given, temporary, blocks)
        with open_flat(temporary):
            pass  # what was restored is a dataset again
    elif name == "minari":
        minari_writing.write_minari(given, temporary, goal.name, blocks)
    elif name == "d4rl":
        d4rl_file.write_d4rl(given, temporary, blocks)
    elif name == "torchrl":
        torchrl_writing.write_torchrl(given, temporary, blocks)
    else:
        d3rlpy_writing.write_d3rlpy(given, temporary, blocks)


def _counted(blocks: Iterator[Block], bar: Any, check: Callable[[], None]) -> Iterator[Block]:
    for block in blocks:
        check()
        yield block
        bar.update(len(block["rew"]))


def _parser() -> ArgumentParser:
    listed = "\n".join(f"  {name:9} {text}" for name, text in FORMATS.items())
    parser = ArgumentParser(
        prog="python -m data_tools.convert", description=__doc__, epilog=f"formats:\n{listed}"
    )
    # fmt: off
    add = parser.add_argument
    add("source", metavar="SOURCE", help="the dataset's file or folder")
    add("target", metavar="TARGET", help="the file or folder to write")
    add("--from", dest="source_format", choices=SOURCES,
        help="what SOURCE is (default: it is recognised)")
    add("--to", dest="target_format", choices=TARGETS, default="tianshou",
        help="what TARGET is to be (default: %(default)s)")
    add("--task", help="Gymnasium id of the task, if SOURCE does not say it, such as CartPole-v1")
    add("--time-limit", type=int, metavar="N",
        help="of D4RL: steps after which the task truncates an episode, if the file does not "
        "mark where")
    add("--rewards", choices=d3rlpy_file.REWARDS, default="auto",
        help="of d3rlpy 1: whether a row has the reward for reaching it (shifted) or for leaving "
        "it (aligned) (default: shifted if every episode's first is 0)")
    add("--trust", action="store_true",
        help="take a SOURCE with pickled parts, which can run any code when they are read")
    add("--overwrite", action="store_true", help="replace an existing TARGET")
    # fmt: on
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """

    def command() -> None:
        flags = vars(_parser().parse_args(argv))
        made = convert(flags.pop("source"), flags.pop("target"), progress=True, echo=print, **flags)
        print(
            f"{made.transitions} transitions, {made.source_format} to {made.target_format}\n"
            f"{made.path}"
        )

    return run(command, interrupted="interrupted: nothing was written.")


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
