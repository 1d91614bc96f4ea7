"""D4RL's HDF5 files; what they hold, and what they lack, is `data_tools.d4rl`'s to say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from data_tools.d4rl import NEEDED, OPTIONAL, read_d4rl
from data_tools.flat_layout import COLUMNS, open_file, read_rows
from data_tools.formats.carried import GROUP, Carried, CarriedWriter
from data_tools.formats.places import Spillway
from data_tools.formats.scalars import plain, read_plain
from data_tools.formats.trajectories import (
    PLAIN_KINDS,
    SIDE,
    Array,
    Block,
    Source,
    Trajectories,
    spans,
    transition_columns,
    with_ends,
)

LARGEST_OTHER = 2**30
HOLDER = "metadata"  # where D4RL's own files say how they were made
NAMES = {
    "obs": "observations", "act": "actions", "rew": "rewards", "obs_next": "next_observations",
}  # fmt: skip
FLAG_NAMES = {"terminated": "terminals", "truncated": "timeouts"}


@contextmanager
def open_d4rl(
    path: Path, *, task: str | None = None, time_limit: int | None = None
) -> Iterator[Trajectories]:
    """Open a D4RL file.

    Args:
        path: The file.
        task: The Gymnasium id of its task, if known.
        time_limit: As `data_tools.d4rl.read_d4rl` takes it.

    Raises:
        DatasetError: It is not one, or does not tell where its episodes end.
    """
    with open_file(path) as root:
        restored = _restored(root)
        if restored is not None:
            yield restored
            return
        carried = f"{HOLDER}/{GROUP}" in root
        yield _foreign(path, root, task, time_limit, carried)


def _restored(root: h5py.File) -> Trajectories | None:
    if f"{HOLDER}/{GROUP}" not in root or not all(name in root for name in NAMES.values()):
        return None
    group = root[HOLDER][GROUP]
    carried = Carried(group)
    items = {column: plain(root, name) for column, name in NAMES.items()}
    items |= {name: plain(root, name.removeprefix(SIDE)) for name in carried.native}
    rows = len(items["rew"])
    if any(item.shape[:1] != (rows,) for item in items.values()):
        return None
    kinds = {name: (tuple(item.shape[1:]), item.dtype) for name, item in items.items()}

    def read() -> Iterator[Block]:
        for start, stop in spans(rows, kinds):
            yield {name: read_rows(item, start, stop) for name, item in items.items()}

    return carried.restore("d4rl", rows, read)


def _foreign(
    path: Path, root: h5py.File, task: str | None, time_limit: int | None, changed: bool
) -> Trajectories:
    buffer, facts = read_d4rl(path, time_limit=time_limit)
    columns = {name: buffer._meta[name] for name in COLUMNS}
    notes = [facts.describe()]
    if changed:
        notes.append(f"its {HOLDER}/{GROUP} part does not fit the data any more and is left out")
    side, arrays, texts, others = {}, dict[str, Array](), dict[str, str](), list[str]()

    def visit(name: str, item: object) -> None:
        if name in (*NEEDED, *OPTIONAL) or not isinstance(item, h5py.Dataset):
            return
        value = item[()] if item.shape == () and item.dtype.kind in "OS" else None
        if name.startswith(f"{HOLDER}/{GROUP}/"):
            return
        if isinstance(value, bytes):
            texts[name] = value.decode(errors="replace")
        elif item.dtype.kind not in PLAIN_KINDS or item.nbytes > LARGEST_OTHER:
            others.append(name)
        elif item.shape[:1] != (facts.rows,):
            arrays[f"other/{name}"] = read_plain(plain(root, name))
        elif facts.dropped == 0:
            side[f"{SIDE}{name}"] = plain(root, name)
        else:
            others.append(name)

    root.visititems(visit)
    if others:
        notes.append(f"left out: {', '.join(others[:12])}{', ...' if len(others) > 12 else ''}")
    wide = {n: root[n].dtype for n in ("observations", "actions") if root[n].dtype != np.float32}
    if wide:
        listed = ", ".join(f"{name} {dtype}" for name, dtype in wide.items())
        notes.append(f"converted to float32: {listed}")
    kinds = {name: (tuple(item.shape[1:]), item.dtype) for name, item in (columns | side).items()}
    found = transition_columns(kinds["obs"], kinds["act"], kinds["rew"][1])
    found |= {name: kinds[name] for name in side}

    def read() -> Iterator[Block]:
        for start, stop in spans(facts.transitions, found):
            yield {name: columns[name][start:stop] for name in COLUMNS} | {
                name: read_rows(item, start, stop) for name, item in side.items()
            }

    document = {"format": "d4rl", "timeouts": facts.timeouts, "dropped": facts.dropped}
    return Trajectories(
        format="d4rl", rows=facts.transitions, columns=found, read=read, task=task, facts=document,
        source=Source(document | {"texts": texts}, arrays), notes=notes,
    )  # fmt: skip


def write_d4rl(given: Trajectories, path: Path, blocks: Iterator[Block]) -> None:
    """Write a D4RL file to `path`, which is a temporary file's.

    Rewards, observations and actions keep their dtypes: D4RL's own files are float32, but HDF5
    holds others as well. ``timeouts`` also marks episodes that only the end of the data cuts.
    """
    ours = given.source is not None and given.source.document.get("format") == "d4rl"
    native = [name for name in given.others if ours and name.startswith(SIDE)]
    place = Spillway(path)
    try:
        with h5py.File(place, "w") as root:
            for column, name in NAMES.items():
                _create(root, name, given, column)
            for name in FLAG_NAMES.values():
                root.create_dataset(name, (given.rows,), np.bool_, track_times=False)
            for name in native:
                _create(root, name.removeprefix(SIDE), given, name)
            if ours and given.source is not None:
                _give_back(root, given.source)
            carried = CarriedWriter(root.require_group(HOLDER), given, native)
            row = 0
            for block in with_ends(blocks):
                stop = row + len(block["rew"])
                for column, name in (*NAMES.items(), *FLAG_NAMES.items()):
                    root[name][row:stop] = block[column if column != "truncated" else "cuts"]
                for name in native:
                    root[name.removeprefix(SIDE)][row:stop] = block[name]
                carried.add(block)
                row = stop
                place.check()
            carried.finish()
        place.check()
    finally:
        place.close()


def _create(root: h5py.File, name: str, given: Trajectories, column: str) -> None:
    shape, dtype = given.columns[column]
    image = dtype == np.uint8 and len(shape) > 1
    root.create_dataset(
        name, (given.rows, *shape), dtype, track_times=False,
        **({"chunks": True, "compression": "gzip", "compression_opts": 1} if image else {}),
    )  # fmt: skip


def _give_back(root: h5py.File, source: Source) -> None:
    """Write what else the file held."""
    for name, text in source.document.get("texts", {}).items():
        root.create_dataset(str(name), data=str(text))
    for name, values in source.arrays.items():
        if name.startswith("other/"):
            root.create_dataset(name.removeprefix("other/"), data=values)
