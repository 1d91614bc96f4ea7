"""The formats that people have: klines, LEAN's bars, Parquet, Feather, zips."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_tools.environment import open_market
from data_tools.load import load
from gym_trade import Market, MarketDataError
from tests import markets

FRAME = markets.hourly(40, 5, reach=0.003)


def read(path: Path) -> tuple[pd.DataFrame, str]:
    lines: list[str] = []
    frame = load(path, echo=lines.append)
    assert len(lines) == 1
    assert set(frame.dtypes) == {np.dtype(np.float64)}
    assert frame.index.dtype == np.dtype("datetime64[ns]")
    assert frame.index.name == "timestamp"
    return frame, lines[0]


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, wanted, check_exact=True, check_freq=False)


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(MarketDataError) as caught:
        load(path, echo=None)
    for part in (str(path), *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def pack(path: Path, **members: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def klines(frame: pd.DataFrame, unit: str, *, header: bool) -> str:
    scale = {"ms": 10**6, "us": 10**3}[unit]
    stamps = frame.index.astype("int64") // scale
    table = frame.reset_index(drop=True)
    table.insert(0, "open_time", stamps)
    rest = dict(close_time=stamps + 3_600_000_000_000 // scale - 1, quote_volume=9.5, count=7,
                taker_buy_volume=1.5, taker_buy_quote_volume=2.5, ignore=0)  # fmt: skip
    return table.assign(**rest).to_csv(index=False, header=header)


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("suffix", [".csv", ".zip"])
def test_klines(tmp_path: Path, unit: str, header: bool, suffix: str) -> None:
    text, path = klines(FRAME, unit, header=header), tmp_path / f"ABC-1h-2022-03{suffix}"
    if suffix == ".zip":
        pack(path, **{"ABC-1h-2022-03.csv": text})
    else:
        path.write_text(text)
    frame, said = read(path)
    same(frame, FRAME)
    assert f"Binance klines {'with' if header else 'without'} a header" in said
    assert f"integer {dict(ms='milli', us='micro')[unit]}seconds" in said
    assert "ignored: close_time, quote_volume, count, taker_buy_volume" in said


@pytest.mark.parametrize("row", ["", "1,2", "x,1,1,1,1,1,1646092800000,1,1,1,1,0"])
def test_a_bad_kline_is_named_by_its_line(tmp_path: Path, row: str) -> None:
    lines = klines(FRAME, "ms", header=False).splitlines()
    lines[3] = row
    (tmp_path / "m.csv").write_text("\n".join(lines))
    if row:
        refused(tmp_path / "m.csv", "line 4")
    else:
        same(load(tmp_path / "m.csv", echo=None), FRAME.drop(FRAME.index[3]))


@pytest.mark.parametrize(
    "cell", ["1646092800000.0", "1646092800000.", "16460928e5", "0x17f", "1_0"]
)
def test_stamps_are_whole_numbers_as_written(tmp_path: Path, cell: str) -> None:
    lines = klines(FRAME, "ms", header=False).splitlines()
    lines[5] = cell + lines[5][13:]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    refused(tmp_path / "m.csv", "line 6: open_time is", repr(cell))


def test_nanoseconds_lose_no_digit(tmp_path: Path) -> None:
    stamps = [1646092800000000001, 1646092800000000003, 1646092800000000007]
    (tmp_path / "m.csv").write_text(
        "time,open,high,low,close\n" + "".join(f"{stamp},1,1,1,1\n" for stamp in stamps)
    )
    assert load(tmp_path / "m.csv", echo=None).index.astype("int64").tolist() == stamps


def test_twelve_columns_that_are_no_klines(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(",".join(map(str, range(12))) + "\n")
    refused(tmp_path / "m.csv", "no header", "'0', '1', '2'")


def lean_trades(frame: pd.DataFrame, scale: int = 10_000) -> str:
    rows = [f"{row.Index:%Y%m%d %H:%M},{row.open * scale:.0f},{row.high * scale:.0f},"
            f"{row.low * scale:.0f},{row.close * scale:.0f},{row.volume:.0f}\n"
            for row in frame.itertuples()]  # fmt: skip
    return "".join(rows)


def test_lean_trades_have_scaled_prices(tmp_path: Path) -> None:
    wanted = FRAME.round(4).assign(volume=FRAME["volume"].round())
    frame, said = read(pack(tmp_path / "spy.zip", **{"spy.csv": lean_trades(wanted)}))
    same(frame, wanted)
    assert "LEAN trade bars, hourly or daily (prices divided by 10000" in said
    assert "taken as UTC" in said
    (tmp_path / "spy.csv").write_text(lean_trades(wanted))
    same(load(tmp_path / "spy.csv", echo=None), wanted)


@pytest.mark.parametrize(
    ("folder", "divisor"),
    [("equity/usa/daily", 10_000.0), ("option/usa/daily", 10_000.0), ("crypto/x/hour", 1.0),
     ("forex/oanda/hour", 1.0), ("future/cme/daily", 1.0)],
)  # fmt: skip
def test_leans_folders_say_whether_prices_are_scaled(
    tmp_path: Path, folder: str, divisor: float
) -> None:
    path = pack(tmp_path / folder / "x.zip", **{"x.csv": "20220103 00:00,5,9,3,7,12.5\n"})
    frame, said = read(path)
    assert frame.iloc[0].tolist() == [5 / divisor, 9 / divisor, 3 / divisor, 7 / divisor, 12.5]
    assert f"LEAN's folder {folder.split('/')[0]}" in said


def test_leans_scale_is_not_guessed_from_contradicting_cells(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", **{"x.csv": "20220103 00:00,5,9,3,7,12.5\n"})
    refused(path, "x.csv", "scaled by 10000 cannot be told", "equity/usa/daily")
    decimal = pack(tmp_path / "y.zip", **{"y.csv": "20220103 00:00,5,9,3,7.25,12.5\n"})
    assert load(decimal, echo=None)["close"].tolist() == [7.25]


def test_lean_minutes_take_the_day_from_a_name(tmp_path: Path) -> None:
    rows = "34200000,1678500,1679000,1678000,1678600,2150\n34260000,1678600,1678600,1678500,1,9\n"
    member = "20131007_spy_minute_trade.csv"
    for name, inner in (("20131007_trade.zip", "spy.csv"), ("trade.zip", member)):
        frame, said = read(pack(tmp_path / name, **{inner: rows}))
        assert frame.index.tolist() == [pd.Timestamp("2013-10-07 09:30"),
                                        pd.Timestamp("2013-10-07 09:31")]  # fmt: skip
        assert frame.iloc[0].tolist() == [167.85, 167.9, 167.8, 167.86, 2150.0]
        assert "milliseconds since midnight of 2013-10-07" in said
    refused(pack(tmp_path / "trade.zip", **{"spy.csv": rows}), "no header", "'34200000'")
    refused(pack(tmp_path / "20131008_trade.zip", **{member: rows}), "different days")


def test_lean_quotes_become_mid_prices(tmp_path: Path) -> None:
    ask = "2.5,2.75,2.25,2.5,8\n"
    rows = f"20220103 10:00,1.5,1.75,1.25,1.5,7,{ask}"
    rows += f"20220103 11:00,,,,,0,{ask}20220103 12:00,0,0,0,0,0,{ask}"
    frame, said = read(pack(tmp_path / "eurusd.zip", **{"eurusd.csv": rows}))
    assert frame.iloc[0].tolist() == [2.0, 2.25, 1.75, 2.0]
    assert frame.iloc[1:].isna().all().all()  # half of a missing price is no price
    assert "LEAN bid and ask bars" in said
    assert "mid prices of bid and ask, missing in 2 rows that lack a side" in said
    assert "(no volume); ignored: bid_size, ask_size" in said
    scaled = "36000000,15000,17500,12500,15000,7,25000,27500,22500,25000,8\n"
    path = pack(tmp_path / "20220103_quote.zip", **{"20220103_spy_minute_quote.csv": scaled})
    assert load(path, echo=None).iloc[0].tolist() == [2.0, 2.25, 1.75, 2.0]


@pytest.mark.parametrize("cell", ["20220103 24:00", "20220103", "2022-01-03", "20220231 10:00", ""])
def test_a_bad_time_in_leans_bars_is_named(tmp_path: Path, cell: str) -> None:
    rows = f"20220103 10:00,1.5,1.7,1.2,1.5,7\n{cell},1.5,1.7,1.2,1.5,7\n"
    refused(pack(tmp_path / "x.zip", **{"x.csv": rows}), "(x.csv) line 2: time is", repr(cell))


@pytest.mark.parametrize("cell", ["86400000", "-1", "1.5", "x"])
def test_a_bad_millisecond_is_named(tmp_path: Path, cell: str) -> None:
    rows = f"0,1.5,1.7,1.2,1.5,7\n{cell},1.5,1.7,1.2,1.5,7\n"
    refused(pack(tmp_path / "20220103_trade.zip", **{"x.csv": rows}), "line 2: time is", cell)


def test_days_of_one_market_join_by_date(tmp_path: Path) -> None:
    row = "34200000,{0}0000,{0}0000,{0}0000,{0}0000,1\n"
    days = {f"2022010{day}_spy_minute_trade.csv": row.format(day) for day in (4, 3, 5)}
    frame, said = read(pack(tmp_path / "spy.zip", **days))
    assert frame["open"].tolist() == [3.0, 4.0, 5.0]
    assert frame.index.is_monotonic_increasing
    assert "3 files of the zip joined by date" in said
    days["20220106_spy_minute_trade.csv"] = "34200000,6.5,6.5,6.5,6.5,1\n"
    refused(pack(tmp_path / "spy.zip", **days), "20220106_spy", "prices as written", "one format")


def test_a_zip_of_several_markets_is_refused(tmp_path: Path) -> None:
    text = FRAME.to_csv()
    refused(pack(tmp_path / "a.zip", **{"BTC.csv": text, "ETH.csv": text}), "BTC.csv, ETH.csv")
    names = ["20220103_es_minute_trade_202203.csv", "20220104_es_minute_trade_202206.csv"]
    refused(pack(tmp_path / "b.zip", **dict.fromkeys(names, text)), "not one market")
    refused(pack(tmp_path / "c.zip", **{"m.csv": text, "m.txt": "x"}), "m.csv, m.txt", "one .csv")
    refused(pack(tmp_path / "d.zip"), "Members seen: none")
    refused(pack(tmp_path / "e.zip", **{"a\nb": "x"}), r"Members seen: a\nb")
    refused(pack(tmp_path / "f.zip", **{"m.csv": text, "n.cs/": text}), "m.csv, n.cs/")
    extra = pack(tmp_path / "g.zip", **{"__MACOSX/._m.csv": b"\x00", "m.csv": text, "folder/": ""})
    same(load(extra, echo=None), FRAME)


def test_a_zip_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(b"PK\x03\x04 and then nothing")
    refused(tmp_path / "m.zip", "not a sound zip file")
    refused(pack(tmp_path / "n.zip", **{"m.csv": ""}), "n.zip (m.csv) is empty")


def test_freqtrade_feather(tmp_path: Path) -> None:
    path = tmp_path / "BTC_USDT-1h.feather"
    table = FRAME.reset_index(names="date")
    table["date"] = table["date"].dt.tz_localize("UTC").astype("datetime64[ms, UTC]")
    table.to_feather(path, compression="lz4")
    frame, said = read(path)
    same(frame, FRAME)
    assert "freqtrade feather" in said
    assert "time column date (ms stamps in UTC)" in said


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
@pytest.mark.parametrize(
    "change",
    {
        "stamps": lambda f: f,
        "text": lambda f: f.assign(timestamp=f["timestamp"].astype(str)),
        "seconds": lambda f: f.assign(timestamp=f["timestamp"].astype("int64") // 10**9),
        "zone": lambda f: f.assign(
            timestamp=f["timestamp"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
        ),
        "title": lambda f: f.rename(columns=str.title).assign(**{"Adj Close": 1.0, "note": "x"}),
        "newest first": lambda f: f.iloc[::-1].reset_index(drop=True),
        "categories": lambda f: f.assign(timestamp=f["timestamp"].astype(str).astype("category")),
    }.items(),
    ids=lambda item: item[0],
)
def test_tables_of_other_tools(tmp_path: Path, suffix: str, change: Any) -> None:
    table, path = change[1](FRAME.reset_index()), tmp_path / f"m{suffix}"
    table.to_parquet(path) if suffix == ".parquet" else table.to_feather(path)
    frame, said = read(path)
    same(frame, FRAME)
    assert said.startswith(f"m{suffix}: {'Parquet' if suffix == '.parquet' else 'Feather'} table")
    assert ("rows reversed" in said) == (change[0] == "newest first")
    assert ("ignored: Adj Close, note" in said) == (change[0] == "title")


def test_indices_whole_numbers_decimals_and_narrow_floats(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "m.parquet"
    FRAME.to_parquet(path)
    same(load(path, echo=None), FRAME)
    FRAME.rename_axis(None).to_parquet(path)
    same(load(path, echo=None), FRAME)
    narrow = FRAME.astype(np.float32).assign(volume=np.arange(40))
    narrow.to_parquet(path)
    frame, said = read(path)
    same(frame, narrow.astype(np.float64))
    assert "float32 in the file: open, high, low, close" in said
    table = pa.table({"date": FRAME.index[:2], "open": pa.array(["1.10", "0.30"]).cast(
        pa.decimal128(9, 2)), "high": [2, None], "low": [1, 1], "close": [1, 1]})  # fmt: skip
    pq.write_table(table, path)
    frame = load(path, echo=None)
    assert frame["open"].tolist() == [1.1, 0.3]
    assert frame["high"].isna().tolist() == [False, True]


def test_refuses_other_tables_naming_what_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    FRAME.rename(columns={"high": "peak"}).to_parquet(path)
    refused(path, "lacks high", "'open', 'peak', 'low', 'close', 'volume', 'timestamp'")
    FRAME.reset_index(drop=True).to_parquet(path)
    refused(path, "lacks a time column", "'open', 'high'")
    FRAME.assign(close=FRAME["close"].astype(str)).to_parquet(path)
    refused(path, "column close holds", "string")
    FRAME.assign(close=True).to_parquet(path)
    refused(path, "column close holds bool")
    FRAME.rename(columns={"high": "a\nb"}).to_parquet(path)
    refused(path, "lacks high", "nb'")
    FRAME.iloc[:0].to_parquet(path)
    refused(path, "no rows")
    missing = FRAME.reset_index()
    missing.loc[3, "timestamp"] = pd.NaT
    missing.to_parquet(path)
    refused(path, "row 3: timestamp is missing")
    missing.assign(timestamp=1.5).to_parquet(path)
    refused(path, "timestamp is of type double")
    path.write_bytes(b"PAR1 and nothing")
    refused(path, "not a sound Parquet file")
    (tmp_path / "m.feather").write_bytes(b"FEA1" + bytes(40))
    refused(tmp_path / "m.feather", "version 1")


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    refused(tmp_path / "m.parquet", "pyarrow", "gym-trade[parquet]")


def test_open_market_takes_every_format(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("m.csv", "m.csv.gz", "m.parquet", "m.feather", "m.zip")]
    FRAME.to_csv(paths[0])
    FRAME.to_csv(paths[1])
    FRAME.to_parquet(paths[2])
    FRAME.reset_index().to_feather(paths[3])
    pack(paths[4], **{"ABC-1h-2022-03.csv": klines(FRAME, "ms", header=False)})
    hashes = {open_market(str(path), echo=None)[0].content_hash for path in paths}
    assert hashes == {Market(FRAME).content_hash}
