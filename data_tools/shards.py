"""A large collection in shards: what is whole survives a kill, and the same command goes on.

Shards are files of either layout, each of its own random numbers, in a folder beside the dataset
that is named after what is collected; a manifest says what belongs there. Once all are whole, one
small file under the dataset's own name joins them (see `virtual`) and lists the SHA-256 of each
(see `content`). Who writes them, and in which order, makes no difference to any byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.driving import transitions_bar
from data_tools.engines import Engine
from data_tools.episodes import Episodes, join_episodes
from data_tools.files import replacing, sha256_of_each
from data_tools.flat_layout import DatasetError, read_provenance
from data_tools.parts import Part, Recording
from data_tools.provenance import describe_episodes, episodes_of
from data_tools.shard_folder import folder_prefix, without_older_shards
from data_tools.target_file import require_room
from data_tools.training_span import FULL
from data_tools.virtual import join_files, join_indexed
from gym_trade import Market

MANIFEST, LOCK = "manifest.json", "lock"
MANIFEST_VERSION = 1
SEED_BITS = 53  # what any reader of JSON holds


def shard_seed(seed: int, number: int) -> int:
    """The seed of one shard, far from those of the others."""
    child = np.random.SeedSequence(seed, spawn_key=(number,))
    return int(child.generate_state(1, np.uint64)[0]) >> (64 - SEED_BITS)


@dataclass(frozen=True)
class ShardedCollection:
    """A collection in several files.

    Attributes:
        recording: What is recorded.
        path: The dataset.
        description: Its provenance, without what its episodes were like.
        count: Shards.
        expected_bytes: Of all of them together.
    """

    recording: Recording
    path: Path
    description: dict[str, Any]
    count: int
    expected_bytes: int

    @cached_property
    def plan(self) -> str:
        """A hash of all that decides about the bytes."""
        facts = [self.description, self.count, self.recording.num_envs]
        if self.recording.layout != FULL:
            facts.append(self.recording.layout)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def folder(self) -> Path:
        """Where the shards lie: another plan's lie elsewhere."""
        # HDF5 gives a meaning to %
        return self.path.with_name(f"{folder_prefix(self.path)}{self.plan[:12]}")

    @cached_property
    def parts(self) -> list[Part]:
        """The shards."""
        rows, seed = self.description["buffer_size"], self.description["seed"]
        return [
            Part(
                self.folder / f"{number:05d}.hdf5",
                rows // self.count + (number < rows % self.count),
                shard_seed(seed, number),
                {"shard": {"number": number, "of": self.count, "plan": self.plan}},
            )
            for number in range(self.count)
        ]

    def write(
        self,
        market: Market,
        engine: Engine,
        *,
        overwrite: bool = False,
        progress: bool = True,
        echo: Callable[[str], object] | None = print,
    ) -> tuple[Episodes, dict[str, Any]]:
        """Write the shards that are not there yet, then join all.

        Returns:
            What the episodes were like, and the provenance.

        Raises:
            DatasetError: A shard cannot be written, or another process is at it.
            KeyboardInterrupt: After Ctrl-C; its text says how to go on.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            with _alone(self.folder):
                try:
                    self._write_missing(market, engine, progress, echo)
                    return self._join(market, overwrite)
                finally:
                    self._remove_unfinished()
                    self._tidy()
        except (DatasetError, OSError) as error:
            raise DatasetError(f"{str(error).rstrip('.')}. {self._state()}") from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted. {self._state()}") from None

    def _write_missing(
        self,
        market: Market,
        engine: Engine,
        progress: bool,
        echo: Callable[[str], object] | None,
    ) -> None:
        self._remove_unfinished()
        self._write_manifest()
        missing = [part for part in self.parts if not self._is_whole(part)]
        whole, rows = self.count - len(missing), self.description["buffer_size"]
        if whole and missing and echo is not None:
            echo(f"{whole} of {self.count} shards are whole: going on with the others")
        open_rows = sum(part.rows for part in missing)
        require_room(self.path, open_rows, self.expected_bytes * open_rows // rows)
        with transitions_bar(rows, progress) as bar:
            bar.update(rows - open_rows)
            engine.run(self.recording, missing, market, bar)

    def _write_manifest(self) -> None:
        """Say what belongs into the folder."""
        content = {
            "format_version": MANIFEST_VERSION,
            "dataset": self.path.name,
            "plan": self.plan,
            "shards": [
                {"file": part.path.name, "rows": part.rows, "seed": part.seed}
                for part in self.parts
            ],
        }
        with replacing(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def _remove_unfinished(self) -> None:
        """Remove what killed processes have left."""
        for left in self.folder.glob(".*"):
            left.unlink()

    def _is_whole(self, part: Part) -> bool:
        """Whether a shard is there: it gets its name when it is whole."""
        if not part.path.exists():
            return False
        try:
            found = (read_provenance(part.path) or {}).get("shard")
        except DatasetError:
            found = None  # damaged since
        if found != part.more["shard"]:
            part.path.unlink()
        return bool(found == part.more["shard"])

    def _join(self, market: Market, overwrite: bool) -> tuple[Episodes, dict[str, Any]]:
        """Write the file that joins all shards, in the place of an older dataset."""
        made = [read_provenance(part.path) or {} for part in self.parts]
        episodes = join_episodes([episodes_of(each["reference"]) for each in made])
        simple = self.recording.references(market, self.description["seed"])
        digests = sha256_of_each([part.path for part in self.parts])
        files = [
            {"file": part.path.name, "rows": part.rows, "seed": part.seed, "sha256": digest}
            for part, digest in zip(self.parts, digests, strict=True)
        ]
        provenance = self.description | {
            "shards": {"folder": self.folder.name, "plan": self.plan, "files": files},
            "reference": describe_episodes(episodes) | {"returns": simple},
        }
        if self.recording.layout == FULL:
            sources = [(f"{self.folder.name}/{part.path.name}", part.rows) for part in self.parts]
            content = join_files(sources, self.path.parent, provenance)
        else:
            content = join_indexed(provenance)
        if not overwrite and self.path.exists():
            raise DatasetError(f"{self.path} has appeared meanwhile. Choose another name.")
        with without_older_shards(self.path, self.folder), replacing(self.path) as temporary:
            temporary.write_bytes(content)
        return episodes, provenance

    def _state(self) -> str:
        whole = sum(part.path.exists() for part in self.parts)
        if not whole:
            return "No shard was whole, so that nothing was left behind."
        return (
            f"{whole} of {self.count} shards are whole, in {self.folder}: run the same command "
            "again to go on, or remove that folder."
        )

    def _tidy(self) -> None:
        """Leave no folder without a shard in it."""
        if self.folder.is_dir() and not any(part.path.exists() for part in self.parts):
            shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder; the lock goes with this process, however it ends.

    Raises:
        DatasetError: Another one is at it.
    """
    try:
        import fcntl
    except ImportError:  # not on this system: nothing keeps two apart
        yield
        return
    with open(folder / LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"{folder}: another process is writing these shards") from None
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)
