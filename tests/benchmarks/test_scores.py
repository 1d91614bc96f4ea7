"""The scores benchmark from datasets to tables, on a market file and with budgets of seconds."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from benchmarks import (
    scores,
    scores_cell,
    scores_config,
    scores_door,
    scores_scale,
    scores_sweeps,
    scores_tables,
)
from benchmarks.machine import describe_machine
from benchmarks.scores_cell import Cell, growth
from benchmarks.scores_config import ScoreTask, Suite
from benchmarks.scores_references import references
from benchmarks.scores_result import gather
from benchmarks.suite_config import market_tasks, quickened
from benchmarks.suite_run import Maker
from tests.benchmarks.in_process import InProcess, run_here
from tests.offline_algos import samples

ENV = ('time_frames=["1min","5min"]', "window_sizes=[4,6]", "execute_on=5min")
TINY = ("--epoch", "1", "--update-per-epoch", "30", "--hidden-sizes", "8", "--logger", "none")
NAME = "market-levels"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a finished run of two methods and two seeds, and what it printed."""
    folder = tmp_path_factory.mktemp("scores")
    market = folder / "market.csv"
    samples.frame(2500).to_csv(market)
    flags = tuple(word for pair in ENV for word in ("--env", pair))
    task = ScoreTask(quickened(market_tasks(str(market), flags)[0]), ("il", "crr"))
    suite = Suite((NAME,), ("random",), (300,), 2, ablation=(NAME, "random"), ablation_sizes=(),
                  swept=((NAME, "random"),), swept_seeds=1)  # fmt: skip
    patch = pytest.MonkeyPatch()
    patch.setitem(scores_config.TASKS, NAME, task)
    patch.setitem(scores_config.SUITES, "quick", suite)
    patch.setattr(ScoreTask, "words", lambda self, method: (*TINY, "--threads", "1"))
    # a period of some ninety decisions proves no expert to be one
    patch.setattr(scores_scale, "is_expert", lambda paths: True)
    patch.setattr(scores, "Maker", functools.partial(Maker, launch=InProcess()))
    yield folder
    patch.undo()


def run(folder, *flags):
    return scores.main(["--folder", str(folder / "made"), "--no-write", *flags])


@pytest.fixture(scope="module")
def made(place):
    """All in this process; what is run again below has processes of its own, and must give this."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (scores, scores_sweeps):
            patch.setattr(module, "run_jobs", run_here)
        assert run(place, "--jobs", "2") == 0
    return place / "made"


def cells(made):
    return sorted((made / "cells").rglob("*.json"))


def result_of(made, monkeypatch):
    """What would be written."""
    found = {}
    monkeypatch.setattr(scores, "write_result", lambda name, result: found.update(result))
    assert scores.main(["--folder", str(made)]) == 0
    return found


def test_every_cell_leaves_its_file(made):
    found = {path.relative_to(made / "cells").as_posix() for path in cells(made)}
    names = ("il", "crr", "il-raw", "crr-raw", "crr-cql")
    assert found == {
        f"{NAME}/random-300/{name}/seed{seed}.json" for name in names for seed in (0, 1)
    }
    one = json.loads(cells(made)[0].read_text())
    assert one["updates"] == 30 and len(one["validation_returns"]) == 2
    assert one["peak_bytes"] > 1e8 and one["seconds"] > 0
    assert one["machine"]["commit"] and one["dataset"]["transitions"] == 300


def lasting(cell):
    """A cell's file but for time, memory, and where and on what it ran."""
    passing = ("seconds", "updates_per_second", "peak_bytes", "machine", "directory")
    return {name: value for name, value in cell.items() if name not in passing}


def test_what_is_finished_is_not_run_again_and_gives_the_same(made, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in cells(made)}
    first = result_of(made, monkeypatch)
    assert {path: path.stat().st_mtime_ns for path in cells(made)} == before
    lost = cells(made)[3]
    was, curves = json.loads(lost.read_text()), dict(np.load(lost.with_suffix(".npz")))
    lost.unlink()
    second = result_of(made, monkeypatch)
    assert lost.stat().st_mtime_ns != before[lost]
    assert lasting(json.loads(lost.read_text())) == lasting(was)
    for name, equity in np.load(lost.with_suffix(".npz")).items():
        np.testing.assert_array_equal(equity, curves[name])
    for found in (first, second):
        del found["machine"]
        for row in found["rows"].values():
            for name in ("seconds", "updates_per_second", "peak_bytes"):
                del row[name]
    assert first == second and first["missing"] == []


def test_another_command_is_run_anew(made):
    cell = json.loads(cells(made)[0].read_text())["cell"]
    work = scores_cell.Work(Cell(**cell | {"flags": ()}), "atari_style_crr", ("--x",), made)
    assert work.result.exists() and not work.is_done


def test_scores_are_between_random_and_the_expert(made, monkeypatch):
    found = result_of(made, monkeypatch)
    task = found["tasks"][NAME]
    assert task["top"] == "expert" and task["optimum"] is None
    controls = task["controls"]
    assert controls["random"]["score"] == 0.0 and controls["expert"]["score"] == 100.0
    assert controls["flat"]["growth"] == 0.0
    assert controls["oracle"]["growth"] > max(
        control["growth"] for name, control in controls.items() if name != "oracle"
    )
    low, high = controls["random"]["growth"], controls["expert"]["growth"]
    for row in found["rows"].values():
        expected = 100.0 * (np.array(row["best"]["growth"]) - low) / (high - low)
        assert row["best"]["score"] == pytest.approx(expected)
        assert row["seeds"] == [0, 1]


def test_growth_is_that_of_the_equity_that_was_walked(made):
    for path in cells(made):
        one = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz")) as curves:
            for name in ("best", "last"):
                test, equity = one["test"][name], curves[name]
                assert test["growth"] == pytest.approx(
                    np.log(equity[-1] / equity[0]) / test["steps"]
                )
                assert len(equity) == test["steps"] + 1
                assert test["total_return"] == pytest.approx(equity[-1] / equity[0] - 1)


def test_growth_ends_with_a_bankruptcy():
    assert growth([100.0, 50.0, 25.0, np.nan]) == pytest.approx(np.log(0.5))
    assert growth([100.0, -3.0]) == pytest.approx(np.log(1e-6))
    assert growth([100.0]) == 0.0


def test_tables_name_every_row(made, monkeypatch):
    texts = scores_tables.scores_tables(result_of(made, monkeypatch))
    assert set(texts) == {
        "Methods", f"Methods on {NAME}", "Checks", "Selection", NAME, "Ablations",
        f"Costs: {NAME}, random",
    }  # fmt: skip
    for word in ("*expert*", "*oracle*", "random 300: il", "random 300: crr", "*data random 300*"):
        assert word in texts[NAME]
    assert texts["Ablations"].count("observations as they are") == 2
    assert "with CQL's term" in texts["Ablations"]
    assert "| il |" in texts["Methods"] and "P(better than cloning)" in texts["Methods"]


def test_controls_are_walked_once(made):
    path, data = made / "references" / f"{NAME}.json", made / "datasets" / NAME / "random-300.hdf5"
    rule = scores_config.TASKS[NAME].sets.rule
    before = path.read_text()
    path.write_text(before.replace('"market": ', '"market":  '))
    assert references(path, data, rule, continuous=False) == json.loads(before)
    references(path, data, "breakout", continuous=False)
    assert json.loads(path.read_text())["source"]["rule"] == "breakout"
    path.write_text(before)


def test_a_cell_that_fails_is_told_and_the_others_are_kept(made, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in cells(made)}
    lost = made / f"cells/{NAME}/random-300/crr/seed0.json"
    lost.unlink()
    words = lambda self, method: (*TINY, "--threads", "1", *("--lr", "0") * (method == "il"))  # noqa: E731
    monkeypatch.setattr(ScoreTask, "words", words)
    assert run(made.parent, "--seeds", "1", "--jobs", "2") == 1
    said = capsys.readouterr().err
    assert f"{NAME}/random-300/il/seed0: exit code" in said
    log = (made / "logs" / NAME / "random-300/il/seed0.txt").read_text()
    assert "--lr" in log
    after = {path: path.stat().st_mtime_ns for path in cells(made)}
    assert {path for path in before if after[path] != before[path]} == {lost}


def test_a_dry_run_makes_nothing(place, tmp_path, capsys):
    assert scores.main(["--folder", str(tmp_path / "none"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.count("atari_style_") == 10
    assert "10 cells: 10 to run" in out
    assert not (tmp_path / "none").exists()


def test_a_part_of_a_suite_is_not_written(made, monkeypatch, capsys):
    monkeypatch.setattr(scores, "write_result", None)
    assert scores.main(["--folder", str(made), "--methods", "crr"]) == 0
    assert "a part of the suite" in capsys.readouterr().err


def test_the_policy_of_the_data_stands_beside_the_methods(made, monkeypatch):
    found = result_of(made, monkeypatch)["tasks"][NAME]
    (walked,) = found["behaviours"].values()
    assert (walked["kind"], walked["size"], walked["noise"]) == ("random", 300, 0.0)
    low, high = (found["controls"][name]["growth"] for name in ("random", "expert"))
    assert walked["score"] == pytest.approx(100.0 * (walked["growth"] - low) / (high - low))
    assert walked["share"] is None  # no optimum is known of a file


def test_cells_that_are_missing_are_told(made, place):
    works = scores.works_of(scores_config.cells_of(scores_config.SUITES["quick"]), made)
    controls = scores.make_references([work.cell for work in works], made)
    absent = scores_cell.Work(Cell(**vars(works[0].cell) | {"seed": 9}), "x", (), made)
    found = gather([*works, absent], controls)
    assert found["missing"] == [absent.name]
    assert found["checks"][-1]["verdict"] == "incomplete"
    assert found["selection"][NAME]["trials"] == len(works) + 1
    texts = scores_tables.scores_tables(found | {"machine": describe_machine()})
    assert "1 cell is missing" in texts["Methods"]


def test_jobs_of_later_stages_are_told_apart_from_cells(made, monkeypatch, capsys):
    """The stage of costs loses an answer that it cannot find again."""
    written = []
    monkeypatch.setattr(scores, "write_result", lambda *words: written.append(words))
    (lost,) = (made / "sweeps" / "costs" / NAME).rglob("il/seed0.json")
    answer = lost.read_text()
    cell = json.loads((made / "cells" / NAME / "random-300/il/seed0.json").read_text())
    checkpoint = made / cell["directory"] / "policy.pth"
    lost.unlink()
    away = checkpoint.rename(checkpoint.with_suffix(".away"))
    try:
        assert scores.main(["--folder", str(made)]) == 1
    finally:
        away.rename(checkpoint)
        lost.write_text(answer)
    said = capsys.readouterr()
    assert "1 job of later stages is missing: the logs below" in said.err
    assert "1 job of later stages is missing: results are not written" in said.err
    assert "1 job of later stages is missing: these are" in said.out and "cell is" not in said.out
    assert "| every cell was run | none is missing | holds |" in said.out
    name = f"costs: {NAME}/random-300/il/seed0"
    line = f"| every job of the later stages was done | 1 missing: {name} | incomplete |"
    assert line in said.out and written == []
    assert scores.main(["--folder", str(made)]) == 0 and len(written) == 1


def test_with_ray_datasets_are_made_by_all_cores_of_this_machine(place, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(3))
    monkeypatch.setattr(scores_door, "import_ray", lambda: None)
    jobs = []

    class Stopped(Maker):
        def make(self, plan):
            jobs.append(self.jobs)
            raise ValueError("that is all")

    monkeypatch.setattr(scores, "Maker", Stopped)
    for flags in ((), ("--engine", "ray"), ("--engine", "ray", "--jobs", "5"), ("--jobs", "2")):
        assert scores.main(["--folder", str(tmp_path), *flags]) == 2
    assert jobs == [1, 3, 5, 2]


def test_a_check_that_fails_is_told_after_the_result_is_written(made, monkeypatch, capsys):
    path = made / "references" / f"{NAME}.json"
    before = path.read_text()
    blind = json.loads(before)
    blind["controls"]["oracle"] = blind["controls"]["flat"]
    path.write_text(json.dumps(blind))
    written = []
    monkeypatch.setattr(scores, "write_result", lambda name, result: written.append(name))
    try:
        assert scores.main(["--folder", str(made)]) == 1
    finally:
        path.write_text(before)
    assert written == ["scores-quick"]
    said = capsys.readouterr()
    assert f"CHECK FAILED: {NAME}: who is shown the next bar" in said.err
    assert "**FAILS**" in said.out
    assert scores.main(["--folder", str(made)]) == 0
