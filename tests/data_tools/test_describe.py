"""Descriptions of market files, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_tools.market_report import report_market
from gym_trade import Market
from tests.data_tools.descriptions import bars, save, text
from tests.real_data import BITCOIN, needs


def test_a_sound_market(tmp_path: Path) -> None:
    frame = bars()
    frame.loc[frame.index[[4, 5]], "volume"] = 0.0
    kept = frame.drop(frame.index[[10, 11, 12, 30]])
    path = save(tmp_path / "m.csv", kept)
    report = report_market(path)
    assert report.bad_rows == []
    assert (report.gaps, report.missing_bars, report.zero_volume) == (2, 4, 2)
    assert report.interval == pd.Timedelta("1h")
    assert report.longest_gap == (frame.index[9], frame.index[13])
    assert report.refusal is None
    assert report.content_hash == Market(kept).content_hash
    described = text(path)
    for part in ("rows      56", "2022-03-01 00:00:00 to 2022-03-03 11:00:00", "interval  1hour",
                 "gaps      2, 4 bars missing", "longest from 2022-03-01 09:00:00 to",
                 "2 bars without any", "bad rows  0", f"content hash {report.content_hash}",
                 "columns used: open, high, low, close, volume"):  # fmt: skip
        assert part in described


def spoil(frame: pd.DataFrame, row: int, column: str, value: float) -> pd.DataFrame:
    frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


SPOILT: dict[str, tuple[Any, list[tuple[int, str]]]] = {
    "missing price": (lambda f: spoil(f, 7, "close", np.nan), [(7, "close is missing")]),
    "infinite price": (
        lambda f: spoil(f, 7, "high", np.inf), [(7, "high is not finite (high inf)")],
    ),
    "price of zero": (
        lambda f: spoil(f, 7, "low", 0.0), [(7, "low is not positive (low 0.0)")],
    ),
    "high too low": (
        lambda f: spoil(f, 7, "high", 1.0),
        [(7, "high is below open or close (high 1.0, open ")],
    ),
    "low too high": (
        lambda f: spoil(f, 7, "low", 999.0), [(7, "low is above open or close (low 999.0, open ")],
    ),
    "missing volume": (lambda f: spoil(f, 7, "volume", np.nan), [(7, "volume is missing")]),
    "negative volume": (
        lambda f: spoil(f, 7, "volume", -1.0),
        [(7, "volume is negative or not finite (volume -1.0)")],
    ),
    "repeated stamp": (
        lambda f: f.set_index(f.index[[*range(30), 29, *range(31, 60)]]),
        [(30, "stamp repeats an earlier one")],
    ),
    "two rows exchanged": (
        lambda f: f.iloc[[*range(30), 31, 30, *range(32, 60)]],
        [(31, "stamp is older than that of the row before")],
    ),
    "off the grid": (
        lambda f: f.set_index(f.index + pd.to_timedelta([0] * 30 + [60] + [0] * 29, "s")),
        [(30, "stamp is off the grid of the other rows")],
    ),
    "two in one row": (
        lambda f: spoil(spoil(f, 7, "close", -1.0), 7, "volume", -2.0),
        [(7, "close is not positive"), (7, "low is above"), (7, "volume is negative")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_a_bad_row_is_listed_and_left_as_it_is(tmp_path: Path, case: str) -> None:
    change, expected = SPOILT[case]
    path = save(tmp_path / "m.csv", change(bars()))
    before = path.read_bytes()
    report = report_market(path)
    assert [row for row, _ in report.bad_rows] == [row for row, _ in expected]
    for (_, reason), (_, start) in zip(report.bad_rows, expected, strict=True):
        assert reason.startswith(start)
    assert report.refusal is not None
    assert report.content_hash is None
    described = text(path)
    assert "bad rows  1\n" in described
    assert f"  row {expected[0][0]} (2022-03-0" in described
    assert f"refused by gym_trade.Market: {report.refusal}" in described
    assert path.read_bytes() == before


def test_every_bad_row_is_one_that_the_market_refuses(tmp_path: Path) -> None:
    """Dropping the listed rows gives a frame that is accepted: the two lists of rules agree."""
    random = np.random.default_rng(3)
    frame = bars(400)
    for column in frame.columns:
        for value in (np.nan, np.inf, -3.0, 0.0, 1e5):
            rows = random.integers(0, 400, 3)
            frame.iloc[rows, frame.columns.get_loc(column)] = value
    report = report_market(save(tmp_path / "m.csv", frame))
    bad = sorted({row for row, _ in report.bad_rows})
    assert len(bad) > 30
    Market(frame.drop(frame.index[bad]))
    for row in bad:
        sound = bars(400)
        sound.iloc[row] = frame.iloc[row]
        with pytest.raises(ValueError, match=f"row {row} "):
            Market(sound)


def test_newest_first_is_said_once_and_read_reversed(tmp_path: Path) -> None:
    report = report_market(save(tmp_path / "m.csv", bars().iloc[::-1]))
    assert report.newest_first
    assert report.content_hash == Market(bars()).content_hash
    described = text(tmp_path / "m.csv")
    assert "order     newest first" in described
    assert "bad rows  0" in described
    assert "gaps      0" in described


def test_many_bad_rows_are_cut_off_after_twenty(tmp_path: Path) -> None:
    frame = bars()
    frame["volume"] = -1.0
    described = text(save(tmp_path / "m.csv", frame))
    assert "bad rows  60" in described
    assert described.count("volume is negative") == 20
    assert "  and 40 more" in described


def test_no_volume_and_a_single_row(tmp_path: Path) -> None:
    without = bars().drop(columns="volume")
    assert "no such column" in text(save(tmp_path / "m.csv", without))
    single = text(save(tmp_path / "n.csv", bars(1)))
    assert "interval  unknown" in single
    assert "gaps      0" in single


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_pictures_of_markets(tmp_path: Path, suffix: str) -> None:
    frame = spoil(spoil(bars(3000), 7, "close", np.nan), 1000, "volume", np.inf)
    path, plot = save(tmp_path / "m.csv", frame), tmp_path / f"m{suffix}"
    assert text(path, plot=plot).endswith(f"picture written to {plot}")
    start = plot.read_bytes()[:8]
    assert {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix] in start
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(["m.csv", plot.name])
    for other in (bars(1), bars().drop(columns="volume"), bars().iloc[::-1]):
        text(save(tmp_path / "other.csv", other), plot=plot)


@pytest.mark.parametrize("suffix", [".csv.gz", ".zip", ".parquet", ".feather"])
def test_every_format_is_described_and_drawn(tmp_path: Path, suffix: str) -> None:
    path, plot = tmp_path / f"m{suffix}", tmp_path / "m.png"
    if suffix == ".parquet":
        bars().to_parquet(path)
    elif suffix == ".feather":
        bars().reset_index().to_feather(path)
    else:
        archive = {"method": "zip", "archive_name": "m.csv"}
        bars().to_csv(path, compression=archive if suffix == ".zip" else "gzip")
    described = text(path, plot=plot)
    assert f"content hash {Market(bars()).content_hash}" in described
    assert plot.read_bytes().startswith(b"\x89PNG")


@needs(BITCOIN)
def test_a_real_market() -> None:
    described = text(BITCOIN)
    assert "gaps      1, 80 bars missing; longest from 2023-03-24 12:39:00 to 2023-03" in described
    assert "72 bars without any" in described
    assert "accepted by gym_trade.Market" in described
