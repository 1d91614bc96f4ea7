"""TorchRL's memory-mapped TensorDict folders, read and written without TorchRL.

``TensorDict.memmap(folder)`` makes one raw file a tensor and a ``meta.json`` a level. By TorchRL's
convention a transition has ``observation`` and ``action`` at the root and ``observation``,
``reward``, ``done``, ``terminated`` and ``truncated`` under ``next``. The folder that a replay
buffer dumps has the same thing under ``storage``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.flat_layout import DatasetError, open_file
from data_tools.formats.carried import FILE, GROUP, Carried
from data_tools.formats.parts import Parts
from data_tools.formats.trajectories import (
    SIDE,
    Array,
    Block,
    Source,
    Trajectories,
    exactly,
    held_dtype,
    mark_breaks,
    spans,
    transition_columns,
)

META = "meta.json"
LARGEST_META = 64 * 2**20
KINDS = ("float64", "float32", "float16", "bool", *(f"{sign}int{bits}" for sign in ("", "u")
         for bits in (8, 16, 32, 64)))  # fmt: skip
DTYPES = {f"torch.{name}": np.dtype(name) for name in KINDS}
FLAGS = ("done", "terminated", "truncated")
TENSOR_DICT = "<class 'tensordict._td.TensorDict'>"
MOST_LEVELS = 16
ROWS_A_PASS = 65_536


def storage_folder(path: Path) -> Path | None:
    """The folder with the tensors, or None."""
    for folder in (path, path / "storage"):
        try:
            file = folder / META
            if file.is_file() and file.stat().st_size <= LARGEST_META:
                if "_type" in json.loads(file.read_text()):
                    return folder
        except (ValueError, RecursionError, OSError):
            continue
    return None


@contextmanager
def open_torchrl(
    path: Path, *, task: str | None = None, trust: bool = False
) -> Iterator[Trajectories]:
    """Open a folder.

    Args:
        path: The folder, or that of a dumped replay buffer.
        task: The Gymnasium id of its task, if known.
        trust: Take a folder that also has pickled parts; they are left out.

    Raises:
        DatasetError: It is not one, its files do not fit its ``meta.json``, or some are pickled.
    """
    folder = storage_folder(path)
    if folder is None:
        raise DatasetError(f"{path} is no memory-mapped TensorDict. Expected {META} in it.")
    pickled = [str(f.relative_to(folder)) for f in sorted(folder.rglob("*.pickle"))]
    if pickled and not trust:
        raise DatasetError(
            f"{path} has pickled parts, which can run any code when read: {', '.join(pickled)}. "
            "Pass --trust to convert the rest; they are left out."
        )
    tensors, batch = _tensors(folder, folder)
    notes = [f"left out: {', '.join(pickled)}"] if pickled else []
    with ExitStack() as stack:
        yield _read(path, folder, tensors, batch, task, notes, stack)


def _tensors(
    root: Path, folder: Path, prefix: str = "", level: int = 0
) -> tuple[dict[str, Array], tuple[int, ...]]:
    """Path -> memory-mapped tensor, of this level and those below; and the batch's shape."""
    try:
        meta = json.loads((folder / META).read_text())
        batch = tuple(int(n) for n in meta.get("shape", ()))
    except (OSError, ValueError, TypeError, RecursionError, AttributeError) as error:
        raise DatasetError(f"{folder / META} cannot be read: {error}.") from None
    if level > MOST_LEVELS:
        raise DatasetError(f"{folder}: more than {MOST_LEVELS} levels of folders.")
    found: dict[str, Array] = {}
    for name, about in meta.items():
        if not isinstance(about, dict) or name.startswith("_") or name != Path(name).name:
            continue
        if "shape" in about and "dtype" in about:
            found[f"{prefix}{name}"] = _mapped(root, folder / f"{name}.memmap", about)
        elif about.get("type") == "TensorDict":
            found |= _tensors(root, folder / name, f"{prefix}{name}/", level + 1)[0]
    return found, batch


def _mapped(root: Path, file: Path, about: dict[str, Any]) -> Array:
    try:
        dtype, shape = DTYPES[str(about["dtype"])], tuple(int(n) for n in about["shape"])
    except KeyError:
        raise DatasetError(
            f"{file} is of {about['dtype']}. Expected one of {', '.join(DTYPES)}."
        ) from None
    except (TypeError, ValueError):
        raise DatasetError(f"{file}: its shape is {about['shape']!r}.") from None
    if not file.is_file() or not file.resolve().is_relative_to(root.resolve()):
        raise DatasetError(f"{file} is missing, or a link out of the dataset.")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.stat().st_size < size:
        raise DatasetError(
            f"{file} has {file.stat().st_size} bytes. Expected {size}: {list(shape)} of {dtype}."
        )
    if size == 0:
        return np.zeros(shape, dtype)
    return np.memmap(file, dtype, "r", shape=shape)


def _read(
    path: Path,
    folder: Path,
    tensors: dict[str, Array],
    batch: tuple[int, ...],
    task: str | None,
    notes: list[str],
    stack: ExitStack,
) -> Trajectories:
    used = _filled(folder, batch)
    rows = math.prod(used)
    for name, values in tensors.items():
        if values.shape[: len(batch)] != batch:
            raise DatasetError(f"{path}: {name} has shape {values.shape}. Expected {batch}, ...")
    if rows == 0 or not batch:
        raise DatasetError(f"{path} is empty: it holds 0 transitions.")
    flat = {n: v[: used[0]].reshape(rows, *v.shape[len(batch) :]) for n, v in tensors.items()}
    after = {n.removeprefix("next/"): v for n, v in flat.items() if n.startswith("next/")}
    reward = flat.get("next/reward", flat.get("reward"))
    seen = [n for n in after if n in flat and n not in (*FLAGS, "reward", "action")
            and after[n].shape == flat[n].shape]  # fmt: skip
    if "observation" in seen:
        seen = ["observation", *(n for n in seen if n != "observation")]
    missing = [n for n, found in (("action", "action" in flat), ("next/reward", reward is not None),
               ("an observation at the root and under next", bool(seen)),
               ("next/done or next/terminated", "done" in after or "terminated" in after))
               if not found]  # fmt: skip
    if missing or reward is None:
        raise DatasetError(f"{path} lacks {', '.join(missing)}. Tensors seen: {', '.join(flat)}.")
    obs = Parts(
        {"" if len(seen) == 1 else n: (flat[n].shape[1:], flat[n].dtype) for n in seen}, "obs"
    )
    action = flat["action"]
    ours = (folder / FILE).exists()  # it then says what its actions are
    choices = 0 if ours else _choices(action)
    if choices:
        notes.append(f"its actions are one-hot: they become numbers from 0 to {choices - 1}")
    whole = bool(choices) or (action.dtype.kind in "iu" and action.shape[1:] in ((), (1,)))
    shape = () if whole else action.shape[1:] or (1,)
    act = (shape, held_dtype(action.dtype, "act"))
    kept = {n: v for n, v in flat.items()
            if not n.startswith("next/")
            and n not in (*seen, *FLAGS, "action", "reward")}  # fmt: skip
    lost = [n for n in after if n not in (*seen, *FLAGS, "reward")]
    if lost:
        kept |= {f"next/{n}": after[n] for n in lost}
    columns = transition_columns(obs.held, act, held_dtype(reward.dtype, "rew"))
    columns |= {f"{SIDE}{n}": (v.shape[1:], v.dtype) for n, v in kept.items()}
    source = Source(
        {"format": "torchrl", "observations": seen, "layout": obs.layout, "single": obs.single,
         "action": [action.dtype.str, list(action.shape[1:])],
         "choices": choices, "reward": [reward.dtype.str, list(reward.shape[1:])]}
    )  # fmt: skip
    if "terminated" not in after and "truncated" not in after:
        notes.append("the dataset says that episodes end (done) but not why: as terminations")
    ends = set(np.cumsum([used[-1]] * (rows // used[-1])).tolist()) if len(used) > 1 else {rows}

    def read() -> Iterator[Block]:
        for start, stop in spans(rows, columns):
            terminated, truncated = _outcomes(after, start, stop)
            for end in ends:
                if start < end <= stop and not terminated[end - start - 1]:
                    truncated[end - start - 1] = True
            here = {n: np.asarray(flat[n][start:stop]) for n in seen}
            there = {n: np.asarray(after[n][start:stop]) for n in seen}
            if obs.single:
                here, there = {"": here[seen[0]]}, {"": there[seen[0]]}
            yield {
                "obs": obs.hold(here, str(path)), "obs_next": obs.hold(there, str(path)),
                "act": exactly(_chosen(action[start:stop], choices), act[1], f"{path}: action")
                .reshape(stop - start, *shape),
                "rew": exactly(np.asarray(reward[start:stop]), columns["rew"][1], f"{path}: reward")
                .reshape(stop - start),
                "terminated": terminated, "truncated": truncated, "done": terminated | truncated,
            } | {f"{SIDE}{n}": np.asarray(v[start:stop]) for n, v in kept.items()}  # fmt: skip

    if reward.size != rows:
        raise DatasetError(
            f"{path}: its reward has shape {reward.shape}. Expected one a transition."
        )
    if ours:
        root = stack.enter_context(open_file(folder / FILE))
        if GROUP in root:
            restored = Carried(root[GROUP]).restore("torchrl", rows, read)
            if restored is not None:
                return restored
            notes.append(f"{FILE} does not fit the data any more and is left out")
    return Trajectories(
        format="torchrl", rows=rows, columns=columns, read=lambda: mark_breaks(read()), task=task,
        layout=None if obs.single else obs.layout, source=source,
        facts={"format": "torchrl"}, notes=notes,
    )  # fmt: skip


def _choices(action: Array) -> int:
    """The width of one-hot actions, which TorchRL makes of discrete ones; 0 if they are others."""
    if action.ndim != 2 or action.shape[1] < 2 or action.dtype.kind not in "iub":
        return 0
    for start in range(0, len(action), ROWS_A_PASS):
        part = np.asarray(action[start : start + ROWS_A_PASS])
        if ((part != 0) & (part != 1)).any() or (part.sum(1) != 1).any():
            return 0
    return int(action.shape[1])


def _chosen(action: Array, choices: int) -> Array:
    return np.asarray(action).argmax(1) if choices else np.asarray(action)


def _filled(folder: Path, batch: tuple[int, ...]) -> tuple[int, ...]:
    """The part of the batch that is in use: a dumped replay buffer may have room left."""
    file = folder / "storage_metadata.json"
    if not batch or not file.is_file():
        return batch
    try:
        length = int(json.loads(file.read_text())["len"])
    except (OSError, ValueError, TypeError, KeyError):
        raise DatasetError(f"{file} does not say how many rows are in use.") from None
    return (min(length, batch[0]), *batch[1:])


def _outcomes(after: dict[str, Array], start: int, stop: int) -> tuple[Array, Array]:
    """Terminated and truncated; without the first, an end that is not called a truncation is one.

    "done" alone says that an episode ended, not why; TorchRL then means a termination.
    """

    def flag(name: str) -> Array | None:
        found = after.get(name)
        return (
            None if found is None else np.array(found[start:stop], np.bool_).reshape(stop - start)
        )

    done, terminated, truncated = (flag(name) for name in FLAGS)
    if truncated is None:
        if done is not None and terminated is not None:
            truncated = done & ~terminated
        else:
            truncated = np.zeros(stop - start, np.bool_)
    if terminated is None:
        terminated = np.zeros_like(truncated) if done is None else done & ~truncated
    return terminated, truncated
