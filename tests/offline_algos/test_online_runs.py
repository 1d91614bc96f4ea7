"""The scripts that learn from an environment, from the command line to the result."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from data_tools.collect import collect
from offline_algos import online, resume
from offline_algos.checkpoint import load_policy
from offline_algos.training_log import TrainingLog
from tests.offline_algos import samples, scripts
from tests.offline_algos.conftest import ENV
from tests.offline_algos.test_resume import same_tree

QRDQN, SAC = scripts.ONLINE
TASKS = {QRDQN: "CartPole-v1", SAC: "Pendulum-v1"}
KINDS = {QRDQN: [], SAC: ["--env", "action_type=continuous"]}


def market_flags(name, market):
    env = [f"--env={key}={json.dumps(value)}" for key, value in ENV.items()]
    return ["--task", "Trade-Sequential-v0", "--market", str(market), *env, *KINDS[name]]


@pytest.mark.parametrize("name", scripts.ONLINE)
def test_a_run_in_a_market(name, market_file, tmp_path, capsys):
    flags = market_flags(name, market_file)
    assert scripts.explore(name, tmp_path, *flags, "--episode-steps", "3") == 0
    out = capsys.readouterr().out
    directory, result = scripts.only_result(tmp_path)
    assert out.splitlines()[-1] == str(directory / "result.json")
    assert "20 episodes, mean return" in out and "buy-and-hold" in out
    assert result["dataset"] is None and result["behavior_return"] is None
    assert result["method"] == name.split("style_")[1] and result["epochs"] == 2
    assert result["env_steps"] == 40 + 2 * 60
    assert result["updates"] == result["env_steps"] - 40 if name == SAC else 30
    training, judged = result["training"], result["evaluation"]
    assert training["num_train_envs"] == 10
    assert training["market"] == judged["market"]
    end = training["span"]["end"]
    assert end < judged["validation"]["start"] < judged["validation"]["end"]
    assert judged["validation"]["end"] < judged["test"]["start"] < judged["test"]["end"]
    assert result["arguments"]["norm_reward"] == 1 and result["arguments"]["norm_obs"] == 1
    policy = load_policy(directory / "policy.pth")
    assert policy.act(np.zeros((3, samples.COLUMNS), np.float32)).shape[0] == 3
    assert not torch.equal(
        policy.actor.normaliser.std, torch.ones_like(policy.actor.normaliser.std)
    )
    assert not (directory / resume.FILE).exists()


def test_the_periods_are_those_of_a_dataset_of_the_same_span(market_file, tmp_path):
    """What an offline script leaves out after a dataset, an online one leaves out as well."""
    data = tmp_path / "same.hdf5"
    collect(data, buffer_size=64, num_envs=2, episode_steps=20, market=str(market_file), env=ENV,
            train_fraction=0.6, progress=False, echo=None)  # fmt: skip
    assert scripts.run("atari_style_il", data, tmp_path / "offline") == 0
    flags = [*market_flags(QRDQN, market_file), "--train-fraction", "0.6"]
    assert scripts.explore(QRDQN, tmp_path / "online", *flags) == 0
    offline, explored = (scripts.only_result(tmp_path / x)[1] for x in ("offline", "online"))
    assert explored["training"]["span"] == offline["dataset"]["provenance"]["span"]
    for part in ("validation", "test"):
        assert explored["evaluation"][part] == offline["evaluation"][part]
    assert explored["configuration"] == offline["configuration"]


def test_another_market_is_judged_in(market_file, tmp_path):
    later = tmp_path / "later.csv"
    samples.frame(2500, start="2021-03-01", seed=5).to_csv(later)
    flags = ["--test-market", str(later), "--train-fraction", "1", "--norm-obs", "0"]
    assert scripts.explore(QRDQN, tmp_path, *market_flags(QRDQN, market_file), *flags) == 0
    directory, result = scripts.only_result(tmp_path)
    assert result["evaluation"]["market"]["path"] == str(later)
    assert result["training"]["market"]["path"] == str(market_file)
    assert result["evaluation"]["validation"]["start"].startswith("2021-03-01")
    mean = load_policy(directory / "policy.pth").actor.normaliser.mean
    assert torch.equal(mean, torch.zeros_like(mean))


@pytest.mark.parametrize("name", scripts.ONLINE)
def test_the_same_seed_gives_the_same_weights(name, tmp_path):
    digests = []
    for seed in (3, 3, 4):
        folder = tmp_path / str(len(digests))
        flags = ["--task", TASKS[name], "--seed", str(seed), "--epoch", "1"]
        assert scripts.explore(name, folder, *flags) == 0
        state = scripts.weights(scripts.only_result(folder)[0] / "last.pth")
        digests.append(hashlib.sha256(b"".join(v.numpy().tobytes() for v in state.values())))
    first, second, third = (digest.hexdigest() for digest in digests)
    assert first == second != third


def interrupted(name, logdir, flags, at):
    """Run until the update of this number, then as if Ctrl-C were pressed."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        seen = TrainingLog.log_update_data

        def interrupt(self, log_data, step):
            seen(self, log_data, step)
            if self.updates == at:
                raise KeyboardInterrupt

        patch.setattr(TrainingLog, "log_update_data", interrupt)
        scripts.explore(name, logdir, *flags)


@pytest.mark.parametrize("market", [False, True])
@pytest.mark.parametrize("name", scripts.ONLINE)
def test_half_and_half_is_the_whole(name, market, market_file, tmp_path, capsys, monkeypatch):
    """Stopped in its third epoch, when the memory has begun to forget the first steps."""
    monkeypatch.setattr(online, "forget", lambda state: None)
    flags = market_flags(name, market_file) if market else ["--task", TASKS[name]]
    flags += ["--epoch", "4", "--buffer-size", "100", "--num-train-envs", "3"]
    flags += ["--n-step", "3", "--eps-decay-steps", "200"] if name == QRDQN else []
    per_epoch = 15 if name == QRDQN else 60
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert scripts.explore(name, whole, *flags) == 0
    interrupted(name, halves, flags, 2 * per_epoch + 4)
    assert scripts.explore(name, halves, *flags, "--resume") == 0
    assert f"going on after epoch 2, {2 * per_epoch} updates" in capsys.readouterr().out
    (left, one), (right, other) = scripts.only_result(whole), scripts.only_result(halves)
    for file in ("last.pth", "policy.pth"):
        expected, made = scripts.weights(left / file), scripts.weights(right / file)
        assert all(torch.equal(expected[key], made[key]) for key in expected)
    states = [torch.load(folder / resume.FILE, weights_only=True) for folder in (left, right)]
    for part in ("algorithm", "counters", "explorer", "random"):
        same_tree(states[0][part], states[1][part])
    for key in ("validation_returns", "best_epoch", "losses", "updates", "epochs", "env_steps"):
        assert one[key] == other[key], key
    assert one["test"]["last"] == other["test"]["last"]


def test_ctrl_c_while_it_is_still_random(tmp_path, capsys, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("offline_algos.exploring.Explorer._random_actions", interrupt)
    with pytest.raises(SystemExit) as stop:
        scripts.explore(QRDQN, tmp_path, "--task", "CartPole-v1")
    assert stop.value.code == 130
    assert "interrupted after 0 updates" in capsys.readouterr().err


def test_a_cart_is_balanced_better_than_by_chance(tmp_path):
    flags = ["--task", "CartPole-v1", "--step-per-epoch", "1500", "--warmup", "200", "--lr", "2e-3",
             "--hidden-sizes", "64", "--batch-size", "64", "--target-update-freq", "50",
             "--gamma", "0.95", "--update-per-step", "0.5", "--num-test-envs", "5"]  # fmt: skip
    assert scripts.explore(QRDQN, tmp_path, *flags) == 0
    test = scripts.only_result(tmp_path)[1]["test"]
    assert test["best"]["return"] > 40 > 30 > test["baselines"]["random"]["return"]


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        (QRDQN, ["--task", "Pendulum-v1"], "learns discrete ones. Take d4rl_style_sac.py"),
        (SAC, ["--task", "CartPole-v1"], "learns continuous ones. Take atari_style_qrdqn.py"),
        (SAC, ["MARKET"], "or pass --env action_type=continuous"),
        (QRDQN, ["MARKET", *KINDS[SAC]], "or pass --env action_type=discrete"),
        (QRDQN, [], "--task"),
        (QRDQN, ["--task", "Nowhere-v0"], "--task Nowhere-v0: "),
        (QRDQN, ["--task", "Trade-Sequential-v0"], "needs a market: --market FILE"),
        (QRDQN, ["--task", "CartPole-v1", "--market", "x.csv"], "--market is for markets"),
        (QRDQN, ["--task", "CartPole-v1", "--env", "leverage=2"], "--env is for markets"),
        (QRDQN, ["--task", "Trade-Sequential-v0", "--market", "none.csv"], "none.csv"),
        (QRDQN, ["MARKET", "--train-fraction", "1"], "train on less of it: --train-fraction"),
        (QRDQN, ["MARKET", "--test-start", "2020-01-01T12:00"], "overlaps the training span"),
        (QRDQN, ["MARKET", "--end", "2020-01-02", "--train-fraction", "0.5"], "contradict"),
        (QRDQN, ["MARKET", "--env", "lever=2"], "lever"),
        (QRDQN, ["--task", "CartPole-v1", "--buffer-size", "39"], "--warmup 40 is more than"),
        (QRDQN, ["MARKET", "--step-per-collect", "15"], "a multiple of the 10 environments"),
        (QRDQN, ["--task", "CartPole-v1", "--step-per-collect", "1"], "gives no update in 1 steps"),
        (QRDQN, ["--task", "CartPole-v1", "--step-per-epoch", "3"], "--step-per-epoch 3: expected"),
        (QRDQN, ["--task", "CartPole-v1", "--eps-train", "2"], "--eps-train: expected a number"),
        (SAC, ["--task", "Pendulum-v1", "--alpha", "much"], "got 'much', or auto"),
        (QRDQN, ["--task", "CartPole-v1", "--resume"], "no interrupted run"),
    ],
)
def test_what_cannot_be_trained(name, flags, message, market_file, tmp_path, capsys):
    if flags[:1] == ["MARKET"]:
        flags = market_flags(QRDQN, market_file) + flags[1:]
    assert scripts.explore(name, tmp_path, *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())
