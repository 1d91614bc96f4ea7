"""The environment that a dataset was collected in, from what the dataset says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_tools.command_line import CommandLineError
from data_tools.environment import TASKS
from data_tools.flat_layout import DatasetError
from data_tools.market_windows import market_of
from gym_trade import Market, TradeConfig
from gym_trade.arguments import CALLABLE_PREFIX


def recorded_configuration(
    path: Path, known: dict[str, Any], market: Market | str | None, env: dict[str, Any]
) -> TradeConfig:
    """The environment's configuration, in index mode.

    Args:
        path: The dataset, for messages.
        known: Its provenance.
        market: As for `market_windows.open_windows`.
        env: Callables that the dataset names: argument -> callable.

    Raises:
        DatasetError: It names code that was not allowed, or its market cannot be used.
    """
    fields = dict(known["config"])
    for name in list(fields):
        text = json.dumps(fields[name])
        if name not in env and CALLABLE_PREFIX in text:
            raise DatasetError(
                f"{path} was made with code of its maker's own, {name}={text}, which would be "
                f"imported and run. If you trust it, pass it on: --env '{name}={text}', or env= in "
                "Python."
            )
    for name in env:
        if CALLABLE_PREFIX not in json.dumps(fields.pop(name, None)):
            raise CommandLineError(
                f"--env {name}: the dataset's own value is used. Leave it out; only code that the "
                "dataset names is given here."
            )
    made = TASKS[known["task"]].config_class
    try:
        opened = market_of(known["market"], market)
        config = made.from_json(json.dumps(fields), df=opened)
        return config.replace(**env, observation="index", render_mode=None)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: its environment cannot be made again: {error}") from error
