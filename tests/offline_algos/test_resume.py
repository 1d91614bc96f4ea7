"""A run that was interrupted and goes on is the run that was not."""

from __future__ import annotations

import shutil

import h5py
import pytest
import torch

from data_tools.collect import collect
from offline_algos import resume, runner
from offline_algos.checkpoint import CheckpointError
from offline_algos.training_log import TrainingLog
from tests.offline_algos import scripts


def dataset_of(name, dataset_file, continuous_file):
    return continuous_file if name.startswith("d4rl") else dataset_file


@pytest.mark.parametrize("name", scripts.NAMES)
def test_half_and_half_is_the_whole(name, dataset_file, continuous_file, tmp_path, capsys):
    """The first half is stopped in the middle of its second epoch: that epoch is done again."""
    data = dataset_of(name, dataset_file, continuous_file)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    flags = ["--epoch", "3", "--update-per-epoch", "12", *scripts.SOON]
    assert scripts.run(name, data, whole, *flags) == 0
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        seen = TrainingLog.log_update_data

        def interrupt(self, log_data, step):
            seen(self, log_data, step)
            if step == 17:
                raise KeyboardInterrupt

        patch.setattr(TrainingLog, "log_update_data", interrupt)
        scripts.run(name, data, halves, *flags)
    assert scripts.run(name, data, halves, *flags, "--resume") == 0
    assert "going on after epoch 1, 12 updates" in capsys.readouterr().out
    (left, one), (right, other) = scripts.only_result(whole), scripts.only_result(halves)
    for file in ("last.pth", "policy.pth"):
        expected, made = scripts.weights(left / file), scripts.weights(right / file)
        assert all(torch.equal(expected[key], made[key]) for key in expected)
    states = [torch.load(folder / resume.FILE, weights_only=True) for folder in (left, right)]
    same_tree(states[0]["algorithm"], states[1]["algorithm"])
    for key in ("validation_returns", "best_epoch", "losses", "updates", "epochs"):
        assert one[key] == other[key], key
    assert one["test"]["last"] == other["test"]["last"]


def same_tree(left, right):
    """Equal in every tensor and number."""
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            same_tree(left[key], right[key])
    elif isinstance(left, list | tuple):
        for one, other in zip(left, right, strict=True):
            same_tree(one, other)
    else:
        assert left == right


def stopped(dataset_file, logdir, capsys):
    """The state of a run of IL that was interrupted after its first epoch."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):

        def interrupt(self, log_data, step):
            if step == 25:
                raise KeyboardInterrupt

        patch.setattr(TrainingLog, "log_update_data", interrupt)
        scripts.run("atari_style_il", dataset_file, logdir)
    capsys.readouterr()
    (state,) = logdir.rglob(resume.FILE)
    return state


def refused(capsys, dataset_file, logdir, *flags):
    assert scripts.run("atari_style_il", dataset_file, logdir, "--resume", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_what_cannot_go_on(dataset_file, tmp_path, capsys):
    assert "no interrupted run with seed 0" in refused(capsys, dataset_file, tmp_path)
    state = stopped(dataset_file, tmp_path, capsys)
    assert "no interrupted run with seed 1" in refused(
        capsys, dataset_file, tmp_path, "--seed", "1"
    )
    error = refused(capsys, dataset_file, tmp_path, "--lr", "0.5")
    assert "--lr 0.5 now, 0.0001 in" in error and "Pass --lr 0.0001, or" in error
    error = refused(capsys, dataset_file, tmp_path, "--hidden-sizes", "9")
    assert "Pass --hidden-sizes 8, or" in error
    whole = state.read_bytes()
    state.write_bytes(whole[:300])
    assert "cannot be read as a training state" in refused(capsys, dataset_file, tmp_path)
    shutil.copy(state.with_name("last.pth"), state)
    assert "no training state of this version" in refused(capsys, dataset_file, tmp_path)
    state.write_bytes(whole)
    assert scripts.run("atari_style_il", dataset_file, tmp_path, "--resume", "--epoch", "3") == 0
    assert scripts.only_result(tmp_path)[1]["epochs"] == 3
    error = refused(capsys, dataset_file, tmp_path)
    assert "no interrupted run with seed 0, and " in error and "ended after its 3 epochs" in error
    assert "A larger --epoch goes on with it" in error
    error = refused(capsys, dataset_file, tmp_path, "--epoch", "4", "--lr", "0.5")
    assert "--lr 0.5 now, 0.0001 in" in error


@pytest.mark.parametrize("name", ["atari_style_cql", "d4rl_style_dt"])
def test_an_ended_run_is_made_longer(name, dataset_file, continuous_file, tmp_path, capsys):
    """With a larger --epoch, and it is the run that was as long from the beginning."""
    data = dataset_of(name, dataset_file, continuous_file)
    whole, longer = tmp_path / "whole", tmp_path / "longer"
    short = ["--update-per-epoch", "12", "--logger", "csv", *scripts.SOON, "--epoch"]
    assert scripts.run(name, data, whole, *short, "3") == 0
    assert scripts.run(name, data, longer, *short, "1") == 0
    assert scripts.run(name, data, longer, *short, "3", "--resume") == 0
    assert "going on after epoch 1, 12 updates" in capsys.readouterr().out
    (left, one), (right, other) = scripts.only_result(whole), scripts.only_result(longer)
    for file in ("last.pth", "policy.pth"):
        same_tree(scripts.weights(left / file), scripts.weights(right / file))
    for key in ("validation_returns", "best_epoch", "losses", "updates", "epochs"):
        assert one[key] == other[key], key
    assert len((right / "progress.csv").read_text().splitlines()) == 5
    # the run that was interrupted goes first, whichever is newer
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(TrainingLog, "log_update_data", stop_at_once)
        scripts.run(name, data, longer, *short, "2")
    (right / resume.FILE).touch()
    assert scripts.run(name, data, longer, *short, "4", "--resume") == 0
    assert "going on after epoch 0, 0 updates" in capsys.readouterr().out


def stop_at_once(self, log_data, step):
    raise KeyboardInterrupt


def test_an_interrupted_extension_goes_on(dataset_file, tmp_path, capsys):
    """The result of the shorter run is gone by then: its checkpoint is no longer what it was."""
    name, flags = "atari_style_il", ["--resume", "--epoch", "3"]
    assert scripts.run(name, dataset_file, tmp_path) == 0
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(TrainingLog, "log_update_data", stop_at_once)
        scripts.run(name, dataset_file, tmp_path, *flags)
    assert not scripts.results(tmp_path)
    assert scripts.run(name, dataset_file, tmp_path, *flags) == 0
    assert scripts.only_result(tmp_path)[1]["epochs"] == 3


@pytest.mark.parametrize("layout", ["full", "indexed"])
def test_altered_shards_cannot_go_on(market_file, tmp_path, capsys, layout):
    """The file that joins them is as it was, and so are their names and sizes."""
    data, log = tmp_path / "a.hdf5", tmp_path / "log"
    collect(
        data, buffer_size=240, market=str(market_file), num_envs=4, episode_steps=30, shards=2,
        env={"time_frames": ["1min"], "window_sizes": [4]}, layout=layout, progress=False,
        echo=None,
    )  # fmt: skip
    stopped(data, log, capsys)
    shard = sorted(tmp_path.glob("a.hdf5.shards-*/0*.hdf5"))[1]
    kept = shard.read_bytes()
    with h5py.File(shard, "r+") as file:
        file["rew" if layout == "indexed" else "_meta/rew"][5] += 1.0
    error = refused(capsys, data, log)
    assert "00001.hdf5 has changed since" in error
    shard.write_bytes(kept)
    assert scripts.run("atari_style_il", data, log, "--resume") == 0


def test_another_method_s_state_does_not_fit(dataset_file, tmp_path, capsys):
    state = stopped(dataset_file, tmp_path, capsys)
    content = resume.read_training(state)
    content["algorithm"] = {k: v for k, v in content["algorithm"].items() if "head" not in k}
    torch.save(content, state)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_unfinished", lambda *_: state.parent)
        assert scripts.run("atari_style_il", dataset_file, tmp_path, "--resume") == 2
    with pytest.raises(CheckpointError, match="no training state at"):
        resume.read_training(tmp_path / "none.pth")
