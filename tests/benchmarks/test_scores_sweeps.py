"""Trained policies at other fees and target returns, on a market file and with tiny budgets."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import scores, scores_cell, scores_config, scores_sweeps, scores_walks
from benchmarks.scores_cell import growth
from benchmarks.scores_config import ScoreTask, Suite
from benchmarks.scores_sweeps import ABOVE, AT, FEES_BP, MULTIPLES, NONE, break_even, costs, targets
from benchmarks.scores_sweeps_tables import _correlation, costs_tables, targets_tables
from benchmarks.scores_walks import ControlsAtFees, PolicyAtFees, PolicyAtTargets
from benchmarks.suite_config import market_tasks
from data_tools import collect
from data_tools.environment import open_market
from gym_trade import SequentialConfig
from offline_algos.checkpoint import load_policy
from offline_algos.evaluation import evaluate_rule
from offline_algos.periods import Period
from tests.offline_algos import samples

ENV = ('time_frames=["1min","5min"]', "window_sizes=[4,6]", "execute_on=5min")
TINY = ("--epoch", "1", "--update-per-epoch", "5", "--hidden-sizes", "8", "--logger", "none")
TRANSFORMER = ("--embedding-size", "8", "--context-length", "4", "--batch-size", "16")
NAME = "market-levels"
SUITE = Suite((NAME,), ("random",), (300,), 1, swept=((NAME, "random"),),
              asked=((NAME, "random"),), swept_seeds=1)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Cells of cloning and a Decision Transformer, walked again in this process."""
    folder = tmp_path_factory.mktemp("sweeps")
    data = folder / "datasets" / NAME
    data.mkdir(parents=True)
    samples.frame(1500).to_csv(folder / "market.csv")
    flags = ["--market", str(folder / "market.csv"), *(w for pair in ENV for w in ("--env", pair))]
    rows = ["--buffer-size", "300", "--save-buffer-name", str(data / "random-300.hdf5")]
    assert collect.main([*flags, "--episode-steps", "50", *rows]) == 0
    sets = market_tasks(str(folder / "market.csv"), ())[0]
    patch = pytest.MonkeyPatch()
    patch.setitem(scores_config.TASKS, NAME, ScoreTask(sets, ("il", "dt")))
    own = lambda self, method: TINY + (TRANSFORMER if method == "dt" else ())  # noqa: E731
    patch.setattr(ScoreTask, "words", own)
    # engines have tests of their own
    patch.setattr(scores_sweeps, "run_jobs", lambda work, jobs, **_: [work(job) for job in jobs])
    works = scores.works_of(scores_config.cells_of(SUITE), folder)
    for work in works:
        scores_cell.run(work)
    (made,) = folder.glob("runs/**/il/**/policy.pth")
    shutil.copy(made, data / "expert.pth")
    yield (
        folder,
        works,
        {"costs": costs(works, folder, SUITE), "targets": targets(works, folder, SUITE)},
    )
    patch.undo()


def cell_of(place, method):
    """A cell's file, and its checkpoint below the folder."""
    made = json.loads((place[0] / f"cells/{NAME}/random-300/{method}/seed0.json").read_text())
    return made, f"{made['directory']}/policy.pth"


def test_break_even_is_where_growth_falls_to_zero():
    assert break_even((0, 5, 10), (3.0, 1.0, -1.0)) == (AT, 7.5)
    assert break_even((0, 5, 10), (3.0, 0.0, 1.0)) == (AT, 5.0)  # the first time
    assert break_even((0, 5), (2.0, 1.0)) == (ABOVE, None)
    assert break_even((0, 5), (0.0, 0.0)) == (NONE, None)  # such as of who never trades
    assert break_even((0, 5), (-1.0, 1.0)) == (NONE, None)


def test_break_even_of_a_rule_whose_round_trips_are_known():
    config = samples.config(action_levels=(0.0, 1.0), reward="log_return")
    rule = "mean-reversion:window=4,entry=0.5,exit=0.0"
    walks = [evaluate_rule(rule, config.replace(transaction_fee=fee / 1e4)) for fee in FEES_BP]
    trips = walks[0]["metrics"]["n_trades"]
    whole = math.log(walks[0]["equity"][-1] / walks[0]["equity"][0])
    assert trips > 20 and walks[0]["metrics"]["n_trades"] == walks[-1]["metrics"]["n_trades"]
    # each trip costs log((1 + f)/(1 - f)); at the end nothing or an open position is held
    open_at_end = round(walks[0]["metrics"]["turnover"]) - 2 * trips
    kind, fee = break_even(FEES_BP, [growth(walk["equity"]) for walk in walks])
    expected = 1e4 * math.tanh(whole / (2 * trips))
    assert kind == AT and fee == pytest.approx(expected, rel=1.0 / trips + 1e-5), open_at_end
    there = evaluate_rule(rule, config.replace(transaction_fee=fee / 1e4))
    assert growth(there["equity"]) == pytest.approx(0.0, abs=1e-6 * growth(walks[0]["equity"]))


def test_every_policy_is_walked_at_every_fee(place):
    found = place[2]["costs"]
    assert found["fees_bp"] == list(FEES_BP) and found["missing"] == []
    assert set(found["rows"]) == {f"{NAME}/random-300/{method}" for method in ("il", "dt")}
    for row in found["rows"].values():
        assert np.shape(row["growth"]) == (len(FEES_BP), 1) and row["seeds"] == [0]
        assert row["trained_bp"] == 4.0
        made, _ = cell_of(place, row["method"])
        assert row["trained_growth"] == [made["test"]["best"]["growth"]]


def test_the_fee_trained_with_gives_what_the_cell_was_tested_at(place):
    for method in ("il", "dt"):
        made, checkpoint = cell_of(place, method)
        answer = PolicyAtFees("x", place[0], checkpoint, (4.0, 0.0)).answer()
        tested = made["test"]["best"]
        assert answer["walks"][0]["growth"] == pytest.approx(tested["growth"], rel=1e-9)
        assert answer["walks"][0]["turnover"] == tested["turnover"]
        assert tested["n_trades"] == 0 or answer["walks"][1]["growth"] != tested["growth"]


def test_controls_pay_the_fee_that_is_swept(place):
    found = place[2]["costs"]
    controls = found["controls"][NAME]
    made, _ = cell_of(place, "il")
    steps = made["test"]["best"]["steps"]
    assert controls["expert"] == [
        row[0] for row in found["rows"][f"{NAME}/random-300/il"]["growth"]
    ]
    assert set(controls) == {"flat", "buy-and-hold", "rule", "expert"}
    assert controls["flat"] == [0.0] * len(FEES_BP)
    paid = [controls["buy-and-hold"][0] - math.log1p(fee / 1e4) / steps for fee in FEES_BP]
    assert controls["buy-and-hold"] == pytest.approx(paid, rel=1e-9)
    assert found["controls_break_even"][NAME]["flat"] == (NONE, None)
    assert found["optimum"] == {NAME: None}


def test_optimum_is_computed_at_each_fee(place, tmp_path, monkeypatch):
    _, checkpoint = cell_of(place, "il")
    job = ControlsAtFees("x", place[0], checkpoint, (0.0, 4.0, 1000.0), "flat", "none.pth")
    policy, task = job._open()
    config = SequentialConfig(
        df=open_market("synthetic:reversion_easy")[0], action_levels=(0.0, 1.0), window_sizes=(16,),
        observation="flat",
    )  # fmt: skip
    period = Period("2024-01-07T01:00:00", "2024-06-07T01:00:00", 3648)
    known = replace(task, config=config, market={"name": "reversion_easy"}, test=period)
    monkeypatch.setattr(ControlsAtFees, "_open", lambda self: (policy, known))
    found = job.answer()
    walks, optimum = found["walks"], found["optimum"]
    assert [best["trades"] for best in optimum] == [True, True, False]
    assert optimum[0]["gain"] > optimum[1]["gain"] > optimum[2]["gain"] == 0.0
    assert walks["optimum"][1] == walks["optimum-kept"][1]
    assert walks["optimum"][2]["growth"] == 0.0 > walks["optimum-kept"][2]["growth"]
    assert walks["optimum"][0]["growth"] > walks["optimum"][1]["growth"] > 0.0


def test_what_was_walked_is_not_walked_again(place):
    folder, works, found = place
    files = sorted((folder / "sweeps").rglob("*.json"))
    before = {path: path.stat().st_mtime_ns for path in files}
    assert len(files) == 4
    again = costs(works, folder, SUITE) | {"targets": targets(works, folder, SUITE)}
    expected = found["costs"] | {"targets": found["targets"]}
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(expected))
    assert {path: path.stat().st_mtime_ns for path in files} == before
    job = PolicyAtFees(f"costs/{works[0].cell.name}", folder, "another.pth", FEES_BP)
    assert job.result in files and not job.is_done


def test_an_expert_that_is_made_again_is_walked_again(place, tmp_path):
    job = ControlsAtFees("x", tmp_path, "any.pth", (0.0,), "flat", "expert.pth")
    job.result.parent.mkdir(parents=True)
    asked = []
    for content in (None, "one", "another"):
        if content is not None:
            (tmp_path / "expert.pth").write_text(content)
        assert not job.is_done and job.command() not in asked
        asked.append(job.command())
        job.result.write_text(json.dumps({"command": job.command()}))
        assert job.is_done


def test_a_policy_that_is_not_there_is_told(place, tmp_path):
    job = PolicyAtFees("x", tmp_path, "none.pth", FEES_BP)
    with pytest.raises(SystemExit):
        scores_walks.run(job)
    assert "no checkpoint at" in job.log.read_text() and not job.result.exists()


def test_targets_are_shares_of_the_checkpoint_s_own(place):
    found = place[2]["targets"]
    ((name, row),) = found["rows"].items()
    made, checkpoint = cell_of(place, "dt")
    own = load_policy(place[0] / checkpoint).actor.target_return
    assert name == f"{NAME}/random-300/dt" and found["multiples"] == list(MULTIPLES)
    assert row["targets"] == pytest.approx([multiple * own for multiple in MULTIPLES])
    for way in ("once", "again"):
        assert np.shape(row[way]["growth"]) == (len(MULTIPLES), 1)
    tested = row["again"]["growth"][MULTIPLES.index(1.0)]
    assert tested == pytest.approx([made["test"]["best"]["growth"]], rel=1e-9)


def test_an_episode_of_the_data_s_length_begins_again(place):
    _, checkpoint = cell_of(place, "dt")
    job = PolicyAtTargets("x", place[0], checkpoint, (1.0,))
    assert job.answer()["episode_steps"] == place[2]["targets"]["rows"][
        f"{NAME}/random-300/dt"]["episode_steps"]  # fmt: skip
    assert load_policy(place[0] / checkpoint).actor.target_steps == job.answer()["episode_steps"]


def test_tables(place):
    texts = costs_tables(place[2]["costs"]) | targets_tables(place[2]["targets"])
    cost, target = texts[f"Costs: {NAME}, random"], texts[f"Target returns: {NAME}, random"]
    assert "| 0 bp | 4 bp, as trained | 5 bp | 10 bp | 25 bp | break-even |" in cost
    assert "| *flat* | +0.00 | - | +0.00 | +0.00 | +0.00 | none |" in cost
    known = {NAME: {"controls": {"buy-and-hold": {"growth": 3e-4}}}}
    filled = costs_tables(place[2]["costs"], known)[f"Costs: {NAME}, random"]
    (line,) = [line for line in filled.splitlines() if "buy-and-hold" in line]
    assert line.split(" | ")[2] == "+3.00"
    assert "| il |" in cost and "| dt |" in cost and "*optimum*" not in cost
    assert target.count("\n| ") == 1 + len(MULTIPLES) - 1 and "more give more" in target


@pytest.mark.parametrize("suite", scores_config.SUITES)
def test_suites_sweep_what_they_have(suite):
    made = scores_config.SUITES[suite]
    for name, kind in (*made.swept, *made.asked):
        assert kind in made.kinds_of_tasks[name]
    assert 0 < made.swept_seeds


def test_seeds_without_a_correlation_are_told():
    assert _correlation({"correlation": [1.0, 0.5]}) == "+0.75"
    assert _correlation({"correlation": [1.0, None]}).startswith("+1.00 (without 1 of 2")
    assert _correlation({"correlation": [None, None]}) == "none, growth is the same for all"
