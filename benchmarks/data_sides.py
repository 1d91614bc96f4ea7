"""One side of the data benchmark, in a fresh process: prints what it measured as JSON.

``python -m benchmarks.data_sides CASE JSON`` with the case's keywords. Peaks of memory are those of
the whole process; `base_bytes` is what it held once everything was imported and the market made.
"""

from __future__ import annotations

import inspect
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import torch
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import BaseVectorEnv, DummyVectorEnv

from benchmarks.construction import peak_bytes
from data_tools.buffers import TensorReplayBuffer
from data_tools.collect import DEFAULT_TASK, collect
from data_tools.environment import open_market
from data_tools.training_span import combine_arguments, make_training_env
from offline_algos.gym_task import Flat, RandomPolicy
from offline_algos.vector_env import TradeVectorEnv

FULL, INDEXED = "full", "indexed"
GYM, VECTOR = "gym", "vector"
BATCH = 256
STEPS_A_READ = 64
REPEATS = 3  # of what is fast

Numbers = dict[str, float]


def has_layout(layout: str) -> bool:
    """Whether datasets can be collected in a layout."""
    return layout == FULL or "layout" in inspect.signature(collect).parameters


def collected(path: Path, rows: int, lanes: int, seed: int, layout: str = FULL) -> float:
    """Collect with random actions on the embedded market; the seconds of the whole call."""
    more: dict[str, Any] = {} if layout == FULL else {"layout": layout}
    begin = time.perf_counter()
    collect(path, buffer_size=rows, num_envs=lanes, seed=seed, overwrite=True, progress=False,
            echo=None, **more)  # fmt: skip
    return time.perf_counter() - begin


def ours(folder: Path, rows: int, lanes: int, seed: int, layout: str = FULL) -> Numbers:
    """Collecting and saving, and what a call costs that collects a step of each lane."""
    path = folder / "ours.hdf5"
    collected(path, lanes, lanes, seed, layout)  # everything is compiled after it
    base = peak_bytes()
    fixed = [collected(path, lanes, lanes, seed, layout) for _ in range(REPEATS)]
    seconds = collected(path, rows, lanes, seed, layout)
    return {
        "seconds": seconds, "fixed_seconds": statistics.median(fixed),
        "bytes": path.stat().st_size, "base_bytes": base, "peak_bytes": peak_bytes(),
    }  # fmt: skip


def tianshou_environments(kind: str, lanes: int) -> BaseVectorEnv:
    """What Tianshou's Collector steps: as many environments of Gymnasium, or our vector of them.

    On the dates that `collect` uses, and without infos, which the Collector would store.
    """
    market, _ = open_market(None, echo=None)
    arguments = combine_arguments({}, None, None, None)
    env = make_training_env(DEFAULT_TASK, market, lanes, arguments, None, autoreset_mode="Disabled")
    if kind == VECTOR:
        return TradeVectorEnv(env)
    config = env.config
    options = {"observation": "flat", "end": config.end, "episode_steps": config.episode_steps}
    return DummyVectorEnv([lambda: Flat(gym.make(DEFAULT_TASK, df=market, **options))] * lanes)


def tianshou(folder: Path, rows: int, lanes: int, seed: int, environments: str) -> Numbers:
    """Collecting with random actions and saving, as Tianshou does."""
    envs = tianshou_environments(environments, lanes)
    policy = RandomPolicy(envs.get_env_attr("action_space", 0)[0])
    path = folder / "tianshou.hdf5"

    def run(size: int) -> float:
        begin = time.perf_counter()
        buffer = VectorReplayBuffer(size, lanes)
        collector = Collector(policy, envs, buffer)
        envs.seed(seed)
        collector.reset()
        collector.collect(n_step=size, random=True)
        buffer.save_hdf5(str(path))
        return time.perf_counter() - begin

    run(2 * lanes)
    base, seconds = peak_bytes(), run(rows // lanes * lanes)
    return {
        "seconds": seconds, "bytes": path.stat().st_size, "base_bytes": base,
        "peak_bytes": peak_bytes(),
    }  # fmt: skip


def store(folder: Path, rows: int, lanes: int, seed: int, layout: str = FULL) -> Numbers:
    """Writing a dataset as it is collected, and loading it to sample from."""
    path = folder / f"store-{layout}.hdf5"
    collected(path, lanes, lanes, seed, layout)
    base = peak_bytes()
    collected(path, rows, lanes, seed, layout)
    buffer, _ = TensorReplayBuffer.load(path)
    buffer.sample(BATCH)
    return {
        "bytes": path.stat().st_size, "base_bytes": base, "peak_bytes": peak_bytes(),
        "rows": len(buffer),
    }  # fmt: skip


def store_tianshou(folder: Path, rows: int, lanes: int) -> Numbers:
    """The transitions that `store` left in the folder, saved and loaded by Tianshou."""
    path = folder / "store-tianshou.hdf5"
    base = peak_bytes()
    buffer = VectorReplayBuffer(rows, lanes)
    fill(buffer, folder / f"store-{FULL}.hdf5", lanes)
    buffer.save_hdf5(str(path))
    held = len(buffer)
    del buffer
    loaded = VectorReplayBuffer.load_hdf5(str(path))
    loaded.sample(BATCH)
    return {
        "bytes": path.stat().st_size, "base_bytes": base, "peak_bytes": peak_bytes(),
        "rows": min(held, len(loaded)),
    }  # fmt: skip


def fill(buffer: VectorReplayBuffer, path: Path, lanes: int) -> None:
    """Add a file's transitions, a step of all lanes at a time, as a Collector would."""
    with h5py.File(path) as root:
        columns = {name: root["_meta"][name] for name in root["_meta"] if name != "info"}
        size = len(columns["rew"])
        shares = size // lanes + (np.arange(lanes) < size % lanes)
        starts = np.concatenate([[0], np.cumsum(shares)[:-1]])
        for begin in range(0, int(shares[0]), STEPS_A_READ):
            counts = np.clip(shares - begin, 0, STEPS_A_READ)
            read = {
                name: [
                    column[a + begin : a + begin + n] for a, n in zip(starts, counts, strict=True)
                ]
                for name, column in columns.items()
            }
            for step in range(int(counts[0])):
                ids = np.flatnonzero(counts > step)
                rows = {name: np.stack([v[i][step] for i in ids]) for name, v in read.items()}
                buffer.add(Batch(rows, info=Batch()), buffer_ids=ids)


def sample(folder: Path, seconds: float, layout: str = FULL) -> Numbers:
    """Batches a second from what `store` left in the folder."""
    buffer, _ = TensorReplayBuffer.load(folder / f"store-{layout}.hdf5")
    return {"per_second": draws(buffer, seconds), "peak_bytes": peak_bytes()}


def draws(buffer: TensorReplayBuffer, seconds: float) -> float:
    """Batches of 256 a second, as tensors."""
    buffer.sample(BATCH)
    count, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        buffer.sample(BATCH)
        count += 1
    return count / elapsed


def large(folder: Path, rows: int, lanes: int, seed: int, layout: str, seconds: float) -> Numbers:
    """A set of which the full layout would not fit: made, opened and sampled."""
    path = folder / "large.hdf5"
    spent = collected(path, rows, lanes, seed, layout)
    begin = time.perf_counter()
    buffer, _ = TensorReplayBuffer.load(path)
    opened = time.perf_counter() - begin
    return {
        "rows": len(buffer), "seconds": spent, "open_seconds": opened,
        "per_second": draws(buffer, seconds), "bytes": path.stat().st_size,
        "peak_bytes": peak_bytes(),
    }  # fmt: skip


CASES: dict[str, Callable[..., Numbers]] = {
    case.__name__: case for case in (ours, tianshou, store, store_tianshou, sample, large)
}


def main() -> None:
    """Run the case that the command line names, in a folder of its own unless one is given."""
    case, text = sys.argv[1:]
    keywords = json.loads(text)
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(dir=keywords.pop("scratch", None)) as own:
        folder = Path(keywords.pop("folder", own))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = CASES[case](folder, **keywords)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
