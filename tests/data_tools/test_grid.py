"""Weeks that begin on Mondays, months that have no constant length, bars off the hour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_tools.collect import main as collect
from data_tools.describe import main as describe
from data_tools.grid import base_step, grid_note, grid_offset
from data_tools.load import load
from data_tools.repair import main as repair
from gym_trade import Market, MarketDataError
from tests import markets


def stamps(*times: str) -> np.ndarray:
    return pd.DatetimeIndex(times).to_numpy().astype("datetime64[ns]").astype(np.int64)


def market(path: Path, freq: str, start: str = "2018-01-01", rows: int = 200) -> Path:
    index = pd.date_range(start, periods=rows, freq=freq, name="timestamp")
    markets.hourly(rows, 3).set_axis(index).to_csv(path)
    return path


@pytest.mark.parametrize(
    ("times", "step", "offset"),
    [
        (["2024-01-01", "2024-01-08", "2024-01-15"], "7D", "4day"),  # Mondays
        (["1970-01-01", "1970-01-08"], "7D", None),  # Thursdays
        (["2024-01-01 09:30", "2024-01-01 10:30", "2024-01-02 09:30"], "1h", "30min"),
        (["2024-01-01 09:30", "2024-01-01 09:31"], "1min", None),
        (["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 02:30"], "1h", None),  # no one offset
        (["2024-01-01 00:00:00.5", "2024-01-01 01:00:00.5"], "1h", None),
        (["2024-01-01"], "0h", None),
    ],
)
def test_what_offset_a_market_needs(times: list[str], step: str, offset: str | None) -> None:
    found = stamps(*times)
    assert base_step(found) == pd.Timedelta(step).value
    assert grid_offset(found) == offset
    assert (f"offset='{offset}'" in grid_note(found)) == (offset is not None)


def test_weeks_are_a_market_with_the_offset_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = market(tmp_path / "week.csv", "W-MON")
    said: list[str] = []
    frame = load(path, echo=said.append)
    assert "all bars begin 4day behind the grid of 7day" in said[0]
    assert "offset='4day', a command with --env offset=4day" in said[0]
    assert len(Market(frame, offset="4day")) == 200
    with pytest.raises(MarketDataError, match=r"UTC epoch, a Thursday.*pass offset='4day'"):
        Market(frame)
    assert describe([str(path)]) == 0
    out = capsys.readouterr().out
    assert "interval  7day" in out and "accepted by gym_trade.Market with offset='4day'" in out
    target = tmp_path / "trades.hdf5"
    flags = ["--market", str(path), "--save-buffer-name", str(target), "--buffer-size", "40"]
    flags += ["--episode-steps", "20", "--env", "window_sizes=3"]
    assert collect(flags) == 2
    assert "pass offset='4day'" in capsys.readouterr().err
    assert collect([*flags, "--env", "offset=4day"]) == 0
    assert repair([str(path), str(tmp_path / "repaired.csv")]) == 0
    assert "with offset='4day'" in capsys.readouterr().out


@pytest.mark.parametrize("rows", [2, 40])
def test_months_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int
) -> None:
    path = market(tmp_path / "month.csv", "MS", rows=rows)
    said: list[str] = []
    frame = load(path, echo=said.append)  # a table as good as any, but no market
    assert "calendar months, which have no constant length" in said[0]
    for options in ({}, {"offset": "4day"}, {"stamp": "close"}):
        with pytest.raises(MarketDataError, match="bars of calendar months have no constant") as no:
            Market(frame, **options)
        assert "\n" not in str(no.value) and "days or weeks" in str(no.value)
    assert describe([str(path)]) == 0
    assert "refused by gym_trade.Market: row 1" in capsys.readouterr().out
    assert collect(["--market", str(path), "--save-buffer-name", str(tmp_path / "a.hdf5")]) == 2
    error = capsys.readouterr().err
    assert "calendar months" in error and error.count("\n") == 1
    assert repair([str(path), str(tmp_path / "repaired.csv")]) == 2
    assert "calendar months" in capsys.readouterr().err
    assert not (tmp_path / "repaired.csv").exists()


@pytest.mark.parametrize("freq", ["30D", "28D", "D", "W-THU"])
def test_long_bars_that_are_no_months(freq: str, tmp_path: Path) -> None:
    frame = load(market(tmp_path / "m.csv", freq, "1970-01-01", 50), echo=None)
    assert len(Market(frame)) == 50
