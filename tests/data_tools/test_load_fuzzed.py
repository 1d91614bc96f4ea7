"""Damaged market files: refused in one line, or read to the letter; never anything else.

The oracle reads the damaged text once more with Python's own csv, float and datetime.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_tools.load import load
from data_tools.market_writer import write_market
from gym_trade import MarketDataError
from tests import markets

FRAME = markets.hourly(12, 3, reach=0.003).round(4)
ISO = FRAME.to_csv(lineterminator="\n").encode()
MILLISECONDS = FRAME.set_axis(FRAME.index.astype("int64") // 10**6).to_csv(lineterminator="\r\n")
STAMPS = FRAME.index.astype("int64") // 10**6
KLINES = "".join(
    f"{stamp},{','.join(map(str, row))},{stamp + 3_599_999},1,2,3,4,0\n"
    for stamp, row in zip(STAMPS, FRAME.to_numpy().tolist(), strict=True)
).encode()
LEAN = "".join(
    f"{time:%Y%m%d %H:%M},{','.join(map(str, row))}\n"
    for time, row in zip(FRAME.index, FRAME.to_numpy().tolist(), strict=True)
).encode()
TEXTS = {"iso": ISO, "integers": MILLISECONDS.encode(), "klines": KLINES, "lean": LEAN}

KINDS = ("digit", "digit", "digit", "replace", "insert", "delete", "cut", "repeat", "move")
LIKELY = b"0123456789,.-+eE\n\r\"' _:TZ;xn\0\t\xff"
SEEDS = st.integers(0, 2**32 - 1)
QUICK = settings(
    max_examples=120, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def damaged(data: bytes, seed: int) -> bytes:
    """The data after one to three random edits."""
    random = Random(seed)
    content = bytearray(data)
    for _ in range(random.randint(1, 3)):
        kind, at, count = (
            random.choice(KINDS),
            random.randrange(len(content)),
            random.randint(1, 40),
        )
        byte = random.choice(LIKELY) if random.random() < 0.7 else random.randrange(256)
        piece = content[at : at + count]
        if kind == "digit" and chr(content[at]) in "0123456789":
            content[at] = random.choice(b"0123456789")
        elif kind == "replace":
            content[at] = byte
        elif kind == "insert":
            content.insert(at, byte)
        elif kind in ("delete", "move"):
            del content[at : at + count]
        elif kind == "cut":
            del content[at + 1 :]
        elif kind == "repeat":
            content[at:at] = piece
        if kind == "move":
            place = random.randint(0, len(content))
            content[place:place] = piece
        content = content or bytearray(b"\n")
    return bytes(content)


def accepted(path: Path) -> tuple[pd.DataFrame, str] | None:
    """What was read and what was said; None after a refusal, which must be one line."""
    lines: list[str] = []
    try:
        frame = load(path, echo=lines.append)
    except MarketDataError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error) and len(str(error)) < 2000
        return None
    assert len(lines) == 1
    return frame, lines[0]


def number(cell: str) -> float:
    return float(cell) if cell.strip() and cell.strip() not in ("nan", "NaN", "NAN") else math.nan


def instant(cell: str, spelling: str) -> pd.Timestamp:
    """A time cell, read without pandas' parsers."""
    cell = cell.strip()
    if spelling.startswith("integer"):
        unit = {"s": "s", "milli": "ms", "micro": "us", "nano": "ns"}[
            spelling.split()[1].removesuffix("seconds") or "s"
        ]
        return pd.Timestamp(np.datetime64(int(cell), unit))
    if spelling == "YYYYMMDD HH:mm":
        return pd.Timestamp(datetime.strptime(cell, "%Y%m%d %H:%M"))
    time = datetime.fromisoformat(cell)
    return pd.Timestamp(time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None))


def literal(data: bytes, said: str) -> pd.DataFrame:
    """What a text says, in the file's order."""
    rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if row]
    names = ["time", "open", "high", "low", "close", "volume"]
    if "with a header" in said:
        names = [name.strip().lower().replace(" ", "_") for name in rows.pop(0)]
    spelling = said.split("; time column ")[1].split(" (", 1)[1].split("), columns used")[0]
    time = next(i for i, name in enumerate(names) if name in ("timestamp", "date", "datetime",
                                                              "open_time", "time"))  # fmt: skip
    used = [name for name in names if name in FRAME.columns or name.startswith("feature_")]
    columns = {name: [number(row[names.index(name)]) for row in rows] for name in used}
    return pd.DataFrame(columns, index=[instant(row[time], spelling) for row in rows])


@pytest.mark.parametrize("kind", TEXTS)
def test_damaged_text_is_refused_or_read_to_the_letter(kind: str, tmp_path: Path) -> None:
    outcomes = {"refused": 0, "same": 0, "different": 0}

    @QUICK
    @given(SEEDS)
    def check(seed: int) -> None:
        data = damaged(TEXTS[kind], seed)
        path = tmp_path / "market.csv"
        path.write_bytes(data)
        found = accepted(path)
        if found is None:
            outcomes["refused"] += 1
            return
        frame, said = found
        wanted = literal(data, said)
        if "rows reversed" in said:
            wanted = wanted.iloc[::-1]
        assert list(frame.columns) == list(wanted.columns)
        assert frame.index.tolist() == wanted.index.tolist()
        assert np.array_equal(frame.to_numpy(), wanted.to_numpy(), equal_nan=True)
        outcomes["same" if frame.equals(FRAME) else "different"] += 1

    check()
    assert outcomes["refused"] > 10
    assert outcomes["different"] > 5  # the oracle had something to say


def packed(kind: str) -> tuple[str, bytes]:
    if kind == "gzip":
        return "market.csv.gz", gzip.compress(ISO, mtime=0)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ABC-1h-2022-03-01.csv", ISO[: ISO.index(b"2022-03-01 06")])
        second = ISO[: ISO.index(b"\n") + 1] + ISO[ISO.index(b"2022-03-01 06") :]
        archive.writestr("ABC-1h-2022-03-02.csv", second)
    return "market.zip", stream.getvalue()


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_a_damaged_package_is_refused_or_its_text_is_whole(kind: str, tmp_path: Path) -> None:
    name, data = packed(kind)
    path = tmp_path / name
    path.write_bytes(data)
    assert accepted(path) is not None
    refused = 0

    @QUICK
    @given(SEEDS)
    def check(seed: int) -> None:
        nonlocal refused
        path.write_bytes(damaged(data, seed))
        found = accepted(path)
        refused += found is None
        if found is not None:
            pd.testing.assert_frame_equal(found[0], FRAME, check_exact=True, check_freq=False)

    check()
    assert refused > 60


def test_damaged_parquet_is_refused_or_its_numbers_are_whole(tmp_path: Path) -> None:
    """Our own files have checksums of their pages."""
    pytest.importorskip("pyarrow")
    path = tmp_path / "market.parquet"
    write_market(FRAME, path)
    data = path.read_bytes()
    assert accepted(path) is not None
    refused = 0

    @QUICK
    @given(SEEDS)
    def check(seed: int) -> None:
        nonlocal refused
        path.write_bytes(damaged(data, seed))
        found = accepted(path)
        refused += found is None
        if found is not None:
            frame = found[0]
            for column in frame.columns.intersection(FRAME.columns):
                assert frame[column].tolist() == FRAME[column].tolist()

    check()
    assert refused > 20


def test_damaged_feather_is_refused_or_read(tmp_path: Path) -> None:
    """The format has no checksums: that nothing else is raised is all there is to ask."""
    pytest.importorskip("pyarrow")
    path = tmp_path / "market.feather"
    FRAME.reset_index().to_feather(path)
    data = path.read_bytes()
    assert accepted(path) is not None

    @QUICK
    @given(SEEDS)
    def check(seed: int) -> None:
        path.write_bytes(damaged(data, seed))
        accepted(path)

    check()
