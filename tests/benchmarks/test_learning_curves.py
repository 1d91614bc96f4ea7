"""`benchmarks.plots curves`: what is read of runs, their means, and the picture."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from tianshou.utils import TensorboardLogger
from torch.utils.tensorboard import SummaryWriter

from benchmarks import plots
from benchmarks.learning_curves import Run, find_runs, over_seeds
from data_tools.collect import collect
from data_tools.rollouts import record
from offline_algos.loggers import PROGRESS
from tests.offline_algos import samples, scripts


def write_events(directory, returns, *, first=0, updates=50, collected=0):
    """Events as Tianshou's offline trainer leaves them: validations at sampled transitions."""
    writer = SummaryWriter(str(directory))
    logger = TensorboardLogger(writer)
    for epoch, value in enumerate(returns, first):
        logger.write("test/env_step", epoch * 3200, {"returns_stat/mean": value})
        if epoch:
            counters = {"update_step": epoch * updates, "train_step": epoch * collected}
            logger.write("info/epoch", epoch, counters)
    writer.close()


def write_progress(directory, returns, steps=50):
    directory.mkdir(parents=True)
    rows = [f"{epoch},{epoch * steps},{value},," for epoch, value in enumerate(returns)]
    header = "epoch,step,validation_return,updates_per_second,seconds"
    (directory / PROGRESS).write_text("\n".join([header, *rows]) + "\n")


def write_result(directory, **more):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "result.json").write_text(json.dumps(more))


def test_runs_of_every_logger_are_read(tmp_path):
    write_events(tmp_path / "ALE/Pong-v5/cql/seed3-20260101-000000", [1.0, 2.0, 4.0])
    write_progress(tmp_path / "Pendulum-v1/il/seed0-20260101-000000", [-3.0, -2.0])
    write_result(
        tmp_path / "CartPole-v1/dt/seed1-20260101-000000", task="CartPole-v1", method="dt",
        validation_returns=[9.0, 8.0, 7.0], updates=80, behavior_return=66.0, evaluation={},
    )  # fmt: skip
    runs = {run.method: run for run in find_runs(tmp_path)}
    assert runs["cql"].task == "ALE/Pong-v5" and runs["cql"].seed == 3
    assert runs["cql"].points == [(0.0, 1.0), (50.0, 2.0), (100.0, 4.0)]
    assert runs["il"].points == [(0.0, -3.0), (50.0, -2.0)] and not runs["il"].online
    assert runs["dt"].points == [(0.0, 9.0), (40.0, 8.0), (80.0, 7.0)]
    assert (runs["dt"].behaviour, runs["il"].behaviour) == (66.0, None)
    (below,) = find_runs(tmp_path / "Pendulum-v1" / "il")
    assert (below.task, below.method) == ("Pendulum-v1", "il")


def test_a_resumed_run_s_events_count_once(tmp_path):
    directory = tmp_path / "Task-v0/cql/seed0-1"
    write_events(directory, [1.0, 2.0, 3.0])
    resumed = tmp_path / "later"
    write_events(resumed, [1.5, 0.0, 5.0, 6.0])
    (events,) = resumed.iterdir()
    events.rename(directory / (events.name + ".1"))
    (run,) = find_runs(tmp_path)
    assert run.points == [(0.0, 1.5), (50.0, 0.0), (100.0, 5.0), (150.0, 6.0)]


def test_online_runs_count_environment_steps(tmp_path):
    write_events(tmp_path / "Task-v0/sac/seed0-1", [1.0, 2.0], collected=3200)
    (run,) = find_runs(tmp_path)
    assert run.online and run.points == [(0.0, 1.0), (3200.0, 2.0)]


def test_the_data_s_episodes_are_no_reference_on_a_market(tmp_path):
    write_result(
        tmp_path / "Trade-Sequential-v0/il/seed0-1", validation_returns=[0.0, 0.1], updates=5,
        behavior_return=-0.2, evaluation={"market": {}},
    )  # fmt: skip
    (run,) = find_runs(tmp_path)
    assert run.behaviour is None and run.task == "Trade-Sequential-v0"


def test_discrete_and_continuous_runs_of_a_method_are_two(tmp_path):
    """Of one seed, in one folder, finished and not."""
    market, data = tmp_path / "market.csv", tmp_path / "data.hdf5"
    samples.frame().to_csv(market)
    for name, kind in (("atari_style_il", "discrete"), ("d4rl_style_il", "continuous")):
        collect(
            data, buffer_size=64, market=str(market), num_envs=2, episode_steps=50,
            env=samples.SMALL | {"action_type": kind}, overwrite=True, progress=False, echo=None,
        )  # fmt: skip
        assert scripts.run(name, data, tmp_path, "--logger", "csv") == 0
    found = {run.method: run.points for run in find_runs(tmp_path)}
    assert set(found) == {"il", "il-continuous"} and found["il"] != found["il-continuous"]
    for path in scripts.results(tmp_path):
        path.unlink()
    assert {run.method: run.points for run in find_runs(tmp_path)} == found


def test_the_newest_run_of_a_seed_and_what_is_left_out(tmp_path, capsys):
    write_progress(tmp_path / "T/il/seed0-20260101-000000", [0.0, 1.0])
    write_progress(tmp_path / "T/il/seed0-20260102-000000", [0.0, 2.0])
    write_progress(tmp_path / "T/il/seed1-20260102-000000", [])
    (run,) = find_runs(tmp_path)
    assert run.points[-1][1] == 2.0
    error = capsys.readouterr().err
    assert "newer with that seed" in error and "seed0-20260101" in error
    assert "not validated yet" in error and "seed1-20260102" in error


def test_a_method_on_several_datasets_is_several(tmp_path):
    for number, data in enumerate(("expert", "medium", "expert")):
        folder = tmp_path / f"T/il/seed0-2026010{number + 1}-000000"
        write_progress(folder, [0.0, float(number)])
        write_result(folder, method="il", task="T", dataset={"path": f"/x/{data}.hdf5"})
        other = tmp_path / f"T/cql/seed{number}-20260101-000000"
        write_progress(other, [0.0, 1.0])
        write_result(other, method="cql", task="T", dataset={"path": "/x/medium.hdf5"})
    last = {run.method: run.points[-1][1] for run in find_runs(tmp_path)}
    assert last == {"il on medium": 1.0, "il on expert": 2.0, "cql": 1.0}


def test_a_run_under_way_is_one_of_those_with_the_only_data_that_is_known(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / f"T/il/seed{seed}-20260101-000000"
        write_progress(folder, [0.0, 1.0])
        write_result(folder, method="il", task="T", dataset={"path": "/x/expert.hdf5"})
    # no result yet, which would name the data
    write_progress(tmp_path / "T/il/seed2-20260102-000000", [0.0, 2.0])
    assert {(run.method, run.seed) for run in find_runs(tmp_path)} == {("il", n) for n in range(3)}
    # what has a seed that is there may as well learn from other data
    write_progress(tmp_path / "T/il/seed0-20260103-000000", [0.0, 3.0])
    names = [run.method for run in find_runs(tmp_path) if run.seed == 0]
    assert names == ["il on expert", "il on unknown data"]


def run_of(*points, seed=0, **more):
    made = {"task": "T", "method": "il", "online": False, "behaviour": None, "directory": None}
    return Run(seed=seed, points=list(points), **(made | more))


def test_means_bands_and_the_shortest_run():
    runs = [run_of((0, 0.0), (10, 1.0), (20, 3.0)), run_of((0, 2.0), (10, 3.0), seed=1),
            run_of((0, 4.0), (5, 5.0), (10, 8.0), seed=2)]  # fmt: skip
    curve = over_seeds(runs)
    assert curve.steps.tolist() == [0, 5, 10] and curve.seeds == 3
    np.testing.assert_allclose(curve.mean, [2.0, (0.5 + 2.5 + 5.0) / 3, 4.0])
    np.testing.assert_allclose(curve.low, [0.0, 0.5, 1.0])
    np.testing.assert_allclose(curve.high, [4.0, 5.0, 8.0])
    curve = over_seeds(runs, "interval")
    half = 4.303 * 2.0 / math.sqrt(3)  # Student's t with two degrees of freedom; deviation 2
    assert (curve.low[0], curve.high[0]) == pytest.approx((2.0 - half, 2.0 + half))
    alone = over_seeds(runs[:1], "interval")
    assert alone.low.tolist() == alone.high.tolist() == alone.mean.tolist()


def test_the_figure_has_a_panel_a_task_and_a_line_a_method():
    runs = [
        run_of((0, 0.0), (10, 1.0), behaviour=0.5),
        run_of((0, 0.0), (10, 2.0), seed=1, behaviour=0.5),
        run_of((0, 0.0), (10, 2.0), method="cql"),
        run_of((0, 0.0), (10, 2.0), task="U", method="sac", online=True),
    ]
    figure = plots.curves_figure(runs)
    first, second = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["T", "U"]
    assert first.get_xlabel() == "gradient steps" and second.get_xlabel() == "environment steps"
    assert len(first.lines) == 3 and len(second.lines) == 1  # the behaviour's is one of them
    assert len(first.collections) == 1  # one seed has no band
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "cql (1 seed)", "il (2 seeds)", "sac (1 seed)", "behaviour of the data",
    ]  # fmt: skip
    assert "smallest to the largest" in legend.get_title().get_text()
    colours = [line.get_color() for line in (*first.lines[:2], *second.lines)]
    assert len(set(colours)) == 3
    # the legend covers no panel
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert all(box.y1 <= axes.get_tightbbox().y0 + 1 for axes in figure.axes)


def test_curves_of_a_training_run(tmp_path, capsys):
    data = tmp_path / "cart.hdf5"
    act = lambda observations, rng: rng.integers(0, 2, len(observations))  # noqa: E731
    record("CartPole-v1", act, data, buffer_size=300, policy={"name": "random"})
    log = tmp_path / "log"
    for seed, name in enumerate(("tensorboard", "csv")):
        flags = ["--seed", str(seed), "--logger", name, "--num-test-envs", "2"]
        assert scripts.run("atari_style_il", data, log, *flags) == 0
    runs = find_runs(log)
    results = {
        int(run.seed): json.loads((run.directory / "result.json").read_text()) for run in runs
    }
    for run in runs:
        assert [step for step, _ in run.points] == [0.0, 20.0, 40.0]
        expected = results[run.seed]["validation_returns"]
        assert [value for _, value in run.points] == pytest.approx(expected)
        assert run.behaviour == results[run.seed]["behavior_return"]
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        picture = tmp_path / f"curves.{kind}"
        assert plots.main(["curves", str(log), "-o", str(picture)]) == 0
        assert picture.read_bytes().startswith(start)
    assert capsys.readouterr().out.splitlines()[-1] == str(picture)


@pytest.mark.parametrize(("flags", "message"), [
    (["none"], "none: no such folder"),
    (["empty"], "no runs below empty"),
    (["unnamed"], "no run below unnamed has a seed"),
    (["unfinished"], "no run below unfinished was validated"),
    (["good", "-o", "x.gif"], "-o x.gif: expected a name that ends in .png"),
    (["good", "-o", "nowhere/x.png"], "there is no folder nowhere"),
    (["good", "--methods", "foo"], "--methods foo: no such method below good. Found: il"),
    ([], "folder"),
])  # fmt: skip
def test_bad_input_is_one_line(flags, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_progress(tmp_path / "unnamed/T/il/mine", [0.0, 1.0])
    write_progress(tmp_path / "unfinished/T/il/seed0-1", [0.0])
    write_progress(tmp_path / "good/T/il/seed0-1", [0.0, 1.0])
    assert plots.main(["curves", *flags]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ") and message in error[-1]
    assert not list(tmp_path.glob("*.png"))
