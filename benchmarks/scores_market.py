"""A user's own bars in the scores benchmark: two tasks of a market file, in the place of a suite's.

Results name the market by its content's hash, never by its place. Numbers of a user's bars are the
user's: they are written into the benchmark's folder and not into benchmarks/results.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.scores_config import CONTINUOUS, DISCRETE, TASKS, ScoreTask, Suite
from benchmarks.suite_config import market_tasks
from data_tools.command_line import CommandLineError
from data_tools.environment import SYNTHETIC_PREFIX, market_arguments, open_market
from data_tools.environment import parse_env_arguments as parse_environment
from data_tools.files import replacing

FILE = "market.json"
NAMES = tuple(task.name for task in market_tasks("FILE", ()))


@dataclass(frozen=True)
class OwnMarket:
    """What is known of a user's market.

    Attributes:
        facts: Its content's hash, and the arguments of its environment: JSON-able.
    """

    facts: dict[str, Any]

    def keep_to(self, folder: Path) -> None:
        """Note in a benchmark's folder that it is this market's.

        Raises:
            CommandLineError: It is another's: its datasets would not fit.
        """
        path = folder / FILE
        if path.exists():
            if json.loads(path.read_text()) != self.facts:
                raise CommandLineError(
                    f"{folder} holds the scores of another --market, or of other --market-env. "
                    "Name another --folder."
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.facts) + "\n")


def open_own_market(path: str, environment: Sequence[str]) -> OwnMarket:
    """Read a market file and make its tasks known to the benchmark, in `scores_config.TASKS`.

    Args:
        path: What `data_tools.load` reads, or "synthetic:<kind>".
        environment: Arguments of its environment, "NAME=VALUE".

    Raises:
        ValueError: It cannot be read, or an argument cannot be.
    """
    arguments = parse_environment(list(environment))
    _, facts = open_market(path, market_arguments=market_arguments(arguments))
    if not path.startswith(SYNTHETIC_PREFIX):
        path = str(Path(path).absolute())
    words = tuple(word for pair in environment for word in ("--env", pair))
    for task in market_tasks(path, words):
        methods = CONTINUOUS if task.script.startswith("d4rl") else DISCRETE
        TASKS[task.name] = ScoreTask(task, methods)
    return OwnMarket({"content_hash": facts["content_hash"], "environment": arguments})


def on_own_market(suite: Suite) -> Suite:
    """A suite with the tasks of the market file in the place of its own, without ablations.

    What its stages look at are the last kind of its datasets, and no walk-forward folds.
    """
    looked_at = tuple((name, suite.kinds[-1]) for name in NAMES)
    return replace(
        suite, tasks=NAMES, ablation=None, extra=(), variants=(), swept=looked_at, judged=looked_at,
        asked=(), folds=None,
    )  # fmt: skip
