"""Writing Minari's dataset folders, in HDF5 form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np

from data_tools.flat_layout import DatasetError
from data_tools.formats import spaces
from data_tools.formats.carried import FILE, CarriedWriter
from data_tools.formats.minari_folder import INFOS, MAIN, METADATA, NAME, VERSION
from data_tools.formats.parts import apart
from data_tools.formats.places import Spillway
from data_tools.formats.scalars import decode_attribute
from data_tools.formats.trajectories import (
    SIDE,
    Array,
    Block,
    Trajectories,
    segments,
)
from data_tools.provenance_schema import MARKET_TASKS


def check_name(path: Path) -> None:
    """Check that a target's name is a dataset id.

    Raises:
        DatasetError: It is not.
    """
    if not NAME.fullmatch(path.name):
        raise DatasetError(
            f"{path}: Minari finds a dataset by its folder's name, which ends in a version. "
            f"Expected a name such as {path.stem or 'trades'}-v0."
        )


def write_minari(given: Trajectories, folder: Path, name: str, blocks: Iterator[Block]) -> None:
    """Write a dataset in HDF5 form into `folder`, which is a temporary one.

    Args:
        given: What is converted.
        folder: Where ``data`` is made.
        name: The dataset's id.
        blocks: All rows.
    """
    data = folder / "data"
    data.mkdir()
    ours = given.source.document if given.source is not None else {}
    ours = ours if ours.get("format") == "minari" else {}
    native = [n for n in given.others if ours and n.startswith(SIDE + INFOS)]
    actions = spaces.ActionSpace(given)
    main, beside = Spillway(data / MAIN), Spillway(data / FILE)
    try:
        with h5py.File(main, "w", track_order=True) as root, h5py.File(beside, "w") as other:
            carried = CarriedWriter(other, given, native)
            writer = _EpisodeWriter(root, ours, given, native)
            for episode in _episodes(blocks, ours):
                actions.add(episode["act"])
                writer.write(episode)
                carried.add(episode)
                main.check()
                beside.check()
            number = writer.finish()
            carried.finish()
        main.check()
        beside.check()
    finally:
        main.close()
        beside.close()
    metadata = _metadata(given, ours, actions, number) | {
        "total_episodes": number, "total_steps": given.rows, "data_format": "hdf5",
        "jpeg_encoding": False, "dataset_id": name,
        "dataset_size": round((data / MAIN).stat().st_size / 2**20, 1),
    }  # fmt: skip
    (data / METADATA).write_text(json.dumps(metadata))


def _episodes(blocks: Iterator[Block], ours: dict[str, Any]) -> Iterator[Block]:
    """The episodes: as they were in Minari, or as they follow from the rows."""
    if not ours:
        yield from segments(blocks)
        return
    lengths = [int(e["rows"]) for e in ours["episodes"] if e["rows"]]
    waiting: list[Block] = []
    have = 0
    for block in blocks:
        waiting.append(block)
        have += len(block["rew"])
        while lengths and have >= lengths[0]:
            whole = {n: np.concatenate([b[n] for b in waiting]) for n in waiting[0]}
            length = lengths.pop(0)
            yield {name: values[:length] for name, values in whole.items()}
            waiting, have = [{n: v[length:] for n, v in whole.items()}], have - length
    if lengths or have:
        raise DatasetError("the recorded lengths of Minari's episodes do not fit the transitions.")


class _EpisodeWriter:
    def __init__(
        self, root: h5py.File, ours: dict[str, Any], given: Trajectories, native: list[str]
    ) -> None:
        self._root, self._ours, self._native = root, ours, native
        self._number, self._written = 0, 0
        self._arrays = given.source.arrays if given.source is not None and ours else {}
        self._facts: list[dict[str, Any]] = ours.get("episodes", [])

    def write(self, episode: Block) -> None:
        """Write one episode, after those without rows that came before it."""
        self._empty()
        group = self._group(len(episode["rew"]))
        obs = np.concatenate([episode["obs"], episode["obs_next"][-1:]])
        self._parts(group, "observations", obs, "observation")
        self._parts(group, "actions", episode["act"], "action")
        rewards = episode["rew"]
        if self._ours:
            rewards = rewards.astype(np.dtype(str(self._ours["rewards"])))
        truncated = episode["truncated"].copy()
        flagged = self._arrays.get("flagged")
        if self._ours and flagged is not None and not flagged[self._written]:
            truncated[-1] = False
        elif not episode["done"][-1]:  # Minari has no other word for an episode that is cut
            truncated[-1] = True
        _create(group, "rewards", rewards)
        _create(group, "terminations", episode["terminated"])
        _create(group, "truncations", truncated)
        for name in self._native:
            key = name.removeprefix(SIDE + INFOS)
            begin = self._arrays[f"begins/{key}"][self._written : self._written + 1]
            _create(group.require_group("infos"), key, np.concatenate([begin, episode[name]]))
        self._written += 1

    def finish(self) -> int:
        """The number of episodes."""
        self._empty()
        return self._number

    def _empty(self) -> None:
        while self._number < len(self._facts) and not self._facts[self._number]["rows"]:
            self._group(0)

    def _group(self, rows: int) -> h5py.Group:
        group = self._root.create_group(f"episode_{self._number}")
        attributes = self._facts[self._number]["attributes"] if self._facts else {}
        group.attrs["id"], group.attrs["total_steps"] = self._number, rows
        for name, value in attributes.items():
            group.attrs[name] = decode_attribute(value, f"episode {self._number}")
        self._number += 1
        return group

    def _parts(self, group: h5py.Group, name: str, values: Array, role: str) -> None:
        if not self._ours:
            _create(group, name, values)
            return
        shape = self._ours[role]
        parts = apart(values, shape["layout"])
        if shape["single"]:
            _create(group, name, next(iter(parts.values())))
            return
        space = spaces.parse(self._ours["metadata"][f"{role}_space"], role)
        for key, part in parts.items():
            _create(group, f"{name}/{_stored(space, key)}", part)


def _stored(space: dict[str, Any], key: str) -> str:
    """A part's path in the file, where a tuple's parts are named "_index_0"."""
    path = []
    for name in key.split("/"):
        inner = space["subspaces"]
        path.append(name if isinstance(inner, dict) else f"_index_{name}")
        space = inner[name] if isinstance(inner, dict) else inner[int(name)]
    return "/".join(path)


def _create(group: h5py.Group, name: str, values: Array) -> None:
    image = values.dtype == np.uint8 and values.ndim > 2
    group.create_dataset(
        name, data=values, chunks=True, maxshape=(None, *values.shape[1:]),
        **({"compression": "gzip", "compression_opts": 1} if image else {}),
    )  # fmt: skip


def _metadata(
    given: Trajectories, ours: dict[str, Any], actions: spaces.ActionSpace, number: int
) -> dict[str, Any]:
    if ours:
        return dict(ours["metadata"])
    made: dict[str, Any] = {
        "observation_space": json.dumps(spaces.observation_space(given)),
        "action_space": json.dumps(actions.space(given.facts.get("levels"))),
        "minari_version": VERSION,
        "algorithm_name": str(given.facts.get("policy", "unknown")),
        "description": f"Converted from {given.format} by gym-trade's data_tools.convert.",
    }
    if given.task is not None and not given.task.startswith(MARKET_TASKS):
        spec = gym.registry.get(given.task)
        if spec is not None:
            try:
                made["env_spec"] = spec.to_json()
            except TypeError:  # its arguments are not JSON-able
                pass
    return made
