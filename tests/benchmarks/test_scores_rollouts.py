"""Cells and controls of tasks whose step is a whole rollout."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import scores_cell
from benchmarks.scores_behaviours import behaviours
from benchmarks.scores_cell import Cell, Work, on_every_decision
from benchmarks.scores_paths import Paths
from benchmarks.scores_references import open_judged, references
from benchmarks.scores_result import gather
from benchmarks.scores_scale import ends
from benchmarks.scores_walks import PolicyAtFees
from data_tools.collect import collect
from offline_algos.report import CHECKPOINTS, CURVES
from tests.offline_algos import samples

TASK = "one-step"
ENV = {"time_frames": ["1min", "5min"], "window_sizes": [4, 6], "execute_on": "5min",
       "stoploss_levels": [-0.002], "takeprofit_levels": [0.003], "rollout_steps": 4}  # fmt: skip
WORDS = (
    *("--epoch", "1", "--update-per-epoch", "5", "--batch-size", "16", "--logger", "none"),
    *("--context-length", "3", "--embedding-size", "8", "--num-layers", "1", "--num-heads", "1"),
    *("--device", "cpu", "--threads", "1"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a dataset of rollouts, and two seeds of a method on it."""
    folder = tmp_path_factory.mktemp("rollouts")
    samples.frame(2500).to_csv(folder / "market.csv")
    data = data_of(folder)
    data.parent.mkdir(parents=True)
    collect(data, buffer_size=300, task="Trade-OneStep-v0", market=str(folder / "market.csv"),
            policy="random", env=ENV, num_envs=8, progress=False, echo=None)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def controls(place):
    path = place / f"references/{TASK}.json"
    return references(path, data_of(place), "ma-cross", continuous=False)


def data_of(place):
    return place / f"datasets/{TASK}/random-300.hdf5"


def works(place):
    return [Work(Cell(TASK, "random", 300, "dt", seed), "atari_style_dt", WORDS, place)
            for seed in (0, 1)]  # fmt: skip


def test_controls_have_their_equity_at_every_decision(place, controls):
    task = open_judged(data_of(place), continuous=False)
    for name, walks in controls["controls"].items():
        for walk in walks:
            assert len(walk["equity"]) == task.test.steps + 1, name
            assert walk["growth"] == pytest.approx(
                np.log(walk["equity"][-1] / walk["equity"][0]) / task.test.steps
            )
    assert controls["controls"]["random"][0]["steps"] < task.test.steps  # rollouts


def test_the_oracle_wins(controls):
    growth = {name: max(walk["growth"] for walk in walks)
              for name, walks in controls["controls"].items()}  # fmt: skip
    oracle = growth.pop("oracle")
    assert oracle > 0 and oracle > 2 * max(growth.values())


def test_no_path_of_this_machine_is_in_what_results_show(place, controls):
    assert str(place) not in json.dumps(controls)
    assert controls["market"] == controls["source"]["market"]


def test_cells_of_different_rollouts_can_be_compared(place, controls):
    for work in works(place):
        scores_cell.run(work)
        one = json.loads(work.result.read_text())
        with np.load(work.equity) as curves:
            equity = curves["best"]
        assert len(equity) == len(controls["controls"]["flat"][0]["equity"])
        assert one["test"]["best"]["growth"] == pytest.approx(
            np.log(equity[-1] / equity[0]) / (len(equity) - 1)
        )
    found = gather(works(place), {TASK: controls})
    row = found["rows"][f"{TASK}/random-300/dt"]
    assert row["seeds"] == [0, 1] and len(row["growth_interval"]) == 3
    assert str(place) not in json.dumps(found)


def test_fees_and_growth_are_a_decision_s_and_not_a_rollout_s(place, controls):
    work = works(place)[0]
    scores_cell.run(work)
    one = json.loads(work.result.read_text())
    decisions = len(controls["controls"]["flat"][0]["equity"]) - 1
    test = one["test"]["best"]
    assert 0 < test["steps"] < decisions
    row = gather([work], {TASK: controls})["rows"][f"{TASK}/random-300/dt"]
    with np.load(work.equity) as curves:
        mean = np.mean(curves["best"])
    assert row["fees"] == [pytest.approx(test["fees_paid"] / mean / decisions)]
    checkpoint = f"{one['directory']}/{CHECKPOINTS['best']}"
    trained_bp = 1e4 * open_judged(data_of(place), continuous=False).config.transaction_fee
    job = PolicyAtFees("again", place, checkpoint, (trained_bp,))
    assert job.answer()["walks"][0]["growth"] == pytest.approx(test["growth"], rel=1e-12)


def test_the_behaviour_s_growth_is_a_decision_s(place, controls):
    work = works(place)[0]
    scores_cell.run(work)
    decisions = len(controls["controls"]["flat"][0]["equity"]) - 1
    (walked,) = behaviours([work], decisions).values()
    assert walked["bankrupt"] == 0
    assert walked["growth"] == pytest.approx(np.log1p(walked["total_return"]) / decisions)
    (place / json.loads(work.result.read_text())["directory"] / CURVES).unlink()
    assert behaviours([work], decisions) == {}


def test_an_expert_that_is_none_scores_nothing():
    noise = 1e-3 * np.random.default_rng(0).standard_normal(400)
    cases = (  # growth of random and of the expert, random's end, and whether there are scores
        (-3e-4, 5e-4, False, True),
        (-3e-4, -4e-4, False, False),  # worse than random
        (-3e-4, 0.5e-4, False, False),  # better than random, but not clearly than no position
        (4.9e-4, 5e-4, False, False),  # the other way round, as where all prices rise
        (-3e-4, 5e-4, True, True),
        (-3e-4, 0.5e-4, True, False),
    )
    for low, high, ended, scored in cases:
        paths = Paths(400)
        for name, value, turn in (("random", low, 1), ("expert", high, -1)):
            paths.controls[name] = np.expm1(value + turn * (noise - noise.mean()))[None]
        paths.ruined |= {"random"} if ended else set()
        walks = {"random": [{"growth": low}], "expert": [{"growth": high}]}
        found = ends("market-levels", {"controls": walks}, paths)
        assert found == ((low, high, "expert") if scored else None)
        assert not paths.draws  # what other rows draw has no part in it
        walks["optimum"] = [{"growth": 1e-3}]  # who is known to be the best needs no interval
        assert ends("x", {"controls": walks}, paths) == (low, 1e-3, "optimum")
        assert ends("martingale-x", {"controls": walks}, paths) is None


def test_between_rollouts_equity_is_what_it_last_was():
    times = pd.date_range("2020", periods=6, freq="1h")
    curve = pd.Series([1.0, np.nan, 3.0, 2.0, np.nan, np.nan], index=times)
    for index in (times, range(6)):
        assert on_every_decision(curve.set_axis(index)).tolist() == [1.0, 1.0, 3.0, 2.0]
