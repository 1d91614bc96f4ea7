"""Random actions and rules of tasks that are no markets."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import record_task
from data_tools.hdf5 import load_buffer


def call(path, *flags):
    return record_task.main(["--buffer-size", "400", "--save-buffer-name", str(path), *flags])


def test_actions_are_drawn_evenly_and_by_seed(tmp_path, capsys):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert call(tmp_path / name, "--task", "Pendulum-v1", "--seed", seed) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "c")
    first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != third
    buffer, provenance = load_buffer(tmp_path / "a")
    actions = buffer.act.ravel()
    assert buffer.act.shape == (400, 1) and actions.min() < -1.9 and actions.max() > 1.9
    assert abs(actions.mean()) < 0.3
    assert provenance["policy"] == {"name": "random", "epsilon": 0.0} and provenance["seed"] == 1


def test_a_rule_is_better_than_chance_and_noise_costs(tmp_path):
    returns = {}
    for name, flags in {
        "random": [], "rule": ["--policy", "balance"],
        "noisy": ["--policy", "balance", "--epsilon", "0.6"],
    }.items():  # fmt: skip
        path = tmp_path / name
        assert call(path, "--task", "CartPole-v1", *flags) == 0
        buffer, _ = load_buffer(path)
        returns[name] = 400 / int(buffer.done.sum())
    assert returns["random"] < returns["noisy"] < returns["rule"] == 50


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task", "CartPole-v1", "--policy", "swing-up"], "or a rule of that task: balance"),
        (["--task", "CartPole-v1", "--policy", "none"], "--policy none"),
        (["--task", "CartPole-v1", "--epsilon", "2"], "--epsilon 2.0: expected a number, 0 to 1"),
        (["--task", "CartPole-v1", "--buffer-size", "0"], "--buffer-size 0"),
        (["--task", "Nowhere-v0"], "--task Nowhere-v0"),
    ],
)
def test_what_cannot_be_recorded(flags, message, tmp_path, capsys):
    assert call(tmp_path / "x", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())


def test_noise_is_handed_on():
    act = record_task.make_act("CartPole-v1", "balance", 1.0)
    seen = np.zeros((1000, 4), np.float32)
    assert 400 < act(seen, np.random.default_rng(0)).sum() < 600
