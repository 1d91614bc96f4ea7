"""One market in a folder of files by date: LEAN's, one a day, or others' by day, month or year."""

from __future__ import annotations

import re
from pathlib import Path

from data_tools.market_text import DATE_BEHIND, printable
from gym_trade import MarketDataError

_DATED = (
    re.compile(r"(?P<date>\d{8})_(?P<series>[^.]+)\.[a-z.]+", re.IGNORECASE),
    re.compile(rf"(?P<series>.+){DATE_BEHIND}\.[a-z.]+", re.IGNORECASE),
)
# LEAN keeps several kinds of one market's bars side by side. The first that is there is read.
_LEAN_KINDS = ("trade", "quote")
_SHOWN = 6


def files_of_market(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], str]:
    """The files that hold one market, by name, and a note on those that were left out.

    Args:
        folder: Their folder; those below it are not looked into.
        suffixes: Of files that may be market files, in lower case.

    Raises:
        MarketDataError: There are none, or they are not one market by dates.
    """
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise MarketDataError(f"{folder} cannot be read: {error.strerror or error}.") from None
    found = [path for path in inside if path.is_file() and path.name.lower().endswith(suffixes)]
    if not found:
        below = _names([path for path in inside if path.is_dir()])
        remedy = f"Folders in it: {below}; name one of them." if below else "Name another one."
        raise MarketDataError(f"{folder} is a folder without market files. {remedy}")
    if len(found) == 1:
        return found, ""
    series = {path: _series(path.name) for path in found}
    kinds = sorted({name or "" for name in series.values()})
    chosen = next((kind for kind in _LEAN_KINDS if kind in kinds), None)
    if len(kinds) > 1 and chosen is not None and set(kinds) <= {*_LEAN_KINDS, "openinterest"}:
        others = ", ".join(kind for kind in kinds if kind != chosen)
        note = f"files of {others} in the same folder are left out"
        return [path for path in found if series[path] == chosen], note
    if len(kinds) > 1 or kinds == [""]:
        raise MarketDataError(
            f"{folder} holds {len(found)} market files that are not one market by dates: "
            f"{_names(found)}. Expected names that differ only in their date; name one file, or "
            "give one market's files a folder of their own."
        )
    return found, ""


def _series(name: str) -> str | None:
    """A file's name without its date; None of one that has no date."""
    matches = (pattern.fullmatch(name) for pattern in _DATED)
    return next((match["series"].lower() for match in matches if match), None)


def _names(paths: list[Path]) -> str:
    shown = ", ".join(printable(path.name) for path in paths[:_SHOWN])
    return shown + (", ..." if len(paths) > _SHOWN else "")
