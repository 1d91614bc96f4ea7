"""The formats that people have: klines, Parquet, Feather, zips."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_tools.environment import open_market
from data_tools.load import load
from gym_trade import Market
from tests.data_tools.market_texts import FRAME, klines, pack, read, refused, same


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
