"""Datasets joined: all rows, nothing mixed that does not belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_tools.describe import describe
from data_tools.files import sha256
from data_tools.flat_layout import DatasetError, read_provenance
from data_tools.layouts import to_full
from data_tools.merge import main, merge
from data_tools.relabel import relabel
from data_tools.rollouts import record
from data_tools.subset import subset
from offline_algos.datasets import load_dataset
from tests.data_tools.collecting import quiet
from tests.data_tools.editing import (
    assert_interrupt_leaves_nothing,
    episodes_of,
    opened,
    push,
    refused,
    rows_of,
    set_provenance,
    stock,
)
from tests.data_tools.indexed import WILD, Pair, collect_pair


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return collect_pair(tmp_path_factory.mktemp("pair"), train_fraction=0.5)


@pytest.fixture(scope="module")
def late(early: Pair) -> Pair:
    """Of a later stretch of the same market, by another policy."""
    folder, start = early.full.parent, read_provenance(early.full)["span"]["end"]
    options = WILD | {"policy": "breakout:window=5", "epsilon": 0.3, "seed": 9, "start": start,
                      "buffer_size": 300, "train_fraction": 1.0}  # fmt: skip
    paths = [folder / f"late-{layout}.hdf5" for layout in ("full", "indexed")]
    for path, layout in zip(paths, ("full", "indexed"), strict=True):
        quiet(path, str(early.market), layout=layout, **options)
    return Pair(*paths, early.market)


def test_all_rows_in_order(early: Pair, late: Pair, tmp_path: Path) -> None:
    made = merge([early.full, late.full], tmp_path / "a.hdf5")
    parts = [opened(path) for path in (early.full, late.full)]
    found = stock(made.path)
    wanted = [row for part in parts for row in rows_of(part, "policy_logp")]
    assert rows_of(found, "policy_logp") == wanted
    known, sides = made.provenance, [read_provenance(p) for p in (early.full, late.full)]
    assert known["span"] == {"start": sides[0]["span"]["start"], "end": sides[1]["span"]["end"]}
    assert known["edited"] == {
        "by": "merge",
        "sources": [
            {"file": path.name, "sha256": sha256(path), "rows": rows}
            | {name: side[name] for name in ("seed", "num_envs")}
            for path, rows, side in ((early.full, 500, sides[0]), (late.full, 300, sides[1]))
        ],
    }
    assert [member["name"] for member in known["policy"]["members"]] == [
        "ma-cross", "random", "breakout",
    ]  # fmt: skip
    assert "seed" not in known and known["config"]["start"] is None
    assert known["buffer_size"] == 800 and "returns" not in known["reference"]
    complete = sum(side["reference"]["complete_episodes"] for side in sides)
    assert known["reference"]["complete_episodes"] == complete


def test_no_date_of_any_source_is_evaluated_on(early: Pair, late: Pair, tmp_path: Path) -> None:
    made = merge([late.full, early.full], tmp_path / "a.hdf5")
    span = load_dataset(str(made.path), 0).origin.collection
    parts = [load_dataset(str(p), 0).origin.collection for p in (early.full, late.full)]
    assert span == (parts[0][0], parts[1][1])


def test_both_layouts_give_the_same(early: Pair, late: Pair, tmp_path: Path) -> None:
    full = merge([early.full, late.full], tmp_path / "a.hdf5").path
    indexed = merge([early.indexed, late.indexed], tmp_path / "b.hdf5").path
    again = to_full(indexed, tmp_path / "c.hdf5")
    assert rows_of(opened(again), "policy_logp") == rows_of(opened(full), "policy_logp")


def test_a_subset_of_a_merge(early: Pair, late: Pair, tmp_path: Path) -> None:
    merge([early.full, late.full], tmp_path / "a.hdf5")
    made = subset(tmp_path / "a.hdf5", tmp_path / "b.hdf5", fraction=0.25, seed=2)
    every = [e for path in (early.full, late.full) for e in episodes_of(opened(path))]
    assert set(episodes_of(opened(made.path))) < set(every)
    assert describe(made.path)[-2:] == [
        "edited       subset of a.hdf5: fraction 0.25, order random, seed 2",
        "edited       merge of full.hdf5, late-full.hdf5",
    ]
    edited = made.provenance["edited"]
    assert edited["sources"][0]["edited"]["by"] == "merge"
    assert [e["file"] for e in edited["sources"][0]["edited"]["sources"]] == [
        "full.hdf5", "late-full.hdf5",
    ]  # fmt: skip


def test_tasks_without_a_market(tmp_path: Path) -> None:
    parts = [push(tmp_path, f"{action}.hdf5", action) for action in (0, 1)]
    made = merge(parts, tmp_path / "a.hdf5")
    assert stock(made.path).act.tolist() == [0] * 200 + [1] * 200
    assert made.provenance["task"] == "CartPole-v1"
    assert [m["name"] for m in made.provenance["policy"]["members"]] == ["push 0", "push 1"]


def test_an_unfinished_episode_is_truncated(tmp_path: Path) -> None:
    """A buffer whose file ends within an episode must not run into the next file's."""
    parts = [push(tmp_path, f"{action}.hdf5", action, num_envs=1) for action in (0, 1)]
    for path in parts:
        with h5py.File(path, "r+") as file:
            for name in ("done", "truncated", "terminated"):
                file["_meta"][name][-1] = False
    found = stock(merge(parts, tmp_path / "a.hdf5").path)
    assert found.truncated[[199, 399]].all() and not found.terminated[[199, 399]].any()
    assert np.array_equal(found.obs_next[199], opened(parts[0]).obs_next[199])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env": WILD["env"] | {"transaction_fee": 0.001}},
         "the environment's transaction_fee: 0.001 and 0.0004"),
        ({"env": WILD["env"] | {"window_sizes": [7, 3]}}, "what the provenance says of layout"),
        ({"env": WILD["env"] | {"action_levels": [0, 1]}}, "what the provenance says of action"),
        ({"env": WILD["env"] | {"reward": "pnl"}}, 'reward: pnl and log_return'),
        ({"task": "Trade-SLTP-v0", "policy": "random"}, "task: Trade-SLTP-v0 and Trade-Sequ"),
        ({"layout": "indexed"}, "layout (full or indexed): indexed and full"),
    ],
)  # fmt: skip
def test_what_differs_is_named(
    early: Pair,
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other.hdf5"
    quiet(other, str(early.market), **(WILD | {"buffer_size": 60} | options))
    words = [str(other), str(early.full), "--save-buffer-name", str(tmp_path / "x.hdf5")]
    assert main(words[1:2] + words[:1] + words[2:]) == 2
    assert message in capsys.readouterr().err
    refused(main, words, " differ in ", capsys)


def test_bad_input_is_refused(
    early: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "s.hdf5", str(tmp_path / "x.hdf5")
    source.write_bytes(early.full.read_bytes())
    first, rest = str(source), ["--save-buffer-name", target]
    pole, still = push(tmp_path, "pole.hdf5", 0), tmp_path / "still.hdf5"
    record("Pendulum-v1", lambda seen, _: np.zeros((len(seen), 1), np.float32), still,
           buffer_size=20, policy={"name": "still"})  # fmt: skip
    marked = relabel(source, tmp_path / "marked.hdf5", actions="random").path
    for words, message in (
        ([first, *rest], "1 dataset to merge. Expected two or more"),
        ([first, first, *rest], "is named twice"),
        ([first, str(tmp_path / "none.hdf5"), *rest], "none.hdf5 does not exist"),
        ([first, str(pole), *rest], "differ in task: CartPole-v1 and Trade-Sequential-v0"),
        ([str(still), str(pole), *rest], "differ in task"),
        ([first, str(marked), *rest], "differ in columns"),
        ([first, str(early.full), "--save-buffer-name", first], "is the dataset itself"),
        ([first, str(early.full), *rest, "--env", "leverage=3"], "only features can be given"),
    ):
        refused(main, words, message, capsys)
    set_provenance(source, lambda known: known["market"].update(content_hash="0"))
    refused(main, [first, str(early.full), *rest], "differ in market (content hash)", capsys)
    other = push(tmp_path, "c.hdf5", 1)
    act = lambda check: merge([pole, other], target, check=check)  # noqa: E731
    assert_interrupt_leaves_nothing(act, tmp_path)


def test_a_made_up_history_is_refused(early: Pair, late: Pair, tmp_path: Path) -> None:
    path = merge([early.full, late.full], tmp_path / "a.hdf5").path
    for edited in ("merge", {}, {"sources": [1]}, {"sources": [{"edited": {}}]}):
        set_provenance(path, lambda known, edited=edited: known.update(edited=edited))
        with pytest.raises(DatasetError, match=r"edited (names no list of sources|is 'merge')"):
            read_provenance(path)


def collected_line(path: Path) -> str:
    (line,) = [line for line in describe(path) if line.startswith("collected")]
    return line.removeprefix("collected").strip()


def test_the_seeds_of_all_collections_are_described(tmp_path: Path) -> None:
    """Also where merged datasets were merged, and cut, again; older files do not have them."""
    parts = [push(tmp_path, f"{n}.hdf5", n % 2, num_envs=4 + 4 * (n == 2)) for n in range(3)]
    two = merge(parts[:2], tmp_path / "two.hdf5").path
    assert collected_line(parts[0]) == "seed 0, 4 environments"
    assert collected_line(two) == "seeds 0 and 1, with 4 environments each"
    three = merge([two, parts[2]], tmp_path / "three.hdf5").path
    wanted = "seeds 0, 1 and 0, with 4, 4 and 8 environments"
    assert collected_line(three) == wanted
    half = subset(three, tmp_path / "half.hdf5", fraction=0.5).path
    assert collected_line(half) == wanted

    def forget(known: Any) -> None:
        for source in known["edited"]["sources"]:
            del source["seed"], source["num_envs"]

    set_provenance(two, forget)
    assert collected_line(two) == "2 times, with seeds that the file does not name"
