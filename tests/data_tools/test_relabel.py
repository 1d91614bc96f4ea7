"""Logged states tried with other actions: the same as an environment driven there and asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_tools.buffers import TensorReplayBuffer
from data_tools.driving import Behaviour
from data_tools.flat_layout import read_provenance
from data_tools.layouts import to_full, to_indexed
from data_tools.merge import merge
from data_tools.relabel import relabel
from data_tools.subset import subset
from tests.data_tools.editing import (
    episodes_of,
    opened,
    rows_of,
    stock,
)
from tests.data_tools.relabelled import KINDS, SIZE, Slow, alike, tried_at


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_action_does_is_what_the_environment_says(
    collected: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    source, actions = collected[kind], "random" if kind == "continuous" else "all"
    made = relabel(source, tmp_path / "a.hdf5", actions=actions, seed=4)
    found, logged = stock(made.path), opened(source)
    extra = [n for n in ("action_mask",) if n in h5py.File(source)["_meta"]]
    assert rows_of(found, *extra)[:SIZE] == rows_of(logged, *extra)
    marked = np.asarray(found.counterfactual)
    assert marked.dtype == np.bool_ and marked.tolist() == [False] * SIZE + [True] * (
        len(found) - SIZE
    )
    new = np.arange(SIZE, len(found))
    assert found.done[new].all() and (found.terminated[new] != found.truncated[new]).all()
    slow = Slow(source, observation="flat")
    states = list(range(SIZE))
    if actions == "all":
        states = tried_at(logged, slow.env.action_space.n)
    assert len(states) == len(new)
    for row in np.random.default_rng(1).choice(new, 25, replace=False).tolist():
        seen, after, reward, terminated = slow.go(states[row - SIZE], found.act[row])
        assert not np.array_equal(found.act[row], logged.act[states[row - SIZE]])
        assert np.array_equal(seen, found.obs[row]) and np.array_equal(after, found.obs_next[row])
        assert reward == found.rew[row] and terminated == found.terminated[row]
        if extra:
            mask = logged.action_mask[states[row - SIZE]]
            assert mask[found.act[row]] and np.array_equal(found.action_mask[row], mask)
    edited = made.provenance["edited"]
    assert (edited["logged"], edited["counterfactual"]) == (SIZE, len(new))
    assert made.provenance["columns"]["counterfactual"] and made.provenance == read_provenance(
        made.path
    )
    reference = read_provenance(source)["reference"]
    wanted = {n: pytest.approx(x) for n, x in reference.items() if n != "returns"}
    assert made.provenance["reference"] == wanted | {"returns": reference["returns"]}


def test_all_actions_are_all_others_in_order(collected: dict[str, Path], tmp_path: Path) -> None:
    source = collected["levels"]
    made = relabel(source, tmp_path / "a.hdf5", actions="all", counterfactual_only=True)
    found, logged = stock(made.path), opened(source)
    count = len(made.provenance["action"]["levels"])
    wanted = [a for row in logged.act.tolist() for a in range(count) if a != row]
    assert found.act.tolist() == wanted and found.counterfactual.all()
    assert np.array_equal(found.obs, np.repeat(logged.obs, count - 1, axis=0))
    assert made.provenance["edited"]["logged"] == 0


def test_no_log_probability_is_claimed(collected: dict[str, Path], tmp_path: Path) -> None:
    assert "policy_logp" in read_provenance(collected["levels"])["columns"]
    made = relabel(collected["levels"], tmp_path / "a.hdf5", actions="random")
    assert set(made.provenance["columns"]) == {"counterfactual"}
    assert "policy_logp" not in h5py.File(made.path)["_meta"]
    kept = relabel(collected["levels"], tmp_path / "b.hdf5", reward="pnl")
    assert "policy_logp" in h5py.File(kept.path)["_meta"]


def test_random_actions_are_different_ones(collected: dict[str, Path], tmp_path: Path) -> None:
    source, logged = collected["levels"], opened(collected["levels"])
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        relabel(source, tmp_path / name, actions="random", samples=2, seed=seed,
                counterfactual_only=True)  # fmt: skip
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = opened(tmp_path / "a").act.reshape(-1, 2)
    assert (found != logged.act[:, None]).all() and (found[:, 0] != found[:, 1]).all()
    assert len(np.unique(found)) == len(read_provenance(source)["action"]["levels"])
    assert (opened(tmp_path / "c").act.reshape(-1, 2) != found).any()
    with_all = relabel(source, tmp_path / "d", actions="random", samples=99,
                       counterfactual_only=True)  # fmt: skip
    everything = relabel(source, tmp_path / "e", actions="all", counterfactual_only=True)
    assert sorted(rows_of(opened(with_all.path))) == sorted(rows_of(opened(everything.path)))


def test_a_policy_s_actions_where_they_differ(collected: dict[str, Path], tmp_path: Path) -> None:
    source, logged = collected["levels"], opened(collected["levels"])
    made = relabel(source, tmp_path / "a.hdf5", actions="buy-and-hold", counterfactual_only=True)
    levels = np.array(made.provenance["action"]["levels"])
    highest = int(levels.argmax())
    assert opened(made.path).act.tolist() == [highest] * int((logged.act != highest).sum())
    assert made.provenance["edited"]["actions"] == {"name": "buy-and-hold", "seed": 0}

    def looking(venv: Any, seed: int) -> Behaviour:
        """Goes by the account in the observation that it is shown: flat ones buy."""
        return Behaviour(
            lambda seen: np.where(seen[:, -5] == 0.0, highest, 0), description={"name": "looking"}
        )

    made = relabel(source, tmp_path / "b.hdf5", actions=looking, counterfactual_only=True)
    wanted = np.where(logged.obs[:, -5] == 0.0, highest, 0)
    assert opened(made.path).act.tolist() == wanted[wanted != logged.act].tolist()


def test_both_layouts_give_the_same(collected: dict[str, Path], tmp_path: Path) -> None:
    made = [
        relabel(collected[kind], tmp_path / kind, actions="all", reward="pnl")
        for kind in ("levels", "indexed")
    ]
    full = to_full(made[1].path, tmp_path / "a.hdf5")
    first, second = (rows_of(opened(p), "counterfactual") for p in (made[0].path, full))
    assert first == second
    buffer, _ = TensorReplayBuffer.load(made[1].path)
    assert len(buffer) == made[1].transitions
    assert np.array_equal(buffer.obs_next, opened(full).obs_next)


def test_shards_of_either_layout_and_one_file_of_them_give_the_same(
    collected: dict[str, Path], tmp_path: Path
) -> None:
    sources = {kind: collected[kind] for kind in ("sharded", "indexed shards")}
    sources["one file"] = to_full(sources["indexed shards"], tmp_path / "full.hdf5")
    sources["one indexed file"] = to_indexed(sources["sharded"], tmp_path / "indexed.hdf5")
    for kind, source in sources.items():
        made = relabel(source, tmp_path / kind, actions="all")
        part = subset(source, tmp_path / f"{kind} part", transitions=70, seed=3)
        sources[kind] = rows_of(opened(made.path)), rows_of(opened(part.path))
    first, *others = sources.values()
    assert len(others) == 3 and all(other == first for other in others)


@pytest.mark.parametrize("kind", ["levels", "chance", "brackets", "rollouts"])
@pytest.mark.parametrize("reward", ["simple_return", "differential_sharpe"])
def test_another_reward(collected: dict[str, Path], kind: str, reward: str, tmp_path: Path) -> None:
    source = collected[kind]
    made = relabel(source, tmp_path / "a.hdf5", reward=reward)
    found, logged = stock(made.path), opened(source)
    for name in ("obs", "act", "terminated", "truncated", "obs_next"):
        assert np.array_equal(getattr(found, name), getattr(logged, name))
    slow = Slow(source, observation="flat", reward=reward)
    for row in np.random.default_rng(2).choice(SIZE, 20, replace=False).tolist():
        assert slow.go(row, logged.act[row])[2] == found.rew[row]
    known = made.provenance
    assert known["config"]["reward"] == reward and "counterfactual" not in known["edited"]
    assert known["edited"]["reward"] == {"from": "log_return", "to": reward}
    old = read_provenance(source)["reference"]
    assert known["reference"]["returns"].keys() == old["returns"].keys()
    assert known["reference"]["returns"]["buy-and-hold"] != old["returns"]["buy-and-hold"]
    again = relabel(made.path, tmp_path / "b.hdf5", reward="log_return")
    assert rows_of(opened(again.path)) == rows_of(logged)
    for name in ("behavior_return", "complete_episodes", "cut_episodes", "returns"):
        assert again.provenance["reference"][name] == alike(old[name])


def test_stretches_make_no_difference(
    collected: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Episodes one by one, and one in several pieces, give what all at once give."""
    for kind in ("levels", "chance", "indexed", "rollouts"):
        options: dict[str, Any] = {"actions": "all", "reward": "differential_sharpe"}
        relabel(collected[kind], tmp_path / f"{kind}-a", **options)
        with monkeypatch.context() as patch:
            patch.setattr("data_tools.replay.STRETCH_ROWS", 7)
            patch.setattr("data_tools.column_rows._CHUNK_BYTES", 3000)
            relabel(collected[kind], tmp_path / f"{kind}-b", **options)
        assert (tmp_path / f"{kind}-a").read_bytes() == (tmp_path / f"{kind}-b").read_bytes()


def test_parts_and_joins_of_a_collection(collected: dict[str, Path], tmp_path: Path) -> None:
    subset(collected["levels"], tmp_path / "s.hdf5", transitions=70, seed=3)
    merge([tmp_path / "s.hdf5", collected["levels"]], tmp_path / "m.hdf5")
    whole = relabel(collected["levels"], tmp_path / "a.hdf5", actions="all")
    part = relabel(tmp_path / "m.hdf5", tmp_path / "b.hdf5", actions="all")
    assert part.transitions == 370 * len(whole.provenance["action"]["levels"])
    fresh = lambda made, n: set(rows_of(opened(made.path))[n:])  # noqa: E731
    assert fresh(part, 370) == fresh(whole, SIZE)
    again = subset(part.path, tmp_path / "c.hdf5", fraction=0.2)
    assert set(episodes_of(opened(again.path))) <= set(episodes_of(opened(part.path)))
