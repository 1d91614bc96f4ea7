"""The tables over rows of scores say what the rows do, and reach the README in four parts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import report, scores_report, scores_tables
from benchmarks.aggregate import stratified_difference
from benchmarks.deflation import deflate_best
from benchmarks.machine import describe_machine, write_result
from benchmarks.scores_config import EASY
from benchmarks.scores_paths import Paths
from benchmarks.scores_scale import share_of
from benchmarks.scores_selection import selection
from benchmarks.scores_summaries import (
    ablation_table,
    matrix_table,
    selection_table,
    sizes_table,
)

SHOWN = {"total_return": 0.1, "sharpe": 1.0, "max_drawdown": 0.2, "turnover": 5.0, "n_trades": 3.0}


def row(method, score, *, kind="expert", size=100_000, variant="", norm_obs=True, bankrupt=0):
    scores = [score - 2.0, score, score + 2.0]
    interval = [score, score - 2.0, score + 2.0]
    best = {
        "score": scores, "interval": interval, "share": [0.9, 0.8, 1.0], "growth": [1e-4] * 3,
        "bankrupt": bankrupt, **{name: [value] * 3 for name, value in SHOWN.items()},
    }  # fmt: skip
    return {
        "task": EASY, "kind": kind, "size": size, "method": method, "variant": variant,
        "norm_obs": norm_obs, "seeds": [0, 1, 2], "fees": [1e-5] * 3, "seconds": 1.0,
        "best": best, "last": best, "growth_interval": None if bankrupt else [1e-4, 0.0, 2e-4],
    }  # fmt: skip


def walked(score, **more):
    return {
        "score": score, "share": score / 100.0, "growth": 1e-4, "interval": None, "walks": 1,
        "bankrupt": 0, **SHOWN, **more,
    }  # fmt: skip


@pytest.fixture
def result():
    rows = {
        f"{EASY}/expert-100k/il": row("il", 80.0, bankrupt=2),
        f"{EASY}/expert-100k/cql": row("cql", 95.0),
        f"{EASY}/expert-100k/iql": row("iql", 97.0),
        f"{EASY}/expert-100k/iql-raw": row("iql", 50.0, norm_obs=False),
        f"{EASY}/expert-100k/crr": row("crr", 60.0),
        f"{EASY}/expert-100k/crr-cql": row("crr", 65.0, variant="cql"),
        f"{EASY}/expert-10k/il": row("il", 40.0, size=10_000),
    }
    about = {
        "market": "x", "optimum": None, "top": "optimum",
        "test": {"steps": 100, "start": "2020-01-01", "end": "2020-02-01"},
        "controls": {"optimum": walked(100.0), "expert": walked(98.0),
                     "random": walked(0.0, walks=5, bankrupt=5)},
        "behaviours": {"expert-100k": walked(70.0, kind="expert", size=100_000, noise=0.02)},
    }  # fmt: skip
    return {
        "machine": describe_machine(), "rows": rows, "tasks": {EASY: about}, "methods": {},
        "missing": [], "checks": [{"what": "a", "found": "b", "verdict": "FAILS"}],
        "selection": {EASY: {
            "trials": 20, "rows": 7, "bankrupt": 2, "best": f"{EASY}/expert-100k/iql/seed1",
            "sharpe": 3.0, "luck": 1.0, "deflated": None, "overfitting": 0.25, "loss": 0.0,
        }},
    }  # fmt: skip


def test_methods_by_data_with_the_best_in_bold(result):
    text = matrix_table(result, EASY)
    assert text.startswith("| method | expert 10k | expert 100k |\n")
    assert "| il | **40 (38 to 42)** | 80 (78 to 82), 2 bankrupt |" in text
    # the interval of cql overlaps iql's, that of il and crr does not
    assert "| cql | - | **95 (93 to 97)** |" in text
    assert "| iql | - | **97 (95 to 99)** |" in text
    assert "| crr | - | 60 (58 to 62) |" in text
    assert "| *behaviour, as recorded* | - | 70 |" in text
    assert "| *online expert* | 98 | 98 |" in text


def test_bankrupt_rows_say_so(result):
    text = scores_tables.task_table(result, EASY)
    assert "| expert 100k: il, 2 of 3 bankrupt | 80 (78 to 82) | 90% (80% to 100%) |" in text
    assert "| *random*, 5 of 5 bankrupt | 0 | 0% |" in text
    assert "| *data expert 100k*, as recorded, 2% random | 70 | 70% |" in text
    assert "| *optimum*, computed | 100 | 100% |" in text
    assert "-raw" not in text and "| expert 100k: cql | 95" in text


def test_differences_have_intervals(result):
    rows = result["rows"]
    one, other = (
        np.array(rows[f"{EASY}/expert-{name}"]["best"]["score"])[:, None]
        for name in ("100k/iql-raw", "100k/iql")
    )
    found = stratified_difference(one, other)
    shown = f"{found.estimate:+.0f} ({found.low:+.0f} to {found.high:+.0f})"
    assert f"| observations as they are | 50 (48 to 52) | 97 (95 to 99) | {shown} |" in (
        ablation_table(result)
    )
    assert "expert 100k: crr | with CQL's term | 65" in ablation_table(result)
    sizes = sizes_table(result)
    assert sizes.startswith("| dataset: method | 10k | 100k | most less fewest |")
    assert f"| {EASY}, expert: il | 40 (38 to 42) | 80 (78 to 82) | +40 (" in sizes
    assert "cql" not in sizes


def test_selection_is_of_all_cells():
    random = np.random.default_rng(0)
    curves = {f"{EASY}/a/{name}": random.normal(0.0, 0.01, (2, 320)) for name in "xyz"}
    curves[f"{EASY}/a/y"] += 0.004
    rows = {
        name: {"best": {"sharpe": [1.5, 2.5], "bankrupt": 0}, "seeds": [0, 1]} for name in curves
    }

    tried = [type("Work", (), {"cell": type("Cell", (), {"task": EASY})})] * 9
    found = selection(tried, rows, {EASY: Paths(320, curves)})[EASY]
    expected = deflate_best(np.concatenate(list(curves.values())), trials=9, differing=True)
    assert (found["trials"], found["rows"]) == (9, 3)
    assert found["best"].startswith(f"{EASY}/a/y/seed")
    assert found["deflated"] == pytest.approx(expected.probability)
    factor = found["sharpe"] / expected.sharpe
    assert found["luck"] == pytest.approx(expected.expected_maximum * factor)
    # that others are bad makes no luck
    worse = curves | {f"{EASY}/a/z": curves[f"{EASY}/a/z"] - 0.05}
    again = selection(tried, rows, {EASY: Paths(320, worse)})[EASY]
    assert again["luck"] == pytest.approx(found["luck"])
    assert again["deflated"] == pytest.approx(found["deflated"])
    assert found["overfitting"] < 0.1 and found["loss"] < 0.1
    text = selection_table({"selection": {EASY: found}})
    assert f"| {EASY}: a: y: seed" in text and "| 9 |" in text


@pytest.mark.parametrize(("grown", "share"), [(2.0, 0.5), (0.0, None), (-2.0, None)])
def test_of_an_optimum_that_did_not_grow_nothing_is_ashare_of(grown, share):
    assert share_of(1.0, {"controls": {"optimum": [{"growth": grown}]}}) == share
    assert share_of(1.0, {"controls": {}}) is None


def test_the_best_may_be_one_who_never_trades():
    curves = {"t/a/x": np.zeros((2, 64)), "t/a/y": np.full((2, 64), -0.001)}
    rows = {name: {"best": {"sharpe": [0, 0], "bankrupt": 1}, "seeds": [0, 1]} for name in curves}
    tried = [type("Work", (), {"cell": type("Cell", (), {"task": "t"})})] * 4
    found = selection(tried, rows, {"t": Paths(64, curves)})["t"]
    assert found["deflated"] is None and found["luck"] is None and found["bankrupt"] == 2
    assert "| 4 | 0.0 | - | - |" in selection_table({"selection": {"t": found}})


def test_the_readme_has_the_tables_in_four_parts(result, tmp_path):
    write_result("scores-small", result, tmp_path)
    names = [name for name in report.TABLES if name.startswith("scores-small")]
    assert len(names) == 4
    texts = {name: report.made_from(*report.TABLES[name], tmp_path) for name in names}
    assert "**Methods**" in texts["scores-small"] and f"Methods on {EASY}" in texts["scores-small"]
    assert "**FAILS**" in texts["scores-small-checks"] and "trials" in texts["scores-small-checks"]
    assert texts["scores-small-tasks"].startswith(f"**{EASY}**")
    assert (
        "**Ablations**" in texts["scores-small-more"] and "**Sizes**" in texts["scores-small-more"]
    )
    every = scores_tables.scores_tables(result)
    for title in every:
        assert sum(f"**{title}**\n" in text for text in texts.values()) == 1


def test_suites_that_were_not_run_say_how(tmp_path):
    source, make = report.TABLES["scores-small"]
    said = report.made_from(source, make, tmp_path)
    assert said == "Not measured yet: `python -m benchmarks.scores --suite small`."
    write_result("scores-small", {"rows": {}}, tmp_path)
    with pytest.raises(ValueError, match="--suite small again"):
        report.made_from(source, make, tmp_path)


def test_only_the_small_suite_and_the_example_must_be_shown(result, tmp_path):
    shown = {"scores-small", "scores-full", scores_report.EXAMPLE} - scores_report.UNSHOWN
    assert shown == {"scores-small", scores_report.EXAMPLE}
    write_result("scores-full", result, tmp_path)
    others = {name for name in report.TABLES if not name.startswith("scores-")}
    kept = {name: report.TABLES.pop(name) for name in others}
    try:
        marks = "".join(
            f"<!-- table: {name} -->\n<!-- end: {name} -->\n"
            for name in ("scores-full", *(
                f"{source}{part}" for source in scores_report.SHOWN for part in scores_report.PARTS
            ))
        )  # fmt: skip
        text = report.render(marks, tmp_path)
        assert "| iql | - | **97 (95 to 99)** |" in text and "Not measured yet" in text
        with pytest.raises(ValueError, match="no markers '<!-- table: scores-small -->'"):
            report.render("", tmp_path)
    finally:
        report.TABLES.update(kept)


def test_why_methods_have_no_scores():
    result = {"methods": {}, "missing": [], "tasks": {"market-levels": {"top": None}}}
    assert scores_tables.methods_table(result) == "No method has scores here."
    result["tasks"]["x"] = {"top": "optimum"}
    assert "of equally many seeds on every dataset." in scores_tables.methods_table(result)
