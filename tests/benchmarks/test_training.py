"""The tables of training and of methods, and the cases behind them."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import torch

from benchmarks import methods, training
from benchmarks.machine import describe_machine
from benchmarks.method_tables import interval, methods_table
from benchmarks.training_cases import CASES, LARGE, LITTLE, ours, quiet
from benchmarks.training_tables import sampling_table, training_table
from data_tools.rollouts import record
from tests.offline_algos import batches


def around(median):
    return {"median": median, "min": 0.9 * median, "max": 1.2 * median}


def test_the_training_table_says_where_an_aim_is_missed():
    sides = {"ours": around(100.0), "tianshou": around(10.0)}
    result = {
        "machine": describe_machine(), "rounds": 2, "seconds": 1.0, "sampling": sides,
        "cases": {case.name: dict.fromkeys((str(LARGE), str(LITTLE)), sides) for case in CASES},
    }  # fmt: skip
    rows = {line.split(" | ")[0][2:]: line for line in training_table(result).splitlines()}
    assert "10.0 | 12, **missed** |" in training_table(result)
    assert "| 100 (90.0 to 120) | 10.0 (9.0 to 12.0) | 10.0 | 1.5, met |" in rows["TD3+BC"]
    assert "10.0 | 3, met |" in sampling_table(result)
    del result["cases"]["CQL"]
    with pytest.raises(KeyError, match="CQL"):
        training_table(result)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_sides_of_every_case_take_steps(case, monkeypatch):
    """Parameters move, and both sides have as many of them as their networks' shapes say."""
    size = LITTLE._replace(columns=batches.COLUMNS)
    continuous = case.script.startswith("d4rl")
    data = batches.dataset(actions=5, action_width=int(continuous))
    algorithm, buffer = ours(case, size, data)
    other = quiet(case.stock, size)
    for side, rows in ((algorithm, buffer), (other, other.process_buffer(data))):
        before = [parameter.detach().clone() for parameter in side.policy.parameters()]
        assert training.steps_a_second(side, rows, 32, 0.01) > 0
        after = list(side.policy.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_intervals_are_student_s():
    assert interval([1.0, 2.0, 3.0], "{:.2f}") == "2.00 ± 2.48"  # 4.303 / sqrt(3)
    assert interval([0.1, 0.1, 0.1], "{:+.1%}") == "+10.0%"
    assert interval([0.1, 0.3], "{:+.1%}") == "+10.0% and +30.0%"
    assert interval([], "{}") == "-"


def test_the_methods_table_shows_references_first():
    run = {
        "test": {"best": 400.0, "last": 300.0, "random": 20.0},
        "behaviour": 66.0,
        "commit": "abc",
    }
    result = {
        "machine": describe_machine(), "seeds": 2, "experts": {"CartPole": 500.0},
        "tasks": {"CartPole, mixed": {"il": [run, run | {"test": run["test"] | {"best": 420.0}}]}},
    }  # fmt: skip
    lines = methods_table(result).splitlines()[2:]
    assert lines[0] == "| CartPole, mixed: *controller without noise* | 500 | - |"
    assert lines[1] == "| CartPole, mixed: *behaviour* | 66 | - |"
    assert lines[2] == "| CartPole, mixed: *random* | 20 | - |"
    assert lines[3] == "| CartPole, mixed: il | 400 and 420 | 300 and 300 |"


def test_a_finished_cell_is_not_run_again(tmp_path, monkeypatch):
    def data(path):
        act = functools.partial(methods.balance, noise=np.linspace(0.1, 1.0, 8))
        record("CartPole-v1", act, path, buffer_size=400, policy={"name": "balance"})

    flags = {"--epoch": ("1",), "--update-per-epoch": ("5",), "--num-test-envs": ("2",),
             "--logger": ("none",), "--gamma": ("0.9",)}  # fmt: skip
    case = methods.TaskCase("tiny", data, "atari_style", ("il",), flags, {})
    first = methods.run_cell(case, "il", 0, tmp_path)
    assert "--gamma" not in first["flags"] and first["test"]["best"] > 0
    monkeypatch.setattr(methods.importlib, "import_module", None)
    assert methods.run_cell(case, "il", 0, tmp_path) == json.loads(json.dumps(first))
