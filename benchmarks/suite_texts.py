"""The suite's texts: a card for each dataset, and the README of the folder."""

from __future__ import annotations

import itertools
from typing import Any

from benchmarks.markdown import table
from benchmarks.suite_cards import card, card_of, score, spread
from benchmarks.suite_config import KINDS, MEDIUM_SHARE, TaskSets, size_name


def texts(manifest: dict[str, Any], tasks: dict[str, TaskSets]) -> dict[str, str]:
    """Every text of a suite: its path below the folder -> its content.

    Args:
        manifest: Of a finished suite.
        tasks: Those that are known, by name; one that is not gets no note.
    """
    made = {
        card_of(path): card(path, entry, manifest, tasks.get(entry["task"]))
        for path, entry in manifest["files"].items()
    }
    return made | {"README.md": readme(manifest, tasks)}


def readme(manifest: dict[str, Any], tasks: dict[str, TaskSets]) -> str:
    """What the folder holds."""
    order = {kind: number for number, kind in enumerate(KINDS)}
    files = sorted(
        manifest["files"].items(),
        key=lambda item: (item[1]["task"], item[1]["size"], order[item[1]["kind"]]),
    )
    blocks = [
        "# Offline reinforcement learning datasets",
        "Made by `python -m benchmarks.make_suite` of gym-trade from its configuration alone; "
        "`manifest.json` has hashes, commands and reference returns, and `python -m "
        "benchmarks.make_suite --check FOLDER` compares. Stock Tianshou opens every file.",
        f"Medium policies are their expert's training, stopped where validation is nearest to "
        f"{MEDIUM_SHARE:.3g} of the way from random (on markets: from no position) to the expert. "
        "Sizes are collections of their own, none a part of another. In brackets D4RL's measure, "
        "0 random and 100 expert.",
    ]
    header = ["dataset", "transitions", "episodes", "return of an episode"]
    for name, group in itertools.groupby(files, key=lambda item: item[1]["task"]):
        rows = [
            [
                f"[{entry['kind']} {size_name(entry['size'])}]({card_of(path)})",
                f"{entry['rows']:,}", f"{entry['episodes']:,}",
                f"{spread(entry['behavior_return'], entry['behavior_return_std'])} "
                f"({score(entry)})",
            ]
            for path, entry in group
        ]  # fmt: skip
        task = tasks.get(name)
        title = name if task is None else f"{task.title} (`{name}`)"
        blocks += [f"## {title}", *([] if task is None else [task.note]), table(header, rows)]
    return "\n\n".join(blocks) + "\n"
