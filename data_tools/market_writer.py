"""Writing market files, whole or not at all."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pandas as pd

from data_tools.arrow_table import require_pyarrow
from data_tools.command_line import CommandLineError
from data_tools.files import replacing

WRITTEN_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def check_market_name(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that could not or should not be written, before the work is done.

    Raises:
        CommandLineError: Its suffix or folder is no use, or it exists.
        MarketDataError: It needs pyarrow, which is not installed.
    """
    name = path.name.lower()
    if not name.endswith(WRITTEN_SUFFIXES):
        raise CommandLineError(f"{path}: expected a name ending in {', '.join(WRITTEN_SUFFIXES)}.")
    if name.endswith(".parquet"):
        require_pyarrow(f"writing {path}")
    if not path.parent.is_dir():
        raise CommandLineError(f"{path}: there is no folder {path.parent}. Make it first.")
    if path.is_dir():
        raise CommandLineError(f"{path} is a folder. Name a file.")
    if path.exists() and not overwrite:
        raise CommandLineError(f"{path} exists. Name another file, or pass --overwrite.")


def write_market(frame: pd.DataFrame, path: Path) -> None:
    """Write a market so that `load` reads the same bits; equal frames give equal files.

    Args:
        frame: As `load` returns it.
        path: A name that `check_market_name` accepts. An existing file is replaced at the end.

    Raises:
        CommandLineError: It cannot be written.
    """
    name = path.name.lower()
    try:
        with replacing(path) as temporary:
            if name.endswith(".parquet"):
                frame.to_parquet(temporary, engine="pyarrow", write_page_checksum=True)
            elif name.endswith(".gz"):
                # without the time of writing and the temporary name, which GzipFile would put in
                with (
                    open(temporary, "wb") as raw,
                    gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
                    io.TextIOWrapper(packed, encoding="utf-8", newline="") as stream,
                ):
                    frame.to_csv(stream, lineterminator="\n")
            else:
                frame.to_csv(temporary, lineterminator="\n")
    except OSError as error:
        raise CommandLineError(f"{path} cannot be written: {error.strerror or error}.") from None
