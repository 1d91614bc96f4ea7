"""Downloads from an archive that is sound, incomplete, wrong, slow or broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from data_tools import archive, download
from data_tools.archive import Month
from data_tools.load import load
from tests.data_tools.archive_server import Archive, klines, serving
from tests.data_tools.descriptions import REPOSITORY

JANUARY = klines("2023-01-01", "2023-01-31")
FEBRUARY = klines("2023-02-01", "2023-02-28")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Archive()
    with serving(served):
        yield served


def fetch(server: Archive, output: Path, *more: str, start: str = "2023-01",
          end: str = "2023-02") -> int:  # fmt: skip
    return download.main(
        ["--symbol", "abcusdt", "--interval", "1h", "--start", start, "--end", end, "--output",
         str(output), "--base-url", server.address + "/", *more]
    )  # fmt: skip


def expected(*tables: pd.DataFrame) -> pd.DataFrame:
    frame = pd.concat(tables)
    index = pd.to_datetime(frame["open_time"], unit="ms").to_numpy()
    frame = frame[["open", "high", "low", "close", "volume"]]
    return frame.set_index(pd.DatetimeIndex(index, name="timestamp"))


def same(output: Path, *tables: pd.DataFrame) -> bool:
    found = load(output, echo=None)
    pd.testing.assert_frame_equal(found, expected(*tables), check_exact=True, check_freq=False)
    return True


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_monthly_files_become_one(
    server: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    server.put("2023-01", JANUARY)
    server.put("2023-02", FEBRUARY, header=True)
    output = tmp_path / f"abc{suffix}"
    assert fetch(server, output) == 0
    assert same(output, JANUARY, FEBRUARY)
    said = capsys.readouterr().out
    assert "2 files verified by SHA-256" in said
    assert "accepted by gym_trade.Market; content hash" in said
    assert os.listdir(tmp_path) == [output.name]


def test_microseconds_and_milliseconds_join(server: Archive, tmp_path: Path) -> None:
    server.put("2024-12", klines("2024-12-01", "2024-12-31"))
    server.put("2025-01", klines("2025-01-01", "2025-01-31", unit="us"))
    assert fetch(server, tmp_path / "abc.csv", start="2024-12", end="2025-01") == 0
    whole = [klines("2024-12-01", "2024-12-31"), klines("2025-01-01", "2025-01-31")]
    assert same(tmp_path / "abc.csv", *whole)


def test_futures_have_their_own_folder(server: Archive, tmp_path: Path) -> None:
    server.put("2023-01", JANUARY, folder="futures/um", header=True)
    assert fetch(server, tmp_path / "abc.csv", "--market", "um", end="2023-01") == 0
    assert same(tmp_path / "abc.csv", JANUARY)
    assert all(path.startswith("/data/futures/um/") for path, _ in server.asked)


def weeks(month: str, step: str = "W-MON") -> pd.DataFrame:
    """Bars that begin within a month: of weeks on Mondays, as the exchange has them."""
    hours = klines(f"{month}-01", str(pd.Period(month).end_time.date()))
    days = pd.date_range("2023-01-02", "2023-04-01", freq=step).astype("int64") // 10**6
    return hours[hours["open_time"].isin(days)].reset_index(drop=True)


@pytest.mark.parametrize(("interval", "step"), [("1w", "W-MON"), ("3d", "3D")])
def test_bars_longer_than_a_day_have_files_of_months_only(
    server: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str], interval: str, step: str
) -> None:
    months = [weeks(month, step) for month in ("2023-01", "2023-02")]
    for month, bars in zip(("2023-01", "2023-02"), months, strict=True):
        server.put(month, bars, interval=interval)
    output = tmp_path / "abc.csv"
    # the later --interval counts
    assert fetch(server, output, "--interval", interval) == 0
    assert same(output, *months)
    said = capsys.readouterr().out
    offset = {"1w": " with offset='4day'", "3d": ""}[interval]
    assert f"accepted by gym_trade.Market{offset}; content hash" in said
    output.unlink()
    assert fetch(server, output, "--interval", interval, end="2023-03") == 2
    error = capsys.readouterr().err
    assert "no file for 2023-03-01 to 2023-03-31" in error
    assert not any("/daily/" in path for path, _ in server.asked)
    assert fetch(server, output, "--interval", interval, "--allow-missing", end="2023-03") == 0
    assert same(output, *months)


def test_months_have_no_constant_length(
    server: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(server, tmp_path / "abc.csv", "--interval", "1mo") == 2
    error = capsys.readouterr().err
    assert "1mo: months have no constant length" in error and error.count("\n") == 1
    assert "Take 1w or 1d" in error and server.asked == []
    assert fetch(server, tmp_path / "abc.csv", "--interval", "7m") == 2
    assert "'7m': expected one of 1s, 1m" in capsys.readouterr().err


def test_days_stand_in_for_a_month_that_has_no_file_yet(server: Archive, tmp_path: Path) -> None:
    server.put("2023-01", JANUARY)
    for day in range(1, 29):
        server.put(f"2023-02-{day:02}", klines(f"2023-02-{day:02}", f"2023-02-{day:02}"))
    assert fetch(server, tmp_path / "abc.csv") == 0
    assert same(tmp_path / "abc.csv", JANUARY, FEBRUARY)
    asked = [path for path, _ in server.asked if path.endswith(".zip")]
    assert sum("/daily/" in path for path in asked) == 28


def test_the_running_month_ends_yesterday(server: Archive, tmp_path: Path) -> None:
    for day in (1, 2, 3):
        server.put(f"2023-02-{day:02}", klines(f"2023-02-{day:02}", f"2023-02-{day:02}"))
    series = archive.Series(server.address, "spot", "ABCUSDT", "1h")
    work = download.ArchiveFiles(series, tmp_path / "parts", download.Fetcher(), progress=False)
    february, output = Month(2023, 2), tmp_path / "abc.csv"
    download.download(work, february, february, output, today=date(2023, 2, 4))
    assert same(output, klines("2023-02-01", "2023-02-03"))
    with pytest.raises(ValueError, match="no day of it is over"):
        download.download(work, february, february, output, today=date(2023, 2, 1))


def test_missing_days_are_refused_by_name_or_left_out(
    server: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put("2023-01", JANUARY)
    for day in (1, 2, 5):
        server.put(f"2023-02-{day:02}", klines(f"2023-02-{day:02}", f"2023-02-{day:02}"))
    output = tmp_path / "abc.csv"
    assert fetch(server, output) == 2
    error = capsys.readouterr().err
    assert "no file for 2023-02-03 to 2023-02-04, 2023-02-06 to 2023-02-28" in error
    assert "--allow-missing" in error
    assert not output.exists()
    server.asked.clear()
    assert fetch(server, output, "--allow-missing") == 0
    days = [klines(f"2023-02-{day:02}", f"2023-02-{day:02}") for day in (1, 2, 5)]
    assert same(output, JANUARY, *days)
    assert "missing: 2023-02-03 to 2023-02-04, 2023-02-06" in capsys.readouterr().out
    # what had come the first time was checked and not fetched again
    assert [
        path for path, _ in server.asked if path in server.files and path.endswith(".zip")
    ] == []


def test_an_unknown_symbol_is_one_line(
    server: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(server, tmp_path / "abc.csv", "--allow-missing") == 2
    error = capsys.readouterr().err
    assert "no file from 2023-01 to 2023-02" in error
    assert "Check symbol" in error
    assert list(tmp_path.iterdir()) == []


def test_contradicting_files_are_refused_and_equal_rows_joined(
    server: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put("2023-01", JANUARY)
    server.put("2023-02", pd.concat([JANUARY.tail(3), FEBRUARY]))
    assert fetch(server, tmp_path / "abc.csv") == 0
    assert same(tmp_path / "abc.csv", JANUARY, FEBRUARY)
    assert "dropped 3 rows equal to another" in capsys.readouterr().out
    server.put("2023-02", pd.concat([JANUARY.tail(1).assign(high=999.0), FEBRUARY]))
    assert fetch(server, tmp_path / "abc.csv", "--overwrite") == 2
    assert "contradict each other, the first 2023-01-31 23:00:00" in capsys.readouterr().err
    assert same(tmp_path / "abc.csv", JANUARY, FEBRUARY)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--symbol", "../up"], ["--symbol", "BTCUSDT"]),
        (["--interval", "7m"], ["--interval", "1m"]),
        (["--start", "2023-13"], ["2023-13", "YYYY-MM"]),
        (["--start", "1999-01"], ["1999-01", "2017"]),
        (["--start", "2023-03"], ["--start 2023-03 is after"]),
        (["--end", "2999-01"], ["--end 2999-01", "no day of it is over"]),
        (["--base-url", "file:///etc"], ["--base-url", "https://"]),
        (["--jobs", "0"], ["--jobs 0"]),
        (["--timeout", "nan"], ["--timeout"]),
        (["--output", "abc.xlsx"], ["abc.xlsx", ".parquet"]),
        (["--output", "none/abc.csv"], ["no folder none"]),
        (["--output", "there.csv"], ["there.csv exists", "--overwrite"]),
    ],
)  # fmt: skip
def test_refuses_in_one_line_before_it_asks(
    server: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], flags: list[str], parts: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("mine")
    assert fetch(server, tmp_path / "abc.csv", *flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in parts:
        assert part in error
    assert server.asked == []
    assert os.listdir(tmp_path) == ["there.csv"]


def test_ctrl_c_keeps_what_has_come_and_the_same_command_goes_on(
    server: Archive, tmp_path: Path
) -> None:
    path = server.put("2023-01", JANUARY)
    server.put("2023-02", FEBRUARY)
    server.faults[path] = ["stall"]
    flags = "--symbol ABCUSDT --interval 1h --start 2023-01 --end 2023-02 --base-url".split()
    command = [sys.executable, "-m", "data_tools.download", *flags, server.address]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    part = tmp_path / "ABCUSDT-1h-2023-01-2023-02.csv.gz.parts" / "ABCUSDT-1h-2023-01.zip.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=15)
    assert process.returncode == 130
    assert (
        error.decode()
        .strip()
        .endswith("interrupted. What has come is kept; the same command goes on.")
    )
    size = part.stat().st_size
    assert [item.name for item in tmp_path.iterdir()] == [part.parent.name]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (path, f"bytes={size}-") in server.asked
    output = tmp_path / "ABCUSDT-1h-2023-01-2023-02.csv.gz"
    assert same(output, JANUARY, FEBRUARY)
    assert [item.name for item in tmp_path.iterdir()] == [output.name]
