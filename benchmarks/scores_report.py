"""The README's tables of results/scores-*.json: those of a suite in four parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.scores_config import SUITES
from benchmarks.scores_tables import scores_tables

CHECKS = ("Checks", "Selection")
PARTS = ("", "-checks", "-tasks", "-more")


def part(name: str, result: dict[str, Any]) -> str:
    """Some of a suite's tables.

    Args:
        name: "": methods, and methods by data; "-checks"; "-tasks": every row and control; "-more":
            whatever else the result has.
        result: Of the suite.
    """
    chosen = []
    for title, text in scores_tables(result).items():
        if title.startswith("Methods"):
            belongs = ""
        elif title in CHECKS:
            belongs = "-checks"
        else:
            belongs = "-tasks" if title in result["tasks"] else "-more"
        if belongs == name:
            chosen.append(f"**{title}**\n\n{text}")
    return "\n\n".join(chosen) or "None in this suite."


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    f"scores-{suite}{name}": (f"scores-{suite}", partial(part, name))
    for suite in SUITES
    for name in PARTS
}
COMMANDS = {f"scores-{suite}": f"benchmarks.scores --suite {suite}" for suite in SUITES}
# The small suite's tables must be shown, the others' may.
UNSHOWN = frozenset(name for name in TABLES if not name.startswith("scores-small"))
