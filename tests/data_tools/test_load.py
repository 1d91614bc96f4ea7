"""Market files: what is read, and every refusal."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_tools.load import load
from gym_trade import MarketDataError
from tests import markets
from tests.real_data import BITCOIN, EURO, FORMATS, GOOGLE, given

HEADER = "timestamp,open,high,low,close,volume\n"


def rows(count: int = 40, *, seed: int = 0) -> pd.DataFrame:
    return markets.hourly(count, seed, reach=0.003)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def refused(path: Path, *parts: str) -> str:
    with pytest.raises(MarketDataError) as caught:
        load(path, echo=None)
    message = str(caught.value)
    for part in (str(path), *parts):
        assert part in message
    assert "\n" not in message
    return message


def test_floats_survive_a_round_trip_exactly(tmp_path: Path) -> None:
    frame = rows(500)
    frame.to_csv(tmp_path / "market.csv")
    pd.testing.assert_frame_equal(
        load(tmp_path / "market.csv", echo=None), frame, check_exact=True, check_freq=False
    )


def test_gzip_reads_as_plain(tmp_path: Path) -> None:
    rows().to_csv(tmp_path / "a.csv")
    rows().to_csv(tmp_path / "A.CSV.GZ", compression="gzip")
    plain, packed = load(tmp_path / "a.csv", echo=None), load(tmp_path / "A.CSV.GZ", echo=None)
    pd.testing.assert_frame_equal(plain, packed, check_exact=True)
    assert plain.index.name == "timestamp"
    assert plain.index.dtype == np.dtype("datetime64[ns]")
    assert set(plain.dtypes) == {np.dtype(np.float64)}


@pytest.mark.parametrize("name", ["timestamp", "Date", "DateTime", "open_time", "TIME"])
def test_time_column_names_and_letter_case(tmp_path: Path, name: str) -> None:
    text = f"Open, HIGH ,low,Close,Adj Close,Volume,{name}\n1,3,0.5,2,9,7,2022-01-01\n"
    lines: list[str] = []
    frame = load(write(tmp_path / "m.csv", text), echo=lines.append)
    assert list(frame.columns) == ["open", "high", "low", "close", "volume"]
    assert frame.iloc[0].tolist() == [1.0, 3.0, 0.5, 2.0, 7.0]
    assert frame.index[0] == pd.Timestamp("2022-01-01")
    assert len(lines) == 1
    assert "1 rows" in lines[0]
    assert "ignored: Adj Close" in lines[0]


@pytest.mark.parametrize(
    ("unit", "divisor"), [("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)]
)
def test_integer_units_by_magnitude(tmp_path: Path, unit: str, divisor: int) -> None:
    frame = rows()
    written = frame.set_axis(frame.index.astype("int64") // divisor).rename_axis("open_time")
    written.to_csv(tmp_path / "m.csv")
    lines: list[str] = []
    read = load(tmp_path / "m.csv", echo=lines.append)
    assert (read.index == frame.index).all()
    assert f"integer {dict(s='s', ms='millis', us='micros', ns='nanos')[unit]}" in lines[0]


@pytest.mark.parametrize(
    "cell",
    [
        "2022-01-01T02:30:00+02:00",
        "2022-01-01 00:30:00Z",
        "2022-01-01 00:30",
        "2021-12-31 19:30-05",
    ],
)
def test_zones_become_utc_and_naive_is_utc(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path / "m.csv", f"{HEADER}{cell},1,1,1,1,0\n2022-01-01T00:31:00Z,1,1,1,1,0\n")
    frame = load(path, echo=None)
    assert frame.index[0] == pd.Timestamp("2022-01-01 00:30")
    assert frame.index.tz is None


def test_features_funding_and_missing_volume(tmp_path: Path) -> None:
    text = (
        "date,open,high,low,close,Feature_RSI,funding_rate,label\n2022-01-01,1,1,1,1,0.25,1e-4,x\n"
    )
    lines: list[str] = []
    frame = load(write(tmp_path / "m.csv", text), echo=lines.append)
    assert list(frame.columns) == ["open", "high", "low", "close", "feature_rsi", "funding_rate"]
    assert frame["feature_rsi"].iloc[0] == 0.25
    assert "(no volume)" in lines[0]
    assert "ignored: label" in lines[0]


def test_byte_order_mark_blank_lines_and_crlf(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(
        ("\ufeff" + HEADER + "\n2022-01-01,1,1,1,1,0\n\n").replace("\n", "\r\n").encode()
    )
    assert len(load(path, echo=None)) == 1


def test_nothing_is_repaired(tmp_path: Path) -> None:
    """Duplicate, unsorted, impossible and empty cells reach the market as they are."""
    text = HEADER + "2022-01-02,1,0.5,2,1,-1\n2022-01-01,,1,1,1,0\n2022-01-01,nan,inf,1,1,0\n"
    frame = load(write(tmp_path / "m.csv", text), echo=None)
    assert frame.index.tolist() == [pd.Timestamp(f"2022-01-0{day}") for day in (2, 1, 1)]
    assert frame["high"].tolist() == [0.5, 1.0, np.inf]
    assert frame["open"].isna().tolist() == [False, True, True]


def test_default_echo_prints_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(write(tmp_path / "m.csv", HEADER + "2022-01-01,1,1,1,1,0\n"))
    assert capsys.readouterr().out.count("\n") == 1
    load(tmp_path / "m.csv", echo=None)
    assert capsys.readouterr().out == ""


def test_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none.csv", "does not exist", ".csv.gz")
    (tmp_path / "folder.csv").mkdir()
    refused(tmp_path / "folder.csv", "is a folder without market files")


@pytest.mark.parametrize("name", ["m.txt", "m", "m.json.gz"])
def test_refuses_other_suffixes_naming_the_supported(tmp_path: Path, name: str) -> None:
    supported = ".csv, .csv.gz, .zip, .parquet or .feather"
    refused(write(tmp_path / name, HEADER), supported, "".join(Path(name).suffixes) or "(none)")


def test_refuses_empty_and_header_only(tmp_path: Path) -> None:
    refused(write(tmp_path / "empty.csv", ""), "is empty")
    refused(write(tmp_path / "header.csv", HEADER), "no rows")


def test_refuses_a_file_without_header(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "1690848000000,4.2,4.3,4.1,4.2,25259.1,7\n")
    refused(path, "no header", "open_time,open,high,low,close,volume", "'1690848000000', '4.2'")


def test_refuses_missing_columns_naming_those_seen(tmp_path: Path) -> None:
    message = refused(write(tmp_path / "m.csv", "when,open,Low,close\n1,1,1,1\n"), "'when', 'open'")
    assert "lacks a time column (timestamp," in message
    assert "high" in message


def test_refuses_another_separator_and_an_unnamed_index(tmp_path: Path) -> None:
    refused(write(tmp_path / "m.csv", HEADER.replace(",", ";")), "semicolons")
    refused(write(tmp_path / "n.csv", HEADER.replace("timestamp", "")), "name it timestamp")


def test_refuses_ambiguous_columns(tmp_path: Path) -> None:
    refused(
        write(tmp_path / "m.csv", "date,time,open,high,low,close\n"), "2 time columns: date, time"
    )
    refused(write(tmp_path / "n.csv", "date,open,high,low,close,Close\n"), "more than once: close")


@pytest.mark.parametrize("cell", ["n/a", "12,5", "1_000", "null", "4.2.1"])
def test_refuses_a_cell_that_is_no_number(tmp_path: Path, cell: str) -> None:
    text = f'{HEADER}2022-01-01,1,1,1,1,0\n\n2022-01-02,1,1,"{cell}",1,0\n'
    refused(write(tmp_path / "m.csv", text), "line 4: low is", repr(cell))


@pytest.mark.parametrize("row", ["2022-01-02,1,1,1,1", "2022-01-02,1,1,1", "x", " "])
def test_refuses_a_row_shorter_than_the_header(tmp_path: Path, row: str) -> None:
    text = HEADER + f"2022-01-01,1,1,1,1,0\n{row}\n2022-01-03,1,1,1,1,0\n"
    refused(write(tmp_path / "m.csv", text), f"line 3 has {row.count(',') + 1} cells", "has 6")


def test_one_row_too_long_does_not_make_up_for_one_too_short(tmp_path: Path) -> None:
    text = HEADER + "2022-01-01,1,1,1,1,0,0\n2022-01-02,1,1,1,1\n"
    refused(write(tmp_path / "m.csv", text), "line 2 has 7 cells")


def test_empty_cells_at_the_end_of_a_row_are_let_be(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", HEADER + "2022-01-01,1,1,1,1,0,,\n2022-01-02,1,1,1,1,0\n")
    assert load(path, echo=None)["volume"].tolist() == [0.0, 0.0]


def test_refuses_a_row_longer_than_the_header(tmp_path: Path) -> None:
    text = HEADER + "2022-01-01,1,1,1,1,0\n2022-01-02,1,1,1,1,0,9\n"
    refused(write(tmp_path / "m.csv", text), "line 3 has 7 cells")
    refused(write(tmp_path / "n.csv", HEADER + "2022-01-02,1,1,1,1,0,9\n"), "line 2 has 7 cells")


@pytest.mark.parametrize("cell", ["", "soon", "01/02/2022", "1646092800.5", "9999-01-01", "NaT"])
def test_refuses_a_cell_that_is_no_time(tmp_path: Path, cell: str) -> None:
    text = f"{HEADER}2022-01-01,1,1,1,1,0\n{cell},1,1,1,1,0\n"
    refused(write(tmp_path / "m.csv", text), "line 3: timestamp is", "ISO 8601")


def test_refuses_integers_of_no_unit_or_of_two(tmp_path: Path) -> None:
    refused(write(tmp_path / "a.csv", HEADER + "20220101,1,1,1,1,0\n"), "line 2", "20220101", "ISO")
    text = HEADER + "1735603200000,1,1,1,1,0\n1735689600000000,1,1,1,1,0\n"
    refused(write(tmp_path / "b.csv", text), "line 3", "microseconds", "milliseconds")
    text = HEADER + "1735603200000,1,1,1,1,0\n2025-01-01,1,1,1,1,0\n"
    refused(write(tmp_path / "c.csv", text), "line 3", "'2025-01-01'")
    text = HEADER + "1735603200000,1,1,1,1,0\n" + "9" * 25 + ",1,1,1,1,0\n"
    refused(write(tmp_path / "d.csv", text), "line 3", "9999999")


def test_newest_first_is_reversed_and_said(tmp_path: Path) -> None:
    rows().iloc[::-1].to_csv(tmp_path / "m.csv")
    lines: list[str] = []
    frame = load(tmp_path / "m.csv", echo=lines.append)
    pd.testing.assert_frame_equal(frame, rows(), check_exact=True, check_freq=False)
    assert "newest first in the file: rows reversed" in lines[0]
    rows().to_csv(tmp_path / "n.csv")
    load(tmp_path / "n.csv", echo=lines.append)
    assert "reversed" not in lines[1]


def test_refuses_damaged_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(rows(4000).to_csv().encode())
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    refused(tmp_path / "cut.csv.gz", "truncated gzip")
    broken = bytearray(packed)
    broken[len(packed) // 2 : len(packed) // 2 + 64] = b"\x00" * 64
    (tmp_path / "broken.csv.gz").write_bytes(bytes(broken))
    refused(tmp_path / "broken.csv.gz", "not a valid gzip")
    refused(write(tmp_path / "plain.csv.gz", HEADER), "not a valid gzip", "name it .csv")


def test_refuses_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"PAR1\xff\xfe\x00\x9c" * 20)
    refused(tmp_path / "m.csv", "not UTF-8 text")
    (tmp_path / "n.csv").write_bytes(
        HEADER.encode() + b"2022-01-01,1,1,1,1,0\n2022-01-02,\xff\xfe,1,1,1,0\n"
    )
    refused(tmp_path / "n.csv", "not UTF-8 text")


@pytest.mark.parametrize(
    ("path", "count", "family", "ignored"),
    [
        given(BITCOIN, 525_520, "OHLCV text with a header", "none"),
        given(GOOGLE, 2335, "OHLCV text with a header", "Adj Close"),
        given(FORMATS / "FILUSDT-1m-2023-08.csv", 44_640, "Binance klines with a header",
              "close_time, quote_volume"),
        given(EURO, 74_439, "LEAN bid and ask bars, hourly or daily (prices as written",
              "bid_size, ask_size; mid prices of bid and ask;"),
    ],
)  # fmt: skip
def test_real_files(path: Path, count: int, family: str, ignored: str) -> None:
    lines: list[str] = []
    frame = load(path, echo=lines.append)
    assert len(frame) == count
    assert lines[0].startswith(f"{path.name}: {family}")
    assert f"ignored: {ignored}" in lines[0]
    assert frame.index.is_monotonic_increasing
    assert frame.notna().all().all()
