"""Datasets cut in time: nothing of the one part can be seen in the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_tools.flat_layout import read_provenance
from data_tools.indexed_layout import open_dataset
from data_tools.layouts import to_full
from data_tools.load import load
from data_tools.market_windows import open_tables
from data_tools.relabel import relabel
from data_tools.split import main, split
from gym_trade import Market
from offline_algos.datasets import load_dataset
from tests import markets
from tests.data_tools.collecting import quiet
from tests.data_tools.editing import (
    assert_interrupt_leaves_nothing,
    opened,
    push,
    refused,
    rows_of,
    set_provenance,
    stock,
)
from tests.data_tools.indexed import WILD, Pair, collect_pair

SIZE = 500


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return collect_pair(tmp_path_factory.mktemp("pair"), policy="random", train_fraction=1.0)


def decisions_of(indexed: Path) -> tuple[Any, Any]:
    """The decision instants before and after each transition."""
    with open_dataset(indexed) as dataset:
        table: Any = dataset.table  # type: ignore[attr-defined]
        after = table.following(np.arange(len(table)))
        every = np.concatenate((table.decisions, table.last_decisions))
        return np.array(table.decisions), every[after]


def times_of(path: Path) -> Any:
    _, tables = open_tables(path, read_provenance(path))
    return pd.to_datetime(tables.instants, utc=True)


def middle_of(pair: Pair) -> pd.Timestamp:
    """An instant that an episode goes over, and another one between two decisions."""
    here, _ = decisions_of(pair.indexed)
    return times_of(pair.full)[int(np.median(here))] + pd.Timedelta("7min")


def test_each_part_has_its_own_time(pair: Pair, tmp_path: Path) -> None:
    moment = middle_of(pair)
    first, second = split(pair.full, tmp_path / "a.hdf5", tmp_path / "b.hdf5", at=str(moment))
    here, there = decisions_of(pair.indexed)
    times, source = times_of(pair.full), opened(pair.full)
    early = np.flatnonzero(times[there] <= moment)
    parts = [stock(first.path), stock(second.path)]
    for name in ("obs", "act", "rew", "obs_next", "terminated", "policy_logp"):
        assert np.array_equal(getattr(parts[0], name), getattr(source, name)[early])
    # the windows of the second part: every bar in them opens at the cut or later
    frames = {"1hour": 6, "4hour": 3}
    opens = Market(load(pair.market, echo=None)).open_ns
    edge = times[times <= moment][-1]

    def oldest(instant: pd.Timestamp) -> pd.Timestamp:
        """When the first bar in any window of an instant opens, from the calendar alone."""
        return min(
            instant.floor(frame.replace("hour", "h")) - bars * pd.Timedelta(frame)
            for frame, bars in frames.items()
        )

    assert len(np.unique(np.diff(opens))) == 1  # no gaps, so that the calendar says it
    late = np.array([oldest(instant) >= edge for instant in times[here]])
    assert np.array_equal(parts[1].obs, source.obs[late]) and 0 < late.sum() < SIZE - len(early)
    spans = [part.provenance["span"] for part in (first, second)]
    assert spans[0] == read_provenance(pair.full)["span"] | {"end": edge.isoformat()}
    starts = pd.Timestamp(spans[1]["start"])
    assert oldest(starts) >= edge > oldest(starts - pd.Timedelta("2h"))
    assert spans[1]["end"] == read_provenance(pair.full)["span"]["end"]
    assert first.provenance["edited"]["part"] == "first"
    assert load_dataset(str(first.path), 0).origin.collection[1] == edge


def test_cut_episodes_are_truncated(pair: Pair, tmp_path: Path) -> None:
    first, second = split(
        pair.full, tmp_path / "a.hdf5", tmp_path / "b.hdf5", at=str(middle_of(pair)), embargo="0"
    )
    source, parts = opened(pair.full), [stock(first.path), stock(second.path)]
    assert len(parts[0]) + len(parts[1]) == SIZE
    _, there = decisions_of(pair.indexed)
    early = times_of(pair.full)[there] <= middle_of(pair)
    cut = 0
    for part, rows in zip(parts, (np.flatnonzero(early), np.flatnonzero(~early)), strict=True):
        assert np.array_equal(part.obs, source.obs[rows])
        assert np.array_equal(part.obs_next, source.obs_next[rows])
        assert np.array_equal(part.terminated, source.terminated[rows])
        on = np.append(rows[1:], -1) == rows + 1
        assert np.array_equal(part.truncated, source.truncated[rows] | ~(source.done[rows] | on))
        cut += int((part.truncated & ~source.truncated[rows]).sum())
    assert cut >= 1 and first.episodes.cut >= cut


def test_both_layouts_give_the_same(pair: Pair, tmp_path: Path) -> None:
    made = []
    for source in (pair.full, pair.indexed):
        targets = [tmp_path / f"{source.stem}-{name}" for name in "ab"]
        made.append(split(source, *targets, at=str(middle_of(pair)), embargo="10h"))
    for full, indexed in zip(*made, strict=True):
        again = to_full(indexed.path, tmp_path / "c.hdf5", overwrite=True)
        assert rows_of(opened(again)) == rows_of(opened(full.path))
        assert indexed.provenance["span"] == full.provenance["span"]


def test_rollouts_and_counterfactuals(pair: Pair, tmp_path: Path) -> None:
    """A rollout belongs to the first part if it is over at the cut."""
    env = WILD["env"] | {"rollout_steps": 12}
    options = WILD | {"task": "Trade-OneStep-v0", "policy": "random", "env": env,
                      "episode_steps": None, "train_fraction": 1.0}  # fmt: skip
    for layout in ("full", "indexed"):
        quiet(tmp_path / layout, str(pair.market), layout=layout, **options)
    moment = middle_of(pair)
    here, there = decisions_of(tmp_path / "indexed")
    assert (there > here + 1).any()
    times = times_of(tmp_path / "full")
    first, second = split(tmp_path / "full", tmp_path / "a", tmp_path / "b", at=str(moment))
    assert first.transitions == (times[there] <= moment).sum()
    start = pd.Timestamp(second.provenance["span"]["start"])
    assert second.transitions == (times[here] >= start).sum()
    marked = relabel(pair.full, tmp_path / "m", actions="random").path
    parts = split(marked, tmp_path / "c", tmp_path / "d", at=str(moment))
    alone = split(pair.full, tmp_path / "e", tmp_path / "f", at=str(moment))
    for part, logged in zip(parts, alone, strict=True):
        found = stock(part.path)
        assert np.array_equal(found.obs[~found.counterfactual], stock(logged.path).obs)
        assert found.counterfactual.sum() == logged.transitions


def test_what_begins_in_the_middle_is_not_replayed(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = split(pair.full, tmp_path / "a", tmp_path / "b", at=str(middle_of(pair)))
    assert relabel(first.path, tmp_path / "c", reward="pnl").transitions == first.transitions
    from data_tools.relabel import main as relabel_main

    words = [str(second.path), str(tmp_path / "d"), "--reward", "pnl"]
    refused(relabel_main, words, "Relabel the dataset as it was collected, then split", capsys)


def still_market(path: Path, begin: int, end: int) -> str:
    """Wild prices that stand still between two bars."""
    frame = markets.hourly(900, 7, move=0.03, gap=0.01)
    frame.iloc[begin:end] = frame.iloc[begin].to_numpy()
    for name in ("open", "high", "low", "close"):
        frame.iloc[begin:end, frame.columns.get_loc(name)] = frame["close"].iloc[begin]
    frame.to_csv(path)
    return str(path)


def test_windows_that_repeat_are_dated_by_their_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prices that stand still show the same windows again and again."""
    options = {"buffer_size": 300, "num_envs": 4, "train_fraction": 1.0}
    for name, begin, end in (("some", 440, 475), ("all", 0, 900)):
        market = still_market(tmp_path / f"{name}.csv", begin, end)
        for layout in ("full", "indexed"):
            quiet(tmp_path / f"{name}-{layout}", market, layout=layout, **options)
    here, _ = decisions_of(tmp_path / "some-indexed")
    assert ((here == 454) | (here == 465)).any()
    cut = str(times_of(tmp_path / "some-full")[465])
    made = [
        split(tmp_path / f"some-{layout}", *(tmp_path / f"{layout}-{part}" for part in "ab"),
              at=cut, embargo="0")
        for layout in ("full", "indexed")
    ]  # fmt: skip
    for full, indexed in zip(*made, strict=True):
        again = to_full(indexed.path, tmp_path / "c.hdf5", overwrite=True)
        assert rows_of(opened(again)) == rows_of(opened(full.path))
    rest = [str(tmp_path / "x"), str(tmp_path / "y"), "--at", cut, "--embargo", "0"]
    refused(main, [str(tmp_path / "all-full"), *rest], "Collect with --layout indexed", capsys)
    assert main([str(tmp_path / "all-indexed"), *rest]) == 0


def test_bad_input_is_refused(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, targets = tmp_path / "s.hdf5", [str(tmp_path / "x"), str(tmp_path / "y")]
    source.write_bytes(pair.full.read_bytes())
    for words, message in (
        ([*targets], "the following arguments are required: --at"),
        ([*targets, "--at", "soon"], "--at soon: expected a time such as"),
        ([*targets, "--at", "2022-03-20", "--embargo=-2h"], "--embargo -2h: expected auto, 0"),
        ([*targets, "--at", "2022-03-20", "--embargo", "long"], "--embargo long: expected auto"),
        ([*targets, "--at", "1999-01-01"], "lies before the market's first decision"),
        ([*targets, "--at", "2031-01-01"], "the second part would be empty. Its transitions lie"),
        ([targets[0], targets[0], "--at", "2022-03-20"], "expected two different files"),
        ([targets[0], str(source), "--at", "2022-03-20"], "is the dataset itself"),
    ):
        refused(main, [str(source), *words], message, capsys)
    rest = [*targets, "--at", str(middle_of(pair))]
    pole = push(tmp_path, "pole.hdf5", 0)
    refused(main, [str(pole), *rest], "CartPole-v1, which has no market: split is for", capsys)
    set_provenance(source, lambda known: known["market"].update(content_hash="0"))
    refused(main, [str(source), *rest], "has changed: its content hash is", capsys)

    def act(check: Any) -> None:
        split(pair.full, *targets, at=str(middle_of(pair)), check=check)

    assert_interrupt_leaves_nothing(act, tmp_path)


def test_the_command(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "a.hdf5", tmp_path / "b.hdf5"
    assert main([str(pair.indexed), str(first), str(second), "--at", str(middle_of(pair))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(second) and str(first) in lines
    assert f" to {read_provenance(first)['span']['end']}" in lines[0]
