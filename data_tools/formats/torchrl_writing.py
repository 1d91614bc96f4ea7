"""Writing memory-mapped TensorDict folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from data_tools.formats.carried import FILE, CarriedWriter
from data_tools.formats.parts import apart
from data_tools.formats.places import Spillway
from data_tools.formats.torchrl_folder import META, TENSOR_DICT
from data_tools.formats.trajectories import (
    SIDE,
    Array,
    Block,
    Trajectories,
    with_ends,
)


def write_torchrl(given: Trajectories, folder: Path, blocks: Iterator[Block]) -> None:
    """Write a folder that ``TensorDict.load_memmap`` opens into `folder`, a temporary one.

    ``next`` has ``truncated`` where only the end of the data cuts an episode, too. ``episode``
    numbers the episodes, as TorchRL's own offline datasets do.
    """
    ours = given.source.document if given.source is not None else {}
    ours = ours if ours.get("format") == "torchrl" else {}
    native = [n for n in given.others if ours and n.startswith(SIDE)]
    beside = Spillway(folder / FILE)
    try:
        with h5py.File(beside, "w") as other, _Writer(folder, given.rows) as writer:
            carried = CarriedWriter(other, given, native)
            episode = 0
            for block in with_ends(blocks):
                writer.add(_tensors_of(block, ours, native))
                ends = block["ends"]
                if f"{SIDE}episode" not in native:
                    numbers = episode + np.cumsum(np.concatenate([[False], ends[:-1]]))
                    writer.add({"episode": numbers.astype(np.int64)})
                    episode = int(numbers[-1]) + int(ends[-1])
                carried.add(block)
                beside.check()
            carried.finish()
        beside.check()
    finally:
        beside.close()


def _tensors_of(block: Block, ours: dict[str, Any], native: list[str]) -> dict[str, Array]:
    rows = len(block["rew"])
    found: dict[str, Array] = {}
    if ours and not ours["single"]:
        for name, part in apart(block["obs"], ours["layout"]).items():
            found[name] = part
        for name, part in apart(block["obs_next"], ours["layout"]).items():
            found[f"next/{name}"] = part
    else:
        name = ours["observations"][0] if ours else "observation"
        found[name], found[f"next/{name}"] = block["obs"], block["obs_next"]
        if ours:
            dtype, shape = np.dtype(ours["layout"][0]["dtype"]), ours["layout"][0]["shape"]
            for key in (name, f"next/{name}"):
                found[key] = found[key].astype(dtype).reshape(rows, *shape)
    action, reward = block["act"], block["rew"].reshape(rows, 1)
    if ours:
        if ours["choices"]:
            action = np.eye(ours["choices"], dtype=np.int64)[action]
        action = action.astype(np.dtype(ours["action"][0])).reshape(rows, *ours["action"][1])
        reward = reward.astype(np.dtype(ours["reward"][0])).reshape(rows, *ours["reward"][1])
    found |= {"action": action, "next/reward": reward}
    for name, values in (("done", block["ends"]), ("terminated", block["terminated"]),
                         ("truncated", block["cuts"])):  # fmt: skip
        found[f"next/{name}"] = values.reshape(rows, 1)
        found[name] = np.zeros((rows, 1), np.bool_)
    return found | {name.removeprefix(SIDE): block[name] for name in native}


class _Writer:
    """Raw files, and the ``meta.json`` of each level at the end."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder, self._rows = folder, rows
        self._files: dict[str, IO[bytes]] = {}
        self._kinds: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        for file in self._files.values():
            file.close()
        if error is None:
            self._finish("")

    def add(self, tensors: dict[str, Array]) -> None:
        """Append rows."""
        for name, values in tensors.items():
            if name not in self._files:
                path = self._folder / f"{name}.memmap"
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files[name] = open(path, "wb")
                self._kinds[name] = (values.shape[1:], values.dtype)
            self._files[name].write(np.ascontiguousarray(values).data)

    def _finish(self, prefix: str) -> None:
        names = {name.removeprefix(prefix) for name in self._kinds if name.startswith(prefix)}
        meta: dict[str, Any] = {}
        for name in sorted(n for n in names if "/" not in n):
            shape, dtype = self._kinds[prefix + name]
            meta[name] = {
                "device": "cpu", "shape": [self._rows, *shape], "dtype": f"torch.{dtype.name}",
                "is_nested": False,
            }  # fmt: skip
        for name in sorted({n.split("/")[0] for n in names if "/" in n}):
            meta[name] = {"type": "TensorDict"}
            self._finish(f"{prefix}{name}/")
        meta |= {"shape": [self._rows], "device": "cpu", "_type": TENSOR_DICT}
        folder = self._folder / prefix
        folder.mkdir(parents=True, exist_ok=True)
        (folder / META).write_text(json.dumps(meta))
