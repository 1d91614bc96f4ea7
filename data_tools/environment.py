"""How command lines name an environment and its market.

``--env KEY=VALUE`` (repeatable) and ``--env-config FILE`` set the environment's arguments;
``--market`` names a file or a synthetic market. Which arguments exist is the environment's to say.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_tools.load import load
from gym_trade import (
    Market,
    OneStepConfig,
    SequentialConfig,
    SLTPConfig,
    VectorOneStepEnv,
    VectorSLTPEnv,
    VectorTradeEnv,
    synthetic,
)
from gym_trade.arguments import decode

# Every trading task's id -> the batch of it.
TASKS: dict[str, type[VectorTradeEnv]] = {
    "Trade-Sequential-v0": VectorTradeEnv,
    "Trade-VectorSequential-v0": VectorTradeEnv,
    "Trade-SLTP-v0": VectorSLTPEnv,
    "Trade-OneStep-v0": VectorOneStepEnv,
}

SYNTHETIC_PREFIX = "synthetic:"
DEFAULT_SYNTHETIC = "mean_reverting"

_PYTHON_LITERALS = {"True": "true", "False": "false", "None": "null"}


class EnvironmentArgumentError(ValueError):
    """An environment argument or a market name that cannot be read."""


def add_environment_flags(
    parser: argparse._ActionsContainer, *, default_market: bool = True
) -> None:
    """Add ``--market``, ``--env`` and ``--env-config`` to a parser or to a group of it."""
    otherwise = "; default: the embedded synthetic:mean_reverting" if default_market else ""
    parser.add_argument(
        "--market",
        metavar="FILE",
        help="market file (.csv, .csv.gz, .zip, .parquet or .feather), or "
        f"one of {', '.join(SYNTHETIC_PREFIX + kind for kind in synthetic.KINDS)}" + otherwise,
    )
    parser.add_argument(
        "--env",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an argument of the environment, repeatable; the value is JSON, or else a string: "
        "--env leverage=3 --env 'action_levels=[-1,0,1]' --env reward=simple_return",
    )
    parser.add_argument(
        "--env-config",
        metavar="FILE",
        help="a JSON file with an object of environment arguments; --env takes precedence",
    )


def environment_help() -> str:
    """The environment's arguments with defaults and meanings, for the end of a help text."""
    lines = ["arguments of the environment, for --env (default as JSON, meaning):"]
    shown = {"df", "render_mode"}
    for config, title in (
        (SequentialConfig, None),
        (SLTPConfig, "of Trade-SLTP-v0 and Trade-OneStep-v0, in the place of action levels:"),
        (OneStepConfig, "of Trade-OneStep-v0 alone:"),
    ):
        lines += [title] if title else []
        for field in dataclasses.fields(config):
            if field.name not in shown:
                default = json.dumps(field.default)
                lines.append(f"  {field.name:<24}{default:<14}{field.metadata['help']}")
                shown.add(field.name)
    return "\n".join(lines)


def parse_env_arguments(pairs: Sequence[str], file: str | Path | None = None) -> dict[str, Any]:
    """Read ``--env`` pairs and an ``--env-config`` file into one dictionary.

    Args:
        pairs: ``KEY=VALUE`` strings; a value is JSON or, where it is not, a string.
        file: A JSON file holding one object. A pair replaces the file's value.

    Returns:
        Argument name -> value. Unknown names are left for the environment to refuse; a value
        ``callable:module:name``, as a configuration writes callables, is imported.

    Raises:
        EnvironmentArgumentError: A pair or the file cannot be read, or names an argument twice.
    """
    arguments = {} if file is None else _read_file(Path(file))
    given: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise EnvironmentArgumentError(
                f"--env {pair!r}: expected KEY=VALUE, such as --env leverage=3."
            )
        if key in given:
            raise EnvironmentArgumentError(f"--env {key} is given twice. Give it once.")
        given[key] = _parse_value(key, text)
    return {name: decode(name, value) for name, value in (arguments | given).items()}


def _parse_value(key: str, text: str) -> Any:
    if text in _PYTHON_LITERALS:
        raise EnvironmentArgumentError(
            f"--env {key}={text}: values are JSON; write {key}={_PYTHON_LITERALS[text]}."
        )
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_file(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_unique(file))
    except OSError as error:
        raise EnvironmentArgumentError(
            f"--env-config {file} cannot be read: {error.strerror or error}."
        ) from None
    except json.JSONDecodeError as error:
        raise EnvironmentArgumentError(
            f"--env-config {file} is not JSON: {error}. Expected an object of arguments, such as "
            '{"leverage": 3}.'
        ) from None
    except UnicodeDecodeError:
        raise EnvironmentArgumentError(f"--env-config {file} is not UTF-8 text.") from None
    if not isinstance(content, dict):
        raise EnvironmentArgumentError(
            f"--env-config {file} holds a JSON {type(content).__name__}. Expected an object of "
            'arguments, such as {"leverage": 3}.'
        )
    return content


def _unique(file: Path) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise EnvironmentArgumentError(
                f"--env-config {file} gives {', '.join(repeated)} twice. Give each once."
            )
        return dict(pairs)

    return build


def market_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of an environment's arguments that say how a market file is stamped."""
    defaults = {"stamp": "open", "offset": None}
    return {k: arguments[k] for k, v in defaults.items() if arguments.get(k, v) != v}


def open_market(
    spec: str | None,
    *,
    market_arguments: dict[str, Any] | None = None,
    echo: Callable[[str], object] | None = print,
) -> tuple[Market, dict[str, Any]]:
    """Open the market that ``--market`` names.

    Args:
        spec: A file, "synthetic:<kind>" with one of `synthetic.KINDS`, or None for its first.
        market_arguments: ``stamp`` and ``offset`` for a file whose bars need them.
        echo: Receives what was recognised in a file.

    Returns:
        The market, and a JSON-able description from which `reopen_market` finds it again.

    Raises:
        EnvironmentArgumentError: There is no such synthetic market.
        MarketDataError: The file cannot be read, or its bars are not a market.
    """
    wanted = market_arguments or {}
    text = SYNTHETIC_PREFIX + DEFAULT_SYNTHETIC if spec is None else spec
    if text.startswith(SYNTHETIC_PREFIX):
        name = text.removeprefix(SYNTHETIC_PREFIX)
        if name not in synthetic.KINDS:
            known = ", ".join(SYNTHETIC_PREFIX + kind for kind in synthetic.KINDS)
            raise EnvironmentArgumentError(f"--market {text}: expected a file, or one of {known}.")
        market = synthetic.embedded_market(name)
        return market, {"kind": "synthetic", "name": name, "content_hash": market.content_hash}
    path = Path(os.path.abspath(text))
    market = Market(load(path, echo=echo), **wanted)
    description = {"kind": "file", "path": str(path), "content_hash": market.content_hash}
    return market, description | ({"arguments": wanted} if wanted else {})


def reopen_market(
    description: dict[str, Any], *, echo: Callable[[str], object] | None = print
) -> Market:
    """Open the market that `open_market` described, and check that it is still the same.

    Raises:
        EnvironmentArgumentError: Its content has changed since.
        MarketDataError: The file is gone or cannot be read.
    """
    kind = description.get("kind")
    if kind not in ("synthetic", "file"):
        raise EnvironmentArgumentError(
            f"market of kind {kind!r}: expected 'synthetic' or 'file'. Name it with --market."
        )
    spec = SYNTHETIC_PREFIX + description["name"] if kind == "synthetic" else description["path"]
    market, _ = open_market(spec, market_arguments=description.get("arguments"), echo=echo)
    if market.content_hash != description["content_hash"]:
        raise EnvironmentArgumentError(
            f"{spec} has changed: its content hash is {market.content_hash[:16]}..., and the data "
            f"was made from {description['content_hash'][:16]}.... Restore the file, or name the "
            "market with --market."
        )
    return market
