"""The scores benchmark on a market of the user's own."""

from __future__ import annotations

import functools
import json

import pytest

from benchmarks import (
    scores,
    scores_config,
    scores_fqe,
    scores_market,
    scores_stages,
    scores_sweeps,
    scores_tables,
)
from benchmarks.machine import RESULTS
from benchmarks.scores_config import TASKS, ScoreTask, Suite
from benchmarks.scores_fqe import fqe
from benchmarks.suite_config import market_tasks, quickened
from benchmarks.suite_run import Maker
from offline_algos.fitted_q import Settings
from tests.benchmarks.in_process import InProcess, run_here
from tests.offline_algos import samples

ENV = ('time_frames=["1min","5min"]', "window_sizes=[4,6]", "execute_on=5min")
TINY = ("--epoch", "1", "--update-per-epoch", "30", "--hidden-sizes", "8", "--logger", "none")
LEVELS, CONTINUOUS = "market-levels", "market-continuous"


@pytest.fixture
def market(tmp_path):
    """Flags that name a market; what they make known is forgotten afterwards."""
    path = tmp_path / "market.csv"
    samples.frame(2500).to_csv(path)
    known = dict(TASKS)
    yield ["--market", str(path), *(word for pair in ENV for word in ("--market-env", pair))]
    TASKS.clear()
    TASKS.update(known)


def run(folder, *flags):
    return scores.main(["--folder", str(folder / "made"), *flags])


def test_both_tasks_of_the_file_take_the_suite_s_place(market, tmp_path, capsys):
    assert run(tmp_path, *market, "--suite", "small", "--dry-run", "--seeds", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if "_style_" in line]
    assert {line.split("datasets/")[1].split("/")[0] for line in commands} == {LEVELS, CONTINUOUS}
    kinds = len(scores_config.SUITES["small"].kinds)
    methods = len(scores_config.DISCRETE) + len(scores_config.CONTINUOUS)
    assert len(commands) == kinds * methods
    assert not (tmp_path / "made").exists()


def test_results_are_the_user_s(market, tmp_path, monkeypatch, capsys):
    quick = lambda *args: tuple(map(quickened, market_tasks(*args)))  # noqa: E731
    monkeypatch.setattr(scores_market, "market_tasks", quick)
    monkeypatch.setattr(ScoreTask, "words", lambda self, method: (*TINY, "--threads", "1"))
    monkeypatch.setattr(scores, "Maker", functools.partial(Maker, launch=InProcess()))
    for module in (scores, scores_sweeps, scores_fqe):
        monkeypatch.setattr(module, "run_jobs", run_here)
    short = Settings(gamma=0.5, updates=20, batch_size=16, hidden_sizes=(8,), fits=2)
    monkeypatch.setattr(scores_stages, "fqe", functools.partial(fqe, settings=short))
    suite = Suite(("martingale-levels",), ("random",), (300,), 1, methods=("il",))
    monkeypatch.setitem(scores_config.SUITES, "quick", suite)
    before = {path.name: path.read_bytes() for path in RESULTS.iterdir()}
    assert run(tmp_path, *market, "--tasks", LEVELS, "--jobs", "2") == 0
    path = tmp_path / "made" / "scores-quick-market.json"
    assert str(path) in capsys.readouterr().out
    found = json.loads(path.read_text())
    assert set(found["tasks"]) == {LEVELS} and set(found["rows"]) == {f"{LEVELS}/random-300/il"}
    assert set(found["fqe"]["datasets"]) == {f"{LEVELS}/random-300"} and not found["missing"]
    assert found["tasks"][LEVELS]["market"] == found["own_market"]["content_hash"]
    assert found["own_market"]["environment"]["window_sizes"] == [4, 6]
    assert str(tmp_path) not in path.read_text()
    assert {path.name: path.read_bytes() for path in RESULTS.iterdir()} == before
    # who reads the result need not have the bars
    monkeypatch.delitem(scores_config.TASKS, LEVELS)
    assert (
        f"{LEVELS}, data"
        in scores_tables.scores_tables(found)[f"Fitted Q evaluation: {LEVELS}/random-300"]
    )
    # the folder is this market's from now on
    samples.frame(2600).to_csv(tmp_path / "market.csv")
    assert run(tmp_path, *market) == 2
    assert "another --market" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--market", "none.csv"], "none.csv does not exist"),
        (["--market-env", "leverage=2"], "--market-env is for the bars of --market"),
        (["--tasks", LEVELS], f"--tasks {LEVELS}: --suite quick has reversion-easy-levels"),
        (["--market", "synthetic:martingale", "--market-env", "window_sizes"], "window_sizes"),
    ],
)
def test_what_does_not_fit_is_one_line(flags, message, tmp_path, capsys):
    assert run(tmp_path, *flags) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("error: ") == 1
    assert not (tmp_path / "made").exists()
