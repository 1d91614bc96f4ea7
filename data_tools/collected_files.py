"""How a dataset's rows were collected, also where its shards were made one file since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_tools.flat_layout import read_provenance

# In the provenance of what was collected in shards and is one file now: how each was collected.
COLLECTED = "collected"


def collections_of(path: Path, provenance: dict[str, Any]) -> list[tuple[int, int, int]]:
    """How a dataset's rows were collected: rows, seed and lanes of each file that was written.

    Args:
        path: The dataset.
        provenance: What it says about itself.
    """
    if COLLECTED in provenance:
        found = [tuple(each) for each in provenance[COLLECTED].get("files", [])]
    elif "shards" in provenance:
        folder = path.parent / str(provenance["shards"].get("folder"))
        names = [str(each.get("file")) for each in provenance["shards"].get("files", [])]
        found = [_numbers(read_provenance(folder / name) or {}) for name in names]
    else:
        found = [_numbers(provenance)]
    return [each for each in found if _is_collection(each)]


def in_one_file(path: Path, provenance: dict[str, Any]) -> dict[str, Any]:
    """The provenance of a dataset whose shards were made one file, which then has none.

    Args:
        path: The dataset.
        provenance: What it says about itself.
    """
    if "shards" not in provenance:
        return provenance
    kept = {name: value for name, value in provenance.items() if name != "shards"}
    return kept | {COLLECTED: {"files": [list(each) for each in collections_of(path, provenance)]}}


def _is_collection(numbers: tuple[Any, ...]) -> bool:
    """Whether they can be rows, seed and lanes."""
    if len(numbers) != 3 or not all(type(number) is int for number in numbers):
        return False
    rows, seed, lanes = numbers
    return bool(1 <= lanes <= rows and seed >= 0)


def _numbers(provenance: dict[str, Any]) -> tuple[int, int, int]:
    """Rows, seed and lanes, 0 for what is not known."""
    numbers = [provenance.get(name) for name in ("buffer_size", "seed", "num_envs")]
    rows, seed, lanes = (number if isinstance(number, int) else 0 for number in numbers)
    return rows, seed, lanes
