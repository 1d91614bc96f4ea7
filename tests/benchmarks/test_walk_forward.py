"""Walk-forward evaluation from a market to tables, on a tiny market with budgets of seconds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import scores_walk_forward, walk_forward
from benchmarks.folds import FoldError
from benchmarks.scores import works_of
from benchmarks.scores_cell import Cell
from benchmarks.scores_config import EASY, SUITES
from benchmarks.walk_forward_result import (
    _add_scores,
    chained,
    fold_returns,
    growth_until_bankrupt,
    thickened,
)
from data_tools.flat_layout import read_provenance
from tests.offline_algos import samples

TINY = "--epoch 1 --update-per-epoch 20 --hidden-sizes 8"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a market and a finished run of two folds."""
    folder = tmp_path_factory.mktemp("walk")
    samples.frame(3000).to_csv(folder / "market.csv")
    assert run(folder, "--jobs", "2") == 0
    return folder


def run(folder, *flags):
    words = ["--market", str(folder / "market.csv"), "--folder", str(folder / "made")]
    for pair in ('time_frames=["1min","5min"]', "window_sizes=[4,6]", "execute_on=5min"):
        words += ["--env", pair]
    words += ["--buffer-size", "600", "--episode-steps", "50", "--flags", TINY]
    return walk_forward.main([*words, "--methods", "il", "--folds", "2", *flags])


def result_of(place):
    return json.loads((place / "made" / "walk_forward.json").read_text())


def test_each_fold_is_trained_on_what_lies_before(place):
    result = result_of(place)
    sizes = []
    for fold in result["folds"]:
        path = place / "made" / "datasets" / f"fold-{fold['number']}" / "expanding-600.hdf5"
        about = read_provenance(path)
        assert about["span"]["end"] == fold["train"][1] < fold["validation"]["start"]
        sizes.append(about["buffer_size"])
    assert 0 < sizes[0] < sizes[1] < 600
    assert result["methods"]["il"]["rows"] == sizes


def test_cells_were_tested_on_the_folds(place):
    result = result_of(place)
    for fold in result["folds"]:
        for seed in (0, 1):
            name = f"fold-{fold['number']}/expanding-600/il/seed{seed}"
            cell = json.loads((place / "made" / "cells" / f"{name}.json").read_text())
            assert cell["evaluation"]["validation"] == fold["validation"]
            assert cell["evaluation"]["test"] == fold["test"]


def test_the_account_goes_through_all_folds(place):
    result = result_of(place)
    row, hold = result["methods"]["il"]["best"], result["controls"]["buy-and-hold"]
    assert result["decisions"] == sum(fold["test"]["steps"] for fold in result["folds"])
    assert row["equity"][0] == 1.0 and len(row["equity"]) <= 200
    weights = [fold["test"]["steps"] / result["decisions"] for fold in result["folds"]]
    assert hold["growth"][0] == pytest.approx(np.dot(weights, np.ravel(hold["folds"])))
    assert np.log(hold["equity"][-1]) == pytest.approx(
        hold["growth"][0] * result["decisions"], rel=1e-3, abs=1e-5
    )
    assert result["controls"]["flat"]["growth"] == [0.0]
    assert len(result["controls"]["random"]["growth"]) == 5
    if not row["bankrupt"]:
        estimate, low, high = row["growth_interval"]
        assert low <= estimate <= high and estimate == pytest.approx(np.mean(row["growth"]))


def test_what_is_finished_is_not_run_again(place, capsys):
    before = result_of(place)
    lost = place / "made" / "cells" / "fold-2" / "expanding-600" / "il" / "seed1.json"
    lost.unlink()
    capsys.readouterr()
    assert run(place) == 0
    assert "4 trainings, 3 of them done" in capsys.readouterr().err
    after = result_of(place)
    for found in (before, after):
        del found["machine"]
    assert before == after


def test_tables_have_every_policy_and_fold(place, capsys):
    text = (place / "made" / "walk_forward.md").read_text()
    for word in ("| il", "*buy-and-hold*", "*oracle*", "fold 2", "final equity", "begins flat"):
        assert word in text


def test_a_folder_holds_the_folds_of_one_question(place, capsys):
    assert run(place, "--folds", "3") == 2
    assert "holds folds of another dataset, or cut otherwise" in capsys.readouterr().err
    before = (place / "made" / "collected.hdf5").read_bytes()
    assert run(place, "--policy", "ma-cross") == 2
    assert "was collected otherwise" in capsys.readouterr().err
    assert (place / "made" / "collected.hdf5").read_bytes() == before


def test_a_dry_run_trains_nothing(place, tmp_path, capsys):
    data = place / "made" / "collected.hdf5"
    words = ["--load-buffer-name", str(data), "--folder", str(tmp_path / "none"), "--dry-run"]
    assert walk_forward.main([*words, "--rolling", "10h", "--folds", "3", "--seeds", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("atari_style_") == 9 and "9 trainings" in out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (("--folds", "300"), "fewer --folds"),
        (("--methods", "td3_bc"), "--methods td3_bc: expected some of"),
        (("--seeds", "0"), "--seeds 0"),
        (("--market", "x.csv"), "either --load-buffer-name or --market"),
    ],
)
def test_what_cannot_be_done_is_refused_before_training(place, tmp_path, capsys, flags, wrong):
    data = str(place / "made" / "collected.hdf5")
    words = ["--load-buffer-name", data, "--folder", str(tmp_path / "none")]
    assert walk_forward.main([*words, *flags]) == 2
    assert wrong in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_data_that_end_too_early_are_refused(place, tmp_path, capsys):
    early = place / "made" / "datasets" / "fold-1" / "expanding-600.hdf5"
    words = ["--load-buffer-name", str(early), "--folder", str(tmp_path / "none")]
    assert walk_forward.main([*words, "--folds", "2"]) == 2
    assert "--train-fraction 1" in capsys.readouterr().err


def test_returns_are_chained_and_bankruptcies_stay_what_they_are():
    assert fold_returns([100.0, 110.0], 3) == pytest.approx([0.1, 0.0, 0.0])
    assert fold_returns([100.0, -5.0], 1) == pytest.approx([1e-6 - 1.0])
    walks = [[{"equity": [10.0, 20.0]}], [{"equity": [10.0, 5.0, 10.0]}]]
    assert chained(walks, [1, 2]) == pytest.approx(np.array([[1.0, -0.5, 1.0]]))
    folds = [{"equity": [1.0, 2.0], "growth": 0.4}, {"equity": [1.0, 2.0, 3.0], "growth": 0.1}]
    assert growth_until_bankrupt(folds) == pytest.approx(0.2)


def test_long_paths_are_thickened_without_a_change_of_growth():
    paths = np.random.default_rng(0).normal(0.0, 0.01, (2, 45_001))
    few, share = thickened(paths)
    assert few.shape[1] <= 20_000
    assert np.log1p(few).mean(axis=1) / share == pytest.approx(np.log1p(paths).mean(axis=1))


def test_there_is_no_score_where_the_optimum_is_not_above_the_random_policy():
    made = {"controls": {"random": {"growth": [1.0]}, "optimum": {"growth": [3.0]}}, "methods": {}}
    _add_scores(made)
    assert [row["score"] for row in made["controls"].values()] == [0.0, 100.0]
    made = {"controls": {"random": {"growth": [1.0]}, "optimum": {"growth": [1.0]}}, "methods": {}}
    _add_scores(made)
    assert made["controls"]["random"] == {"growth": [1.0]}


def test_a_market_too_short_for_the_folds_is_told_before_anything_is_trained(tmp_path):
    works = works_of([Cell(EASY, "medium", 400, "il", 0)], tmp_path)
    with pytest.raises(FoldError, match="fewer --folds"):
        scores_walk_forward.check_folds(works, tmp_path, ((EASY, "random"), 9_000))
    assert not (tmp_path / "cells").exists()
    scores_walk_forward.check_folds(works, tmp_path, ((EASY, "random"), 2))
    with pytest.raises(FoldError, match="cut otherwise"):
        scores_walk_forward.check_folds(works, tmp_path, ((EASY, "random"), 3))
    other = works_of([Cell("martingale-levels", "medium", 400, "il", 0)], tmp_path)
    scores_walk_forward.check_folds(other, tmp_path, ((EASY, "random"), 9_000))


def test_the_scores_benchmark_asks_for_its_folds(tmp_path):
    full, quick = SUITES["full"], SUITES["quick"]
    assert scores_walk_forward.folds_of(full, None) == ((EASY, "random"), 4)
    assert scores_walk_forward.folds_of(full, 0) is None
    assert scores_walk_forward.folds_of(quick, None) is None
    folds = scores_walk_forward.folds_of(quick, 3)
    cells = [
        Cell(EASY, "medium", 1000, method, seed) for method in ("il", "cql") for seed in (0, 1)
    ]
    words = scores_walk_forward.words_of(cells, folds, tmp_path)
    asked = walk_forward.parser_().parse_args(words)
    assert (asked.folds, asked.seeds, asked.buffer_size) == (3, 2, 1000)
    assert asked.methods == ["il", "cql"] and asked.market == "synthetic:reversion_easy"
    assert scores_walk_forward.words_of([Cell("x", "medium", 1, "il", 0)], folds, tmp_path) is None
