"""Parts of datasets: whole episodes, the same ones each time."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from tianshou.data import Batch, ReplayBuffer

from data_tools.files import sha256
from data_tools.flat_layout import read_provenance
from data_tools.layouts import to_full
from data_tools.subset import main, subset
from tests.data_tools.editing import (
    assert_interrupt_leaves_nothing,
    episodes_of,
    opened,
    push,
    refused,
    rows_of,
    stock,
)
from tests.data_tools.indexed import Pair, collect_pair
from tests.data_tools.sharding import sharded


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return collect_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def pole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return push(tmp_path_factory.mktemp("pole"), "a.hdf5", 0)


def test_whole_episodes_in_their_order(pair: Pair, tmp_path: Path) -> None:
    made = subset(pair.full, tmp_path / "a.hdf5", fraction=0.3, seed=1)
    every, found = episodes_of(opened(pair.full), "policy_logp"), stock(made.path)
    chosen = episodes_of(found, "policy_logp")
    places = [every.index(episode) for episode in chosen]
    assert places == sorted(set(places)) and len(places) < len(every)
    assert 150 <= len(found) == made.transitions < 150 + max(map(len, every))
    known = made.provenance
    assert known == read_provenance(made.path) and known["buffer_size"] == len(found)
    source = {"file": "full.hdf5", "sha256": sha256(pair.full), "rows": 500}
    assert known["edited"] == {
        "by": "subset", "fraction": 0.3, "order": "random", "seed": 1, "sources": [source],
    }  # fmt: skip
    returns = [float(part) for part in np.add.reduceat(
        found.rew, np.append(0, np.flatnonzero(found.done)[:-1] + 1))]  # fmt: skip
    lengths = np.diff(np.flatnonzero(found.done), prepend=-1)
    whole = found.terminated[found.done] | (lengths == 30)
    reference = known["reference"]
    assert reference["complete_episodes"] == whole.sum()
    assert reference["cut_episodes"] == (~whole).sum()
    assert reference["behavior_return"] == pytest.approx(np.array(returns)[whole].mean())
    assert reference["returns"] == read_provenance(pair.full)["reference"]["returns"]


def test_the_seed_and_the_layout_decide_about_nothing_else(pair: Pair, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        subset(pair.full, tmp_path / name, fraction=0.2, seed=seed)
    first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != third
    made = subset(pair.indexed, tmp_path / "d", fraction=0.2, seed=3)
    full = opened(to_full(made.path, tmp_path / "e"))
    assert rows_of(full, "policy_logp") == rows_of(opened(tmp_path / "a"), "policy_logp")


def test_all_of_a_dataset_is_the_dataset(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (16 * 2**20, 700):  # in one chunk; in many
        monkeypatch.setattr("data_tools.column_rows._CHUNK_BYTES", size)
        for source in (pair.full, pair.indexed):
            made = subset(source, tmp_path / "a", fraction=1.0, overwrite=True)
            assert rows_of(opened(made.path)) == rows_of(opened(source))
            with h5py.File(made.path) as file, h5py.File(source) as other:
                assert set(file) == set(other)
                for name in set(file) - {"_meta", "options", "extra"}:
                    assert np.array_equal(file[name], other[name]), name


def test_an_exact_number_cuts_the_last_episode(pole: Path, tmp_path: Path) -> None:
    every = episodes_of(opened(pole))
    made = subset(pole, tmp_path / "a.hdf5", transitions=30, seed=2)
    buffer = stock(made.path)
    assert len(buffer) == 30 == made.transitions
    cut = [episode for episode in episodes_of(buffer) if episode not in every]
    assert len(cut) == 1 == made.episodes.cut
    longer = [rows[: len(cut[0])] for rows in every]
    without_flags = [tuple(row[:3] + row[6:] for row in rows) for rows in longer]
    assert tuple(row[:3] + row[6:] for row in cut[0]) in without_flags
    assert buffer.truncated.sum() >= 1 and made.provenance["edited"]["transitions"] == 30


def test_the_best_episodes(pair: Pair, tmp_path: Path) -> None:
    made = subset(pair.full, tmp_path / "a.hdf5", fraction=0.1, by="return")

    def earned(path: Path) -> list[float]:
        buffer = opened(path)
        begins = np.append(0, np.flatnonzero(buffer.done)[:-1] + 1)
        return sorted(np.add.reduceat(buffer.rew, begins).tolist())

    best = earned(made.path)
    assert best == earned(pair.full)[-len(best) :]
    assert "seed" not in made.provenance["edited"]


def test_sources_in_shards(market_file: str, tmp_path: Path) -> None:
    sharded(tmp_path / "s", market_file)
    source = tmp_path / "s" / "a.hdf5"
    made = subset(source, tmp_path / "a.hdf5", fraction=0.5)
    every = episodes_of(opened(source))
    assert set(episodes_of(stock(made.path))) < set(every)
    known = made.provenance
    assert "shards" not in known
    assert known["edited"]["sources"][0]["plan"] == read_provenance(source)["shards"]["plan"]


def test_a_wrapped_buffer_of_tianshou_s_own(tmp_path: Path) -> None:
    """A foreign ring buffer is read from its oldest row on; nothing is said that is not known."""
    buffer = ReplayBuffer(20)
    for step in range(33):
        buffer.add(Batch(
            obs=np.full(2, step, np.float32), act=step % 3, rew=float(step), terminated=False,
            truncated=step % 7 == 6, obs_next=np.full(2, step + 1, np.float32),
            info={"weight": step / 2},
        ))  # fmt: skip
    buffer.save_hdf5(str(tmp_path / "ring.hdf5"))
    made = subset(tmp_path / "ring.hdf5", tmp_path / "a.hdf5", fraction=1.0)
    found = stock(made.path)
    assert found.obs[:, 0].tolist() == list(range(13, 33))
    assert found.info.weight.tolist() == [step / 2 for step in range(13, 33)]
    assert np.flatnonzero(found.done).tolist() == [0, 7, 14, 19]
    assert read_provenance(made.path) is None and made.provenance is None
    assert found.truncated[19] and not buffer.truncated.all()


def test_images_stay_stacks_of_frames(tmp_path: Path) -> None:
    buffer = ReplayBuffer(12, stack_num=2, save_only_last_obs=True)
    for step in range(12):
        frames = np.full((2, 4, 4), step, np.uint8)
        buffer.add(Batch(obs=frames, act=0, rew=0.0, terminated=step % 4 == 3, truncated=False,
                         obs_next=frames + 1, info={}))  # fmt: skip
    buffer.save_hdf5(str(tmp_path / "images.hdf5"))
    made = subset(tmp_path / "images.hdf5", tmp_path / "a.hdf5", transitions=8)
    found = ReplayBuffer.load_hdf5(str(made.path))
    stacked = np.asarray(found[np.array([1])].obs)[0, :, 0, 0].tolist()
    assert found.stack_num == 2 and len(found) == 8 and stacked[1] == stacked[0] + 1


def test_bad_input_is_refused(
    pair: Pair, pole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "s.hdf5"
    source.write_bytes(pole.read_bytes())
    target = str(tmp_path / "x.hdf5")
    for words, message in (
        ([target], "expected either --fraction or --transitions"),
        ([target, "--fraction", "0.1", "--transitions", "3"], "expected either"),
        ([target, "--fraction", "1.5"], "--fraction 1.5: expected a number in (0, 1]"),
        ([target, "--fraction", "nan"], "--fraction nan: expected a number in (0, 1]"),
        ([target, "--transitions", "0"], "--transitions 0: expected a whole number >= 1"),
        ([target, "--transitions", "201"], "has 200 transitions and is to give 201"),
        ([target, "--fraction", "0.1", "--seed", "-1"], "--seed -1: expected"),
        ([str(source), "--fraction", "0.1", "--overwrite"], "is the dataset itself"),
        ([str(tmp_path / "no" / "x"), "--fraction", "0.1"], "there is no folder"),
    ):
        refused(main, [str(source), *words], message, capsys)
    with h5py.File(source, "r+") as file:
        file["_meta/done"][3] = ~file["_meta/done"][3]
    refused(main, [str(source), target, "--fraction", "0.1"], "flags contradict", capsys)
    act = lambda check: subset(pair.full, target, fraction=0.5, check=check)  # noqa: E731
    assert_interrupt_leaves_nothing(act, tmp_path)


def test_the_command(pole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.hdf5"
    assert main([str(pole), str(target), "--fraction", "0.1", "--seed", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(target) and lines[0].startswith(f"{len(stock(target))} transitions")
