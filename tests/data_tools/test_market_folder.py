"""Folders that hold one market as a file a day or a month: LEAN's, and the exchange's archive."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from data_tools.collect import main as collect
from data_tools.describe import main as describe
from data_tools.load import load
from gym_trade import Market, MarketDataError
from tests import markets
from tests.data_tools.market_texts import klines, pack, read, refused, same
from tests.real_data import DATA, FORMATS, needs

BARS = markets.hourly(96, 3).round(2)  # from 2022-03-01
DAYS = dict(list(BARS.groupby(BARS.index.date)))


def lean_folder(folder: Path, kind: str = "trade", scale: int = 1) -> pd.DataFrame:
    """One zip a day, as LEAN names them; returns what they hold."""
    for day, rows in DAYS.items():
        text = "".join(
            f"{(row.Index - pd.Timestamp(day)).value // 10**6},"
            + ",".join(f"{price * scale:.2f}" for price in (row.open, row.high, row.low, row.close))
            + (",1.5\n" if kind == "trade" else ",1,9,9.5,8.5,9,1\n")
            for row in rows.itertuples()
        )
        name = f"{day:%Y%m%d}_{folder.name}_minute_{kind}.csv"
        pack(folder / f"{day:%Y%m%d}_{kind}.zip", **{name: text})
    return BARS.assign(volume=1.5)


def archive_folder(folder: Path) -> None:
    """A month of the exchange without a header, in milliseconds, and days of the next with one."""
    stamps = BARS.set_axis(pd.date_range("2024-12-30", periods=96, freq="h", name="timestamp"))
    text = klines(stamps.iloc[:48], "ms", header=False)
    pack(folder / "X-1h-2024-12.zip", **{"X-1h-2024-12.csv": text})
    (folder / "X-1h-2024-12.zip.CHECKSUM").write_text("0" * 64)
    for day in (1, 2):
        name = f"X-1h-2025-01-{day:02}"
        text = klines(stamps.loc[f"2025-01-{day:02}"], "us", header=True)
        pack(folder / f"{name}.zip", **{f"{name}.csv": text})


def test_all_days_of_leans_folder_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "crypto/binance/minute/btcusdt"
    wanted = lean_folder(folder)
    frame, said = read(folder)
    same(frame, wanted)
    assert said.startswith("btcusdt: LEAN trade bars, one day (prices as written, as in LEAN's")
    assert "96 rows, 2022-03-01 00:00:00 to 2022-03-04 23:00:00 UTC" in said
    assert "4 files of the folder joined by date" in said
    assert len(Market(frame)) == 96


def test_scaled_prices(tmp_path: Path) -> None:
    folder = tmp_path / "equity/usa/minute/spy"
    wanted = lean_folder(folder, scale=10_000)
    same(read(folder)[0], wanted)


def test_trades_are_read_where_there_are_quotes_too(tmp_path: Path) -> None:
    folder = tmp_path / "crypto/binance/minute/btcusdt"
    lean_folder(folder, "quote")
    assert "LEAN bid and ask bars" in read(folder)[1]
    wanted = lean_folder(folder)
    frame, said = read(folder)
    same(frame, wanted)
    assert "files of quote in the same folder are left out" in said


def test_the_archive_s_months_and_days(tmp_path: Path) -> None:
    archive_folder(tmp_path / "klines")
    frame, said = read(tmp_path / "klines")
    assert "3 files of the folder joined by date" in said and "Binance klines" in said
    assert frame["close"].tolist() == BARS["close"].tolist()
    assert frame.index.to_series().diff()[1:].eq(pd.Timedelta("1h")).all()


def test_newest_first_files_are_each_turned(tmp_path: Path) -> None:
    for day, rows in DAYS.items():
        rows[::-1].to_csv(tmp_path / f"btc-{day}.csv")
    frame, said = read(tmp_path)
    same(frame, BARS)
    assert "newest first in the file: rows reversed" in said


def test_commands_take_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive_folder(tmp_path / "klines")
    assert describe([str(tmp_path / "klines")]) == 0
    assert "accepted by gym_trade.Market" in capsys.readouterr().out
    flags = ["--market", str(tmp_path / "klines"), "--env", "window_sizes=3", "--episode-steps"]
    flags += ["9", "--buffer-size", "30", "--save-buffer-name", str(tmp_path / "a.hdf5")]
    assert collect(flags) == 0
    assert describe([str(tmp_path / "a.hdf5")]) == 0


@pytest.mark.parametrize("separator", ["-", "_"])
def test_files_by_the_year(tmp_path: Path, separator: str) -> None:
    bars = BARS.set_axis(pd.date_range("2023-12-30", periods=96, freq="h", name="timestamp"))
    for year, part in bars.groupby(bars.index.year):
        part.to_csv(tmp_path / f"eur_usd_1h{separator}{year}.csv.gz")
    same(read(tmp_path)[0], bars)
    bars.to_csv(tmp_path / f"eur_usd_1h{separator}9999.csv.gz")  # a number, but no date of bars
    refused(tmp_path, "not one market by dates")


def test_files_that_overlap(tmp_path: Path) -> None:
    archive_folder(tmp_path)
    shared = BARS.set_axis(pd.date_range("2024-12-31", periods=96, freq="h", name="timestamp"))[:24]
    pack(tmp_path / "X-1h-2024-12-31.zip", **{"x.csv": klines(shared, "ms", header=False)})
    refused(tmp_path, "X-1h-2024-12-31.zip begins at 2024-12-31 00:00:00 UTC",
            "X-1h-2024-12.zip ends at 2024-12-31 23:00:00 UTC", "remove one")  # fmt: skip


def test_files_of_two_formats(tmp_path: Path) -> None:
    lean_folder(tmp_path / "x")
    last = max((tmp_path / "x").iterdir())
    day = last.name[:8]
    pack(last, **{f"{day}_x_minute_trade.csv": "0,5,9,3,7,12\n"})
    refused(tmp_path / "x", f"{day}_trade.zip holds LEAN trade bars", "one format")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    lean_folder(tmp_path / "x")
    last = max((tmp_path / "x").iterdir())
    last.write_bytes(last.read_bytes()[:40])
    refused(tmp_path / "x", last.name, "not a sound zip file")


def test_folders_that_are_no_market(tmp_path: Path) -> None:
    refused(tmp_path, "folder without market files. Name another one.")
    (tmp_path / "btcusdt").mkdir()
    (tmp_path / "readme.txt").write_text("x")
    refused(tmp_path, "Folders in it: btcusdt; name one of them")
    BARS.to_csv(tmp_path / "a.csv")
    same(read(tmp_path)[0], BARS)  # a single one needs no date
    BARS.to_csv(tmp_path / "b.csv")
    refused(tmp_path, "2 market files that are not one market by dates: a.csv, b.csv")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).unlink()
    for symbol in ("BTC", "ETH"):
        BARS.to_csv(tmp_path / f"{symbol}-2022-03.csv")
    refused(tmp_path, "BTC-2022-03.csv, ETH-2022-03.csv", "a folder of their own")


@needs(FORMATS / "FILUSDT-1m-2023-08.csv")
def test_a_real_archive_by_days(tmp_path: Path) -> None:
    lines = (FORMATS / "FILUSDT-1m-2023-08.csv").read_text().splitlines(keepends=True)
    named = not lines[0][0].isdigit()
    head, rows = lines[:named], lines[named:]
    days: dict[str, list[str]] = {}
    for row in rows:
        days.setdefault(str(pd.Timestamp(int(row.split(",")[0]), unit="ms").date()), []).append(row)
    for day, part in days.items():
        name = f"FILUSDT-1m-{day}"
        pack(tmp_path / f"{name}.zip", **{f"{name}.csv": "".join([*head, *part])})
    same(load(tmp_path, echo=None), load(FORMATS / "FILUSDT-1m-2023-08.csv", echo=None))


@needs(DATA / "STOCKS_GOOGL.csv")
def test_a_folder_of_several_real_markets() -> None:
    with pytest.raises(MarketDataError, match="not one market by dates"):
        load(DATA, echo=None)
