"""Describe a market file or a dataset: what it holds, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py

from data_tools.command_line import ArgumentParser, run, terminate_cleanly
from data_tools.dataset_lines import dataset_lines
from data_tools.dataset_report import report_dataset
from data_tools.market_report import market_lines, report_market

DATASET_SUFFIXES = (".hdf5", ".h5")


def describe(path: Path, plot: Path | None = None) -> list[str]:
    """Describe a file, which is told from its content.

    Args:
        path: A market file, also one that `gym_trade.Market` refuses, or a dataset.
        plot: Where to write a picture.

    Returns:
        Lines of text.

    Raises:
        ValueError: The file cannot be read as either, or the picture cannot be written.
    """
    if plot is not None:
        from data_tools import pictures  # matplotlib takes long to import

        pictures.check_picture_name(plot)
    if path.suffix.lower() in DATASET_SUFFIXES or (path.is_file() and h5py.is_hdf5(path)):
        dataset = report_dataset(path)
        lines = dataset_lines(dataset) + _edited_lines(dataset.provenance)
        if plot is not None:
            pictures.draw_dataset(dataset, plot)
    else:
        market = report_market(path)
        lines = market_lines(market)
        if plot is not None:
            pictures.draw_market(market, plot)
    return lines + ([] if plot is None else [f"picture written to {plot}"])


def _edited_lines(provenance: dict[str, Any] | None) -> list[str]:
    """How a dataset was made of others, a line for each time that it was edited."""
    lines, edited = [], (provenance or {}).get("edited")
    while isinstance(edited, dict):
        known = {n: x for n, x in edited.items() if n not in ("by", "sources")}
        how = ", ".join(
            f"{n} {x if isinstance(x, str) else json.dumps(x)}" for n, x in known.items()
        )
        sources = edited.get("sources") or [{}]
        names = ", ".join(str(each.get("file")) for each in sources)
        lines.append(f"edited       {edited.get('by')} of {names}" + (f": {how}" if how else ""))
        edited = sources[0].get("edited")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """
    parser = ArgumentParser(prog="python -m data_tools.describe", description=__doc__)
    parser.add_argument("file", type=Path, help="market file or dataset (.hdf5)")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="write a picture, .png, .pdf or .svg"
    )

    def command() -> None:
        flags = parser.parse_args(argv)
        print("\n".join(describe(flags.file, flags.plot)))

    return run(command)


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
