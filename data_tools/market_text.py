"""The text inside a market file: plain, gzipped, or the members of a zip."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gym_trade import MarketDataError

_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\r"))  # some readers end or strip a cell at these
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# One market may be spread over files that differ in their date: LEAN's come first in the name, the
# archive's of the exchange, and what people cut by the year, last.
DATE_BEHIND = r"[-_](?P<date>(?:19|20)\d{2}(?:-\d{2}(?:-\d{2})?)?)"
_DATED = (
    re.compile(r"(?P<date>\d{8})_(?P<rest>.+)"),
    re.compile(rf"(?P<rest>.+){DATE_BEHIND}\.csv", re.IGNORECASE),
)


@dataclass(frozen=True)
class MarketText:
    """One CSV text, whole in memory.

    Attributes:
        file: The file on disk.
        member: Its name inside a zip, else None.
        data: UTF-8 text without a byte order mark.
    """

    file: Path
    member: str | None
    data: bytes

    @property
    def name(self) -> str:
        """How errors call it."""
        return str(self.file) if self.member is None else f"{self.file} ({printable(self.member)})"

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Rows with their line numbers, the first one included, blank lines left out.

        Raises:
            MarketDataError: A line is no CSV.
        """
        stream = io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8", newline="")
        reader = csv.reader(stream)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except csv.Error as error:
            raise MarketDataError(
                f"{self.name} line {reader.line_num + 1} is no CSV: {error}. Fix the line."
            ) from None


def printable(text: str) -> str:
    """A name out of a file, fit for a message: one line, not too long."""
    return (text if text.isprintable() else ascii(text)[1:-1])[:120]


def read_texts(file: Path) -> list[MarketText]:
    """Read a ``.csv``, ``.csv.gz`` or ``.zip`` file.

    Returns:
        One text, or several parts of one market, by date.

    Raises:
        MarketDataError: The file is damaged, is no text, or holds more than one market.
    """
    name = file.name.lower()
    if name.endswith(".zip"):
        texts = _read_zip(file)
    else:
        texts = [(None, _read_gzip(file) if name.endswith(".gz") else _read_plain(file))]
    return [_as_text(file, member, data) for member, data in texts]


def _read_plain(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise MarketDataError(f"{file} cannot be read: {error.strerror or error}.") from None


def _read_gzip(file: Path) -> bytes:
    try:
        with gzip.open(file) as stream:
            return stream.read()
    except EOFError:
        raise MarketDataError(
            f"{file} is a truncated gzip file: its end is missing. Fetch or write it again."
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise MarketDataError(
            f"{file} is not a valid gzip file ({error}). Fetch or write it again, or name it .csv "
            "if it is not compressed."
        ) from None
    except OSError as error:
        raise MarketDataError(f"{file} cannot be read: {error.strerror or error}.") from None


def _read_zip(file: Path) -> list[tuple[str | None, bytes]]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = [
                info.filename
                for info in archive.infolist()
                if not (info.is_dir() and not info.file_size)
            ]
            wanted = _parts_of_one_market(file, names)
            return [(name, archive.read(name)) for name in wanted]
    except MarketDataError:
        raise
    except Exception as error:  # a damaged zip raises whatever its decompressor likes
        encrypted = isinstance(error, RuntimeError) and "encrypted" in str(error)
        reason = printable(str(error))
        problem = "is encrypted" if encrypted else f"is not a sound zip file ({reason})"
        remedy = "Unpack it." if encrypted else "Fetch or write it again."
        raise MarketDataError(f"{file} {problem}. {remedy}") from None


def _parts_of_one_market(file: Path, names: list[str]) -> list[str]:
    """The members by date; more than one must differ in nothing but the date."""
    inside = ", ".join(printable(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    wanted = [name for name in names if not name.startswith("__MACOSX/")]
    if not wanted or not all(name.lower().endswith(".csv") for name in wanted):
        raise MarketDataError(
            f"{file}: expected one .csv file inside, or one per date, and nothing else. Members "
            f"seen: {inside or 'none'}. Unpack the one that you want."
        )
    if len(wanted) == 1:
        return wanted
    for pattern in _DATED:
        found = [pattern.fullmatch(name) for name in wanted]
        dates = {match["date"] for match in found if match}
        rests = {match["rest"] for match in found if match}
        if all(found) and len(rests) == 1 and len(dates) == len(wanted):
            return sorted(wanted)
    raise MarketDataError(
        f"{file} holds {len(wanted)} .csv files that are not one market by dates: {inside}. "
        "Expected one, or names that differ only in their date; unpack the one that you want."
    )


def _as_text(file: Path, member: str | None, data: bytes) -> MarketText:
    text = MarketText(file, member, data.removeprefix(_BYTE_ORDER_MARK))
    if not text.data:
        raise MarketDataError(f"{text.name} is empty. Expected one row per bar.")
    try:
        if not data.isascii():
            data.decode("utf-8")
        sound = len(data.translate(None, _CONTROLS)) == len(data)
    except UnicodeDecodeError:
        sound = False
    if not sound:
        raise MarketDataError(
            f"{text.name} is not UTF-8 text. Expected comma-separated values; it may be another "
            "format under this name."
        )
    return text
