"""Datasets on disk: Tianshou's layout, streaming, and every refusal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tianshou.data import Batch, ReplayBuffer, VectorReplayBuffer

from data_tools.hdf5 import DatasetError, FlatBufferWriter, load_buffer, read_provenance

REPOSITORY = Path(__file__).resolve().parents[2]
WIDTH = 5
REAL_DATA = REPOSITORY / ".." / "shared" / "data"


def provenance(**changes: Any) -> dict[str, Any]:
    """A valid provenance of the made-up episodes, with some of its members changed."""
    made = {
        "format_version": 1,
        "task": "Trade-Sequential-v0",
        "config": {},
        "market": {"kind": "synthetic", "name": "martingale", "content_hash": "0"},
        "span": {"start": "2022-01-01T00:00:00+00:00", "end": "2022-02-01T00:00:00+00:00"},
        "layout": [{"key": "account_state", "start": 0, "stop": WIDTH, "shape": [WIDTH]}],
        "action": {"type": "discrete", "levels": None},
        "policy": {"name": "made up"},
        "reference": {
            "behavior_return": 0.0, "behavior_return_std": 0.0, "complete_episodes": 1,
            "cut_episodes": 0,
        },
    }  # fmt: skip
    return made | changes


class Transitions:
    """Made-up episodes of several lanes: what each lane did, kept to compare with."""

    def __init__(self, size: int, lanes: int, *, seed: int = 0, continuous: bool = False) -> None:
        random = np.random.default_rng(seed)
        self.steps = -(-size // lanes)
        self.observation = random.normal(size=(self.steps + 1, lanes, WIDTH)).astype(np.float32)
        self.after = self.observation[1:].copy()
        self.action = random.integers(0, 3, (self.steps, lanes))
        if continuous:
            self.action = random.normal(size=(self.steps, lanes, 1)).astype(np.float32)
        self.reward = random.normal(size=(self.steps, lanes))
        kind = random.random((self.steps, lanes))
        self.terminated, self.truncated = kind < 0.1, (kind > 0.05) & (kind < 0.2)
        shares = size // lanes + (np.arange(lanes) < size % lanes)
        self.truncated[shares - 1, np.arange(lanes)] |= True
        self.done = self.terminated | self.truncated
        self.finals: list[dict[int, Any]] = []
        for step in range(self.steps):
            ended = np.flatnonzero(kind[step] < 0.2).tolist()
            rows = {lane: random.normal(size=WIDTH).astype(np.float32) for lane in ended}
            for lane, row in rows.items():
                self.after[step, lane] = row
            self.finals.append(rows)
        self.size, self.lanes, self.shares, self.continuous = size, lanes, shares, continuous

    def expected(self, name: str) -> np.ndarray:
        source = (
            self.after
            if name == "obs_next"
            else getattr(self, dict(obs="observation", act="action", rew="reward").get(name, name))
        )
        return np.concatenate([source[:count, lane] for lane, count in enumerate(self.shares)])

    def write(self, path: Path, **options: Any) -> Path:
        with self.writer(path, **options) as writer:
            self.feed(writer)
            return writer.finish(provenance())

    def writer(self, path: Path, **options: Any) -> FlatBufferWriter:
        if self.continuous:
            options |= {"action_shape": (1,), "action_dtype": np.float32}
        return FlatBufferWriter(
            path, size=self.size, num_lanes=self.lanes, observation_size=WIDTH, **options
        )

    def feed(self, writer: FlatBufferWriter) -> None:
        assert writer.num_steps == self.steps
        shared = np.empty_like(self.observation[0])  # as an environment with copy=False
        writer.start(self.observation[0])
        for step in range(self.steps):
            shared[:] = self.observation[step + 1]
            finals = {lane: row.copy() for lane, row in self.finals[step].items()}
            writer.add(
                self.action[step],
                self.reward[step],
                self.terminated[step],
                self.truncated[step],
                shared,
                finals,
            )
            shared[:] = np.nan
            for row in finals.values():
                row[:] = np.nan


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return Transitions(50, 4).write(tmp_path / "made.hdf5")


def test_attributes_and_datasets_are_those_tianshou_writes(tmp_path: Path, dataset: Path) -> None:
    """The same names, types and attributes as ``ReplayBuffer.save_hdf5``, but for the pickle."""
    stock = ReplayBuffer(50)
    for index in range(50):
        stock.add(
            Batch(
                obs=np.zeros(WIDTH, np.float32), act=np.int64(0), rew=0.0, terminated=False,
                truncated=index % 10 == 9, obs_next=np.zeros(WIDTH, np.float32), info={},
            )
        )  # fmt: skip
    stock.save_hdf5(str(tmp_path / "stock.hdf5"))

    def outline(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: found.update(
                    {
                        name: (
                            getattr(item, "shape", None),
                            getattr(item, "dtype", None),
                            {key: (type(v), v) for key, v in item.attrs.items()},
                        )
                    }
                )
            )
            found["/"] = {key: (type(v), v) for key, v in file.attrs.items()}
        return found

    ours, theirs = outline(dataset), outline(tmp_path / "stock.hdf5")
    assert theirs.pop("_random_state")
    assert json.loads(ours["/"].pop("provenance")[1]) == provenance()
    # a full buffer that ends with an episode: Tianshou keeps the start of the one that would follow
    for attributes in (ours["/"], theirs["/"]):
        assert attributes.pop("_ep_start_idx")[0] is np.int64
    assert ours == theirs


@pytest.mark.parametrize(("size", "lanes"), [(50, 4), (7, 7), (9, 2), (1, 1), (64, 1)])
@pytest.mark.parametrize("block_bytes", [1, 500, 10**9])
@pytest.mark.parametrize("continuous", [False, True])
def test_rows_are_exact_whatever_the_block(
    tmp_path: Path, size: int, lanes: int, block_bytes: int, continuous: bool
) -> None:
    made = Transitions(size, lanes, continuous=continuous)
    path = made.write(tmp_path / "made.hdf5", block_bytes=block_bytes)
    buffer, found = load_buffer(path)
    assert found == provenance()
    assert len(buffer) == buffer.maxsize == size
    for name in ("obs", "act", "rew", "terminated", "truncated", "done", "obs_next"):
        column = getattr(buffer, name)
        np.testing.assert_array_equal(column, made.expected(name), err_msg=name)
    assert (buffer.obs.dtype, buffer.rew.dtype) == (np.float32, np.float64)
    assert buffer.act.dtype == (np.float32 if continuous else np.int64)
    assert buffer.act.shape == ((size, 1) if continuous else (size,))


def test_episodes_lie_whole_and_the_index_arithmetic_is_right(dataset: Path) -> None:
    made = Transitions(50, 4)
    for buffer in (load_buffer(dataset)[0], ReplayBuffer.load_hdf5(str(dataset))):
        done = made.expected("done")
        rows = np.arange(50)
        np.testing.assert_array_equal(buffer.next(rows), np.where(done, rows, rows + 1))
        begins = np.concatenate([[True], done[:-1]])
        np.testing.assert_array_equal(buffer.prev(rows), np.where(begins, rows, rows - 1))
        assert done[np.cumsum(made.shares) - 1].all()
        inside = ~done
        np.testing.assert_array_equal(
            buffer.obs_next[inside], buffer.obs[buffer.next(rows)][inside]
        )
        assert buffer.unfinished_index().tolist() == []
        batch, indices = buffer.sample(200)
        np.testing.assert_array_equal(batch.obs, made.expected("obs")[indices])
        np.testing.assert_array_equal(batch.obs_next, made.expected("obs_next")[indices])


def test_the_loader_makes_no_second_copy(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[np.ndarray] = []
    real = np.empty

    def remember(*arguments: Any, **keywords: Any) -> np.ndarray:
        made.append(real(*arguments, **keywords))
        return made[-1]

    monkeypatch.setattr(np, "empty", remember)
    buffer, _ = load_buffer(dataset)
    assert any(array is buffer.obs for array in made)
    assert any(array is buffer.obs_next for array in made)


STOCK_LOADER = """
import sys
from tianshou.data import ReplayBuffer
buffer = ReplayBuffer.load_hdf5(sys.argv[1])
batch, indices = buffer.sample(64)
assert batch.obs.shape == (64, 5), batch.obs.shape
assert batch.obs_next.shape == (64, 5) and batch.act.shape == (64,)
assert len(buffer) == 50
assert not {"gym_trade", "data_tools"} & set(sys.modules), "ours was imported"
"""


def test_stock_tianshou_opens_it_with_nothing_of_ours(dataset: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOCK_LOADER, str(dataset)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_nothing_is_pickled_or_unpickled(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle was used")

    for name in ("loads", "load", "dumps", "dump", "Unpickler"):
        monkeypatch.setattr(pickle, name, fail)
    load_buffer(dataset)
    ReplayBuffer.load_hdf5(str(dataset))


def test_equal_rows_make_equal_bytes(tmp_path: Path) -> None:
    first = Transitions(50, 4).write(tmp_path / "a.hdf5")
    second = Transitions(50, 4).write(tmp_path / "b.hdf5", block_bytes=100)
    third = Transitions(50, 4, seed=1).write(tmp_path / "c.hdf5")
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != third.read_bytes()


def test_no_clock_enters_the_file(dataset: Path) -> None:
    """HDF5 notes when a dataset was made unless told not to."""
    times: list[int] = []

    def visit(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            times.append(h5py.h5g.get_objinfo(item.id).mtime)

    with h5py.File(dataset) as file:
        file.visititems(visit)
    assert times == [0] * 9


def test_memory_is_bounded_by_the_block(tmp_path: Path) -> None:
    with Transitions(4000, 2).writer(tmp_path / "a.hdf5", block_bytes=2000) as writer:
        held = writer._observations.nbytes + sum(b.nbytes for b in writer._blocks.values())
    assert held < 5000


def left_behind(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


# --- writing that fails


def test_refuses_an_existing_target_and_replaces_on_request(dataset: Path) -> None:
    before = dataset.read_bytes()
    with pytest.raises(DatasetError, match=r"exists.*--overwrite"):
        Transitions(20, 4).write(dataset)
    assert dataset.read_bytes() == before
    Transitions(20, 4).write(dataset, overwrite=True)
    assert len(load_buffer(dataset)[0]) == 20


def test_refuses_a_target_that_appeared_meanwhile(tmp_path: Path) -> None:
    made, path = Transitions(20, 4), tmp_path / "a.hdf5"
    with pytest.raises(DatasetError, match="appeared meanwhile"), made.writer(path) as writer:
        made.feed(writer)
        path.write_text("somebody else's")
        writer.finish({})
    assert path.read_text() == "somebody else's"
    assert left_behind(tmp_path) == ["a.hdf5"]


def test_refuses_a_missing_folder_a_folder_and_bad_lanes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no folder"):
        Transitions(20, 4).write(tmp_path / "none" / "a.hdf5")
    with pytest.raises(DatasetError, match="is a folder"):
        Transitions(20, 4).write(tmp_path)
    for size, lanes in ((3, 4), (3, 0)):
        with pytest.raises(DatasetError, match="Expected 1 to 3 lanes"):
            FlatBufferWriter(tmp_path / "a", size=size, num_lanes=lanes, observation_size=2)


def test_refuses_at_once_when_the_disk_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=50_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DatasetError, match=r"transitions need .* MiB and .* has 0\.0 MiB free"):
        Transitions(4000, 4).write(tmp_path / "a.hdf5")
    assert left_behind(tmp_path) == []


def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, path = Transitions(4000, 4), tmp_path / "a.hdf5"
    with pytest.raises(DatasetError) as caught, made.writer(path, block_bytes=4000) as writer:
        real, calls = writer._file, 0

        class Full:
            seek, close = real.seek, real.close

            def write(self, rows: Any) -> int:
                nonlocal calls
                calls += 1
                if calls > 100:
                    raise OSError(28, "No space left on device")
                return real.write(rows[:-1] if len(rows) > 1 else rows)  # partial, then the rest

        writer._file = Full()  # type: ignore[assignment]
        made.feed(writer)
    assert "No space left on device" in str(caught.value)
    assert "Nothing was left behind" in str(caught.value)
    assert left_behind(tmp_path) == []


FILE_LIMIT = """
import resource, sys
import numpy as np
from data_tools.flat_writer import DatasetError, FlatBufferWriter

flags, rows = np.zeros(4, bool), np.zeros((4, 5), np.float32)
for limit in (0, 1000, 60_000, 200_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with FlatBufferWriter(sys.argv[1], size=4000, num_lanes=4, observation_size=5) as writer:
            for _ in range(writer.num_steps):
                writer.add(np.zeros(4, int), np.zeros(4), flags, flags, rows)
            writer.finish({})
    except DatasetError as error:
        print(error)
    else:
        sys.exit(f"not refused at {limit}")
"""


def test_a_real_file_size_limit_leaves_nothing(tmp_path: Path) -> None:
    """Also at exit: HDF5 itself, when its disk is full, crashes the process there."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", FILE_LIMIT, str(tmp_path / "a.hdf5")],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a.hdf5 cannot be written: File too large.") == 4
    assert done.stdout.count("\n") == 4
    assert done.stderr == ""
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interrupt_leaves_nothing(tmp_path: Path, kind: type[BaseException]) -> None:
    made = Transitions(50, 4)
    with pytest.raises(kind), made.writer(tmp_path / "a.hdf5") as writer:
        made.feed(writer)
        assert len(left_behind(tmp_path)) == 1
        raise kind
    assert left_behind(tmp_path) == []


def test_unfinished_rows_are_refused(tmp_path: Path) -> None:
    made = Transitions(50, 4)
    with pytest.raises(DatasetError, match=r"0 steps were added\. Expected 13"):
        with made.writer(tmp_path / "a.hdf5") as writer:
            writer.finish({})
    assert left_behind(tmp_path) == []


# --- reading that is refused


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


@pytest.mark.parametrize("name", ["d4rl_hopper_medium-v2.hdf5", "d3rlpy_v1_cartpole_random.h5"])
def test_refuses_real_foreign_files(name: str) -> None:
    path = REAL_DATA / "formats" / name
    if not path.exists():
        pytest.skip("the real files are not beside this checkout")
    refused(path, "another layout", "observations")


def test_refuses_the_vector_layout_by_name(tmp_path: Path) -> None:
    VectorReplayBuffer(8, 2).save_hdf5(str(tmp_path / "a.hdf5"))
    refused(tmp_path / "a.hdf5", "VectorReplayBuffer layout")


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


def test_refuses_the_pickled_random_state_and_the_remedy_works(tmp_path: Path) -> None:
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
    refused(path, "_random_state (RandomState)", 'del h5py.File(PATH, "r+")["_random_state"]')
    edit(path, lambda file: file.__delitem__("_random_state"))
    assert len(load_buffer(path)[0]) == 1


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
    monkeypatch.setattr("data_tools.flat_layout._CHUNK_BYTES", 64)
    made = Transitions(200, 3)
    path = made.write(tmp_path / "a.hdf5")
    np.testing.assert_array_equal(load_buffer(path)[0].obs, made.expected("obs"))
    edit(path, cell("obs", 190, np.nan))
    refused(path, "obs of transition 190 is nan")
