"""The training scripts from the command line."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import offline_algos
from data_tools.collect import collect
from offline_algos import atari_style_cql, atari_style_il, runner
from offline_algos.checkpoint import load_policy
from offline_algos.evaluation import evaluate
from tests.offline_algos import samples, scripts
from tests.offline_algos.conftest import ENV
from tests.offline_algos.scripts import TINY, results

SCRIPTS = {"cql": atari_style_cql, "il": atari_style_il}
KEYS = {
    "format_version", "method", "task", "seed", "arguments", "observation_space", "action_space",
    "layout", "configuration", "dataset", "evaluation", "epochs", "updates", "last_return",
    "best_return", "best_epoch", "validation_returns", "behavior_return", "behavior_return_std",
    "behavior_episodes", "test", "losses", "seconds", "updates_per_second", "checkpoints",
    "directory", "equity_curves", "versions",
}  # fmt: skip


def run(method: str, dataset: Path, logdir: Path, *flags: str) -> int:
    arguments = ["--load-buffer-name", str(dataset), "--logdir", str(logdir), *TINY, *flags]
    return SCRIPTS[method].main(arguments)


def collect_few(path: Path, market: Path, **changes: Any) -> None:
    flags = {"buffer_size": 64, "num_envs": 2, "episode_steps": 50, "env": ENV} | changes
    collect(path, market=str(market), progress=False, echo=None, **flags)


@pytest.mark.parametrize("name", scripts.NAMES)
def test_a_run_from_the_dataset_alone(name, dataset_file, continuous_file, tmp_path, capsys):
    data = continuous_file if name.startswith("d4rl") else dataset_file
    method = scripts.method_of(name)
    assert scripts.run(name, data, tmp_path) == 0
    out = capsys.readouterr().out
    (path,) = results(tmp_path)
    assert out.splitlines()[-1] == str(path)
    folder = f"{method}-continuous" if name.startswith("d4rl") else method
    assert path.parent.parent == tmp_path / "Trade-Sequential-v0" / folder
    assert sum(line.startswith("epoch ") for line in out.splitlines()) == 2
    assert "updates/s" in out and "buy-and-hold" in out

    result = json.loads(path.read_text())
    assert KEYS <= set(result)
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    assert result["dataset"]["content_hash"] == digest
    assert result["epochs"] == 2 and result["updates"] == 40
    assert len(result["validation_returns"]) == 3  # the first is the untrained policy's
    assert result["best_return"] == max(result["validation_returns"][1:])
    assert result["last_return"] == result["validation_returns"][-1]
    assert result["behavior_episodes"] == 8
    baselines = ["flat", "buy-and-hold", "random", "behaviour ma-cross:fast=3,slow=9"]
    assert list(result["test"]["baselines"]) == [*baselines, "behaviour random"]
    assert result["test"]["baselines"]["flat"]["return"] == 0.0
    held = result["test"]["baselines"]["buy-and-hold"]["metrics"]
    assert held["total_return"] == pytest.approx(held["buy_and_hold_return"], abs=0.01)
    span_end = result["dataset"]["provenance"]["span"]["end"]
    validation, test = result["evaluation"]["validation"], result["evaluation"]["test"]
    assert span_end < validation["start"] < validation["end"] < test["start"] < test["end"]

    curves = (path.parent / "equity.csv").read_text().splitlines()
    assert curves[0].startswith(f"timestamp,{method} best,{method} last,flat,buy-and-hold,random")
    assert len(curves) == test["steps"] + 2
    assert curves[1].startswith(test["start"].replace("T", " "))
    assert [file.suffix for file in path.parent.glob("events.*")]
    assert not list(path.parent.glob(".*"))


def test_checkpoints_give_the_numbers_of_the_result(dataset_file, tmp_path):
    assert run("cql", dataset_file, tmp_path, "--norm-obs", "1") == 0
    (path,) = results(tmp_path)
    result = json.loads(path.read_text())
    config = samples.config()
    for name, file in result["checkpoints"].items():
        policy = load_policy(path.parent / file)
        assert policy.about["epoch"] == (result["best_epoch"] if name == "best" else 2)
        assert policy.about["task"] == "Trade-Sequential-v0"
        period = result["evaluation"]["test"]
        outcome = evaluate(policy.act, config, period["start"], period["end"])
        assert outcome["return"] == result["test"][name]["return"]
        assert outcome["metrics"] == result["test"][name]["metrics"]
        period = result["evaluation"]["validation"]
        outcome = evaluate(policy.act, config, period["start"], period["end"])
        assert outcome["return"] == pytest.approx(result[f"{name}_return"], abs=1e-12)
        assert outcome["steps"] == period["steps"]
        np.testing.assert_allclose(
            np.log(outcome["equity"][-1] / outcome["equity"][0]), outcome["return"]
        )


@pytest.mark.parametrize("name", scripts.NAMES)
def test_the_same_seed_gives_the_same_weights(name, dataset_file, continuous_file, tmp_path):
    data, digests = continuous_file if name.startswith("d4rl") else dataset_file, []
    for seed in (3, 3, 4):
        folder = tmp_path / str(len(digests))
        flags = ["--seed", str(seed), "--epoch", "1", *scripts.SOON]
        assert scripts.run(name, data, folder, *flags) == 0
        (path,) = results(folder)
        state = scripts.weights(path.parent / "last.pth")
        digests.append(hashlib.sha256(b"".join(v.numpy().tobytes() for v in state.values())))
    first, second, third = (digest.hexdigest() for digest in digests)
    assert first == second != third


def test_another_market_and_other_costs(dataset_file, tmp_path, capsys):
    later = tmp_path / "later.csv"
    samples.frame(2500, start="2021-03-01", seed=5).to_csv(later)
    flags = ["--test-market", str(later), "--env", "transaction_fee=0.01", "--logger", "none"]
    assert run("il", dataset_file, tmp_path, *flags, "--norm-obs", "0") == 0
    (path,) = results(tmp_path)
    result = json.loads(path.read_text())
    assert result["evaluation"]["market"]["path"] == str(later)
    assert result["evaluation"]["validation"]["start"].startswith("2021-03-01")
    assert result["configuration"]["transaction_fee"] == 0.01
    assert not list(path.parent.glob("events.*"))
    mean = load_policy(path.parent / "policy.pth").actor.normaliser.mean
    assert torch.equal(mean, torch.zeros(samples.COLUMNS, dtype=torch.float64))


def fails(capsys: pytest.CaptureFixture[str], method: str, *arguments: str) -> str:
    assert SCRIPTS[method].main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs", "3"], "--epochs"),
        (["--epo", "3"], "--epo"),
        (["--epoch", "0"], "--epoch: expected a whole number, at least 1, got '0'"),
        (["--update_per_epoch", "1.5"], "--update-per-epoch: expected a whole number"),
        (["--lr", "0"], "--lr: expected a number above 0"),
        (["--lr", "nan"], "--lr: expected a number above 0"),
        (["--gamma", "1.1"], "--gamma: expected a number of at least 0 and at most 1"),
        (["--num-quantiles", "1"], "--num-quantiles"),
        (["--target-update-freq", "0"], "--target-update-freq"),
        (["--min-q-weight", "-1"], "--min-q-weight"),
        (["--hidden-sizes", "0"], "--hidden-sizes"),
        (["--norm-obs", "2"], "--norm-obs"),
        (["--device", "tpu"], "--device: expected cpu, cuda"),
        (["--threads", "0"], "--threads"),
        (["--seed", "-1"], "--seed"),
        (["--logger", "mlflow"], "--logger: expected one of tensorboard, wandb, csv, none"),
        (["--compile", "2"], "--compile"),
    ],
)
def test_bad_flags_are_errors_before_anything_is_done(flags, message, capsys, tmp_path):
    error = fails(capsys, "cql", "--load-buffer-name", "x.hdf5", "--logdir", str(tmp_path), *flags)
    assert message in error and not list(tmp_path.iterdir())


def test_the_dataset_is_the_only_flag_needed(capsys):
    assert "--load-buffer-name" in fails(capsys, "il")
    assert "--gamma" in fails(capsys, "il", "--load-buffer-name", "x", "--gamma", "0.9")


def test_a_missing_file_says_how_to_make_one(capsys, tmp_path):
    error = fails(capsys, "cql", "--load-buffer-name", str(tmp_path / "none.hdf5"))
    assert "none.hdf5" in error and "python -m data_tools.collect" in error


def test_foreign_files(capsys, tmp_path):
    (tmp_path / "text.hdf5").write_text("hello")
    assert "HDF5" in fails(capsys, "cql", "--load-buffer-name", str(tmp_path / "text.hdf5"))
    with h5py.File(tmp_path / "d4rl.hdf5", "w") as root:
        root["observations"] = np.zeros((3, 2))
    assert "observations" in fails(capsys, "cql", "--load-buffer-name", str(tmp_path / "d4rl.hdf5"))


def test_overlap_is_refused_by_date_and_by_content(dataset_file, market_file, tmp_path, capsys):
    arguments = ["--load-buffer-name", str(dataset_file), "--logdir", str(tmp_path)]
    error = fails(capsys, "cql", *arguments, "--test-start", "2020-01-02")
    assert "overlaps the dataset's collection span" in error and "--allow-overlap" in error
    same_dates = tmp_path / "other.csv"
    samples.frame(seed=9).to_csv(same_dates)
    assert "overlaps" in fails(capsys, "cql", *arguments, "--test-market", str(same_dates))
    copy = tmp_path / "copy.csv"
    copy.write_bytes(market_file.read_bytes())
    flags = ["--test-market", str(copy), "--test-start", "2020-01-02"]
    assert "overlaps" in fails(capsys, "cql", *arguments, *flags)
    assert not results(tmp_path)
    assert run("il", dataset_file, tmp_path, *flags, "--allow-overlap") == 0
    validation = json.loads(results(tmp_path)[0].read_text())["evaluation"]["validation"]
    assert validation["start"] == "2020-01-02T00:00:00"


def test_nothing_left_after_the_span(market_file, tmp_path, capsys):
    path = tmp_path / "all.hdf5"
    collect_few(path, market_file, train_fraction=1.0)
    error = fails(capsys, "cql", "--load-buffer-name", str(path))
    assert "--test-market" in error and "--train-fraction" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--env", "episode_steps=5"], "--env episode_steps=5: the evaluation sets this itself"),
        (["--env", "window_sizes=[4,7]"], "Leave its time frames, windows and features"),
        (["--env", "action_levels=[0,0.4,1]"], "action levels are [0.0, 0.5, 1.0]"),
        (["--env", 'action_type="continuous"'], "continuous actions"),
        (["--env", "trading_fees=0"], "transaction_fee"),
        (["--env", "leverage"], "expected KEY=VALUE"),
        (["--task", "CartPole-v1"], "--task CartPole-v1, but the dataset was made in Trade-"),
        (["--test-market", "nowhere.csv"], "nowhere.csv"),
        (["--test-start", "soon"], "--test-start='soon' is no time"),
    ],
)
def test_what_does_not_fit_the_dataset_is_refused(flags, message, dataset_file, capsys, tmp_path):
    arguments = ["--load-buffer-name", str(dataset_file), "--logdir", str(tmp_path)]
    assert message in fails(capsys, "cql", *arguments, *flags)
    assert not list(tmp_path.iterdir())


def test_continuous_actions_are_refused(market_file, tmp_path, capsys):
    path = tmp_path / "continuous.hdf5"
    collect_few(path, market_file, env=ENV | {"action_type": "continuous"})
    assert "discrete actions" in fails(capsys, "il", "--load-buffer-name", str(path))


def test_a_moved_market_names_the_remedy(tmp_path, capsys):
    market = tmp_path / "gone.csv"
    samples.frame(3000).to_csv(market)
    path = tmp_path / "trades.hdf5"
    collect_few(path, market)
    market.unlink()
    error = fails(capsys, "cql", "--load-buffer-name", str(path))
    assert "gone.csv" in error and "--test-market" in error


def test_a_file_without_provenance_needs_task_and_market(dataset_file, tmp_path, capsys):
    path = tmp_path / "plain.hdf5"
    path.write_bytes(dataset_file.read_bytes())
    with h5py.File(path, "r+") as root:
        del root.attrs["provenance"]
    assert "--task Trade-Sequential-v0" in fails(capsys, "il", "--load-buffer-name", str(path))
    market = tmp_path / "market.csv"
    samples.frame(3000, start="2021-01-01").to_csv(market)
    flags = ["--task", "Trade-Sequential-v0", "--test-market", str(market), "--env-config"]
    arguments = tmp_path / "env.json"
    arguments.write_text(json.dumps(ENV))
    assert run("il", path, tmp_path, *flags, str(arguments)) == 0
    result = json.loads(results(tmp_path)[0].read_text())
    assert "behaviour random" not in result["test"]["baselines"]


def half_reward(previous_equity, equity, **_):
    return 0.5 * np.log(equity / previous_equity)


def test_code_that_a_dataset_names_runs_only_if_the_user_names_it(market_file, tmp_path, capsys):
    path = tmp_path / "own_reward.hdf5"
    collect_few(path, market_file, env=ENV | {"reward": half_reward})
    error = fails(capsys, "il", "--load-buffer-name", str(path))
    (flag,) = re.findall(r"--env '(.*)'$", error.strip())
    assert flag.startswith('reward="callable:') and flag.endswith(':half_reward"')
    assert run("il", path, tmp_path, "--env", flag) == 0
    test = json.loads(results(tmp_path)[0].read_text())["test"]["best"]
    assert test["return"] == pytest.approx(0.5 * np.log1p(test["metrics"]["total_return"]))


def test_a_logdir_that_cannot_be_made(dataset_file, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    logdir = str(tmp_path / "file" / "log")
    error = fails(capsys, "il", "--load-buffer-name", str(dataset_file), "--logdir", logdir)
    assert "--logdir" in error and "Not a directory" in error


def test_ctrl_c_saves_the_last_weights(dataset_file, tmp_path, capsys, monkeypatch):
    def interrupt(self, log_data, step):
        if step == 30:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner.TrainingLog, "log_update_data", interrupt)
    with pytest.raises(SystemExit) as stop:
        run("cql", dataset_file, tmp_path)
    assert stop.value.code == 130
    (directory,) = (tmp_path / "Trade-Sequential-v0" / "cql").iterdir()
    assert not (directory / "result.json").exists() and not list(directory.glob(".*"))
    observations = np.zeros((1, samples.COLUMNS), np.float32)
    assert load_policy(directory / "last.pth").act(observations).shape == (1,)
    error = capsys.readouterr().err
    assert "interrupted" in error and str(directory / "last.pth") in error


def test_run_as_a_file_and_as_a_module(dataset_file):
    folder = Path(offline_algos.__file__).parent
    for command in (["atari_style_il.py"], ["-m", "offline_algos.atari_style_il"]):
        made = subprocess.run(
            [sys.executable, *command, "--load_buffer_name=none_such.hdf5"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 2 and made.stderr.startswith("error: none_such.hdf5")
