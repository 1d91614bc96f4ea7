"""The dataset benchmark, made tiny: what is counted, and what its tables say. No speed."""

from __future__ import annotations

import contextlib
import io
import json

import h5py
import numpy as np
import pytest
from tianshou.data import VectorReplayBuffer

from benchmarks import data, data_memory, data_sides, data_tables, report
from benchmarks.machine import describe_machine, read_result, write_result

TINY = {"rows": 40, "lanes": 4}


@pytest.fixture
def in_process(monkeypatch):
    """The sides run here, and what they were asked for."""
    asked = []

    def fresh(module, *words):
        asked.append((module, *words))
        main = {"data_sides": data_sides.main, "data_memory": data_memory.main}[module]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            monkeypatch.setattr("sys.argv", [module, *map(str, words)])
            main()
        return json.loads(out.getvalue())

    around = {"median": 30.0, "min": 29.0, "max": 31.0}
    monkeypatch.setattr(data, "fresh", fresh)
    monkeypatch.setattr(
        data.Measuring, "sampling", lambda self: {"ours": around, "tianshou": around}
    )
    return asked


def test_the_whole_line(in_process, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "QUICK", data.QUICK | {"rows": 80, "tianshou_rows": 8,
                        "store_rows": 40, "largest": 80, "no_write": False})  # fmt: skip
    monkeypatch.setattr(data, "write_result", lambda name, x: write_result(name, x, tmp_path))
    assert data.main(["--quick", "--scratch", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    result = read_result("data", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]  # nothing is left
    for make in data_tables.TABLES.values():
        assert make(result) in out
    sides = {"full", "gym", "vector"} | set(result["collection"])
    assert set(result["collection"]) == sides
    storage = result["storage"]
    assert storage["tianshou"]["rows"]["median"] == storage["full"]["rows"]["median"] == 40
    assert storage["full"]["bytes"]["median"] < 0.7 * storage["tianshou"]["bytes"]["median"]
    assert [*result["scaling"]] == ["80"]


def test_both_sides_save_the_same_transitions(tmp_path):
    data_sides.store(tmp_path, seed=0, **TINY)
    answer = data_sides.store_tianshou(tmp_path, **TINY)
    assert answer["rows"] == 40
    theirs = VectorReplayBuffer.load_hdf5(str(tmp_path / "store-tianshou.hdf5"))
    with h5py.File(tmp_path / "store-full.hdf5") as root:
        for name in ("obs", "act", "rew", "terminated", "truncated", "done", "obs_next"):
            assert np.array_equal(getattr(theirs, name), root["_meta"][name]), name


def test_shares_that_are_not_equal_are_filled_as_well(tmp_path):
    """Of 10 rows in four lanes, two lanes have three."""
    data_sides.store(tmp_path, rows=10, lanes=4, seed=0)
    buffer = VectorReplayBuffer(12, 4)
    data_sides.fill(buffer, tmp_path / "store-full.hdf5", 4)
    assert [len(part) for part in buffer.buffers] == [3, 3, 2, 2]


@pytest.mark.parametrize("kind", [data_sides.GYM, data_sides.VECTOR])
def test_tianshou_steps_the_same_environment(kind):
    """One file's first observations are the other's."""
    envs = data_sides.tianshou_environments(kind, 2)
    envs.seed(5)
    seen, _ = envs.reset()
    ours = data_sides.tianshou_environments(data_sides.VECTOR, 2)
    ours.seed(5)
    assert np.array_equal(seen, ours.reset()[0])
    assert seen.shape == (2, 266) and seen.dtype == np.float32


def around(median):
    return {"median": median, "min": 0.9 * median, "max": 1.1 * median}


@pytest.fixture
def result():
    full = {"bytes": around(2163e6), "base_bytes": around(0.5e9), "peak_bytes": around(1.5e9),
            "collection_peak_bytes": around(1.0e9), "rows": around(1e6)}  # fmt: skip
    theirs = {"bytes": around(4331e6), "base_bytes": around(0.5e9), "peak_bytes": around(5.5e9)}
    return {
        "machine": describe_machine(), "rounds": 5, "seconds": 2.0, "lanes": 64, "seed": 0,
        "rows": 1_000_000, "tianshou_rows": 200_000, "store_rows": 1_000_000,
        "collection": {"full": around(9e5), "gym": around(2e4), "vector": around(8e4)},
        "storage": {"full": full, "tianshou": theirs},
        "layout_sampling": {"full": around(10_000.0)},
        "sampling": {"ours": around(250.0), "tianshou": around(100.0)},
        "scaling": {"10000": {"whole": around(5000.0), "beyond": around(1200.0),
                              "peak_bytes": around(0.8e9)}},
        "large": None,
    }  # fmt: skip


def test_aims_that_are_met_and_missed(result):
    collection = data_tables.collection_table(result)
    assert "of gym.make | 20.0 k (18.0 k to 22.0 k) | 45.0 | 15, met |" in collection
    assert "our vector of 64 | 80.0 k (72.0 k to 88.0 k) | 11.2 | - |" in collection
    assert "lanes, indexed layout | - | - | - |" in collection
    storage = data_tables.storage_table(result)
    assert "| 2,163.0 | 4,331.0 | - | 0.50 | at most 0.52, met |" in storage
    assert "| 1.00 GB | 5.00 GB | - | 0.20 | at most 0.333, met |" in storage
    assert "collects 1,000,000 | 1.00 GB | - | - | - | full at most 1.5 GB, met |" in storage
    assert "| 2.50 | at least 3, **missed** |" in storage
    assert "| a large indexed set | - | - | - | - | - |" in storage
    assert "| 10,000 | 5,000 ns (4,500 ns to 5,500 ns) | 1,200 ns" in data_tables.scaling_table(
        result
    )


def test_rows_of_the_indexed_layout(result):
    result["collection"]["indexed"] = around(3e6)
    result["storage"]["indexed"] = {
        "bytes": around(70e6), "base_bytes": around(0.5e9), "peak_bytes": around(0.6e9),
        "collection_peak_bytes": around(0.4e9),
    }  # fmt: skip
    result["layout_sampling"]["indexed"] = around(11_000.0)
    result["large"] = {"rows": 20_000_000, "seconds": 10.0, "open_seconds": 1.0, "bytes": 1.2e9,
                       "per_second": 5000.0, "peak_bytes": 3.5e9}  # fmt: skip
    storage = data_tables.storage_table(result)
    assert "met; indexed at most 64, **missed** |" in storage  # 70 bytes
    assert "| 0.40 GB | - | full at most 1.5 GB, met; indexed at most 0.5 GB, met |" in storage
    assert "| 1.10 | at least 1, met |" in storage
    assert "100 M would be 6.00 GB in 50 s | - | at most 4 GB, met |" in storage
    assert "indexed layout | 3.00 M (2.70 M to 3.30 M) |" in data_tables.collection_table(result)


def test_the_readme_says_where_nothing_was_measured(result, tmp_path):
    for name, make in data_tables.TABLES.items():
        assert report.made_from("data", make, tmp_path) == (
            "Not measured yet: `python -m benchmarks.data`."
        ), name
    write_result("data", result, tmp_path)
    made = report.made_from("data", data_tables.collection_table, tmp_path)
    assert made == data_tables.collection_table(result)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rounds", "0"], "--rounds >= 1"),
        (["--rows", "100"], "expected at least 128 rows"),
        (["--scratch", "nowhere"], "--scratch nowhere is no folder"),
    ],
)
def test_what_cannot_be_measured(flags, message, capsys):
    assert data.main(flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
