"""The README's tables and the picture come from results/*.json and from nowhere else."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks import report
from benchmarks.machine import describe_machine, read_result, write_result
from benchmarks.plots import throughput_svg
from benchmarks.speed_cases import CASES, CONSTRUCTION_BARS, PEERS
from benchmarks.training_cases import CASES as TRAINING_CASES
from benchmarks.training_cases import LARGE, LITTLE

README = "# x\n\n" + "between\n".join(
    f"<!-- table: {name} -->\nold\n<!-- end: {name} -->\n" for name in report.TABLES
) + "after\n"  # fmt: skip


def around(median):
    return {"median": median, "min": 0.9 * median, "max": 1.2 * median}


@pytest.fixture
def throughput():
    peer = {case.name: around(10_000.0) for case in PEERS["torchtrade"].cases}
    cost = {
        "market_seconds": around(1.0), "environment_seconds": around(2.0),
        "total_seconds": around(3.0), "peak_bytes": around(1.5e9),
    }  # fmt: skip
    return {
        "machine": describe_machine(), "peer_versions": {"torchtrade": "0.1.0"}, "bars": 200_000,
        "seed": 3, "rounds": 2, "seconds": 1.0, "repeats": 4, "load_before": 0.1,
        "ours": {case.name: around(5e4) for case in CASES} | {"64 lanes": around(2.5e6)},
        "peers": {"torchtrade": peer},
        "limit": {"step_ns": around(150.0), "copy_ns": around(50.0), "ratio": around(3.0),
                  "index": around(25e6)},
        "lanes": {"1": around(5000.0), "64": around(250.0)},
        "market_bars": {"1000000": around(300.0)},
        "construction": {"bars": CONSTRUCTION_BARS, "cost": cost},
        "startup": {"cold: scalar": around(20.0), "warm: scalar": around(1.0)},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path, throughput):
    metrics = dict.fromkeys(("total_return", "sharpe", "max_drawdown", "n_trades", "turnover"), 1.0)
    policies = [{"CQL": metrics}, {"CQL": metrics | {"sharpe": 3.0}}]
    market = {"transitions": 5, "updates": 6, "fee": 0.0004, "test": {"steps": 9}}
    markets = {"martingale": market | {"policies": policies}}
    write_result("throughput", throughput, tmp_path)
    sides = {"ours": around(100.0), "tianshou": around(10.0)}
    sizes = dict.fromkeys((str(LARGE), str(LITTLE)), sides)
    write_result("training", {
        "machine": describe_machine(), "rounds": 2, "seconds": 1.0, "sampling": sides,
        "cases": {case.name: sizes for case in TRAINING_CASES},
    }, tmp_path)  # fmt: skip
    write_result("training_peers", {
        "machine": describe_machine(), "rounds": 2, "seconds": 1.0,
        "peer_versions": {"d3rlpy": "2.8.1"}, "cases": {"IL": sizes},
    }, tmp_path)  # fmt: skip
    run = {
        "test": {"best": 400.0, "last": 300.0, "random": 20.0},
        "behaviour": 66.0,
        "commit": "abc",
    }
    write_result("methods", {
        "machine": describe_machine(), "seeds": 1, "experts": {"CartPole": 500.0},
        "tasks": {"CartPole, mixed": {"il": [run]}},
    }, tmp_path)  # fmt: skip
    write_result(
        "quickstart",
        {"machine": describe_machine(), "seeds": [0, 1], "markets": markets},
        tmp_path,
    )
    (tmp_path / "README.md").write_text(README)
    return tmp_path


def call(folder, action):
    return report.main(
        [action, "--readme", str(folder / "README.md"), "--results", str(folder)]
    )  # fmt: skip


def test_write_then_check(folder):
    assert call(folder, "--check") == 1
    assert call(folder, "--write") == 0
    assert call(folder, "--check") == 0
    text = (folder / "README.md").read_text()
    assert "\nold\n" not in text
    assert text.startswith("# x") and text.endswith("after\n") and "\nbetween\n" in text
    assert "| martingale: CQL | +100.0% | 2.00 (1.00 to 3.00) | 100.0% | 1 | 1 |" in text


def test_speeds_stand_beside_peers_and_aims(folder):
    call(folder, "--write")
    text = (folder / "README.md").read_text()
    peer = "TorchTrade | 10.0 k (9.0 k to 12.0 k)"
    assert f"| scalar | 50.0 k (45.0 k to 60.0 k) | {peer} | 5.00 | 12, **missed** |" in text
    assert f"| 64 lanes | 2.50 M (2.25 M to 3.00 M) | {peer} | 250 | 40, met |" in text
    assert f"| 1024 lanes, 2 threads | 50.0 k (45.0 k to 60.0 k) | {peer} | 5.00 | - |" in text
    # not measured: an empty cell, and the aim, if any, without a verdict
    assert "(45.0 k to 60.0 k) | gym-anytrading | - | - | - |" in text
    assert "torchtrade 0.1.0" in text


def test_limits_scaling_and_starts(folder):
    call(folder, "--write")
    text = (folder / "README.md").read_text()
    for row in (
        "| ratio | 3.00 (2.70 to 3.60) | at most 2.6, **missed** |",
        "| index observations, lane-steps a second | 25.00 M (22.50 M to 30.00 M) | at least 20 M, "
        "met |",
        "| 1 lane | 200,000 | 5,000 ns (4,500 ns to 6,000 ns) | 200.0 k |",
        "| 1024 lanes | 1,000,000 | 300 ns (270 ns to 360 ns) | 3.33 M |",
        "| import to first step, scalar, compiled before | 1.00 s (0.90 s to 1.20 s) | at most 2 s,"
        " met |",
        "| 5,000,000 bars: peak memory above the frame's | 1.50 GB (1.35 GB to 1.80 GB) | at most "
        "1 GB, **missed** |",
        "| 5,000,000 bars: together | 3.0 s (2.7 s to 3.6 s) | at most 6 s, met |",
    ):
        assert row in text


def test_check_notices_a_changed_result(folder):
    call(folder, "--write")
    result = read_result("throughput", folder)
    result["ours"]["scalar"]["median"] *= 1.1
    write_result("throughput", result, folder)
    assert call(folder, "--check") == 1


def test_check_notices_a_changed_or_missing_picture(folder, capsys):
    call(folder, "--write")
    picture = folder / "throughput.svg"
    picture.write_text(picture.read_text().replace("TorchTrade", "TorchTrode"))
    assert call(folder, "--check") == 1
    assert "throughput.svg differs" in capsys.readouterr().err
    picture.unlink()
    assert call(folder, "--check") == 1
    assert not picture.exists()  # a check writes nothing


def test_the_picture_is_the_same_text_for_the_same_result(throughput):
    text = throughput_svg(throughput)
    assert text == throughput_svg(json.loads(json.dumps(throughput)))
    assert text.startswith("<?xml") and text.endswith("</svg>\n")
    assert "dc:date" not in text and not re.search(r"[ \t]\n", text)
    for label in ("TorchTrade, 2 threads", "gym_trade, flat, copy=False, 1 thread", "lanes"):
        assert f">{label}</text>" in text


def test_a_picture_of_another_matplotlib_is_judged_by_its_results(folder, throughput):
    call(folder, "--write")
    picture = folder / "throughput.svg"
    text = picture.read_text()
    assert "Matplotlib v" in text
    other = re.sub(r"Matplotlib v[^,]+", "Matplotlib v3.7.5", text).replace("font-size", "size")
    picture.write_text(other)
    assert call(folder, "--check") == 0
    throughput["lanes"]["1"]["median"] *= 2.0
    write_result("throughput", throughput, folder)
    call(folder, "--write")
    picture.write_text(other)
    assert call(folder, "--check") == 1
    picture.write_text("<svg/>")
    assert call(folder, "--check") == 1


def test_the_picture_without_a_peer(throughput):
    throughput["peers"] = {}
    assert "TorchTrade" not in throughput_svg(throughput)


def test_missing_markers_and_results_are_errors(folder, capsys):
    (folder / "README.md").write_text(README.replace("table: startup", "table: start"))
    assert call(folder, "--write") == 2
    assert "no markers '<!-- table: startup -->'" in capsys.readouterr().err
    assert not (folder / "throughput.svg").exists()
    (folder / "throughput.json").unlink()
    assert call(folder, "--check") == 2
    assert "run python -m benchmarks.throughput" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["ours", "limit", "lanes", "market_bars", "construction", "startup",
                                 "repeats", "peers"])  # fmt: skip
def test_a_missing_key_is_named(folder, throughput, key, capsys):
    del throughput[key]
    write_result("throughput", throughput, folder)
    assert call(folder, "--write") == 2
    err = capsys.readouterr().err
    assert f"throughput.json has no '{key}'; run python -m benchmarks.throughput again" in err


def test_a_missing_case_is_named(folder, throughput, capsys):
    del throughput["peers"]["torchtrade"]["scalar"]
    write_result("throughput", throughput, folder)
    assert call(folder, "--check") == 2
    assert "throughput.json has no 'scalar'" in capsys.readouterr().err


def test_a_result_is_written_whole_or_not_at_all(tmp_path):
    write_result("x", {"a": 1}, tmp_path)
    with pytest.raises(ValueError):
        write_result("x", {"a": float("nan")}, tmp_path)
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert set(machine["versions"]) >= {"numba", "tianshou", "torch", "gymnasium"}
