"""The README's tables come from results/*.json and from nowhere else."""

from __future__ import annotations

import json

import pytest

from benchmarks import report
from benchmarks.machine import describe_machine, read_result, write_result

README = "# x\n\n<!-- table: throughput -->\nold\n<!-- end: throughput -->\n" \
    "between\n<!-- table: quickstart -->\n<!-- end: quickstart -->\nafter\n"  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    speeds = {"scalar": {"median": 50_000.0, "min": 40_000.0, "max": 60_000.0}}
    peers = {"scalar": {"median": 10_000.0, "min": 9_000.0, "max": 11_000.0}}
    throughput = {
        "machine": describe_machine(), "peer_versions": {"torchtrade": "0.1.0"}, "bars": 7,
        "seed": 3, "rounds": 2, "seconds": 1.0, "torchtrade": peers,
        "ours": speeds | {"alone": {"median": 2.5e6, "min": 2e6, "max": 3e6}},
    }  # fmt: skip
    metrics = dict.fromkeys(("total_return", "sharpe", "max_drawdown", "n_trades", "turnover"), 1.0)
    policies = [{"CQL": metrics}, {"CQL": metrics | {"sharpe": 3.0}}]
    market = {"transitions": 5, "updates": 6, "fee": 0.0004, "test": {"steps": 9}}
    markets = {"martingale": market | {"policies": policies}}
    write_result("throughput", throughput, tmp_path)
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
    assert "old" not in text
    assert text.startswith("# x") and text.endswith("after\n") and "\nbetween\n" in text
    assert "| scalar | 50.0 k (40.0 k to 60.0 k) | 10.0 k (9.0 k to 11.0 k) | 5.0 |" in text
    assert "| alone | 2.50 M (2.00 M to 3.00 M) | - | - |" in text
    assert "| martingale: CQL | +100.0% | 2.00 (1.00 to 3.00) | 100.0% | 1 | 1 |" in text


def test_check_notices_a_changed_result(folder):
    call(folder, "--write")
    result = read_result("throughput", folder)
    result["ours"]["scalar"]["median"] *= 1.1
    write_result("throughput", result, folder)
    assert call(folder, "--check") == 1


def test_missing_markers_and_results_are_errors(folder, capsys):
    (folder / "README.md").write_text("nothing here")
    assert call(folder, "--write") == 2
    assert "no markers" in capsys.readouterr().err
    (folder / "throughput.json").unlink()
    assert call(folder, "--check") == 2
    assert "run python -m benchmarks.throughput" in capsys.readouterr().err


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
