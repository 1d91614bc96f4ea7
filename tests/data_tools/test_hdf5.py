"""Writing datasets: Tianshou's layout, streaming, and nothing left behind by a failure."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tianshou.data import Batch, ReplayBuffer

from data_tools.hdf5 import DatasetError, FlatBufferWriter, load_buffer
from tests.data_tools.transitions import REPOSITORY, WIDTH, Transitions, provenance


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
        real, calls = writer._target._file, 0

        class Full:
            seek, close = real.seek, real.close

            def write(self, rows: Any) -> int:
                nonlocal calls
                calls += 1
                if calls > 100:
                    raise OSError(28, "No space left on device")
                return real.write(rows[:-1] if len(rows) > 1 else rows)  # partial, then the rest

        writer._target._file = Full()  # type: ignore[assignment]
        made.feed(writer)
    assert "No space left on device" in str(caught.value)
    assert "Nothing was left behind" in str(caught.value)
    assert left_behind(tmp_path) == []


FILE_LIMIT = """
import resource, sys
import numpy as np
from data_tools.hdf5 import DatasetError, FlatBufferWriter

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
