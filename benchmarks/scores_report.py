"""The README's tables of results/scores-*.json: those of a suite or an example in four parts."""

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


COMMANDS = {f"scores-{suite}": f"benchmarks.scores --suite {suite}" for suite in SUITES}
# A user's market as an example. Its bars are not part of the project: who has them writes the
# result into a folder of his own, from where it is copied but for its curves: the equity of who
# holds is the price itself.
EXAMPLE = "scores-btcusdt"
COMMANDS[EXAMPLE] = (
    "benchmarks.scores --suite small --tasks market-levels --seeds 3 --market btcusdt "
    '--market-env execute_on=1hour --market-env \'time_frames=["15min","1hour"]\' '
    "--market-env 'window_sizes=[16,16]' --folder mine"
)
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    f"{result}{name}": (result, partial(part, name)) for result in COMMANDS for name in PARTS
}
SHOWN = ("scores-small", EXAMPLE)  # the others may be
UNSHOWN = frozenset(name for name in TABLES if not name.startswith(SHOWN))
