"""Descriptions of datasets, ours and foreign."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from data_tools.dataset_report import report_dataset
from data_tools.hdf5 import load_buffer
from data_tools.relabel import relabel
from tests.data_tools.descriptions import collected, foreign, text


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return collected(tmp_path)


@pytest.mark.parametrize("chunk_bytes", [1, 3000, 2**24])
def test_statistics_equal_those_of_the_whole(
    dataset: Path, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_tools.column_rows._CHUNK_BYTES", chunk_bytes)
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


@pytest.mark.parametrize("kind", ["levels", "indexed"])
def test_counterfactual_transitions_are_no_episodes(
    collected: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    source = collected[kind]
    made = relabel(source, tmp_path / "a.hdf5", actions="all")
    logged, more = (report_dataset(path) for path in (source, made.path))
    assert more.counterfactual == more.transitions - logged.transitions > 0
    assert logged.counterfactual == 0
    np.testing.assert_array_equal(more.returns, logged.returns)
    np.testing.assert_array_equal(more.lengths, logged.lengths)
    assert (more.terminated, more.truncated) == (logged.terminated, logged.truncated)
    assert f", {more.counterfactual} of them counterfactual: of no episode" in text(made.path)
    assert "counterfactual" not in text(source)
    alone = relabel(source, tmp_path / "b.hdf5", actions="all", counterfactual_only=True)
    assert len(report_dataset(alone.path).returns) == more.counterfactual
