"""Compiled code: equal to plain Python, checked for bounds, never stale, cached anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gym_trade
from gym_trade import jit, types

PACKAGE = Path(gym_trade.__file__).resolve().parent
ROOT = Path(__file__).resolve().parents[2]
ROLLOUT = Path(__file__).with_name("mixed_rollout.py")


def run(*arguments, package=PACKAGE, check=True, **environment):
    """Run this Python on a script, with a package directory in front of the path."""
    kept = {"NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR")}  # what is compiled already
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    inherited |= {name: value for name, value in kept.items() if value}
    paths = os.pathsep.join((str(Path(package).parent), str(ROOT)))
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=inherited | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        cwd="/", capture_output=True, text=True, timeout=300, check=check,
    )  # fmt: skip


def digests(*arguments, **environment):
    process = run("-W", "error", ROLLOUT, *arguments, check=False, **environment)
    assert process.returncode == 0, process.stderr[-2000:]
    return json.loads(process.stdout)


@pytest.mark.parametrize("dtype", [types.LANE_DTYPE, types.RULES_DTYPE, types.FILL_DTYPE],
                         ids=["lane", "rules", "fill"])  # fmt: skip
def test_no_field_is_shadowed_by_an_attribute(dtype):
    """A field named like one of numpy.record's attributes reads that attribute un-jitted."""
    assert not set(dtype.names) & set(dir(np.record))
    assert not set(dtype.names) & set(dir(np.recarray))


@pytest.fixture(scope="module")
def plain_python():
    return digests(NUMBA_DISABLE_JIT="1")


def test_jitted_equals_plain_python(plain_python):
    """Bit for bit, and plain Python without one warning from NumPy."""
    assert digests() == plain_python
    assert len(set(plain_python.values())) == len(plain_python)


def test_indices_never_leave_their_arrays(plain_python, tmp_path):
    """Under NUMBA_BOUNDSCHECK, with a cache of its own; and the check is on."""
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert digests(**checked) == plain_python
    process = run(ROLLOUT, "--out-of-range", check=False, **checked)
    assert process.returncode == 1
    assert "IndexError" in process.stderr


def test_checked_and_unchecked_code_have_different_caches(monkeypatch):
    digest = jit.source_digest.__wrapped__
    unchecked = digest()
    monkeypatch.setattr(jit.numba_config, "BOUNDSCHECK", not jit.numba_config.BOUNDSCHECK)
    assert digest() != unchecked


# Calls orders.py, which calls fills.py: numba's own cache would know the former only.
ORDER = """
from tests.accounts import opened, rules
print(float(opened(rules(fee_rate=0.01), 0.5).fees))
"""


def copy_package(to):
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, to / "gym_trade", ignore=ignore))


def test_an_edit_of_any_source_is_seen_through_the_cache(tmp_path):
    package, cache = copy_package(tmp_path), tmp_path / "cache"

    def fees():
        process = run("-c", ORDER, package=package, NUMBA_CACHE_DIR=str(cache))
        return float(process.stdout)

    def files():
        return {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb*")}

    first, compiled = fees(), files()
    assert first > 0.0 and compiled
    assert fees() == first
    assert files() == compiled  # the second run compiled nothing
    source = package / "fills.py"
    text = source.read_text()
    assert text.count("account.fees += fee\n") == 1
    source.write_text(text.replace("account.fees += fee\n", "account.fees += 3.0 * fee\n"))
    assert fees() == 3.0 * first
    source.write_text(text)
    assert fees() == first


def test_without_a_writable_place_it_compiles_into_a_temporary_one(tmp_path):
    """Nothing is written into the installation, and nothing is left behind."""
    package, temporary = copy_package(tmp_path), tmp_path / "tmp"
    temporary.mkdir()
    before = sorted(package.rglob("*"))
    for path in before:
        path.chmod(0o444)
    package.chmod(0o555)
    nowhere = "/proc/nowhere"
    environment = {"NUMBA_CACHE_DIR": nowhere, "HOME": nowhere, "XDG_CACHE_HOME": nowhere}
    process = run("-c", ORDER, package=package, TMPDIR=str(temporary), **environment)
    assert float(process.stdout) > 0.0
    package.chmod(0o755)
    assert sorted(package.rglob("*")) == before
    assert list(temporary.iterdir()) == []
