"""The pictures of scores show the result's numbers, and a result is enough to draw them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from benchmarks import report, scores_figures
from benchmarks import scores_curve_figures as curve_figures
from benchmarks.machine import write_result
from benchmarks.plots import same_picture
from benchmarks.scores_config import EASY, MARTINGALE
from benchmarks.scores_curves import POINTS, middle, places, thin
from benchmarks.scores_figures import README_PICTURES, costs, pictures
from tests.benchmarks.scores_samples import FEES

GROUP = f"{EASY}/expert-10k/cql"


@pytest.fixture
def result(whole):
    return json.loads(json.dumps(whole))


def texts_of(svg):
    return set(re.findall(r">([^<>]+)</text>", svg))


# --- thin curves ------------------------------------------------------------------------------


def test_a_thin_curve_keeps_its_ends_and_its_deepest_fall():
    random = np.random.default_rng(0)
    equity = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, 5001)))
    found = thin(equity)
    assert found["steps"] == 5000 and len(found["log_equity"]) == POINTS
    assert len(found["drawdown"]) == POINTS
    assert found["log_equity"][0] == 0.0
    assert found["log_equity"][-1] == pytest.approx(np.log(equity[-1] / equity[0]), abs=1e-4)
    deepest = np.max(1.0 - equity / np.maximum.accumulate(equity))
    assert max(found["drawdown"]) == pytest.approx(deepest, abs=1e-4)


def test_a_short_curve_is_whole():
    found = thin([100.0, 50.0, 200.0])
    assert places(2, 3).tolist() == [0, 1, 2]
    assert found["log_equity"] == pytest.approx(np.log([1.0, 0.5, 2.0]), abs=1e-4)
    assert found["drawdown"] == [0.0, 0.5, 0.0]


def test_an_account_of_less_than_nothing_can_be_drawn():
    found = thin([100.0, -5.0])
    assert found["log_equity"][-1] == pytest.approx(np.log(1e-6), abs=1e-4)
    assert found["drawdown"][-1] == pytest.approx(1.05)
    assert thin([100.0])["log_equity"] == [0.0]


def test_the_median_of_an_even_number_is_the_worse_of_two():
    assert middle([3.0, 1.0, 2.0]) == 2
    assert middle([4.0, 1.0, 2.0, 3.0]) == 2
    assert middle([5.0]) == 0


# --- data -------------------------------------------------------------------------------------


def test_intervals_are_the_results(result):
    panels = {panel["title"]: panel for panel in pictures(result)["intervals"].data["panels"]}
    panel = panels[f"{EASY}, expert 10k"]
    found = {entry["method"]: entry for entry in panel["entries"]}
    assert set(found) == {"il", "cql", "iql"} and panel["unit"] == "score"
    best = result["rows"][GROUP]["best"]
    assert found["cql"]["interval"] == best["interval"] and found["cql"]["seeds"] == best["score"]
    middles = [entry["interval"][0] for entry in panel["entries"]]
    assert middles == sorted(middles, reverse=True)
    controls = result["tasks"][EASY]["controls"]
    assert panel["marks"] == {
        "optimum": 100.0, "random": 0.0, "expert": controls["expert"]["score"]
    }  # fmt: skip


def test_a_fair_game_shows_growth(result):
    panels = {panel["title"]: panel for panel in pictures(result)["intervals"].data["panels"]}
    panel = panels[f"{MARTINGALE}, medium 10k"]
    assert panel["unit"] == "growth, bp a decision" and panel["marks"]["flat"] == 0.0
    row = result["rows"][f"{MARTINGALE}/medium-10k/il"]
    (entry,) = [entry for entry in panel["entries"] if entry["method"] == "il"]
    assert entry["interval"] == pytest.approx([1e4 * x for x in row["growth_interval"]])
    assert entry["seeds"] == pytest.approx([1e4 * x for x in row["best"]["growth"]])


def test_without_an_interval_the_estimate_stands_alone(result):
    row = result["rows"][f"{MARTINGALE}/medium-10k/il"]
    row["growth_interval"] = None
    picture = pictures(result)["intervals"]
    (entry,) = [
        entry for panel in picture.data["panels"] for entry in panel["entries"]
        if panel["title"] == f"{MARTINGALE}, medium 10k" and entry["method"] == "il"
    ]  # fmt: skip
    assert entry["interval"][0] == pytest.approx(1e4 * np.mean(row["best"]["growth"]))
    assert entry["interval"][1:] == [None, None]
    assert "</svg>" in picture.svg()


def test_profiles_count_the_results_scores(result):
    data = pictures(result)["profiles"].data
    runs = [result["rows"][f"{EASY}/{kind}-10k/cql"]["best"]["score"] for kind in QUALITIES]
    for number in (0, 50, 90):
        expected = np.mean(np.concatenate(runs) > data["thresholds"][number])
        assert data["lines"]["cql"]["estimate"][number] == pytest.approx(expected, abs=1e-4)
    means = result["methods"]["interquartile_mean"]
    assert {e["method"]: e["interval"] for e in data["over_all"]["entries"]} == means


QUALITIES = ("medium", "expert")


def test_equity_is_that_of_the_median_seed(result):
    data = scores_figures.equity(result, EASY).data
    panel = data["panels"][1]
    assert panel["title"] == f"{EASY}, expert 10k" and "optimum" in panel["controls"]
    curve, row = panel["lines"]["cql"], result["rows"][GROUP]
    median = float(np.median(row["best"]["growth"]))
    assert curve["log_equity"][-1] / curve["steps"] == pytest.approx(median, abs=1e-6)
    assert row["best"]["growth"][row["seeds"].index(curve["seed"])] == pytest.approx(median)
    end = result["tasks"][EASY]["controls"]["expert"]["growth"]
    drawn = panel["controls"]["expert"]
    assert drawn["log_equity"][-1] / drawn["steps"] == pytest.approx(end, abs=1e-6)


def test_learning_curves_are_means_over_seeds(result):
    line = pictures(result)["learning-0"].data["panels"][1]["lines"]["cql"]
    curves = np.array(result["rows"][GROUP]["validation_returns"])
    assert line["mean"] == pytest.approx(curves.mean(axis=0))
    assert line["low"] == pytest.approx(curves.min(axis=0))
    assert line["high"] == pytest.approx(curves.max(axis=0))


def test_costs_are_the_sweeps(result):
    data = pictures(result)["costs-0"].data
    assert data["fees"] == FEES
    line = data["panels"][1]["lines"]["cql"]
    swept = result["costs"]["rows"][GROUP]["growth"]
    assert line["mean"] == pytest.approx([1e4 * np.mean(values) for values in swept])
    optimum = data["panels"][1]["controls"]["optimum"]
    assert optimum == pytest.approx([1e4 * x for x in result["costs"]["controls"][EASY]["optimum"]])


def test_costs_of_all_tasks_are_of_every_dataset_that_was_swept(result):
    drawn = [made for task in (EASY, MARTINGALE) if (made := costs(result, task)) is not None]
    of_tasks = [panel["title"] for picture in drawn for panel in picture.data["panels"]]
    together = [panel["title"] for panel in costs(result).data["panels"]]
    assert sorted(together) == sorted(of_tasks) and len(together) > 1


def test_a_picture_of_every_task_shows_its_largest_dataset(result):
    assert curve_figures.one_case_each(result) == [
        (EASY, "medium", 10_000), (MARTINGALE, "medium", 10_000)
    ]  # fmt: skip
    assert curve_figures.one_case_each(result, "expert")[0] == (EASY, "expert", 10_000)
    assert len(curve_figures.one_case_each(result, "none")) == 2


# --- pictures ---------------------------------------------------------------------------------


def test_what_was_not_run_has_no_picture(result):
    del result["costs"], result["curves"]
    result["methods"] = {}
    found = pictures(result)
    assert set(found) == {"intervals", "learning-0", "learning-1"}
    drawn = [name for name, draw in README_PICTURES.items() if draw(result) is not None]
    assert drawn == ["scores-small-intervals.svg"]


def test_every_picture_names_what_it_shows(result):
    for name, picture in pictures(result).items():
        json.dumps(picture.data, allow_nan=False)
        if name.endswith("-1"):
            continue  # drawn as those of the first task
        found = texts_of(picture.svg())
        assert {"cql", "il", "iql"} <= found, name
        if name == "equity-0":
            assert {"optimum", "buy-and-hold", "oracle"} <= found


def test_the_same_numbers_give_the_same_picture(result):
    one, other = (pictures(result)["learning-0"] for _ in range(2))
    assert one.svg() == other.svg()
    result["rows"][GROUP]["validation_returns"][0][1] += 1.0
    assert not same_picture(one.svg(), pictures(result)["learning-0"].svg())


def test_names_are_no_formulas(result):
    hostile = r"$\frac{x}$ <b> & _y"
    text = json.dumps(result).replace(f"{MARTINGALE}", json.dumps(hostile)[1:-1])
    svg = pictures(json.loads(text))["intervals"].svg()
    assert r"$\frac{x}$ &lt;b&gt; &amp; _y, medium 10k" in texts_of(svg)


def test_the_readmes_pictures_follow_the_result(result, tmp_path):
    assert not [path for path in drawn_in(tmp_path) if path.name.startswith("scores")]
    write_result("scores-small", result, tmp_path)
    made = drawn_in(tmp_path)
    assert {path.name for path in made} == set(SOME)
    report.write(made)
    assert report.check(made) == 0
    result["rows"][f"{EASY}/medium-10k/cql"]["best"]["interval"][0] += 1.0
    write_result("scores-small", result, tmp_path)
    assert report.check(drawn_in(tmp_path)) == 1


SOME = ["scores-small-intervals.svg", "scores-small-costs.svg"]


def drawn_in(folder):
    return report.drawn(folder, SOME)
