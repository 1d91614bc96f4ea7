"""Whether a suite's files are still those of its manifest, and whether others can open them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tianshou.data import ReplayBuffer

from benchmarks.suite_manifest import NAME, SuiteError, read_manifest
from data_tools.files import sha256
from data_tools.flat_layout import DatasetError, open_flat
from offline_algos.checkpoint import load_policy


def check(folder: Path, echo: Callable[[str], object] = print) -> list[str]:
    """Compare a folder with its manifest, and open each file as others would.

    Args:
        folder: The suite's.
        echo: Told of each file.

    Returns:
        What is wrong, a line each.

    Raises:
        SuiteError: There is no manifest that can be read.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise SuiteError(f"{folder} has no {NAME}. Make a suite with: python -m benchmarks."
                         f"make_suite --out {folder}")  # fmt: skip
    entries = manifest["policies"] | manifest["files"]
    faults = []
    for name, entry in entries.items():
        fault = _fault(folder / name, entry, entries)
        echo(f"{name}: {fault or 'as the manifest says'}")
        faults += [f"{name} {fault}"] if fault else []
    return faults


def _fault(path: Path, entry: dict[str, Any], entries: dict[str, Any]) -> str | None:
    """What is wrong with a file, None where nothing is."""
    if not path.is_file():
        return "is not there"
    if sha256(path) != entry["sha256"]:
        return "is not the file of the manifest: its SHA-256 differs"
    for name, digest in entry["made_from"].items():
        if entries.get(name, {}).get("sha256") != digest:
            return f"was made from another {name}: make it again"
    return _check_dataset(path, entry) if "rows" in entry else _check_policy(path, entry)


def _check_policy(path: Path, entry: dict[str, Any]) -> str | None:
    try:
        about = load_policy(path).about
    except ValueError as error:
        return f"cannot be opened: {error}"
    return None if about["epoch"] == entry["epoch"] else f"is of epoch {about['epoch']}"


def _check_dataset(path: Path, entry: dict[str, Any]) -> str | None:
    """Stock Tianshou must open it, with the rows and episodes that the manifest counts."""
    try:
        with open_flat(path):  # refuses pickled parts, which Tianshou would run
            pass
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            buffer = ReplayBuffer.load_hdf5(str(path))
    except DatasetError as error:
        return f"cannot be opened: {error}"
    except Exception as error:  # whatever a loader of someone else's may raise
        return f"cannot be opened by Tianshou: {type(error).__name__}: {error}"
    found = len(buffer), int(buffer.done[: len(buffer)].sum())
    wanted = entry["rows"], entry["episodes"]
    return None if found == wanted else f"has (rows, episodes) {found}, the manifest {wanted}"
