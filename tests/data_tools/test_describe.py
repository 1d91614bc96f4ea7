"""Descriptions of market files, good and bad, and of datasets."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from tianshou.data import Batch, ReplayBuffer

from data_tools.collect import collect
from data_tools.dataset_report import report_dataset
from data_tools.describe import describe, main
from data_tools.hdf5 import load_buffer
from data_tools.market_report import report_market
from gym_trade import Market

REPOSITORY = Path(__file__).resolve().parents[2]


def bars(count: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, count)))
    open_ = np.concatenate([[100.0], close[:-1]]) * 1.002
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": random.uniform(1, 2, count),
        },
        index=pd.date_range("2022-03-01", periods=count, freq="h", name="timestamp"),
    )


def save(path: Path, frame: pd.DataFrame) -> Path:
    frame.rename_axis("timestamp").to_csv(path)
    return path


def text(path: Path, **options: Any) -> str:
    return "\n".join(describe(path, **options))


# --- markets


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


def test_newest_first_is_said_once(tmp_path: Path) -> None:
    path = save(tmp_path / "m.csv", bars().iloc[::-1])
    described = text(path)
    assert "order     newest first" in described
    assert "bad rows  0" in described
    assert "refused by gym_trade.Market" in described
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


def test_a_real_market() -> None:
    path = REPOSITORY / ".." / "shared" / "data" / "binance_btcusdt_1m_2023.csv.gz"
    if not path.exists():
        pytest.skip("the real market files are not beside this checkout")
    described = text(path)
    assert "gaps      1, 80 bars missing; longest from 2023-03-24 12:39:00 to 2023-03" in described
    assert "72 bars without any" in described
    assert "accepted by gym_trade.Market" in described


# --- datasets


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "a.hdf5"
    market = save(tmp_path / "m.csv", bars(900))
    collect(
        path, market=str(market), buffer_size=1000, num_envs=7, episode_steps=40, seed=4,
        policy="ma-cross:fast=3,slow=9+random", epsilon=0.25, progress=False, echo=None,
        env={"window_sizes": 6, "leverage": 20},
    )  # fmt: skip
    return path


@pytest.mark.parametrize("chunk_bytes", [1, 3000, 2**24])
def test_statistics_equal_those_of_the_whole(
    dataset: Path, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_tools.flat_layout._CHUNK_BYTES", chunk_bytes)
    report = report_dataset(dataset)
    buffer, provenance = load_buffer(dataset)
    ends = np.flatnonzero(buffer.done)
    begins = np.concatenate([[0], ends[:-1] + 1])
    np.testing.assert_array_equal(report.lengths, ends - begins + 1)
    np.testing.assert_allclose(report.returns, np.add.reduceat(buffer.rew, begins), atol=1e-12)
    assert not report.unfinished
    assert report.transitions == 1000
    assert report.terminated == buffer.terminated.sum() > 0
    assert report.truncated == buffer.truncated.sum() > 0
    counts = np.bincount(buffer.act, minlength=5).tolist()
    assert report.actions == [
        (f"{a} (level {level})", counts[a])
        for a, level in enumerate(("-1", "-0.5", "0", "0.5", "1"))
    ]
    observations = buffer.obs.astype(np.float64)
    assert [part.key for part in report.parts] == ["market_data_1Hour", "account_state"]
    for part, layout in zip(report.parts, provenance["layout"], strict=True):
        values = observations[:, layout["start"] : layout["stop"]]
        assert part.mean == pytest.approx(values.mean(), rel=1e-9)
        assert part.std == pytest.approx(values.std(), rel=1e-9)
        singles = values.std(axis=0)
        assert part.column_std == pytest.approx((singles.min(), singles.max()), abs=1e-12)
    assert report.bad_numbers == 0
    assert report.sha256 == hashlib.sha256(dataset.read_bytes()).hexdigest()


def test_statistics_are_exact_where_float32_would_not_be(tmp_path: Path) -> None:
    """A column at price level with a variance of 1: sums in float32 lose it."""
    path = tmp_path / "a.hdf5"
    random = np.random.default_rng(0)
    prices = (1e5 + random.normal(0, 1, 5000)).astype(np.float32)
    foreign(path, prices)
    part = report_dataset(path).parts[0]
    assert part.std == pytest.approx(prices.astype(np.float64).std(), rel=1e-9)
    assert 0.95 < part.std < 1.05


def foreign(path: Path, states: np.ndarray, *, continuous: bool = False, ends: int = 10) -> None:
    """A dataset without provenance, whose last episode is not finished."""
    count = len(states)
    done = np.arange(count) % ends == ends - 1
    done[-1] = False
    buffer = ReplayBuffer(count)
    act = np.linspace(-1, 1, count, dtype=np.float32)[:, None]
    buffer._meta = Batch(
        obs=states[:, None], obs_next=states[:, None], rew=np.ones(count), done=done,
        act=act if continuous else np.arange(count) % 3, terminated=done, truncated=done & False,
        info=Batch(),
    )  # fmt: skip
    buffer._size, buffer.last_index = count, np.array([count - 1])
    buffer.save_hdf5(str(path))
    with h5py.File(path, "r+") as file:
        del file["_random_state"]


def test_a_foreign_dataset(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    foreign(path, np.arange(25, dtype=np.float32))
    report = report_dataset(path)
    assert report.provenance is None
    assert report.lengths.tolist() == [10, 10, 5]
    assert report.returns.tolist() == [10.0, 10.0, 5.0]
    assert report.unfinished
    assert report.actions == [("0", 9), ("1", 8), ("2", 8)]
    described = text(path, plot=tmp_path / "a.png")
    assert "the last one unfinished" in described
    assert "not written by data_tools.collect" in described


def test_continuous_actions_and_bad_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    states = np.arange(1000, dtype=np.float32)
    states[[3, 4]] = np.nan, np.inf
    foreign(path, states, continuous=True)
    report = report_dataset(path)
    assert report.bad_numbers == 4  # in obs and in obs_next
    assert [count for _, count in report.actions] == [100] * 10
    assert report.actions[0][0] == "-1 to -0.8"
    assert "4 NaN or infinite; it cannot be trained on" in text(path)


def test_lines_say_everything(dataset: Path) -> None:
    described = text(dataset)
    _, provenance = load_buffer(dataset)
    for part in (
        "transitions  1000", "terminated,", "truncated", "lengths      mean", "returns      mean",
        "0 (level -1)", "market_data_1Hour", "account_state", "task         Trade-Sequential-v0",
        "policy       ma-cross(fast=3, slow=9) + random, epsilon 0.25",
        f"market       {dataset.parent / 'm.csv'}", provenance["market"]["content_hash"],
        f"span         {provenance['span']['start']} to {provenance['span']['end']}",
        "seed 4, 7 lanes, 40 steps an episode", "sha256 ",
    ):  # fmt: skip
        assert part in described
    shares = [float(found) for found in re.findall(r"([\d.]+)%", described)]
    assert sum(shares) == pytest.approx(100, abs=0.5)


# --- the command line


def test_command_line_and_picture(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "a.png"
    assert main([str(dataset), "--plot", str(plot)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"picture written to {plot}"
    assert plot.read_bytes().startswith(b"\x89PNG")
    renamed = dataset.rename(tmp_path / "trades.dat")
    assert main([str(renamed)]) == 0
    assert "transitions  1000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["none.csv"], ["none.csv does not exist"]),
        (["none.hdf5"], ["none.hdf5 does not exist", "data_tools.collect"]),
        (["spoilt.hdf5"], ["spoilt.hdf5: its provenance is not", "task is missing"]),
        (["m.parquet"], [".parquet", ".csv.gz"]),
        (["m.csv", "--plot", "m.jpg"], ["--plot m.jpg", ".png, .pdf, .svg"]),
        (["m.csv", "--plot", "none/m.png"], ["there is no folder none"]),
        (["m.csv", "--plto", "m.png"], ["--plto"]),
        ([], ["file"]),
    ],
)
def test_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], parts: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "m.csv", bars())
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    foreign(tmp_path / "spoilt.hdf5", np.arange(25, dtype=np.float32))
    with h5py.File(tmp_path / "spoilt.hdf5", "r+") as file:
        file.attrs["provenance"] = '{"format_version": 1}'
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


def test_an_unwritable_picture_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "m.csv", bars())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_tools.pictures.os.replace", full)
    assert main([str(tmp_path / "m.csv"), "--plot", str(tmp_path / "m.png")]) == 2
    assert "m.png cannot be written: No space left" in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["m.csv"]


def test_runs_as_a_module_and_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    frame = bars(3000)
    frame["volume"] = -1.0
    path = save(tmp_path / "m.csv", frame)
    module = f"{sys.executable} -W error -m data_tools.describe {path}"
    for reader, lines in (("true", 0), ("head -n 1", 1), ("cat", 30)):
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {module} | {reader}"],
            cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == lines
