"""Logged states tried with other actions: the same as an environment driven there and asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import pytest

from data_tools.buffers import TensorReplayBuffer
from data_tools.driving import Behaviour
from data_tools.flat_layout import read_provenance
from data_tools.layouts import to_full, to_indexed
from data_tools.load import load
from data_tools.merge import merge
from data_tools.relabel import main, relabel
from data_tools.subset import subset
from gym_trade import Market
from tests.data_tools.collecting import quiet, write_market
from tests.data_tools.editing import (
    assert_interrupt_leaves_nothing,
    episodes_of,
    interrupting,
    opened,
    push,
    refused,
    rows_of,
    set_provenance,
    stock,
)
from tests.data_tools.indexed import WILD

ENV: dict[str, Any] = WILD["env"]
CHANCE = {"slippage": 0.002, "slippage_model": "uniform", "initial_cash": [1000.0, 20_000.0]}
KINDS: dict[str, dict[str, Any]] = {
    "levels": {},
    "chance": {"env": ENV | CHANCE},
    "continuous": {"env": ENV | {"action_type": "continuous"}},
    "brackets": {"task": "Trade-SLTP-v0", "policy": "random"},
    "rollouts": {
        "task": "Trade-OneStep-v0", "policy": "random", "env": ENV | {"rollout_steps": 8},
        "episode_steps": None,
    },
    "sharded": {"env": ENV | CHANCE, "shards": 3},
}  # fmt: skip
SIZE, LANES = 300, 4


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset of each kind."""
    folder = tmp_path_factory.mktemp("collected")
    market = write_market(folder / "market.csv")
    made = {}
    for kind, options in KINDS.items():
        asked = WILD | {"buffer_size": SIZE, "num_envs": LANES} | options
        made[kind] = quiet(folder / f"{kind}.hdf5", market, **asked).path
    asked = WILD | {"buffer_size": SIZE, "num_envs": LANES, "layout": "indexed"}
    made["indexed"] = quiet(folder / "indexed.hdf5", market, **asked).path
    asked |= KINDS["sharded"]
    made["indexed shards"] = quiet(folder / "indexed-shards.hdf5", market, **asked).path
    return made


class Slow:
    """A scalar environment, driven from a reset to the state of any row of a dataset."""

    def __init__(self, path: Path, **changes: Any) -> None:
        known = read_provenance(path) or {}
        self.buffer, self.keys = opened(path), self._keys(path, known)
        market = Market(load(known["market"]["path"], echo=None))
        env: Any = gym.make(f"gym_trade:{known['task']}").unwrapped
        config = type(env).config_class.from_json(json.dumps(known["config"]), df=market)
        self.env = type(env)(config.replace(**changes))

    @staticmethod
    def _keys(path: Path, known: dict[str, Any]) -> list[tuple[int, int, int]]:
        """Each row's lane seed, episode and step."""
        done = opened(path).done
        files = [known]
        if "shards" in known:
            folder = path.parent / known["shards"]["folder"]
            files = [read_provenance(folder / f["file"]) for f in known["shards"]["files"]]
        keys: list[tuple[int, int, int]] = []
        for each in files:
            rows, lanes = each["buffer_size"], each["num_envs"]
            for lane in range(lanes):
                episode = step = 0
                for _ in range(rows // lanes + (lane < rows % lanes)):
                    keys.append((each["seed"] + lane, episode, step))
                    episode, step = (episode + 1, 0) if done[len(keys) - 1] else (episode, step + 1)
        return keys

    def go(self, row: int, action: Any) -> tuple[Any, ...]:
        """(obs, obs_next, reward, terminated) of an action at the state of a row."""
        seed, episode, steps = self.keys[row]
        seen = self.env.reset(seed=seed)[0]
        for _ in range(episode):
            seen = self.env.reset()[0]
        for before in range(row - steps, row):
            seen = self.env.step(self.buffer.act[before])[0]
        after, reward, terminated, _, _ = self.env.step(action)
        return seen, after, reward, terminated


def alike(value: Any) -> Any:
    """A number, or numbers by name, up to the last digits."""
    if isinstance(value, dict):
        return {name: alike(inner) for name, inner in value.items()}
    return pytest.approx(value)


def tried_at(logged: Any, count: int) -> list[int]:
    """The row at whose state each of all other actions was tried."""
    allowed = np.ones((len(logged), count), np.bool_)
    if "action_mask" in logged._meta:
        allowed = np.asarray(logged.action_mask)
    return [row for row in range(len(logged)) for action in range(count)
            if allowed[row, action] and action != logged.act[row]]  # fmt: skip


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


def change(path: Path, name: str, row: int, value: Any) -> None:
    with h5py.File(path, "r+") as file:
        column = file["_meta"][name] if "_meta" in file else file[name]
        column[row] = value


def test_rows_that_the_environment_does_not_give_are_refused(
    collected: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = tmp_path / "s.hdf5", str(tmp_path / "x.hdf5")
    logged = opened(collected["levels"])
    row = int(np.flatnonzero(~logged.done & (logged.rew != 0.0) & (logged.act != 0))[30])
    account = logged.obs[row].copy()
    account[-4] = np.nextafter(account[-4], np.float32(1))
    window = logged.obs[row].copy()
    window[3] += 1
    ends = int(np.flatnonzero(logged.truncated)[0])
    for name, at, value, message in (
        ("rew", row, np.nextafter(logged.rew[row], 9), f"transition {row} cannot be replayed: rew"),
        ("act", row, 0, f"transition {row} cannot be replayed"),
        ("act", row, 77, f"act of transition {row} is 77. Expected one of Discrete"),
        ("obs", row, account, f"transition {row} cannot be replayed: account of obs is"),
        ("obs", row, window, f"obs of transition {row} shows windows that its market does not"),
        ("terminated", ends, True, f"transition {ends} cannot be replayed: terminated"),
    ):
        path.write_bytes(collected["levels"].read_bytes())
        change(path, name, at, value)
        refused(main, [str(path), target, "--actions", "random"], message, capsys)
    path.write_bytes(collected["indexed"].read_bytes())
    change(path, "decision", row, opened(collected["indexed"]).obs.shape[0] // 2)
    refused(main, [str(path), target, "--reward", "pnl"], "decision instant of obs_next is", capsys)


def test_what_cannot_be_replayed_is_refused(
    collected: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = tmp_path / "s.hdf5", str(tmp_path / "x.hdf5")
    subset(collected["chance"], path, fraction=0.5)
    rest = [target, "--actions", "random"]
    refused(main, [str(path), *rest], "depend on the random numbers of the collection", capsys)
    pole = push(tmp_path, "pole.hdf5", 0)
    refused(main, [str(pole), *rest], "CartPole-v1, which has no market: relabel is for", capsys)
    marked = relabel(collected["levels"], tmp_path / "m.hdf5", actions="random").path
    refused(main, [str(marked), *rest], "has counterfactual transitions already", capsys)
    path.write_bytes(collected["levels"].read_bytes())
    named = {"reward": "callable:os:getcwd"}
    set_provenance(path, lambda known: known["config"].update(named))
    refused(main, [str(path), *rest], "code of its maker's own, reward=", capsys)
    path.write_bytes(collected["levels"].read_bytes())
    set_provenance(path, lambda known: known["config"].update(leverage=24.0))
    refused(main, [str(path), *rest], "transition 0 cannot be replayed", capsys)
    with h5py.File(path, "r+") as file:
        del file.attrs["provenance"]
    refused(main, [str(path), *rest], "has no provenance, which names its market", capsys)


def test_bad_input_is_refused(
    collected: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = str(collected["continuous"]), str(tmp_path / "x.hdf5")
    for words, message in (
        ([], "expected --actions, --reward, or both"),
        (["--actions", "all"], "--actions all: expected a dataset of discrete actions"),
        (["--actions", "nonsense"], "policy 'nonsense' is unknown"),
        (["--actions", "flat", "--epsilon", "2"], "epsilon=2.0: expected a probability"),
        (["--actions", "flat", "--samples", "2"], "--samples needs --actions random"),
        (["--actions", "random", "--epsilon", "0.1"], "--epsilon needs --actions POLICY"),
        (["--actions", "random", "--samples", "0"], "--samples 0: expected a whole number >= 1"),
        (["--reward", "luck"], "--reward luck: expected one of log_return"),
        (["--reward", "pnl", "--counterfactual-only"], "--counterfactual-only needs --actions"),
        (["--reward", "pnl", "--env", "leverage=3"], "--env leverage: the dataset's own value is"),
        (["--reward", "pnl", "--market", "synthetic:martingale"], "its content hash is"),
    ):
        assert main([source, target, *words]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and message in error
    assert list(tmp_path.iterdir()) == []
    flat = relabel(collected["continuous"], tmp_path / "flat.hdf5", actions="flat").path
    assert opened(flat).counterfactual.any()
    for calls in (0, 20, 45):  # while it is replayed, and while it is written

        def act(_: Any, calls: int = calls) -> None:
            relabel(source, target, actions="random", check=interrupting(calls))

        assert_interrupt_leaves_nothing(act, tmp_path)


def test_the_command(
    collected: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.hdf5"
    words = [str(collected["levels"]), str(target), "--actions", "random", "--reward", "pnl"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{2 * SIZE} transitions, ") and lines[-1] == str(target)
    assert main(words) == 2 and "pass --overwrite" in capsys.readouterr().err
