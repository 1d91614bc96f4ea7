"""What the tests of edited datasets share: looking at rows and episodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tianshou.data import ReplayBuffer

from data_tools.hdf5 import load_buffer
from data_tools.rollouts import record
from tests.data_tools.collecting import COLUMNS

Bytes = tuple[bytes, ...]


def rows_of(buffer: Any, *more: str) -> list[Bytes]:
    """Each row's columns, as bytes that can be compared."""
    columns = [np.asarray(getattr(buffer, name)) for name in (*COLUMNS, *more)]
    return [tuple(column[row].tobytes() for column in columns) for row in range(len(buffer))]


def episodes_of(buffer: Any, *more: str) -> list[tuple[Bytes, ...]]:
    rows, ends = rows_of(buffer, *more), np.flatnonzero(buffer.done) + 1
    assert ends[-1] == len(rows)
    return [tuple(rows[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def opened(path: Path) -> Any:
    """The dataset in memory, of either layout."""
    return load_buffer(path, echo=None)[0]


def stock(path: Path) -> ReplayBuffer:
    """As Tianshou itself opens it, with the ends of its episodes where they should be."""
    buffer = ReplayBuffer.load_hdf5(str(path))
    every = np.arange(len(buffer))
    assert np.array_equal(buffer.next(every), np.where(buffer.done, every, every + 1))
    begins = np.append(True, buffer.done[:-1])
    assert np.array_equal(buffer.prev(every), np.where(begins, every, every - 1))
    return buffer


def push(folder: Path, name: str, action: int, **options: Any) -> Path:
    """CartPole with one action, whose rows tell the dataset that they are of."""
    path = folder / name
    record(
        "CartPole-v1", lambda seen, _: np.full(len(seen), action), path, seed=action,
        policy={"name": f"push {action}"}, **({"buffer_size": 200, "num_envs": 8} | options),
    )  # fmt: skip
    return path


def set_provenance(path: Path, change: Any) -> None:
    with h5py.File(path, "r+") as file:
        known = json.loads(file.attrs["provenance"])
        change(known)
        file.attrs["provenance"] = json.dumps(known)


def refused(command: Any, words: list[str], message: str, capsys: Any) -> None:
    """Bad input is one line that says what is wrong, and leaves nothing behind."""
    folder = Path(words[0]).parent
    before = sorted(folder.iterdir())
    assert command(words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error, error
    assert sorted(folder.iterdir()) == before


def interrupting(calls: int) -> Any:
    """A check that raises as Ctrl-C does, at the n-th call."""
    left = [calls]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return check


def assert_interrupt_leaves_nothing(act: Any, folder: Path) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(KeyboardInterrupt):
        act(interrupting(0))
    assert sorted(folder.iterdir()) == before
