"""RL Unplugged's Atari data (Gulcehre et al. 2020, arXiv:2006.13888): TFRecord files, read only.

By transition, a record holds ``o_t`` and ``o_tp1``, four frames each as PNG, the oldest first, and
``a_t``, ``r_t`` (clipped) and ``d_t``, the discount, which is 0 where the game ended. By episode,
it holds T single frames, ``actions``, ``unclipped_rewards``, ``clipped_rewards`` and ``discounts``:
the last frame is what the last but one action led to, so that it makes T - 1 transitions.

Both become single frames, uint8 (84, 84), which Tianshou stacks by four when it samples, as long as
each record continues the one before. Where records are shuffled, stacks are stored.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.flat_layout import DatasetError
from data_tools.formats.tfrecord import Feature, parse_example, records
from data_tools.formats.trajectories import (
    Array,
    Block,
    Trajectories,
    block_rows,
    joined,
    transition_columns,
)

FRAME = (84, 84)
STACK = 4
# A stack is rebuilt wrongly in the first rows after a break; more such rows than this are too many.
LARGEST_SHARE = 0.1
KEPT_FRAMES = 16


def recognise(path: Path) -> bool:
    """Whether a file's first record is one of these."""
    try:
        first = next(records(path), None)
        found = set() if first is None else set(parse_example(first, str(path)))
    except (DatasetError, OSError):
        return False
    return {"o_t", "a_t"} <= found or {"observations", "actions"} <= found


@contextmanager
def open_rl_unplugged(path: Path, *, task: str | None = None) -> Iterator[Trajectories]:
    """Open a shard. It is read twice: once to see how long it is and whether it is in order.

    Raises:
        DatasetError: It is missing, damaged, empty, or holds something else.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is not a file. Expected a TFRecord file.")
    first = next(records(path), None)
    if first is None:
        raise DatasetError(f"{path} is empty: it holds no records.")
    by_episode = "observations" in parse_example(first, f"{path}: record 0")
    yield (_episodes if by_episode else _transitions)(path, task)


def _need(found: dict[str, Feature], name: str, count: int | None, where: str) -> Any:
    values = found.get(name)
    if values is None or (count is not None and len(values) != count):
        size = "missing" if values is None else f"of {len(values)} values"
        seen = ", ".join(sorted(found)) or "(none)"
        raise DatasetError(
            f"{where}: {name} is {size}. Expected {'some' if count is None else count}; features "
            f"seen: {seen}."
        )
    return values


class _Frames:
    """Decodes PNGs; the last few are remembered, since each is in several stacks."""

    def __init__(self) -> None:
        self._known: dict[bytes, Array] = {}

    def decode(self, png: bytes, where: str) -> Array:
        """One frame.

        Raises:
            DatasetError: It is no grey picture of 84 by 84.
        """
        known = self._known.get(png)
        if known is not None:
            return known
        from PIL import Image

        try:
            image = Image.open(io.BytesIO(png), formats=("PNG",))
            if image.size != FRAME:
                raise ValueError(f"its size is {image.size}, not {FRAME}")
            frame = np.asarray(image.convert("L"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DatasetError(f"{where}: a frame cannot be read: {error}.") from None
        if len(self._known) >= KEPT_FRAMES:
            del self._known[next(iter(self._known))]
        self._known[png] = frame
        return frame


def _columns(shape: tuple[int, ...]) -> Any:
    return transition_columns(
        (shape, np.dtype(np.uint8)), ((), np.dtype(np.int64)), np.dtype(np.float32)
    )


# --- by transition ---------------------------------------------------------------------------


def _examples(path: Path) -> Iterator[tuple[dict[str, Feature], str]]:
    for number, content in enumerate(records(path)):
        where = f"{path}: record {number}"
        found = parse_example(content, where)
        for name, count in (("o_t", 4), ("o_tp1", 4), ("a_t", 1), ("r_t", 1), ("d_t", 1)):
            _need(found, name, count, where)
        yield found, where


def _transitions(path: Path, task: str | None) -> Trajectories:
    rows = terminal = wrong = 0
    breaks, before, history = [], None, list[bytes]()
    for found, _ in _examples(path):
        here, there = found["o_t"], found["o_tp1"]
        assert isinstance(here, list) and isinstance(there, list)
        continues = before is not None and before == here
        if not continues:
            if rows:
                breaks.append(rows)  # the row before is the last of its episode
            history = []
        history = [*history, here[-1]][-STACK:]
        wrong += [history[0]] * (STACK - len(history)) + history != here
        ended = found["d_t"][0] == 0.0
        before, terminal, rows = None if ended else there, terminal + bool(ended), rows + 1
    single = wrong <= LARGEST_SHARE * rows and rows >= STACK
    ends, columns = set(breaks) | {rows}, _columns(FRAME if single else (STACK, *FRAME))

    def read() -> Iterator[Block]:
        frames, waiting, step = _Frames(), list[Block](), block_rows(columns)
        for row, (found, where) in enumerate(_examples(path)):
            terminated = bool(found["d_t"][0] == 0.0)
            done = terminated or row + 1 in ends
            stacks = []
            for name in ("o_t", "o_tp1"):
                pngs: Any = found[name]
                taken = [frames.decode(png, where) for png in (pngs[-1:] if single else pngs)]
                stacks.append(taken[0] if single else np.stack(taken))
            waiting.append(
                {"obs": stacks[0][None], "obs_next": stacks[1][None],
                 "act": np.array([found["a_t"][0]], np.int64),
                 "rew": np.array([found["r_t"][0]], np.float32),
                 "terminated": np.array([terminated]), "done": np.array([done]),
                 "truncated": np.array([done and not terminated])}
            )  # fmt: skip
            if len(waiting) >= step:
                yield joined(waiting)
                waiting = []
        if waiting:
            yield joined(waiting)

    if single:
        how = (
            f"single frames, stacked by {STACK} when sampled; the stacks of {wrong} rows near an "
            "episode's begin show its first frame again, not what was before it"
        )
    else:
        how = f"stacks of {STACK} frames, since records do not continue the ones before"
    return Trajectories(
        format="rlu", rows=rows, columns=columns, read=read, task=task,
        stack_num=STACK if single else 1,
        facts={"format": "rlu", "records": "transitions", "rewards": "clipped",
               "frames": "single" if single else "stacked", "terminal": terminal},
        notes=[f"{rows} transitions of RL Unplugged: {how}"],
    )  # fmt: skip


# --- by episode ------------------------------------------------------------------------------


def _episodes(path: Path, task: str | None) -> Trajectories:
    rows = number = skipped = 0
    for found, where in _whole(path):
        length = len(found["actions"])
        rows, number, skipped = rows + max(0, length - 1), number + 1, skipped + (length < 2)
        _reward_name(found, where)
    if rows < STACK:
        raise DatasetError(f"{path}: its {number} episodes hold {rows} transitions. Expected more.")
    columns = _columns(FRAME)

    def read() -> Iterator[Block]:
        frames, step = _Frames(), block_rows(columns)
        for found, where in _whole(path):
            pngs: Any = found["observations"]
            length = len(pngs) - 1
            rewards: Any = found[_reward_name(found, where)]
            actions: Any = found["actions"]
            over = bool(found["discounts"][-1] == 0.0)
            for start in range(0, length, step):
                stop = min(start + step, length)
                seen = np.stack([frames.decode(png, where) for png in pngs[start : stop + 1]])
                last = np.arange(start, stop) == length - 1
                yield {
                    "obs": seen[:-1], "obs_next": seen[1:], "act": actions[start:stop],
                    "rew": rewards[start:stop], "terminated": last & over,
                    "truncated": last & (not over), "done": last,
                }  # fmt: skip

    notes = [f"{number} episodes of RL Unplugged: single frames, stacked by {STACK} when sampled; "
             "rewards are not clipped"]  # fmt: skip
    if skipped:
        notes.append(f"{skipped} episodes of one frame, which hold no transition")
    return Trajectories(
        format="rlu", rows=rows, columns=columns, read=read, task=task, stack_num=STACK,
        notes=notes,
        facts={"format": "rlu", "records": "episodes", "frames": "single", "episodes": number},
    )  # fmt: skip


def _whole(path: Path) -> Iterator[tuple[dict[str, Feature], str]]:
    for number, content in enumerate(records(path)):
        where = f"{path}: record {number}"
        found = parse_example(content, where)
        length = len(_need(found, "actions", None, where))
        for name in ("observations", "discounts"):
            _need(found, name, length, where)
        yield found, where


def _reward_name(found: dict[str, Feature], where: str) -> str:
    name = "unclipped_rewards" if "unclipped_rewards" in found else "clipped_rewards"
    _need(found, name, len(found["actions"]), where)
    return name
