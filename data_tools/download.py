"""Download bars from the exchange's public archive into one market file.

Monthly files first, then daily ones for the months that have none yet (of bars longer than a day
there are monthly ones only); each is checked against its published SHA-256. After an interruption
the same command goes on where it stopped. Example:
--symbol BTCUSDT --interval 1m --start 2023-01 --end 2023-12
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from data_tools.archive import BASE_URL, INTERVALS, MARKETS, MONTH, Month, Series, spans
from data_tools.archive_files import ArchiveFiles, join
from data_tools.command_line import ArgumentParser, CommandLineError, run, terminate_cleanly
from data_tools.fetch import DownloadError, Fetcher
from data_tools.market_writer import check_market_name, write_market
from data_tools.repair import judge

MOST_JOBS = 16


def download(
    work: ArchiveFiles,
    start: Month,
    end: Month,
    output: Path,
    *,
    allow_missing: bool = False,
    today: date | None = None,
) -> list[str]:
    """Download a span of months into one file.

    Args:
        work: What is fetched, and how.
        start: First month.
        end: Last month, included; of the running one, the days that are over.
        output: A file name that `market_writer.write_market` takes.
        allow_missing: Whether days without a file are left out instead of refused.
        today: Today's date, UTC; default: the clock's.

    Returns:
        Lines that say what was done.

    Raises:
        ValueError: The span is out of range, or files are missing, contradictory or unreachable.
    """
    today = datetime.now(UTC).date() if today is None else today
    if start > end:
        raise CommandLineError(f"--start {start} is after --end {end}.")
    if end.first >= today:
        raise CommandLineError(f"--end {end}: no day of it is over yet. Expected an earlier month.")
    work.folder.mkdir(parents=True, exist_ok=True)
    files, missing = work.fetch(start, end, today)
    name = f"{work.series.symbol} {work.series.interval}"
    if not files:
        raise DownloadError(
            f"{name}: the archive has no file from {start} to {end}, the last asked for is "
            f"{work.series.address(end)}. Check symbol, interval, market and months."
        )
    if missing and not allow_missing:
        raise DownloadError(
            f"{name}: the archive has no file for {spans(missing)}. Choose other months, or pass "
            "--allow-missing to leave these days out. What has come is kept."
        )
    frame, lines = join(files)
    write_market(frame, output)
    checked = (
        "verified by SHA-256" if work.fetcher.verify else "verified where a SHA-256 is published"
    )
    lines.insert(0, f"{len(files)} files {checked}")
    if missing:
        lines.append(f"missing: {spans(missing)}")
    lines.append(f"{output}: {len(frame)} rows, {frame.index[0]} to {frame.index[-1]} UTC")
    lines.append(judge(frame)[1])
    return lines


def _interval(name: str) -> str:
    """One of the archive's intervals that is of constant length."""
    if name == MONTH:
        raise argparse.ArgumentTypeError(
            f"{MONTH}: months have no constant length, which every market here needs. Take 1w or 1d"
        )
    if name not in INTERVALS:
        raise argparse.ArgumentTypeError(f"{name!r}: expected one of {', '.join(INTERVALS)}")
    return name


def make_parser() -> ArgumentParser:
    """The flags."""
    parser = ArgumentParser(prog="python -m data_tools.download", description=__doc__)
    parser.add_argument("--symbol", required=True, help="such as BTCUSDT")
    parser.add_argument("--interval", required=True, type=_interval, metavar="NAME",
                        help=f"of the bars: {', '.join(INTERVALS)}")  # fmt: skip
    parser.add_argument("--start", required=True, metavar="YYYY-MM", help="first month")
    parser.add_argument("--end", required=True, metavar="YYYY-MM", help="last month, included")
    parser.add_argument("--market", default="spot", choices=MARKETS,
                        help="spot, or um for futures margined in USDT; default: spot")  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=".csv, .csv.gz or .parquet; default: "
        "SYMBOL-INTERVAL-START-END.csv.gz",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="keeps the archive's files; default: a folder "
                        "beside the output, which is removed at the end")  # fmt: skip
    parser.add_argument("--base-url", default=BASE_URL, help=f"archive; default: {BASE_URL}")
    parser.add_argument("--jobs", type=int, default=4, help="files at a time; default: 4")
    parser.add_argument(
        "--retries", type=int, default=5, help="tries after a failed one; default: 5"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds of silence; default: 30"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out days without a file"
    )
    parser.add_argument("--allow-unverified", action="store_true",
                        help="take files that have no published SHA-256")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    return parser


def run_flags(flags: argparse.Namespace, echo: Callable[[str], object] = print) -> None:
    """Check the flags, download, and say what was done.

    Raises:
        ValueError: A flag is out of range, or the download failed.
    """
    symbol, base_url = flags.symbol.upper(), flags.base_url.rstrip("/")
    if not re.fullmatch(r"[A-Z0-9_]{2,40}", symbol):
        raise CommandLineError(
            f"--symbol {flags.symbol!r}: expected letters and digits as BTCUSDT."
        )
    if not re.match(r"https?://[^/]", base_url):
        raise CommandLineError(f"--base-url {flags.base_url!r}: expected http:// or https://.")
    if not 1 <= flags.jobs <= MOST_JOBS:
        raise CommandLineError(f"--jobs {flags.jobs}: expected 1 to {MOST_JOBS}.")
    if flags.retries < 0 or not 0 < flags.timeout < 1e6:
        raise CommandLineError("--retries and --timeout: expected 0 or more, and above 0 seconds.")
    start, end = Month.parse(flags.start), Month.parse(flags.end)
    name = f"{symbol}-{flags.interval}-{start}-{end}.csv.gz"
    output = flags.output or Path(name)
    check_market_name(output, overwrite=flags.overwrite)
    folder = flags.folder or output.with_name(output.name + ".parts")
    fetcher = Fetcher(
        timeout=flags.timeout, retries=flags.retries, verify=not flags.allow_unverified
    )
    series = Series(base_url, flags.market, symbol, flags.interval)
    try:
        for line in download(
            ArchiveFiles(series, folder, fetcher, flags.jobs), start, end, output,
            allow_missing=flags.allow_missing,
        ):  # fmt: skip
            echo(line)
        if flags.folder is None:
            for file in folder.glob(f"{symbol}-{flags.interval}-*.zip*"):
                file.unlink()
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input or a failed download, 130 after Ctrl-C.
    """
    parser = make_parser()
    return run(
        lambda: run_flags(parser.parse_args(argv)),
        interrupted="interrupted. What has come is kept; the same command goes on.",
    )


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
