"""Files compared by their whole content, and buffers made with Tianshou's own class."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from tianshou.data import Batch, ReplayBuffer, VectorReplayBuffer

from data_tools.convert import convert
from data_tools.hdf5 import DatasetError

NAMES = {"minari": "made-v0", "d4rl": "made_d4rl.hdf5", "torchrl": "made_td", "d3rlpy": "made.h5"}


def content(path, without=()):
    """Every attribute and every dataset: names, dtypes, shapes and bytes."""
    found = {}

    def attributes(item):
        return {
            name: (np.asarray(value).dtype.str, np.asarray(value).shape, np.asarray(value).tolist())
            for name, value in item.attrs.items()
        }

    def visit(name, item):
        if name.startswith(tuple(without)) if without else False:
            return
        data = None
        if isinstance(item, h5py.Dataset):
            values = np.asarray(item[()])
            held = values.tolist() if item.dtype == object else values.tobytes()
            data = (item.dtype.str, item.shape, held)
        found[name] = (attributes(item), data)

    with h5py.File(path) as root:
        found["/"] = attributes(root)
        root.visititems(visit)
    return found


def there(source, target_format, folder, **options):
    """Convert into another format."""
    target = folder / NAMES[target_format]
    convert(source, target, target_format=target_format, **options)
    return target


def back(source, folder, name="back.hdf5"):
    """Convert into ours."""
    convert(source, folder / name)
    return folder / name


def refusal(source, target, **options):
    """The one-line message of a refused conversion, after which nothing is left behind."""
    before = sorted(target.parent.iterdir())
    with pytest.raises(DatasetError) as caught:
        convert(source, target, **options)
    assert sorted(target.parent.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused(source, target, *parts, **options):
    message = refusal(source, target, **options)
    for part in parts:
        assert part in message, message


def drive(buffer, steps, lanes=None, seed=0, ended=True):
    """Fill one of Tianshou's buffers with made-up episodes; returns it."""
    random = np.random.default_rng(seed)
    count = lanes or 1
    obs = random.normal(size=(count, 3))
    for step in range(steps):
        after = random.normal(size=(count, 3))
        kind = random.random(count)
        terminated, truncated = kind < 0.15, (kind > 0.1) & (kind < 0.25)
        if not ended:
            terminated, truncated = terminated & False, truncated & False
        made = {
            "obs": obs, "act": random.integers(0, 3, count), "rew": random.normal(size=count),
            "terminated": terminated, "truncated": truncated, "obs_next": after,
            "info": Batch(step=np.full(count, step)),
            "policy": Batch(logp=random.normal(size=count)),
        }  # fmt: skip
        if lanes is None:
            made = {name: value[0] for name, value in made.items()}
        buffer.add(Batch(made))
        over = (terminated | truncated)[:, None]
        obs = np.where(over, random.normal(size=(count, 3)), after)
    return buffer


def stock(path, capacity, steps, *, keep_state=False, **options):
    """A file of the stock `ReplayBuffer`; without its pickled random state, if not kept."""
    buffer = drive(ReplayBuffer(capacity, **options), steps)
    buffer.save_hdf5(str(path))
    if not keep_state:
        with h5py.File(path, "r+") as root:
            del root["_random_state"]
    return buffer


def stock_vector(path, capacity, lanes, steps, **options):
    """A file of the stock `VectorReplayBuffer`."""
    buffer = drive(VectorReplayBuffer(capacity, lanes), steps, lanes, **options)
    buffer.save_hdf5(str(path))
    return buffer


def chronological(buffer):
    """A buffer's rows, oldest first, sub-buffer by sub-buffer, by Tianshou's own account."""
    return buffer.sample_indices(0)


def interpreter(module, variable):
    """A Python with `module`: the one that the environment variable names, or this one.

    For example GYM_TRADE_D3RLPY_PYTHON=/some/venv/bin/python, in a virtual environment where
    ``pip install d3rlpy`` was run: it pins an old Gymnasium, so it cannot live beside this package.
    """
    named = os.environ.get(variable)
    if named:
        return named
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"no {module}: set {variable} to a Python that has it")
    return sys.executable


def run_with(python, program, *arguments):
    """Run a program in another Python, which sees nothing of this package; returns its output."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", program, *map(str, arguments)],
        capture_output=True, text=True, env=environment, cwd=Path(arguments[0]).parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
