"""Write a dataset in another layout, and keep every bit of it.

Example: trades.hdf5 small.hdf5 --layout indexed
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_tools.command_line import ArgumentParser, run, sure_interrupts, terminate_cleanly
from data_tools.environment import parse_env_arguments
from data_tools.layouts import to_full, to_indexed
from data_tools.training_span import FULL, INDEXED


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """
    parser = ArgumentParser(prog="python -m data_tools.relayout", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("source", type=Path, help="the dataset")
    add("target", type=Path, help="the file to write")
    add("--layout", required=True, choices=(FULL, INDEXED),
        help="full: observations as they are; indexed: windows are left out, and gathered from the "
        "market when sampled")
    add("--market", metavar="FILE",
        help="the market that it was collected on, if it is no longer where it was")
    add("--env", metavar="features=VALUE", action="append", default=[],
        help="the environment's own features function, which the dataset alone may not run")
    add("--overwrite", action="store_true", help="replace an existing target")
    # fmt: on

    def command() -> None:
        flags = parser.parse_args(argv)
        arguments = parse_env_arguments(flags.env)
        if set(arguments) - {"features"}:
            parser.error("--env: only features can be given here")
        change = to_full if flags.layout == FULL else to_indexed
        with sure_interrupts() as check:
            written = change(
                flags.source, flags.target, market=flags.market,
                features=arguments.get("features"), overwrite=flags.overwrite,
                check=check,
            )  # fmt: skip
        print(f"{written.stat().st_size / 2**20:,.1f} MiB, {flags.layout} layout\n{written}")

    return run(command, interrupted="interrupted: nothing was written.")


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
