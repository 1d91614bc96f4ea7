"""Repairs: what each changes, what it says, and that the rest stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_tools.load import load
from data_tools.repair import main, repair
from gym_trade import Market, MarketDataError
from tests import markets

FRAME = markets.hourly(30, 2, reach=0.003)


def spoil(row: int, column: str, value: float) -> pd.DataFrame:
    frame = FRAME.copy()
    frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, wanted, check_exact=True, check_freq=False)


def without(*rows: int) -> pd.DataFrame:
    return FRAME.drop(FRAME.index[list(rows)])


def test_a_sound_market_is_left_as_it_is() -> None:
    frame, lines = repair(FRAME)
    same(frame, FRAME)
    assert lines == ["bad-rows: none", "sort: in order", "duplicates: none", "off-grid: none"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("high", 0.5, "high is below open or close (high 0.5"),
        ("low", 1e6, "low is above open or close"),
        ("open", 0.0, "open is not positive (open 0.0)"),
        ("close", -1.0, "close is not positive"),
        ("close", np.nan, "close is missing"),
        ("high", np.inf, "high is not finite"),
        ("volume", -1.0, "volume is negative"),
        ("volume", np.nan, "volume is missing"),
    ],
)
def test_a_row_that_no_market_can_have_is_dropped_and_named(
    column: str, value: float, reason: str
) -> None:
    spoilt = spoil(7, column, value)
    with pytest.raises(MarketDataError):
        Market(spoilt)
    before = spoilt.copy()
    frame, lines = repair(spoilt)
    same(frame, without(7))
    same(spoilt, before)
    Market(frame)
    assert lines[0] == "bad-rows: dropped 1 rows that no market can have"
    assert lines[1].startswith(f"  row 7 ({FRAME.index[7]}): {reason}")
    assert lines[2:] == ["sort: in order", "duplicates: none", "off-grid: none"]


def test_rows_are_sorted() -> None:
    shuffled = FRAME.iloc[[*range(10), 12, 11, 10, *range(13, 30)]]
    frame, lines = repair(shuffled)
    same(frame, FRAME)
    assert "sort: rows sorted by time; 2 were older than the row before" in lines


def test_equal_rows_of_one_stamp_are_dropped_and_contradicting_ones_refused() -> None:
    twice = FRAME.iloc[[0, 1, 1, *range(2, 30), 29]]
    frame, lines = repair(twice)
    same(frame, FRAME)
    assert "duplicates: dropped 2 rows equal to another of the same stamp" in lines
    assert lines[-3:-1] == [f"  {FRAME.index[1]}", f"  {FRAME.index[29]}"]
    other = pd.concat([FRAME, FRAME.iloc[[4]] * 2.0])
    with pytest.raises(MarketDataError, match=r"1 stamps have rows that contradict.*04:00.*--keep"):
        repair(other)
    same(repair(other, keep="first")[0], FRAME)
    last, lines = repair(other, keep="last")
    assert last.loc[FRAME.index[4], "open"] == FRAME["open"].iloc[4] * 2.0
    same(last.drop(FRAME.index[4]), without(4))
    assert "duplicates: dropped 1 rows that contradict the last one of their stamp" in lines


def test_a_bad_row_does_not_contradict_a_good_one() -> None:
    both = pd.concat([FRAME, FRAME.iloc[[4]].assign(high=np.nan)])
    same(repair(both)[0], FRAME)


def test_stamps_off_the_grid_are_dropped_wherever_the_grid_is() -> None:
    moved = FRAME.set_axis(FRAME.index + pd.Timedelta("30min"))
    same(repair(moved)[0], moved)
    stray = moved.set_axis(
        moved.index.where(np.arange(30) != 9, moved.index[9] + pd.Timedelta("7s"))
    )
    stray.index.name = moved.index.name
    frame, lines = repair(stray)
    same(frame, moved.drop(moved.index[9]))
    assert "off-grid: dropped 1 rows off the grid of the others" in lines


def test_gaps_are_filled_flat_up_to_a_length() -> None:
    holes = without(5, 6, 10, 20, 21, 22)
    frame, lines = repair(holes, fill_gaps=2)
    assert frame.index.tolist() == without(20, 21, 22).index.tolist()
    for row, before in ((5, 4), (6, 4), (10, 9)):
        close = FRAME["close"].iloc[before]
        assert frame.iloc[row].tolist() == [close, close, close, close, 0.0]
    same(frame.loc[holes.index], holes)
    assert "fill-gaps: 3 flat bars put into 2 gaps of up to 2" in lines
    assert (
        "1 longer gaps left as they are, the longest of 3 bars from 2022-03-01 19:00" in lines[-1]
    )
    same(repair(holes)[0], holes)  # bars are not invented unasked
    assert Market(repair(holes, fill_gaps=3)[0]).bars.shape == (30, 4)
    bare = repair(holes.drop(columns="volume"), fill_gaps=3)[0]
    assert list(bare.columns) == ["open", "high", "low", "close"]


def test_gaps_are_not_filled_where_more_is_unknown() -> None:
    with pytest.raises(MarketDataError, match="feature_x would be in a missing bar"):
        repair(without(5).assign(feature_x=1.0), fill_gaps=1)
    with pytest.raises(MarketDataError, match="sorted"):
        repair(FRAME.iloc[[1, 0, *range(2, 30)]], fill_gaps=1, skip=["sort"])


def test_skipped_repairs_do_nothing() -> None:
    twice = FRAME.iloc[[0, 2, 1, 1, *range(3, 30)]]
    frame, lines = repair(twice, skip=["sort", "duplicates", "bad-rows", "off-grid"])
    same(frame, twice)
    assert lines == []


def test_local_times_become_utc_and_doubtful_ones_are_refused() -> None:
    local = markets.hourly(30)
    local.index = pd.date_range("2022-03-12", periods=30, freq="h", name="timestamp")
    with pytest.raises(MarketDataError, match=r"row 26 \(2022-03-13 02:00:00\).*clocks change"):
        repair(local, zone="America/New_York")
    frame, lines = repair(local.drop(local.index[26]), zone="America/New_York")
    assert frame.index[0] == pd.Timestamp("2022-03-12 05:00")
    assert (np.diff(frame.index) == np.timedelta64(1, "h")).all()  # the hour never was
    assert lines[0] == "zone: 29 stamps moved from America/New_York to UTC"
    with pytest.raises(ValueError, match="zone 'Mars/Base' is unknown"):
        repair(local, zone="Mars/Base")


@pytest.mark.parametrize(
    ("options", "part"),
    [({"keep": "all"}, "keep='all'"), ({"fill_gaps": -1}, "fill_gaps=-1"),
     ({"skip": ["order"]}, "no repair is called 'order'")],
)  # fmt: skip
def test_refuses_arguments(options: dict[str, Any], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        repair(FRAME, **options)


def spoilt_file(path: Path) -> Path:
    """Everything that is wrong with people's files at once."""
    frame = pd.concat([spoil(7, "high", 0.5).iloc[::-1], FRAME.iloc[[3, 3]]]).drop(FRAME.index[12])
    frame.to_csv(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_spoilt_file_becomes_one_that_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    source, target = spoilt_file(tmp_path / "bad.csv"), tmp_path / f"good{suffix}"
    content = source.read_bytes()
    with pytest.raises(MarketDataError):
        Market(load(source, echo=None))
    assert main([str(source), str(target)]) == 0
    said = capsys.readouterr().out
    accepted = f"{target}: 28 rows of 31; accepted by gym_trade.Market"
    for part in ("bad.csv: OHLCV", "dropped 1 rows that no market can have", "sorted by time",
                 "dropped 2 rows equal", accepted):  # fmt: skip
        assert part in said
    same(load(target, echo=None), without(7, 12))
    assert source.read_bytes() == content
    first = target.read_bytes()
    assert main([str(source), str(target), "--overwrite"]) == 0
    assert target.read_bytes() == first
    assert main([str(source), str(target), "--overwrite", "--fill-gaps", "1"]) == 0
    assert len(load(target, echo=None)) == 30


def test_in_place_only_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = spoilt_file(tmp_path / "bad.csv")
    content = source.read_bytes()
    assert main([str(source), str(source)]) == 2
    assert "bad.csv exists" in capsys.readouterr().err
    assert source.read_bytes() == content
    assert main([str(source), str(source), "--overwrite"]) == 0
    same(load(source, echo=None), without(7, 12))


def test_what_repairs_cannot_help_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FRAME.head(1).to_csv("single.csv")
    FRAME.assign(close=-1.0).to_csv("negative.csv")
    pd.concat([FRAME, FRAME.iloc[[4]] * 2.0]).to_csv("contradicting.csv")
    FRAME.iloc[[1, 0, *range(2, 30)]].to_csv("unsorted.csv")
    for arguments, part in (
        (["single.csv", "o.csv"], "single.csv is still refused after its repairs, nothing is"),
        (["negative.csv", "o.csv"], "nothing is left after bad-rows"),
        (["contradicting.csv", "o.csv"], "--keep first or --keep last"),
        (["none.csv", "o.csv"], "none.csv does not exist"),
        (["single.csv", "o.xlsx"], "o.xlsx: expected a name ending in .csv"),
        (["single.csv", "none/o.csv"], "no folder none"),
        (["single.csv", "o.csv", "--fill-gaps", "-1"], "--fill-gaps"),
        (["single.csv", "o.csv", "--skip", "order"], "--skip"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        assert part in error
    assert len(list(tmp_path.iterdir())) == 4
    assert main(["unsorted.csv", "o.csv", "--skip", "sort"]) == 0
    assert "refused by gym_trade.Market: row 1" in capsys.readouterr().out


def test_a_grid_with_an_offset_is_accepted_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FRAME.set_axis(FRAME.index + pd.Timedelta("30min")).rename_axis("date").to_csv(
        tmp_path / "m.csv"
    )
    assert main([str(tmp_path / "m.csv"), str(tmp_path / "o.csv")]) == 0
    assert "accepted by gym_trade.Market with offset='30min'" in capsys.readouterr().out


def test_a_full_disk_leaves_the_target_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = spoilt_file(tmp_path / "bad.csv"), tmp_path / "good.csv"
    target.write_text("mine")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_tools.files.os.replace", full)
    assert main([str(source), str(target), "--overwrite"]) == 2
    assert "good.csv cannot be written: No space left" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bad.csv", "good.csv"]
