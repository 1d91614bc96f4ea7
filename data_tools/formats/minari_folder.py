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

import numpy as np

from data_tools.flat_layout import DatasetError, open_file
from data_tools.formats import spaces
from data_tools.formats.carried import FILE, GROUP, Carried
from data_tools.formats.minari_episodes import Episode, Hdf5Episodes
from data_tools.formats.parts import Parts
from data_tools.formats.trajectories import (
    SIDE,
    Array,
    Block,
    Source,
    Trajectories,
    exactly,
    gathered,
    held_dtype,
    transition_columns,
)

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
         "rewards": first.reward_dtype.str, "observation": _shape_of(obs),
         "action": _shape_of(act)},
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
