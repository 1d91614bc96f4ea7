"""Datasets of a checkpoint: what is in them, and that scripts train from them."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

from data_tools import describe
from data_tools.hdf5 import load_buffer, read_provenance
from offline_algos.checkpoint import load_policy, save_policy
from tests.offline_algos import scripts, trained

SIZE = 600


def recorded(name, run, path, *flags, size=SIZE):
    arguments = ("--watch", "--resume-path", run, "--save-buffer-name", path)
    assert trained.use(name, *arguments, "--buffer-size", size, *flags) == 0
    return load_buffer(path)


@pytest.mark.parametrize("name", ["atari_style_il", "d4rl_style_il"])
def test_a_share_of_the_actions_is_random_the_rest_the_policy_s(
    name, il_run, continuous_run, tmp_path, capsys
):
    run = il_run if name.startswith("atari") else continuous_run
    buffer, provenance = recorded(name, run, tmp_path / "a.hdf5", "--eps-test", 0.25)
    assert len(buffer) == SIZE
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "a.hdf5")
    own = load_policy(run / "policy.pth").act(buffer.obs)
    assert buffer.act.dtype == own.dtype and buffer.act.shape == own.shape
    close = np.isclose(buffer.act, own, atol=1e-6).reshape(SIZE, -1).all(1)
    strange = buffer.act[~close]
    if name.startswith("atari"):  # a random action is now and then the policy's own
        assert 0.12 < (~close).mean() < 0.22 and len(set(own.tolist())) > 1
    else:
        assert 0.2 < (~close).mean() < 0.3
        assert strange.min() < 0.05 and strange.max() > 0.95
    assert provenance["policy"] == {
        "name": "checkpoint",
        "method": "il",
        "path": str(run / "policy.pth"),
        "content_hash": hashlib.sha256((run / "policy.pth").read_bytes()).hexdigest(),
        "epsilon": 0.25,
    }


def test_where_it_was_trained_and_nowhere_else(il_run, dataset_file, tmp_path):
    made = recorded("atari_style_il", il_run, tmp_path / "a.hdf5")[1]
    before = read_provenance(dataset_file)
    for name in ("task", "span", "market", "layout", "action", "episode_steps"):
        assert made[name] == before[name]
    changed = {name for name in before["config"] if before["config"][name] != made["config"][name]}
    assert changed <= {"start"}  # which the data's own left open


def test_as_collect_does_it(il_run, dataset_file, tmp_path):
    """The environment's part of the rows is that of the same actions in it."""
    buffer, provenance = recorded("atari_style_il", il_run, tmp_path / "a.hdf5", "--seed", 5)
    lanes = provenance["num_envs"]
    assert lanes == SIZE // 100  # as many as get a whole episode each
    inside = ~buffer.done
    np.testing.assert_array_equal(
        buffer.obs_next[inside], buffer.obs[buffer.next(np.arange(SIZE))][inside]
    )
    assert buffer.done[np.arange(lanes) * 100 + 99].all()
    own = load_policy(il_run / "policy.pth").act(buffer.obs)
    np.testing.assert_array_equal(buffer.act, own)  # without noise
    reference = provenance["reference"]
    assert reference["behavior_return"] == pytest.approx(buffer.rew.sum() / lanes, abs=1e-12)


@pytest.mark.parametrize("name", ["atari_style_il", "d4rl_style_dt"])
def test_equal_seeds_give_equal_files(name, il_run, transformer_run, tmp_path):
    run = il_run if name.startswith("atari") else transformer_run
    made = []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)
        path = tmp_path / f"{number}.hdf5"
        recorded(name, run, path, "--eps-test", 0.3, "--seed", seed, size=200)
        made.append(path.read_bytes())
    assert made[0] == made[1] != made[2]


def replay(buffer, actor, lanes, *, told):
    """The actions that an actor takes on each lane's rows, told of rewards and episodes or not."""
    steps = len(buffer) // lanes
    rows = np.arange(len(buffer)).reshape(lanes, steps)
    every = np.arange(lanes)
    actor.begin(every)
    made = []
    for step in range(steps):
        now = rows[:, step]
        with torch.no_grad():
            made.append(actor(torch.as_tensor(buffer.obs[now])).numpy())
        if told:
            actor.observe(every, buffer.rew[now])
            actor.begin(np.flatnonzero(buffer.done[now]))
    return np.stack(made, 1).reshape(len(buffer), -1)


def test_an_actor_that_remembers_is_told_of_rewards_and_episodes(transformer_run, tmp_path):
    """Three episodes a lane: what it remembers of one must not reach into the next."""
    flags = ("--env", "episode_steps=25")
    buffer, provenance = recorded(
        "d4rl_style_dt", transformer_run, tmp_path / "a.hdf5", *flags, size=64 * 25 * 3
    )
    assert provenance["num_envs"] == 64 and provenance["reference"]["complete_episodes"] == 192
    target = provenance["policy"]["target_return"]
    actors = [load_policy(transformer_run / "policy.pth").actor for _ in range(2)]
    assert target == actors[0].target_return
    expected = replay(buffer, actors[0], 64, told=True)
    np.testing.assert_array_equal(buffer.act, expected)
    untold = replay(buffer, actors[1], 64, told=False)
    second = np.arange(len(buffer)) % 75 >= 25
    assert (untold[second] != buffer.act[second]).mean() > 0.5


def test_training_from_it_and_the_policy_that_made_it(il_run, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(il_run / "policy.pth", run)
    path = tmp_path / "expert.hdf5"
    recorded("atari_style_il", run, path, "--eps-test", 0.1)
    row = "behaviour il checkpoint"
    first = trained.train("atari_style_cql", path, tmp_path / "first", "--epoch", "1")
    assert row in capsys.readouterr().out
    baselines = json.loads((first / "result.json").read_text())["test"]["baselines"]
    assert list(baselines) == ["flat", "buy-and-hold", "random", row]
    # and the checkpoint that was learned from it knows it, too
    flags = ("--eval-only", "--resume-path", first, "--logdir", tmp_path)
    assert trained.use("atari_style_cql", *flags) == 0
    out = capsys.readouterr().out
    assert trained.last_json(out)["test"]["baselines"][row] == baselines[row]

    policy = load_policy(run / "policy.pth")
    save_policy(run / "policy.pth", policy.actor, policy.about | {"epoch": 77})
    trained.train("atari_style_cql", path, tmp_path / "second", "--epoch", "1")
    out = capsys.readouterr().out
    assert "is another checkpoint than the one that made the dataset" in out and row not in out
    (run / "policy.pth").unlink()
    trained.train("atari_style_cql", path, tmp_path / "third", "--epoch", "1")
    out = capsys.readouterr().out
    assert f"its checkpoint {run / 'policy.pth'} is not there any more" in out and row not in out


def test_a_checkpoint_named_from_here_moves_with_its_dataset(il_run, tmp_path, capsys, monkeypatch):
    home, moved = tmp_path / "home", tmp_path / "moved"
    for name in ("policies", "sets"):
        (home / name).mkdir(parents=True)
    shutil.copy(il_run / "policy.pth", home / "policies/il.pth")
    monkeypatch.chdir(home)
    arguments = ("--watch", "--resume-path", "policies/il.pth", "--buffer-size", SIZE)
    arguments += ("--save-buffer-name", "sets/il.hdf5")
    assert trained.use("atari_style_il", *arguments) == 0
    assert read_provenance("sets/il.hdf5")["policy"]["path"] == "../policies/il.pth"
    monkeypatch.chdir(tmp_path)
    home.rename(moved)
    capsys.readouterr()
    row = "behaviour il checkpoint"
    run = trained.train("atari_style_il", moved / "sets/il.hdf5", tmp_path / "log", "--epoch", "1")
    assert row in capsys.readouterr().out
    flags = ("--eval-only", "--resume-path", run, "--logdir", tmp_path)
    assert trained.use("atari_style_il", *flags) == 0
    assert row in capsys.readouterr().out
    (moved / "policies/il.pth").unlink()
    assert trained.use("atari_style_il", *flags) == 0
    out = capsys.readouterr().out
    assert f"its checkpoint {moved / 'policies/il.pth'} is not there any more" in out


def test_it_can_be_described(il_run, tmp_path, capsys):
    path = tmp_path / "expert.hdf5"
    recorded("atari_style_il", il_run, path, "--eps-test", 0.5)
    capsys.readouterr()
    assert describe.main([str(path)]) == 0
    out = capsys.readouterr().out
    assert f"checkpoint(method=il, path={il_run / 'policy.pth'}, content_hash=" in out
    assert ", epsilon 0.5" in out


def test_the_expert_line_on_another_task(cart_run, tmp_path, capsys):
    path = tmp_path / "expert.hdf5"
    buffer, provenance = recorded("atari_style_il", cart_run, path, "--eps-test", 0.2)
    assert provenance["task"] == "CartPole-v1" and provenance["policy"]["method"] == "il"
    own = load_policy(cart_run / "policy.pth").act(buffer.obs)
    assert 0.05 < (buffer.act != own).mean() < 0.15
    recorded("atari_style_il", cart_run, tmp_path / "again.hdf5", "--eps-test", 0.2)
    assert path.read_bytes() == (tmp_path / "again.hdf5").read_bytes()
    assert scripts.run("atari_style_il", path, tmp_path) == 0
    assert "CartPole-v1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--test-start", "2021-01-01"], "--test-start: a dataset is recorded where"),
        (["--env", "end=2030-01-01"], "--env end: a dataset is recorded on the market and"),
        (["--env", "window_sizes=[4,7]"], "the checkpoint's observations"),
        (["--env", "autoreset_mode=NextStep"], "collecting always uses 'SameStep'"),
    ],
)
def test_what_does_not_fit_the_checkpoint(flags, message, il_run, tmp_path, capsys):
    arguments = ("--watch", "--resume-path", il_run, "--save-buffer-name", tmp_path / "a.hdf5")
    assert message in trained.refusal(capsys, "atari_style_il", *arguments, *flags)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_does_not_know_its_dates(il_run, tmp_path, capsys):
    policy = load_policy(il_run / "policy.pth")
    about = json.loads(json.dumps(policy.about))
    about["dataset"]["provenance"] = None
    save_policy(tmp_path / "policy.pth", policy.actor, about)
    flags = ("--watch", "--resume-path", tmp_path / "policy.pth", "--save-buffer-name")
    error = trained.refusal(capsys, "atari_style_il", *flags, tmp_path / "a.hdf5")
    assert "does not say on which dates it was trained" in error


def test_existing_files_are_kept_unless_told(il_run, tmp_path, capsys):
    path = tmp_path / "a.hdf5"
    path.write_text("mine")
    flags = ("--watch", "--resume-path", il_run, "--save-buffer-name", path, "--buffer-size", 200)
    assert "--overwrite" in trained.refusal(capsys, "atari_style_il", *flags)
    assert path.read_text() == "mine"
    assert trained.use("atari_style_il", *flags, "--overwrite") == 0
    assert len(load_buffer(path)[0]) == 200
