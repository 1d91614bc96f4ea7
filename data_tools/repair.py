"""Repair a market file: each change is named, counted and listed, and nothing else changes.

In this order: rows that no market can have are dropped (bad-rows), rows are sorted by time (sort),
repeated stamps are dropped where the rows are equal (duplicates), and so are stamps off the grid of
the others (off-grid). --skip leaves one out. Rows that contradict each other under one stamp are
refused unless --keep says which to believe. Bars are invented only with --fill-gaps.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_tools import market_repairs
from data_tools.command_line import ArgumentParser, CommandLineError, run, terminate_cleanly
from data_tools.grid import grid_offset
from data_tools.load import read
from data_tools.market_writer import check_market_name, write_market
from gym_trade import Market, MarketDataError
from gym_trade.validation import is_calendar_months

REPAIRS = ("bad-rows", "sort", "duplicates", "off-grid")


def repair(
    frame: pd.DataFrame,
    *,
    keep: str | None = None,
    fill_gaps: int = 0,
    skip: Collection[str] = (),
    zone: str | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Repair a market's frame.

    Args:
        frame: As `data_tools.load.load` returns it; it is not changed.
        keep: "first" or "last" of rows that contradict each other under one stamp; None refuses.
        fill_gaps: Gaps of up to so many missing bars are filled with flat bars at the last close,
            without volume; 0 fills none.
        skip: Repairs to leave out, of `REPAIRS`.
        zone: The time zone that the stamps are in, if not UTC, such as "America/New_York".

    Returns:
        The repaired frame, and lines that say what was changed.

    Raises:
        ValueError: An argument is out of range.
        MarketDataError: Rows contradict each other, or nothing remains.
    """
    if keep not in (None, "first", "last"):
        raise ValueError(f"keep={keep!r}: expected 'first', 'last' or None.")
    if fill_gaps < 0:
        raise ValueError(f"fill_gaps={fill_gaps}: expected 0 or more bars.")
    unknown = sorted(set(skip) - set(REPAIRS))
    if unknown:
        raise ValueError(
            f"skip: no repair is called {unknown[0]!r}; there are {', '.join(REPAIRS)}."
        )
    lines: list[str] = []
    if zone is not None:
        frame = market_repairs.to_utc(frame, zone, lines)
    if is_calendar_months(np.unique(frame.index.to_numpy().astype(np.int64))):
        raise MarketDataError(
            "these are bars of calendar months, which have no constant length: no market can have "
            "them. Take bars of days or weeks of the same market."
        )
    steps: dict[str, Callable[[pd.DataFrame, list[str]], pd.DataFrame]] = {
        "bad-rows": market_repairs.drop_bad_rows,
        "sort": market_repairs.sort,
        "duplicates": lambda rows, said: market_repairs.drop_duplicates(rows, said, keep),
        "off-grid": market_repairs.drop_off_grid,
    }
    for name, step in steps.items():
        if name not in skip:
            frame = step(frame, lines)
            if frame.empty:
                raise MarketDataError(f"nothing is left after {name}: {'; '.join(lines)}")
    if fill_gaps:
        frame = market_repairs.fill_gaps(frame, lines, fill_gaps)
    return frame, lines


def judge(frame: pd.DataFrame) -> tuple[str | None, str]:
    """Whether `gym_trade.Market` accepts a frame.

    Returns:
        Its refusal or None, and a line that says so.
    """
    stamps = frame.index.to_numpy().astype(np.int64)
    argument = grid_offset(stamps)
    try:
        market = Market(frame, offset=argument)
    except ValueError as error:
        return str(error), f"refused by gym_trade.Market: {error}"
    with_offset = f" with offset='{argument}'" if argument else ""
    return None, f"accepted by gym_trade.Market{with_offset}; content hash {market.content_hash}"


def repair_file(source: Path, target: Path, flags: argparse.Namespace) -> list[str]:
    """Repair a file into another.

    Returns:
        Lines that say what was changed.

    Raises:
        ValueError: The file cannot be read, repaired or written; then nothing is written.
    """
    check_market_name(target, overwrite=flags.overwrite)
    market = read(source)
    frame, lines = repair(
        market.frame, keep=flags.keep, fill_gaps=flags.fill_gaps, skip=flags.skip, zone=flags.zone
    )
    refusal, verdict = judge(frame)
    if refusal and not flags.skip:
        raise MarketDataError(
            f"{source} is still refused after its repairs, nothing is written: {refusal}"
        )
    write_market(frame, target)
    changed = f"{target}: {len(frame)} rows of {len(market.frame)}"
    return [market.recognised, *lines, f"{changed}; {verdict}"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """
    parser = ArgumentParser(prog="python -m data_tools.repair", description=__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="market file in any known format")
    parser.add_argument("target", type=Path, metavar="OUT", help=".csv, .csv.gz or .parquet")
    parser.add_argument(
        "--keep",
        choices=("first", "last"),
        help="which of contradicting rows of one stamp to keep; default: refuse",
    )
    parser.add_argument(
        "--fill-gaps",
        type=int,
        default=0,
        metavar="BARS",
        help="fill gaps of up to BARS missing bars with flat bars; default: none",
    )
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        choices=REPAIRS,
        help="a repair to leave out, repeatable",
    )
    parser.add_argument("--zone", help="the stamps' time zone, if not UTC: America/New_York")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")

    def command() -> None:
        flags = parser.parse_args(argv)
        if flags.fill_gaps < 0:
            raise CommandLineError("--fill-gaps: expected 0 or more bars.")
        print("\n".join(repair_file(flags.source, flags.target, flags)))

    return run(command)


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
