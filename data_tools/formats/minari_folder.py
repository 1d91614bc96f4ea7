"""Minari's dataset folders: read in HDF5, Arrow and Parquet form, written in HDF5 form.

A folder NAME-v0 holds ``data/metadata.json`` and the episodes, which have one observation more than
actions. Neither direction needs Minari itself; Arrow and Parquet need pyarrow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import h5py
import numpy as np

from data_tools.flat_layout import DatasetError, open_file
from data_tools.formats import spaces
from data_tools.formats.carried import FILE, GROUP, Carried, CarriedWriter
from data_tools.formats.minari_episodes import Episode, Hdf5Episodes
from data_tools.formats.parts import Parts, apart
from data_tools.formats.places import Spillway
from data_tools.formats.scalars import decode_attribute
from data_tools.formats.trajectories import (
    SIDE,
    Array,
    Block,
    Source,
    Trajectories,
    exactly,
    gathered,
    held_dtype,
    segments,
    transition_columns,
)
from data_tools.provenance_schema import MARKET_TASKS

MAIN = "main_data.hdf5"
METADATA = "metadata.json"
VERSION = "0.5.4"  # of Minari, whose layout this is
NAME = re.compile(r"[-_\w]+-v\d+")
LARGEST_METADATA = 256 * 2**20
INFOS = "infos/"


class Episodes(Protocol):
    """The episodes of one of Minari's forms, in order."""

    def __iter__(self) -> Iterator[Episode]:
        """All of them; an episode's arrays are read when they are asked for."""
        ...


def data_folder(path: Path) -> Path | None:
    """Where a dataset's ``metadata.json`` is, or None."""
    for folder in (path / "data", path):
        file = folder / METADATA
        if file.is_file() and file.stat().st_size <= LARGEST_METADATA:
            try:
                if "data_format" in json.loads(file.read_text()):
                    return folder
            except (ValueError, RecursionError):
                continue
    return None


@contextmanager
def open_minari(path: Path, *, task: str | None = None) -> Iterator[Trajectories]:
    """Open a dataset's folder.

    Args:
        path: The folder, or the ``data`` in it.
        task: The Gymnasium id of its task; None: what its metadata says.

    Raises:
        DatasetError: It is not one, it is damaged, or its observations are not numbers.
    """
    folder = data_folder(path)
    if folder is None:
        raise DatasetError(f"{path} is no dataset of Minari. Expected data/{METADATA} in it.")
    metadata = json.loads((folder / METADATA).read_text())
    for name in ("observation_space", "action_space"):
        if name not in metadata:
            raise DatasetError(f"{folder / METADATA} lacks {name}. Save the dataset anew.")
    form, jpeg = metadata["data_format"], bool(metadata.get("jpeg_encoding", True))
    space = {
        n: spaces.parse(metadata[f"{n}_space"], str(folder)) for n in ("observation", "action")
    }
    with ExitStack() as stack:
        if form == "hdf5":
            root = stack.enter_context(open_file(folder / MAIN))
            episodes: Episodes = Hdf5Episodes(root, space, jpeg)
        elif form in ("arrow", "parquet"):
            from data_tools.formats.minari_arrow import ArrowEpisodes

            number = metadata.get("total_episodes", 0)
            episodes = ArrowEpisodes(folder, form, int(number), space, jpeg)
        else:
            raise DatasetError(f"{path} is in Minari's form {form!r}. Expected hdf5 or arrow.")
        yield _read(path, folder, metadata, episodes, space, task, stack)


def _task(metadata: dict[str, Any]) -> str | None:
    try:
        found = json.loads(metadata["env_spec"])["id"]
    except (KeyError, TypeError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _read(
    path: Path,
    folder: Path,
    metadata: dict[str, Any],
    episodes: Episodes,
    space: dict[str, dict[str, Any]],
    task: str | None,
    stack: ExitStack,
) -> Trajectories:
    first, rows, number, infos, facts = None, 0, 0, None, []
    for episode in episodes:
        if first is None:
            first, infos = episode, episode.info_kinds()
        elif infos is not None and episode.info_kinds() != infos:
            infos = None
        rows += episode.rows
        number += 1
        facts.append({"rows": episode.rows, "attributes": episode.attributes})
    if first is None or rows == 0:
        raise DatasetError(f"{path} is empty: its {number} episodes hold 0 transitions.")
    notes = [f"{number} episodes of Minari ({metadata['data_format']})"]
    if infos is None:
        notes.append("left out: the infos, which differ from episode to episode or are no numbers")
        infos = {}
    obs = Parts(first.kinds("observations"), "obs")
    act = Parts(first.kinds("actions"), "act")
    reward = held_dtype(first.reward_dtype, "rew")
    columns = transition_columns(obs.held, act.held, reward)
    columns |= {f"{SIDE}{INFOS}{name}": kind for name, kind in infos.items()}
    source = Source(
        {"format": "minari", "metadata": metadata, "episodes": facts,
         "rewards": first.reward_dtype.str, "observation": _shape_of(obs), "action": _shape_of(act)},
    )  # fmt: skip

    def read() -> Iterator[Block]:
        begins: dict[str, list[Array]] = {name: [] for name in infos}
        flags = []
        for episode in episodes:
            if episode.rows == 0:
                continue
            block = _block(episode, obs, act, reward)
            flags.append(bool(block["done"][-1]))
            if not block["done"][-1]:  # an end without a flag: nobody said that it was a death
                block["truncated"][-1] = block["done"][-1] = True
            for name, values in episode.infos(list(infos)).items():
                block[f"{SIDE}{INFOS}{name}"] = values[1:]
                begins[name].append(values[:1])
            yield block
        source.arrays |= {f"begins/{n}": np.concatenate(v) for n, v in begins.items() if v}
        source.arrays["flagged"] = np.array(flags)

    if (folder / FILE).exists():
        root = stack.enter_context(open_file(folder / FILE))
        if GROUP in root:
            restored = Carried(root[GROUP]).restore(
                "minari", rows, lambda: gathered(read(), columns)
            )
            if restored is not None:
                return restored
            notes.append(f"{FILE} does not fit the data any more and is left out")
    return Trajectories(
        format="minari", rows=rows, columns=columns, read=lambda: gathered(read(), columns),
        layout=None if obs.single else obs.layout, task=task or _task(metadata), source=source,
        notes=notes, facts={"format": "minari", "dataset_id": str(metadata.get("dataset_id")),
                            "policy": str(metadata.get("algorithm_name", "unknown"))},
    )  # fmt: skip


def _shape_of(parts: Parts) -> dict[str, Any]:
    return {"layout": parts.layout, "single": parts.single}


def _block(episode: Episode, obs: Parts, act: Parts, reward: np.dtype[Any]) -> Block:
    seen = obs.hold(episode.arrays("observations", episode.rows + 1), episode.where)
    rewards, terminated, truncated = episode.outcomes()
    return {
        "obs": seen[:-1],
        "act": act.hold(episode.arrays("actions", episode.rows), episode.where),
        "rew": exactly(rewards, reward, f"{episode.where}: rewards"),
        "terminated": terminated, "truncated": truncated, "done": terminated | truncated,
        "obs_next": seen[1:],
    }  # fmt: skip


# --- writing ---------------------------------------------------------------------------------


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
