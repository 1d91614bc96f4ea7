"""QuantConnect LEAN's bars: trades and quotes, scaled prices, days in names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from data_tools.load import load
from tests.data_tools.market_texts import FRAME, pack, read, refused, same


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
