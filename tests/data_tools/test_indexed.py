"""The indexed layout: the same transitions as the full one, to the bit, in tens of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from tianshou.data import ReplayBuffer

from data_tools import indexed_observations
from data_tools.buffers import TensorReplayBuffer
from data_tools.collect import main as collect
from data_tools.describe import main as describe
from data_tools.hdf5 import DatasetError, load_buffer, read_provenance
from data_tools.indexed_format import (
    BITS,
    CONSTANTS,
    EXTRA,
    join_accounts,
    split_accounts,
    unpack_bits,
)
from data_tools.indexed_observations import ResidentWindows
from gym_trade import Market
from tests.data_tools.collecting import COLUMNS, quiet
from tests.data_tools.indexed import WILD, Pair, collect_pair

WIDTH = 6 * 5 + 3 * 5 + 6  # of WILD's observations
CASES: dict[str, dict[str, Any]] = {
    "wild": {},
    "continuous": {"env": WILD["env"] | {"action_type": "continuous"}},
    "one lane": {"num_envs": 1},
    "brackets": {
        "task": "Trade-SLTP-v0",
        "policy": "random",
        "env": {"window_sizes": 6, "leverage": 5, "include_close_action": True},
    },
    "rollouts": {
        "task": "Trade-OneStep-v0",
        "policy": "random",
        "env": {"window_sizes": 6},
        "episode_steps": None,
    },
    "lanes end with an episode": {"buffer_size": 490, "num_envs": 7, "episode_steps": 10},
    "as many lanes as rows": {"buffer_size": 5, "num_envs": 64},
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return collect_pair(tmp_path_factory.mktemp("pair"), buffer_size=700)


def bits(values: Any) -> tuple[Any, ...]:
    array = np.asarray(values)
    return array.dtype, array.shape, array.tobytes()


@pytest.mark.parametrize("case", CASES)
def test_collecting_gives_the_same_transitions(tmp_path: Path, case: str) -> None:
    made = collect_pair(tmp_path, **CASES[case])
    full, provenance = load_buffer(made.full)
    indexed, found = load_buffer(made.indexed, echo=None)
    assert found == provenance == read_provenance(made.indexed)
    assert set(indexed._meta.get_keys()) == set(full._meta.get_keys())
    for name in set(full._meta.get_keys()) - {"info"}:
        assert bits(getattr(indexed, name)) == bits(getattr(full, name)), name
    np.testing.assert_array_equal(indexed.sample_indices(0), full.sample_indices(0))
    if case == "wild":
        assert full.terminated.sum() > 3 and full.truncated.sum() > 3


@pytest.mark.parametrize(
    ("task", "env", "most"),
    [
        ("Trade-Sequential-v0", {}, 43),  # with the log-probability
        ("Trade-SLTP-v0", {"leverage": 20}, 49),  # and a mask of 9 actions
        ("Trade-OneStep-v0", {"leverage": 20}, 49),  # and what each row leads to
    ],
)
def test_it_takes_tens_of_bytes_a_transition(
    tmp_path: Path, task: str, env: dict[str, Any], most: int
) -> None:
    """All columns and log-probabilities included; the contract allows 64."""
    sizes = []
    for size in (2000, 4000):
        path = tmp_path / f"{size}.hdf5"
        quiet(path, None, layout="indexed", task=task, buffer_size=size, num_envs=2, env=env,
              episode_steps=None if "OneStep" in task else 500)  # fmt: skip
        sizes.append(path.stat().st_size)
    assert (sizes[1] - sizes[0]) / 2000 < most


def as_version_1(path: Path) -> None:
    """Write an indexed file as version 1 had it: accounts whole, flags of a mask unpacked."""
    with h5py.File(path, "r+") as root:
        root.attrs["layout_version"] = 1
        constants = root["last_decision"].attrs.pop(CONSTANTS)
        rows = np.tile(constants, (len(root["last_decision"]), 1))
        if "last_account_state" in root:
            rows[:, np.isnan(constants)] = root["last_account_state"][:]
            del root["last_account_state"]
        root["last_account_state"] = rows
        for name in root.get(EXTRA, {}):
            stored = root[EXTRA][name]
            bits = stored.attrs.get(BITS)
            if bits is not None:
                values = unpack_bits(stored[:], bits)
                del root[EXTRA][name]
                root[EXTRA][name] = values


@pytest.mark.parametrize("case", ["wild", "brackets", "rollouts"])
def test_files_of_version_1_are_read(tmp_path: Path, case: str) -> None:
    made = collect_pair(tmp_path, **CASES[case])
    now, _ = load_buffer(made.indexed, echo=None)
    as_version_1(made.indexed)
    then, _ = load_buffer(made.indexed, echo=None)
    for name in set(now._meta.get_keys()) - {"info"}:
        assert bits(getattr(then, name)) == bits(getattr(now, name)), name


def test_accounts_are_split_and_joined_to_the_bit() -> None:
    rows = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    rows[:, 1], rows[:, 2], rows[:, 3] = 0.0, [0.0, -0.0, 0.0, 0.0, 0.0], -0.0
    for accounts in (rows, rows[:1], np.tile(rows[0], (4, 1))):
        constants, others = split_accounts(accounts)
        made = join_accounts(constants, others if others.shape[1] else None, len(accounts))
        assert bits(made) == bits(accounts)
    assert split_accounts(rows)[1].shape == (5, 4)
    assert np.isnan(split_accounts(rows)[0]).tolist() == [True, False, True, False, True, True]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, pair: Pair) -> None:
    first, second = (
        quiet(tmp_path / f"{n}.hdf5", str(pair.market), layout="indexed", **WILD).path
        for n in range(2)
    )
    assert first.read_bytes() == second.read_bytes()


def test_the_command_names_the_layout(
    tmp_path: Path, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--save-buffer-name", str(tmp_path / "a.hdf5"), "--market", str(pair.market),
             "--buffer-size", "100", "--episode-steps", "20"]  # fmt: skip
    assert collect([*flags, "--layout", "indexed"]) == 0
    assert "indexed layout" in text_of(tmp_path / "a.hdf5", capsys)[0]
    assert collect([*flags, "--layout", "columns"]) == 2
    assert "--layout: invalid choice: 'columns'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--layout columns: expected full or indexed"):
        quiet(tmp_path / "b.hdf5", None, layout="columns")


def text_of(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert describe([str(path)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_policy_that_looks_sees_flat_observations(tmp_path: Path, pair: Pair) -> None:
    from data_tools.driving import Behaviour
    from data_tools.recording import record_market

    def behaviour(*_: Any) -> Behaviour:
        return Behaviour(
            lambda seen: (seen[:, :-6].sum(1) > 0).astype(np.int64), description={"name": "sum"}
        )

    paths = []
    for layout in ("full", "indexed"):
        paths.append(tmp_path / f"{layout}.hdf5")
        record_market(
            paths[-1], behaviour, task="Trade-Sequential-v0", market=Market(market_frame(pair)),
            market_spec=read_provenance(pair.full)["market"], train_fraction=1.0, buffer_size=60,
            arguments={"window_sizes": 6, "episode_steps": 20}, seed=1, num_envs=3, layout=layout,
            progress=False, echo=None,
        )  # fmt: skip
    (full, _), (indexed, _) = (load_buffer(path, echo=None) for path in paths)
    assert 0 < full.act.sum() < len(full)
    for name in COLUMNS:
        assert bits(getattr(indexed, name)) == bits(getattr(full, name)), name


def market_frame(pair: Pair) -> Any:
    from data_tools.load import load

    return load(pair.market, echo=None)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("most_bytes", "way"), [(2**30, (1, 6)), (50_000, (2, 6)), (0, (2, WIDTH))]
)
def test_batches_are_the_same_bits(
    pair: Pair, mmap: bool, most_bytes: int, way: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw, and normalised: each decision's windows, each different window, or whenever drawn.

    `way` is how many pieces an observation's windows are in, and how many of its columns are
    normalised when it is drawn.
    """
    monkeypatch.setattr(indexed_observations, "NORMALISED_BYTES", most_bytes)
    full, _ = TensorReplayBuffer.load(pair.full)
    indexed, _ = TensorReplayBuffer.load(pair.indexed, mmap=mmap)
    assert indexed.observation_shape == full.observation_shape and not indexed.is_image

    def compare() -> None:
        for count in (256, 3, 0):
            (left, rows), (right, others) = full.sample(count), indexed.sample(count)
            np.testing.assert_array_equal(rows, others)
            for name in full.keys:
                assert bits(left[name]) == bits(right[name]), name
        for name in ("obs", "obs_next", "act", "rew", "done"):
            assert bits(full.column(name)) == bits(indexed.column(name)), name
        for index in (3, -1, slice(2, 9), np.array([5, 1]), [0, 699], full.done):
            for name in ("obs", "obs_next", "rew"):
                assert bits(full[index][name]) == bits(indexed[index][name]), (index, name)

    compare()
    statistics = full.statistics(), indexed.statistics()
    assert [bits(part) for part in statistics[0]] == [bits(part) for part in statistics[1]]
    for buffer in (full, indexed):
        buffer.normalise(statistics[0])
    (_, lengths, _), (mean, *_) = indexed._observations._gathered
    assert (len(lengths), len(mean)) == way
    compare()
    for buffer in (full, indexed):
        buffer.set_targets(0.9, 3)
    compare()
    assert bits(full.returns_to_go(0.9)) == bits(indexed.returns_to_go(0.9))


def test_statistics_have_the_same_bits_over_many_parts(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_observations, "ROWS_A_PASS", 256)
    full, indexed = (TensorReplayBuffer.load(path)[0] for path in (pair.full, pair.indexed))
    assert [bits(a) for a in full.statistics()] == [bits(b) for b in indexed.statistics()]


def test_normalising_twice_is_refused(pair: Pair) -> None:
    indexed, _ = TensorReplayBuffer.load(pair.indexed)
    statistics = indexed.statistics()
    indexed.normalise(statistics)
    with pytest.raises(ValueError, match="normalised once"):
        indexed.normalise(statistics)


def test_gathering_on_a_device_gives_the_same_bits(pair: Pair) -> None:
    """What a GPU computes, computed by torch on the CPU."""
    indexed, _ = TensorReplayBuffer.load(pair.indexed)
    source = indexed._observations
    resident = ResidentWindows(source._table, torch.device("cpu"))
    places = np.concatenate((np.arange(700), source.following(np.arange(700))))
    index = torch.from_numpy(places)
    assert bits(resident.draw(index)) == bits(source.draw(places))
    indexed.normalise(indexed.statistics())
    resident.set_moments(source._moments)
    assert bits(resident.draw(index)) == bits(source.draw(places))
    afterwards = ResidentWindows(source._table, torch.device("cpu"), source._moments)
    assert bits(afterwards.draw(index)) == bits(source.draw(places))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("early", [False, True])
def test_the_same_batches_on_a_gpu(pair: Pair, early: bool) -> None:
    full, indexed = (TensorReplayBuffer.load(path)[0] for path in (pair.full, pair.indexed))
    statistics = full.statistics()
    full.normalise(statistics)
    for step in ("move", "normalise") if early else ("normalise", "move"):
        _ = indexed.to("cuda") if step == "move" else indexed.normalise(statistics)
    left, right = full.sample(300)[0], indexed.sample(300)[0]
    for name in full.keys:
        assert right[name].device.type == "cuda"
        assert bits(left[name]) == bits(right[name].cpu()), name


def test_a_mapped_file_is_not_read_into_memory(pair: Pair) -> None:
    mapped, held = (TensorReplayBuffer.load(pair.indexed, mmap=m)[0] for m in (True, False))
    for name in ("decisions", "accounts"):
        assert not getattr(mapped._observations._table, name).flags.owndata
        assert getattr(held._observations._table, name).flags.owndata
    with pytest.raises(DatasetError, match="whole observations, which are not mapped"):
        TensorReplayBuffer.load(pair.full, mmap=True)


def test_tianshou_opens_what_the_buffer_saves(pair: Pair, tmp_path: Path) -> None:
    indexed, _ = TensorReplayBuffer.load(pair.indexed)
    indexed.save_hdf5(str(tmp_path / "a.hdf5"))
    again, wanted = ReplayBuffer.load_hdf5(str(tmp_path / "a.hdf5")), load_buffer(pair.full)[0]
    for name in COLUMNS:
        assert bits(getattr(again, name)) == bits(getattr(wanted, name)), name


def test_loading_the_stock_buffer_says_what_it_takes(pair: Pair) -> None:
    said: list[str] = []
    load_buffer(pair.indexed, echo=said.append)
    assert len(said) == 1 and "TensorReplayBuffer.load gathers them" in said[0]
    load_buffer(pair.full, echo=said.append)
    assert len(said) == 1


def test_descriptions_differ_in_nothing_but_the_layout(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [text_of(path, capsys) for path in (pair.full, pair.indexed)]
    assert "indexed layout" in texts[1][0]
    assert texts[0][1:-1] == texts[1][1:-1]  # the last line is the file's digest


# --- the market


def test_another_place_of_the_market_can_be_named(pair: Pair, tmp_path: Path) -> None:
    moved = collect_pair(tmp_path)
    elsewhere = moved.market.rename(tmp_path / "elsewhere.csv")
    with pytest.raises(DatasetError, match=r"market that cannot be used: .*does not exist"):
        TensorReplayBuffer.load(moved.indexed)
    for market in (str(elsewhere), Market(market_frame(pair))):
        made, _ = TensorReplayBuffer.load(moved.indexed, market=market)
        assert bits(made.obs) == bits(load_buffer(moved.full)[0].obs)


def test_a_market_that_changed_is_refused(tmp_path: Path) -> None:
    made = collect_pair(tmp_path)
    lines = made.market.read_text().splitlines()
    made.market.write_text("\n".join(lines[:-1]))
    with pytest.raises(DatasetError, match=r"market\.csv has changed: its content hash is"):
        TensorReplayBuffer.load(made.indexed)
    with pytest.raises(DatasetError, match=r"its content hash is .* Give that market"):
        TensorReplayBuffer.load(made.indexed, market=str(made.market))
    assert len(TensorReplayBuffer.load(made.full)[0]) == 500


def own_features(bars: Any) -> Any:
    return bars[["close"]] / bars[["open"]].to_numpy()


def test_code_of_its_maker_runs_only_if_it_is_given(pair: Pair, tmp_path: Path) -> None:
    env = {"window_sizes": 6, "features": own_features}
    made = collect_pair(tmp_path, env=env)
    with pytest.raises(DatasetError, match=r"code of its maker's own.*pass it on: --env 'features"):
        TensorReplayBuffer.load(made.indexed)
    loaded, _ = TensorReplayBuffer.load(made.indexed, features=own_features)
    assert bits(loaded.obs) == bits(load_buffer(made.full)[0].obs)
    with pytest.raises(DatasetError, match="the market gives observations of"):
        TensorReplayBuffer.load(made.indexed, features="default")
