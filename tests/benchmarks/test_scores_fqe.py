"""Fitted Q evaluation of the scores benchmark, on a market file and policies of some updates."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from benchmarks import scores_cell, scores_config
from benchmarks.scores_cell import Cell, Work
from benchmarks.scores_config import ScoreTask
from benchmarks.scores_fqe import correlations, evaluate, fqe
from benchmarks.scores_fqe_policies import label_of, policies_of, role_of
from benchmarks.scores_fqe_tables import fqe_tables
from benchmarks.suite_config import market_tasks
from data_tools.collect import collect
from offline_algos.fitted_q import Settings
from tests.offline_algos import samples

NAME, SIZE = "market-levels", 300
ENV = {"time_frames": ["1min", "5min"], "window_sizes": [4, 6], "execute_on": "5min"}
TINY = ("--epoch", "1", "--update-per-epoch", "10", "--batch-size", "16", "--logger", "none")
DT = ("--context-length", "3", "--num-layers", "1", "--embedding-size", "8")
SETTINGS = Settings(gamma=0.5, updates=20, batch_size=16, hidden_sizes=(8,), fits=2)
CONTROLS = {NAME: {"controls": {"expert": [{"growth": 0.25}]}}}
JUDGED = [(NAME, "random")]


@pytest.fixture(scope="module")
def works(tmp_path_factory):
    """Cells that were run, one that was not, and an expert."""
    folder = tmp_path_factory.mktemp("fqe")
    market = folder / "market.csv"
    samples.frame(2_500).to_csv(market)
    data = folder / "datasets" / NAME
    data.mkdir(parents=True)
    for seed, kind in enumerate(("random", "medium")):
        collect(data / f"{kind}-{SIZE}.hdf5", buffer_size=SIZE, market=str(market), env=ENV,
                episode_steps=30, seed=seed, progress=False, echo=None)  # fmt: skip
    cells = [
        Cell(NAME, "random", SIZE, "il", 0),
        Cell(NAME, "random", SIZE, "il", 1),
        Cell(NAME, "random", SIZE, "dt", 0),
        Cell(NAME, "random", SIZE, "il", 0, norm_obs=False),
        Cell(NAME, "medium", SIZE, "il", 0),
    ]
    made = []
    for cell in cells:
        words = (*TINY, *(DT if cell.method == "dt" else ("--hidden-sizes", "8")))
        words += () if cell.norm_obs else ("--norm-obs", "0")
        work = Work(cell, f"atari_style_{cell.method}", words, folder)
        scores_cell.run(work)
        made.append(work)
    policy = next((folder / "runs" / cells[0].name).rglob("policy.pth"))
    shutil.copyfile(policy, data / "expert.pth")
    return [*made, Work(Cell(NAME, "random", SIZE, "il", 2), "atari_style_il", TINY, folder)]


@pytest.fixture(scope="module")
def judged(works):
    """The policies, evaluated in this process."""
    found, left_out = policies_of(works, CONTROLS[NAME]["controls"], *JUDGED[0], SETTINGS)
    for job in found:
        evaluate(job)
    return found, left_out


@pytest.fixture(scope="module")
def result(works, judged):
    return fqe(works, CONTROLS, JUDGED, settings=SETTINGS, say=pytest.fail)


def test_policies_of_the_data_and_those_that_spread_the_range_are_judged(judged):
    found, left_out = judged
    assert [(job.label, job.role, job.seed) for job in found] == [
        ("il", "plain", 0), ("il", "plain", 1), ("il raw", "raw", 0),
        ("il of medium", "other data", 0), ("expert", "online", 0),
    ]  # fmt: skip
    assert {job.dataset for job in found} == {f"datasets/{NAME}/random-{SIZE}.hdf5"}
    assert len({job.name for job in found}) == len(found)
    assert set(left_out) == {"dt"} and "remembers" in left_out["dt"]


def test_estimates_stand_beside_their_truths(works, result):
    made = result["datasets"][f"{NAME}/random-{SIZE}"]
    rows = {row["label"]: row for row in made["rows"]}
    assert rows["il"]["seeds"] == [0, 1] and rows["expert"]["growth"] == [0.25]
    grown = [json.loads(work.result.read_text())["test"]["best"]["growth"] for work in works[:2]]
    assert rows["il"]["growth"] == grown
    # the expert is a copy of the first policy
    for key in ("estimate", "discounted", "loss"):
        assert rows["expert"][key][0] == rows["il"][key][0]
    apart = [e - d for row in rows.values()
             for e, d in zip(row["estimate"], row["discounted"], strict=True)]  # fmt: skip
    assert made["calibration"]["mean"] == pytest.approx(np.mean(apart))
    assert abs(made["calibration"]["largest"]) == pytest.approx(np.abs(apart).max())
    assert result["settings"]["gamma"] == 0.5 and result["missing"] == []
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_only_what_is_missing_is_evaluated_again_and_gives_the_same(works, judged, result):
    lost, kept = judged[0][1].result, judged[0][0].result
    before, content = kept.stat().st_mtime_ns, lost.read_text()
    lost.unlink()
    said = []
    again = fqe(works, CONTROLS, JUDGED, settings=SETTINGS, say=lambda *words: said.append(words))
    assert said == [(judged[0][1].name, "done")] and kept.stat().st_mtime_ns == before
    assert again == result and lost.read_text() == content


def test_another_discount_is_another_question(works, judged):
    found, _ = policies_of(works, {}, *JUDGED[0], Settings(gamma=0.6))
    assert found[0].result == judged[0][0].result
    assert found[0].command() != judged[0][0].command()


def test_one_that_fails_is_told_and_the_others_are_kept(works, judged, result):
    broken, content = judged[0][2], judged[0][2].result.read_text()
    broken.result.unlink()
    data = broken.place / broken.dataset
    away = data.rename(data.with_suffix(".away"))
    try:
        made = fqe(works, CONTROLS, JUDGED, settings=SETTINGS)
    finally:
        away.rename(data)
        broken.result.write_text(content)
    assert made["missing"] == [f"fqe/{broken.name}"]
    labels = [row["label"] for row in made["datasets"][f"{NAME}/random-{SIZE}"]["rows"]]
    assert labels == ["il", "il of medium", "expert"]
    assert str(data) in broken.log.read_text()


@pytest.mark.parametrize("content", [None, b"no checkpoint"])
def test_a_policy_that_cannot_be_read_has_failed_and_is_not_left_out(
    content, works, judged, result, named
):
    """FQE is for such policies, unlike for those that are left out."""
    broken = judged[0][1]
    path = broken.place / broken.checkpoint
    before = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    said = []
    try:
        made = fqe(works, CONTROLS, JUDGED, settings=SETTINGS, say=lambda *w: said.append(w))
    finally:
        path.write_bytes(before)
    assert made["missing"] == [f"fqe/{broken.name}"]
    assert said == [(broken.name, "FAILED: exit code 1")]
    assert "checkpoint" in broken.log.read_text()
    own = made["datasets"][f"{NAME}/random-{SIZE}"]
    assert set(own["left_out"]) == {"dt"} and own["missing"] == [broken.name]
    rows = {row["label"]: row["seeds"] for row in own["rows"]}
    assert rows["il"] == [0] and set(rows) == {"il", "il raw", "il of medium", "expert"}
    (text,) = fqe_tables(made).values()
    assert "Failed, and missing here: il/seed1." in text and "il is left out" not in text
    # once it is there again, so is what was found of it
    assert fqe(works, CONTROLS, JUDGED, settings=SETTINGS, say=pytest.fail) == result


def test_what_has_no_cell_is_left_out(works):
    assert fqe(works, CONTROLS, [(NAME, "expert"), ("elsewhere", "random")])["datasets"] == {}
    assert policies_of(works, {}, NAME, "expert") == ([], {})


@pytest.fixture
def named(monkeypatch):
    """The market among the benchmark's tasks, as tables need it."""
    task = ScoreTask(market_tasks("market.csv", ())[0], ("il", "dt"))
    monkeypatch.setitem(scores_config.TASKS, NAME, task)


def test_tables_say_what_stands_beside_what(result, named):
    ((title, text),) = fqe_tables(result).items()
    assert title == f"Fitted Q evaluation: {NAME}/random-{SIZE}"
    rows = ("| *expert* | 1 |", "| il | 2 |", "| il of medium | 1 |", "| 5 in 2 groups |")
    for words in (*rows, "dt is left out: a", "discount 0.5", "2 fits of 20 steps", "| 2500.0 |"):
        assert words in text
    assert "missing" not in text


def row(label, role, estimate, discounted, growth):
    numbers = {"estimate": estimate, "discounted": discounted, "growth": growth}
    return {"label": label, "role": role, "cluster": label, "seeds": [0] * len(estimate)} | numbers


def test_correlations_are_of_means_and_of_all():
    rows = [row(str(k), "plain", [k, k + 1.5], [k, k], [-k, -k]) for k in range(5)]
    methods, policies = correlations(rows)
    assert (methods["points"], methods["count"]) == ("methods", 5)
    assert methods["discounted"] == {"interval": [1.0, 1.0, 1.0], "chance": 1 / 120}
    assert methods["growth"]["interval"][0] == methods["ceiling"]["interval"][0] == -1.0
    assert (policies["points"], policies["count"], policies["clusters"]) == ("policies", 10, 5)
    assert policies["growth"]["chance"] is None and -1 < policies["growth"]["interval"][0] < 0
    expert = row("expert", "online", [9.0], [9.0], [9.0])
    wider = correlations([*rows, expert])[1]
    assert (wider["points"], wider["count"]) == ("methods and online", 6)
    assert wider["growth"]["interval"][0] > -1.0


def test_what_cannot_be_ranked_has_no_correlation():
    assert correlations([row("il", "plain", [1.0], [1.0], [1.0])]) == []
    alike = [row(name, "plain", [1.0], [1.0], [2.0]) for name in "abc"]
    assert correlations(alike)[0]["growth"] == {"interval": [None] * 3, "chance": None}


def test_roles_and_labels():
    cell = Cell(NAME, "medium", SIZE, "crr", 0, variant="cql")
    assert (role_of(cell, "medium"), label_of(cell, "medium")) == ("variant", "crr cql")
    assert role_of(cell, "expert") == ""
    plain = Cell(NAME, "random", SIZE, "bcq", 0)
    assert (role_of(plain, "medium"), label_of(plain, "medium")) == (
        "other data", "bcq of random",
    )  # fmt: skip
