"""What every format is read as and written from: transitions in the order of time, in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.flat_layout import COLUMNS, DatasetError
from data_tools.flat_skeleton import Columns

Array = npt.NDArray[Any]
Block = dict[str, Array]  # some rows of every column

BLOCK_BYTES = 16 * 2**20
# One row is held in memory whole; one that is larger than this is a mistake or an attack.
LARGEST_ROW = 256 * 2**20
SIDE = "source/rows/"  # columns that are kept beside the transitions, for the way back only
PLAIN_KINDS = "fiub"


@dataclass
class Source:
    """What a foreign dataset says beyond its transitions: kept, so that it can be given back.

    Attributes:
        document: JSON-able, with "format".
        arrays: Small arrays, such as one entry an episode; filled while the blocks are read.
    """

    document: dict[str, Any]
    arrays: dict[str, Array] = field(default_factory=dict)


@dataclass
class Trajectories:
    """An open dataset.

    Attributes:
        format: Its name.
        rows: Transitions.
        columns: Shape and dtype of one row of each column: `flat_layout.COLUMNS`, others of the
            buffer ("info/x"), and those whose names begin with `SIDE`.
        read: Yields all rows, in order, each block's columns equally long. An episode's rows are
            one behind the other; where one ends, the row says so.
        facts: What was recognised, JSON-able.
        layout: The flat observation's parts: key, start, stop, shape and, where it differs, dtype.
        stack_num: Frames that Tianshou stacks when it samples.
        task: The Gymnasium id of the task, or None.
        flat: What to restore of the flat file that this once was; see `flat_file.describe_file`.
        source: What to restore of the foreign dataset that this once was.
        notes: Lines for the user: what was inferred or left out.
    """

    format: str
    rows: int
    columns: Columns
    read: Callable[[], Iterator[Block]]
    facts: dict[str, Any] = field(default_factory=dict)
    layout: list[dict[str, Any]] | None = None
    stack_num: int = 1
    task: str | None = None
    flat: dict[str, Any] | None = None
    source: Source | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def others(self) -> tuple[str, ...]:
        """The columns beyond `flat_layout.COLUMNS`."""
        return tuple(name for name in self.columns if name not in COLUMNS)

    @property
    def discrete(self) -> bool:
        """Whether an action is one whole number."""
        shape, dtype = self.columns["act"]
        return not shape and dtype.kind in "iu"

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of all columns."""
        return sum(row_bytes(*column) for column in self.columns.values())


def row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes of one row of a column."""
    return math.prod(shape) * dtype.itemsize


def transition_columns(
    observation: tuple[tuple[int, ...], np.dtype[Any]],
    action: tuple[tuple[int, ...], np.dtype[Any]],
    reward: np.dtype[Any],
) -> Columns:
    """`flat_layout.COLUMNS` of these shapes and dtypes, in the order that they are written."""
    flag = ((), np.dtype(np.bool_))
    return {
        "obs": observation, "act": action, "rew": ((), reward),
        "terminated": flag, "truncated": flag, "done": flag, "obs_next": observation,
    }  # fmt: skip


def held_dtype(dtype: np.dtype[Any], role: str) -> np.dtype[Any]:
    """The dtype that a flat file holds such numbers in, without losing any.

    Actions and rewards of other dtypes than the usual ones are converted: whole numbers that choose
    an action become int64 and rewards floating point.
    """
    if role == "act" and dtype.kind in "iub":
        return np.dtype(np.int64)
    if role == "rew" and dtype.kind in "iub":
        return np.dtype(np.float64)
    if role == "obs" and dtype.kind == "b":
        return np.dtype(np.uint8)
    return dtype.newbyteorder("=")


def exactly(values: Array, dtype: np.dtype[Any], what: str) -> Array:
    """`values` as `dtype`.

    Raises:
        DatasetError: A value would change.
    """
    if values.dtype == dtype:
        return values
    converted = values.astype(dtype)
    if not np.array_equal(converted.astype(values.dtype), values, equal_nan=dtype.kind == "f"):
        raise DatasetError(f"{what}: {values.dtype} numbers that {dtype} cannot hold.")
    return converted


def block_rows(columns: Columns) -> int:
    """How many rows make a block of bounded size.

    Raises:
        DatasetError: A single row is absurdly large.
    """
    size = sum(row_bytes(*column) for column in columns.values())
    if size > LARGEST_ROW:
        raise DatasetError(
            f"one transition takes {size / 2**20:,.0f} MiB. Expected at most "
            f"{LARGEST_ROW // 2**20} MiB; the file is damaged, or not a dataset."
        )
    return max(1, BLOCK_BYTES // max(1, size))


def spans(rows: int, columns: Columns) -> Iterator[tuple[int, int]]:
    """Cut the rows [0, rows) into ranges of bounded size."""
    step = block_rows(columns)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def joined(blocks: list[Block]) -> Block:
    """Blocks, one behind the other, as one."""
    if len(blocks) == 1:
        return blocks[0]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def gathered(blocks: Iterable[Block], columns: Columns) -> Iterator[Block]:
    """Join small blocks, so that many short episodes cost few writes."""
    wanted, waiting, count = min(block_rows(columns), 65_536), list[Block](), 0
    for block in blocks:
        waiting.append(block)
        count += len(block["rew"])
        if count >= wanted:
            yield joined(waiting)
            waiting, count = [], 0
    if waiting:
        yield joined(waiting)


def differs(first: Array, second: Array) -> npt.NDArray[np.bool_]:
    """Which rows of two equally shaped arrays differ in any bit."""
    if len(first) == 0:
        return np.zeros(0, np.bool_)
    left, right = (
        np.ascontiguousarray(part).reshape(len(part), -1).view(np.uint8) for part in (first, second)
    )
    return np.asarray((left != right).any(1))


def segments(blocks: Iterable[Block]) -> Iterator[Block]:
    """Whole episodes: runs of rows in which each ``obs_next`` is, bit for bit, the next ``obs``.

    A run also ends where ``done`` is set, and at the last row. One episode is held in memory.
    """
    waiting: list[Block] = []
    for block in blocks:
        if waiting and differs(waiting[-1]["obs_next"][-1:], block["obs"][:1])[0]:
            yield joined(waiting)
            waiting = []
        ends = block["done"].copy()
        if len(ends) > 1:
            ends[:-1] |= differs(block["obs_next"][:-1], block["obs"][1:])
        begin = 0
        for stop in (np.flatnonzero(ends) + 1).tolist():
            waiting.append({name: values[begin:stop] for name, values in block.items()})
            yield joined(waiting)
            waiting, begin = [], stop
        if begin < len(ends):
            waiting.append({name: values[begin:] for name, values in block.items()})
    if waiting:
        yield joined(waiting)


def mark_breaks(blocks: Iterable[Block]) -> Iterator[Block]:
    """Set ``truncated`` where an episode ends without a flag: a time limit, never a death.

    That is where the next row does not continue, and at the last row.
    """
    previous: Block | None = None
    for block in blocks:
        block = dict(block)
        unmarked = ~block["done"]
        unmarked[:-1] &= differs(block["obs_next"][:-1], block["obs"][1:])
        unmarked[-1] = False
        block["truncated"] = block["truncated"] | unmarked
        block["done"] = block["done"] | unmarked
        if previous is not None:
            if not previous["done"][-1] and differs(previous["obs_next"][-1:], block["obs"][:1])[0]:
                _end(previous)
            yield previous
        previous = block
    if previous is not None:
        if not previous["done"][-1]:
            _end(previous)
        yield previous


def _end(block: Block) -> None:
    block["truncated"][-1] = block["done"][-1] = True


def with_ends(blocks: Iterable[Block]) -> Iterator[Block]:
    """The same blocks, each with "ends" and "cuts": ``done`` and ``truncated`` of `mark_breaks`."""
    waiting: list[Block] = []

    def originals() -> Iterator[Block]:
        for block in blocks:
            waiting.append(block)
            yield block

    for marked in mark_breaks(originals()):
        yield waiting.pop(0) | {"ends": marked["done"], "cuts": marked["truncated"]}
