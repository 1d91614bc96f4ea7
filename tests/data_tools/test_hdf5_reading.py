"""Reading datasets: what is taken, and every refusal; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tianshou.data import Batch, ReplayBuffer

from data_tools.hdf5 import DatasetError, load_buffer, read_provenance
from tests.data_tools.transitions import Transitions, provenance
from tests.real_data import FORMATS, given


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return Transitions(50, 4).write(tmp_path / "made.hdf5")


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load_buffer(path)
    message = str(caught.value)
    for part in (str(path), *parts):
        assert part in message
    assert "\n" not in message


def test_refuses_a_missing_file_and_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "none.hdf5"
    refused(path, "does not exist", "python -m data_tools.collect", "--save-buffer-name")
    with pytest.raises(DatasetError, match="does not exist"):
        read_provenance(path)
    refused(tmp_path, "is not a file")


def test_refuses_what_is_not_hdf5(tmp_path: Path) -> None:
    (tmp_path / "a.hdf5").write_text("timestamp,open\n")
    refused(tmp_path / "a.hdf5", "is not an HDF5 file")
    (tmp_path / "b.hdf5").write_bytes(b"")
    refused(tmp_path / "b.hdf5", "is not an HDF5 file")


def test_refuses_a_file_cut_short(dataset: Path) -> None:
    os.truncate(dataset, dataset.stat().st_size // 2)
    refused(dataset, "cannot be opened as HDF5", "cut short")


def test_refuses_foreign_hdf5_naming_its_keys(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["observations"], file["terminals"] = np.zeros(3), np.zeros(3)
    refused(tmp_path / "a.hdf5", "another layout", "observations, terminals")
    with h5py.File(tmp_path / "b.hdf5", "w"):
        pass
    refused(tmp_path / "b.hdf5", "(none)")


@pytest.mark.parametrize(
    "path",
    [
        given(FORMATS / "d4rl_hopper_medium-v2.hdf5"),
        given(FORMATS / "d3rlpy_v1_cartpole_random.h5"),
    ],
)
def test_refuses_real_foreign_files(path: Path) -> None:
    refused(path, "another layout", "observations")


def stock_buffer(path: Path, size: int = 6, added: int = 6, **extra: Any) -> Path:
    """A file from Tianshou's own ``save_hdf5``, without the pickled random state."""
    buffer = ReplayBuffer(size)
    for index in range(added):
        state = np.full(2, index, np.float32)
        buffer.add(
            Batch(
                obs=state, act=np.int64(index % 2), rew=float(index), terminated=index % 4 == 3,
                truncated=False, obs_next=state + 1, info={}, **extra,
            )
        )  # fmt: skip
    buffer.save_hdf5(str(path))
    edit(path, lambda file: file.__delitem__("_random_state"))
    return path


def edit(path: Path, change: Callable[[h5py.File], object]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


@pytest.mark.parametrize(("size", "added"), [(6, 6), (6, 4), (6, 9), (6, 1)])
def test_stock_files_load_full_part_filled_and_wrapped(
    tmp_path: Path, size: int, added: int
) -> None:
    path = stock_buffer(tmp_path / "a.hdf5", size, added)
    stock = ReplayBuffer.load_hdf5(str(path))
    buffer, found = load_buffer(path)
    assert found is None
    assert len(buffer) == len(stock)
    rows = np.arange(len(stock))
    np.testing.assert_array_equal(buffer.obs, stock.obs[rows])
    np.testing.assert_array_equal(buffer.next(rows), stock.next(rows))
    np.testing.assert_array_equal(buffer.prev(rows), stock.prev(rows))
    np.testing.assert_array_equal(buffer.unfinished_index(), stock.unfinished_index())
    assert sorted(buffer.sample_indices(0)) == rows.tolist()
    assert buffer.sample(5)[0].rew.shape == (5,)


def test_extra_columns_come_along(tmp_path: Path) -> None:
    path = stock_buffer(tmp_path / "a.hdf5", log_prob=np.float32(0.5), policy=Batch(hidden=1.5))
    batch, _ = load_buffer(path)[0].sample(4)
    assert batch.log_prob.tolist() == [0.5] * 4
    assert batch.policy.hidden.tolist() == [1.5] * 4


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("exploded",))


def test_refuses_pickled_parts_without_running_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    monkeypatch.chdir(tmp_path)
    path = stock_buffer(tmp_path / "a.hdf5")
    bytes_ = np.frombuffer(pickle.dumps(Bomb()), np.int8)

    def plant(file: h5py.File) -> None:
        file["_meta"].create_dataset("policy", data=bytes_).attrs["__data_type__"] = "Bomb"

    edit(path, plant)
    refused(path, "pickled parts", "_meta/policy (Bomb)", "run any code")
    assert not (tmp_path / "exploded").exists()
    edit(path, lambda file: file["_meta/policy"].attrs.__delitem__("__data_type__"))
    refused(path, "pickled parts", "no __data_type__")


def test_the_pickled_random_state_of_tianshou_s_files_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.hdf5"
    buffer = ReplayBuffer(1)
    state = np.zeros(2, np.float32)
    buffer.add(
        Batch(
            obs=state, act=np.int64(0), rew=0.0, terminated=True, truncated=False,
            obs_next=state, info={},
        )
    )  # fmt: skip
    buffer.save_hdf5(str(path))
    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("unpickled"))
    assert len(load_buffer(path)[0]) == 1
    edit(path, lambda file: file.move("_random_state", "_another_state"))
    refused(path, "_another_state (RandomState)", "pickled parts")


def replace(name: str, values: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, data=values).attrs["__data_type__"] = "ndarray"

    return change


def attribute(name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__(name, value)


def cell(name: str, row: int, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file[f"_meta/{name}"].__setitem__(row, value)


def said(**changes: Any) -> Callable[[h5py.File], None]:
    return attribute("provenance", json.dumps(provenance(**changes)))


def part(**changes: Any) -> list[dict[str, Any]]:
    return [{"key": "account_state", "start": 0, "stop": 5, "shape": [5]} | changes]


REFUSALS: list[tuple[Callable[[h5py.File], object], list[str]]] = [
    (lambda f: f["_meta"].__delitem__("obs_next"), ["lacks _meta/obs_next", "ignore_obs_next"]),
    (lambda f: f["_meta"].__delitem__("rew"), ["lacks _meta/rew", "Columns seen: act, done"]),
    (lambda f: f.attrs.__delitem__("maxsize"), ["another layout"]),
    (lambda f: f.__delitem__("_meta"), ["another layout"]),
    (attribute("_size", 0), ["is empty: it holds 0 transitions"]),
    (attribute("_size", 51), ["_size is", "[0, 50]"]),
    (attribute("_size", 50.0), ["_size is", "whole number"]),
    (attribute("_size", 20), ["20 of 50 rows are filled"]),
    (attribute("_insertion_idx", 50), ["_insertion_idx is", "[0, 49]"]),
    (attribute("stack_num", 0), ["stack_num is"]),
    (replace("last_index", [50]), ["last_index is 50"]),
    (replace("last_index", [49, 49]), ["last_index is not a dataset of one number"]),
    (replace("_meta/rew", np.zeros(49)), ["_meta/rew", "50 rows"]),
    (replace("_meta/rew", np.zeros((50, 1))), ["_meta/rew has shape (50, 1)", "one value a row"]),
    (replace("_meta/rew", np.zeros(50, np.int64)), ["_meta/rew", "floating point"]),
    (replace("_meta/done", np.zeros(50)), ["_meta/done", "bool"]),
    (replace("_meta/act", np.zeros(50, bool)), ["_meta/act", "numbers"]),
    (replace("_meta/obs", np.zeros((50, 4), np.float32)), ["obs is float32 (50, 4)", "the same"]),
    (replace("_meta/extra", np.zeros(3)), ["/_meta/extra has shape (3,)"]),
    (replace("_meta/extra", np.array([b"text"] * 50)), ["/_meta/extra", "Expected numbers"]),
    (lambda f: f["_meta"].__setitem__("x", h5py.ExternalLink("y", "/z")), ["/_meta/x is a link"]),
    (cell("obs", 17, np.nan), ["obs of transition 17 is nan"]),
    (cell("obs_next", 49, np.inf), ["obs_next of transition 49 is inf"]),
    (cell("rew", 3, -np.inf), ["rew of transition 3 is -inf"]),
    (replace("_meta/act", np.full((50, 1), np.nan, np.float32)), ["act of transition 0 is nan"]),
    (attribute("provenance", "{"), ["its provenance is not"]),
    (attribute("provenance", "[1]"), ["its provenance is not"]),
    (attribute("provenance", 4), ["its provenance is not"]),
    (attribute("provenance", '{"format_version": 2}'), ["format_version 2", "newer version"]),
    (attribute("provenance", '{"format_version": 1}'), ["task is missing, not a string"]),
    (said(task=3), ["task is 3, not a string"]),
    (said(config=[]), ["config is [], not an object"]),
    (said(market={"kind": "file", "path": 1, "content_hash": "0"}), ["not both strings"]),
    (said(market={"kind": "web"}), ["market: its kind is neither"]),
    (said(span={"start": "2022-02-01", "end": "2022-01-01"}), ["ends before it starts"]),
    (said(span={"start": "soon", "end": "2022-01-01"}), ["span: start is no time"]),
    (said(action={"levels": ["x"]}), ["action: levels"]),
    (said(policy={"members": []}), ["members is no list"]),
    (said(policy={}), ["a policy has no name"]),
    (said(reference={}), ["behavior_return is no number"]),
    (said(layout=[]), ["it has no parts"]),
    (said(layout=part(start=1)), ["account_state is not columns 0 to 5"]),
    (said(layout=part(stop=4, shape=[4])), ["lays out 4 columns", "which has 5"]),
]


@pytest.mark.parametrize("case", range(len(REFUSALS)))
def test_refuses(dataset: Path, case: int) -> None:
    change, parts = REFUSALS[case]
    edit(dataset, change)
    refused(dataset, *parts)


def test_refuses_contradicting_flags_and_unknown_actions(dataset: Path) -> None:
    with h5py.File(dataset) as file:
        row = int(np.argmin(file["_meta/done"][:]))
    edit(dataset, cell("done", row, True))
    refused(dataset, f"transition {row} has done=True", "terminated or truncated")
    edit(dataset, cell("done", row, False))
    told = provenance(action={"type": "discrete", "levels": [0, 0.5, 1]})
    edit(dataset, attribute("provenance", json.dumps(told)))
    load_buffer(dataset)
    edit(dataset, cell("act", 8, 3))
    refused(dataset, "act of transition 8 is 3", "0 to 2")


def test_bad_cells_are_found_beyond_the_first_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_tools.column_rows._CHUNK_BYTES", 64)
    made = Transitions(200, 3)
    path = made.write(tmp_path / "a.hdf5")
    np.testing.assert_array_equal(load_buffer(path)[0].obs, made.expected("obs"))
    edit(path, cell("obs", 190, np.nan))
    refused(path, "obs of transition 190 is nan")
