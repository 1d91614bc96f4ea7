"""The command lines of `subset`, `merge` and `split`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from data_tools.command_line import ArgumentParser, run, sure_interrupts
from data_tools.environment import parse_env_arguments

STOPPED = "interrupted: nothing was written."


def add_source_flags(parser: ArgumentParser) -> None:
    """Add the flags that name an indexed dataset's market, and ``--overwrite``."""
    add = parser.add_argument
    add("--market", metavar="FILE",
        help="the market that it was collected on, if it is no longer where it was")  # fmt: skip
    add("--env", metavar="features=VALUE", action="append", default=[],
        help="the environment's own features function, which the dataset alone may not "
        "run")  # fmt: skip
    add("--overwrite", action="store_true", help="replace an existing target")


def run_edit(
    parser: ArgumentParser, edit: Callable[..., str], argv: Sequence[str] | None = None
) -> int:
    """Run a command that edits datasets.

    Args:
        parser: Its flags, those of `add_source_flags` among them.
        edit: Called with the flags, ``features``, ``progress`` and ``check``; returns what to say.
        argv: The command line; None: that of the process.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """

    def command() -> None:
        flags = vars(parser.parse_args(argv))
        flags["features"] = _features(parser, flags.pop("env"))
        with sure_interrupts() as check:
            print(edit(**flags, progress=True, check=check))

    return run(command, interrupted=STOPPED)


def _features(parser: ArgumentParser, pairs: Sequence[str]) -> Any:
    """The features function of ``--env``, or None.

    Raises:
        CommandLineError: Another argument is given.
    """
    arguments = parse_env_arguments(pairs)
    if set(arguments) - {"features"}:
        parser.error("--env: only features can be given here")
    return arguments.get("features")
