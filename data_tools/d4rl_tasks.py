"""D4RL's names: the files they stand for, the Gymnasium tasks, and the published scores."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.flat_layout import DatasetError

# Where D4RL itself puts what it downloads (d4rl/offline_env.py).
FOLDER_VARIABLE, FOLDER = "D4RL_DATASET_DIR", "~/.d4rl/datasets"
SOURCE = "REF_MIN_SCORE and REF_MAX_SCORE of D4RL's d4rl/infos.py"


@dataclass(frozen=True)
class Family:
    """A robot of D4RL's locomotion datasets.

    Attributes:
        task: The Gymnasium task nearest to the one that the data was made in.
        random: Return of random actions, as D4RL publishes it.
        expert: Return of its expert.
    """

    task: str
    random: float
    expert: float


FAMILIES = {
    "halfcheetah": Family("HalfCheetah-v5", -280.178953, 12135.0),
    "hopper": Family("Hopper-v5", -20.272305, 3234.3),
    "walker2d": Family("Walker2d-v5", 1.629008, 4592.3),
    "ant": Family("Ant-v5", -325.6, 3879.7),
}


def default_folder() -> str:
    """Where D4RL's own package would put the files."""
    return os.environ.get(FOLDER_VARIABLE) or os.path.expanduser(FOLDER)


def find_file(name: str, folder: str | os.PathLike[str]) -> Path:
    """The file of a dataset's name.

    D4RL calls the file of "halfcheetah-medium-expert-v2" halfcheetah_medium_expert-v2.hdf5, and
    that of a "-v0" has no version in its name; "<name>.hdf5" is found as well.

    Raises:
        DatasetError: The name is no name, or there is no such file.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise DatasetError(
            f"--expert-data-task {name}: expected D4RL's name of a dataset, such as "
            "halfcheetah-medium-v2. A file of another name goes to --load-buffer-name."
        )
    stem, dash, version = name.rpartition("-v")
    if not dash:
        stem, version = name, ""
    underscored = stem.replace("-", "_")
    tried = [f"{underscored}{dash}{version}.hdf5", f"{name}.hdf5"]
    if version == "0":
        tried.append(f"{underscored}.hdf5")
    for file in (Path(folder) / candidate for candidate in tried):
        if file.is_file():
            return file
    raise DatasetError(
        f"--expert-data-task {name}: {folder} has none of {', '.join(dict.fromkeys(tried))}. Put "
        "D4RL's file there, or say where it is with --dataset-dir."
    )


def task_of(name: str) -> str:
    """The Gymnasium task of a dataset's name.

    Raises:
        DatasetError: None is known.
    """
    family = FAMILIES.get(name.lower().partition("-")[0])
    if family is None:
        raise DatasetError(
            f"--expert-data-task {name}: no Gymnasium task is known for it, only for "
            f"{', '.join(FAMILIES)}. Name the one to judge in with --task."
        )
    return family.task


def normalised_score(task: str, returns: dict[str, float | None]) -> dict[str, Any] | None:
    """D4RL's score, 100 (return - random) / (expert - random), where it has references.

    Args:
        task: A Gymnasium task.
        returns: Whose -> mean return; None where there is none.

    Returns:
        The scores under the same names, with the references, their source and what to keep in mind:
        JSON-able. None for a task without references.
    """
    name, _, version = task.partition("-")
    family = FAMILIES.get(name.lower())
    if family is None or not version.startswith("v"):
        return None
    span = family.expert - family.random
    return {
        **{
            whose: None if value is None else 100.0 * (value - family.random) / span
            for whose, value in returns.items()
        },
        "random_return": family.random,
        "expert_return": family.expert,
        "source": SOURCE,
        "note": f"the references were measured on {name}-v2, the policies on {task}, whose physics "
        "and rewards are not quite the same: compare such scores with each other",
    }
