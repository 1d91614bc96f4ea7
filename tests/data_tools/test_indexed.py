"""The indexed layout: the same transitions as the full one, to the bit, in tens of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

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
from gym_trade import Market
from tests.data_tools.collecting import COLUMNS, quiet
from tests.data_tools.indexed import WILD, Pair, bits, collect_pair, market_frame

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


def test_descriptions_differ_in_nothing_but_the_layout(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [text_of(path, capsys) for path in (pair.full, pair.indexed)]
    assert "indexed layout" in texts[1][0]
    assert texts[0][1:-1] == texts[1][1:-1]  # the last line is the file's digest


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
