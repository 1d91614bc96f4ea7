"""What a run does when something is wrong with it."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from data_tools.files import replacing
from data_tools.rollouts import record
from offline_algos import preparation, resume, runner
from tests.offline_algos.scripts import results, run


@pytest.fixture
def cart_pole(tmp_path: Path) -> Path:
    path = tmp_path / "cart.hdf5"
    record("CartPole-v1", few, path, buffer_size=300)
    return path


def few(observations: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 2, len(observations))


@pytest.mark.parametrize("name", ["atari_style_cql", "atari_style_il"])
def test_a_diverged_training_is_no_result(name, cart_pole, tmp_path, capsys):
    flags = ["--lr", "1e30", "--num-test-envs", "2"]
    assert run(name, cart_pole, tmp_path / "log", *flags) == 2
    error = capsys.readouterr().err
    assert "training diverged in epoch 1" in error and "--lr" in error
    assert results(tmp_path / "log") == []


def test_what_diverged_is_why_its_validation_failed():
    log = SimpleNamespace(epoch=2, losses={"loss": float("nan")})
    with pytest.raises(ValueError, match="diverged in epoch 3: loss is not finite") as caught:
        with runner.finite(log, nn.Linear(1, 1)):
            raise ValueError("the action of lane 0 is NaN.")
    assert "lane 0" in str(caught.value.__cause__)
    actor = nn.Linear(1, 1)
    with torch.no_grad():
        actor.bias[0] = torch.inf
    with pytest.raises(ValueError, match="bias is not finite"):
        with runner.finite(SimpleNamespace(epoch=0, losses={}), actor):
            pass
    with pytest.raises(ValueError, match="another"):
        with runner.finite(SimpleNamespace(epoch=0, losses={}), nn.Linear(1, 1)):
            raise ValueError("another")


def test_a_function_s_name_describes_a_dataset(cart_pole, tmp_path):
    buffer, provenance = preparation.TensorReplayBuffer.load(cart_pole)
    assert provenance["policy"] == {"name": "few"} and len(buffer) == 300


def test_a_run_does_not_go_on_with_other_data(cart_pole, tmp_path, capsys):
    flags = ["--num-test-envs", "2", "--seed", "3"]
    assert run("atari_style_il", cart_pole, tmp_path / "log", *flags) == 0
    done = results(tmp_path / "log")[0]
    done.unlink()  # as if it had been interrupted before its test
    state = done.with_name(resume.FILE)
    assert resume.read_training(state)["arguments"][resume.SOURCE] is not None
    record("CartPole-v1", few, cart_pole, buffer_size=300, seed=1, overwrite=True)
    assert run("atari_style_il", cart_pole, tmp_path / "log", *flags, "--resume") == 2
    assert "the data is not what" in capsys.readouterr().err


def test_the_run_with_these_flags_is_resumed_and_not_the_newest(cart_pole, tmp_path, capsys):
    first, second = ["--lr", "1e-3"], ["--lr", "1e-4"]
    directories = []
    for flags in (first, second):
        common = [*flags, "--num-test-envs", "2"]
        assert run("atari_style_il", cart_pole, tmp_path / "log", *common) == 0
        done = results(tmp_path / "log")[-1]
        directories.append(done.parent)
        done.unlink()
    flags = [*first, "--num-test-envs", "2", "--resume"]
    assert run("atari_style_il", cart_pole, tmp_path / "log", *flags) == 0
    assert results(tmp_path / "log")[0].parent == directories[0]


def test_directories_made_at_once_are_different(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: runner.new_directory(tmp_path / "a", "x"), range(40)))
    assert len({*made}) == 40 and all(path.is_dir() for path in made)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be made"):
        runner.new_directory(tmp_path / "file", "x")


def test_an_error_of_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError) as caught:
        with replacing(tmp_path / "policy.pth"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "policy.pth")


def test_validations_at_will(cart_pole, tmp_path, capsys):
    flags = ["--epoch", "3", "--update-per-epoch", "20", "--num-test-envs", "2"]
    assert run("atari_style_il", cart_pole, tmp_path / "log", *flags, "--eval-freq", "15") == 0
    out = capsys.readouterr().out
    assert [f"epoch {n}:" in out for n in range(1, 6)] == [True] * 4 + [False]
    assert run("atari_style_il", cart_pole, tmp_path / "log", *flags, "--eval-freq", "7") == 2
    assert "--eval-freq 7 does not divide the 60 steps" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [("--test-start", "2020-01-01"), ("--env", "gravity=5")])
def test_flags_of_markets_are_refused_elsewhere(flag, cart_pole, tmp_path, capsys):
    assert run("atari_style_il", cart_pole, tmp_path / "log", *flag) == 2
    assert f"{flag[0]} is for markets" in capsys.readouterr().err
