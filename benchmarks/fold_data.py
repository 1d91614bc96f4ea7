"""What each walk-forward fold is trained on: the rows of a dataset that are over by then."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.folds import Fold, FoldError
from data_tools.content import content_hash
from data_tools.files import replacing
from data_tools.flat_layout import DatasetError, read_provenance
from data_tools.rules import RULES
from data_tools.split import split

QUESTION = "question.json"


def read_about(dataset: Path, *, trained_behaviour: bool) -> dict[str, Any]:
    """The provenance of a dataset that can be cut into folds.

    Args:
        dataset: Of a trading task.
        trained_behaviour: Take data that a trained policy made.

    Raises:
        DatasetError: There is no market in it.
        FoldError: A trained policy made it: it may have learned what folds are tested on.
    """
    about = read_provenance(dataset)
    if about is None or "market" not in about:
        raise DatasetError(
            f"{dataset}: expected a dataset of a market, as data_tools.collect makes it: folds are "
            "cut by the times of its rows."
        )
    trained = sorted({name for name in _makers(about["policy"]) if name not in RULES})
    if trained and not trained_behaviour:
        raise FoldError(
            f"{dataset} was made by {', '.join(trained)}, and a trained policy may have learned "
            "from what the folds are tested on. Use data of rules (python -m data_tools.collect "
            "--train-fraction 1), or pass --trained-behaviour if it learned from elsewhere."
        )
    return about


def _makers(policy: dict[str, Any]) -> Iterator[str]:
    """Names of the policies that made data, those inside a mixture one by one."""
    if "members" not in policy:
        yield str(policy["name"])
    for member in policy.get("members", ()):
        yield from _makers(member)


def check_covered(dataset: Path, about: dict[str, Any], folds: list[Fold]) -> None:
    """Refuse a dataset that ends before the last fold's training does.

    Raises:
        FoldError: It does.
    """
    span, needed = about["span"], folds[-1].train[1]
    if pd.Timestamp(span["end"]) < pd.Timestamp(needed):
        raise FoldError(
            f"{dataset} covers {span['start'][:16]} to {span['end'][:16]}, and fold "
            f"{folds[-1].number} learns from what lies before {needed[:16]}. Collect on the whole "
            "market: python -m data_tools.collect --train-fraction 1"
        )


def ask(folder: Path, question: dict[str, Any]) -> None:
    """Note what a folder's files answer, so that none is taken for the answer to another question.

    Raises:
        FoldError: They answer another one.
    """
    path = folder / QUESTION
    text = json.dumps(question, indent=1) + "\n"
    if path.exists() and json.loads(path.read_text()) != json.loads(text):
        raise FoldError(
            f"{folder} holds folds of another dataset, or cut otherwise ({path} says which): "
            "choose another --folder, or delete this one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text)


def identity(dataset: Path) -> dict[str, Any]:
    """What tells a user's dataset in a question."""
    return {"content_hash": content_hash(dataset)}


def cut(dataset: Path, about: dict[str, Any], fold: Fold, target: Path) -> None:
    """Write a fold's rows, unless they were written before.

    Raises:
        DatasetError: There are none.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    begin, end = fold.train
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        source, earlier, rest = dataset, Path(place, "earlier.hdf5"), Path(place, "rest.hdf5")
        if pd.Timestamp(begin) > pd.Timestamp(about["span"]["start"]):
            # earlier bars may be seen: they are the past
            split(source, earlier, Path(place, "window.hdf5"), at=begin, embargo="0")
            source = Path(place, "window.hdf5")
        done = Path(place, target.name)
        split(source, done, rest, at=end, embargo="0")
        done.replace(target)
