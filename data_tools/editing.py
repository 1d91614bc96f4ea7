"""What the commands that edit datasets share: choosing rows, writing them, saying so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from data_tools.content import check_shards
from data_tools.environment import TASKS
from data_tools.episode_scan import EpisodeScan
from data_tools.episodes import Episodes
from data_tools.files import sha256
from data_tools.flat_layout import DatasetError
from data_tools.lane_writer import LaneWriter
from data_tools.provenance import describe_episodes
from data_tools.recording import episodes_text
from data_tools.stored_rows import Rows, StoredRows, open_rows
from data_tools.target_file import refuse_place
from data_tools.training_span import takes_one_step
from gym_trade import Market

EDITED = "edited"
# What a provenance says of the files that a dataset lies in.
OF_FILES = ("shard", "shards")
Bool = npt.NDArray[np.bool_]


def nothing() -> None:
    """What is called once in a while, where nobody asks for anything."""


@dataclass(frozen=True)
class Edited:
    """What was written.

    Attributes:
        path: The dataset.
        transitions: Number of rows.
        episodes: What their episodes were like.
        provenance: What it says about itself; None where its source says nothing.
    """

    path: Path
    transitions: int
    episodes: Episodes
    provenance: dict[str, Any] | None

    @property
    def text(self) -> str:
        """Lines of text, the path on the last one."""
        return f"{episodes_text(self.transitions, self.episodes)}\n{self.path}"


@dataclass(frozen=True)
class Selection:
    """Rows of a dataset.

    Attributes:
        source: The dataset.
        keep: Which of its rows, bool (size,).
        cut: Which of those end an episode that goes on in the source, bool (size,).
    """

    source: StoredRows
    keep: Bool
    cut: Bool

    @classmethod
    def whole(cls, source: StoredRows) -> Selection:
        """All rows."""
        return cls(source, np.ones(source.size, np.bool_), np.zeros(source.size, np.bool_))

    @property
    def rows(self) -> int:
        """How many."""
        return int(np.count_nonzero(self.keep))

    def parts(self) -> Iterator[tuple[Rows, Bool]]:
        """The rows, some at a time, and where an episode is cut among them.

        The last row of all ends an episode: what follows it is not its successor.
        """
        last = int(np.flatnonzero(self.keep)[-1])
        for start, stop in self.source.chunks():
            chosen = np.flatnonzero(self.keep[start:stop])
            if not len(chosen):
                continue
            begin, end = start + int(chosen[0]), start + int(chosen[-1]) + 1
            rows = self.source.read(begin, end)
            if len(chosen) != end - begin:
                rows = {name: values[start + chosen - begin] for name, values in rows.items()}
            cut = self.cut[start + chosen]
            if end == last + 1:
                cut[-1] |= not (rows["terminated"][-1] or rows["truncated"][-1])
            rows["truncated"] = rows["truncated"] | cut
            yield rows, cut


def write_selections(
    writer: LaneWriter,
    selections: Sequence[Selection],
    check: Callable[[], object],
    bar: tqdm[Any],
    more: Callable[[Rows], Rows] = lambda rows: rows,
) -> EpisodeScan:
    """Write rows of datasets, one behind the other.

    Args:
        writer: Of `stored_rows.StoredRows.writer`.
        selections: Which.
        check: Called for each part; may raise.
        bar: Told of the rows.
        more: Changes a part's columns.

    Returns:
        Their episodes.
    """
    scan = EpisodeScan()
    for selection in selections:
        for rows, cut in selection.parts():
            check()
            selection.source.write(writer, more(rows))
            scan.add(rows["rew"], rows["terminated"], rows["terminated"] | rows["truncated"], cut)
            bar.update(len(rows["rew"]))
    return scan


def longest_episode(provenance: dict[str, Any] | None) -> int | None:
    """Steps after which a trading task truncates an episode, as far as a provenance says."""
    if provenance is None or provenance["task"] not in TASKS:
        return None
    steps = 1 if takes_one_step(provenance["task"]) else provenance["config"].get("episode_steps")
    return steps if isinstance(steps, int) else None


def describe_edit(
    sources: Sequence[StoredRows],
    provenance: dict[str, Any] | None,
    by: str,
    **how: Any,
) -> dict[str, Any] | None:
    """What an edited dataset says about itself, without what its episodes were like.

    Args:
        sources: What it was made of.
        provenance: What the source, or all of them, say about themselves.
        by: What was done.
        **how: The choices made, as JSON has them.
    """
    if provenance is None:
        return None
    known = {name: value for name, value in provenance.items() if name not in OF_FILES}
    return known | {EDITED: {"by": by, **how, "sources": [_describe(each) for each in sources]}}


def _describe(source: StoredRows) -> dict[str, Any]:
    """A source, for the provenance of what was made of it."""
    known = source.provenance or {}
    made: dict[str, Any] = {
        "file": source.path.name, "sha256": sha256(source.path), "rows": source.size,
    }  # fmt: skip
    if "shards" in known:  # the file holds no rows: this decides about them
        made["plan"] = known["shards"].get("plan")
    return made | ({EDITED: known[EDITED]} if EDITED in known else {})


def begins_inside(edited: object) -> bool:
    """Whether episodes of an edited dataset may begin in their middle: after a split's cut.

    Args:
        edited: What its provenance says under `EDITED`.
    """
    if not isinstance(edited, dict):
        return False
    sources = edited.get("sources", [])
    later = edited.get("by") == "split" and edited.get("part") == "second"
    return later or any(begins_inside(each.get(EDITED)) for each in sources)


def with_episodes(
    provenance: dict[str, Any] | None, rows: int, episodes: Episodes, *, same: bool = True
) -> dict[str, Any] | None:
    """A provenance that says how many rows there are, and what their episodes were like.

    Args:
        provenance: Of `describe_edit`.
        rows: Transitions.
        episodes: Their episodes.
        same: Whether simple policies still earn what the source says that they do.
    """
    if provenance is None:
        return None
    reference = describe_episodes(episodes)
    simple = provenance.get("reference", {}).get("returns")
    if same and simple is not None:
        reference["returns"] = simple
    return provenance | {"buffer_size": rows, "reference": reference}


def check_target(target: Path, sources: Iterable[Path], overwrite: bool) -> None:
    """Refuse a target that is a source, exists or cannot be written, before any work.

    Raises:
        DatasetError: It is.
    """
    for source in sources:
        if target.exists() and source.exists() and source.samefile(target):
            raise DatasetError(f"{target} is the dataset itself. Choose another name.")
    if target.exists() and not overwrite:
        raise DatasetError(
            f"{target} exists. Choose another name, or pass --overwrite to replace it."
        )
    refuse_place(target)


@contextmanager
def open_source(path: Path, market: Market | str | None, features: Any) -> Iterator[StoredRows]:
    """As `stored_rows.open_rows`; changed shards and too little memory are errors of one line."""
    check_shards(path)
    with open_rows(path, market=market, features=features) as source:
        try:
            yield source
        except MemoryError:
            raise DatasetError(
                f"{path}: there is not enough memory for the flags of {source.size} transitions."
            ) from None


def progress_bar(total: int, show: bool) -> tqdm[Any]:
    """A bar on stderr that counts transitions written."""
    return tqdm(total=total, desc="writing", unit=" transitions", unit_scale=True, disable=not show)
