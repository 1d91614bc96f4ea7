"""The flags that say how batches are drawn, from the command line to the weights."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import torch

from data_tools.layouts import to_indexed
from offline_algos import online, resume, runner, sampling
from offline_algos.prefetch import BatchesAhead, MovedBatches
from offline_algos.training_log import TrainingLog
from tests.offline_algos import prioritised, scripts
from tests.offline_algos.test_resume import same_tree

CQL, TD3 = "atari_style_cql", "d4rl_style_td3_bc"
SHORT = ["--epoch", "3", "--update-per-epoch", "12"]


def interrupted(run, at):
    """Run until the update of this number, then as if Ctrl-C were pressed."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        seen = TrainingLog.log_update_data

        def interrupt(self, log_data, step):
            seen(self, log_data, step)
            if self.updates == at:
                raise KeyboardInterrupt

        patch.setattr(TrainingLog, "log_update_data", interrupt)
        run()
    assert stop.value.code == 130


def same_runs(whole, halves):
    """Two runs ended with the same weights, scores and states; what the states are."""
    (left, one), (right, other) = scripts.only_result(whole), scripts.only_result(halves)
    for file in ("last.pth", "policy.pth"):
        expected, made = scripts.weights(left / file), scripts.weights(right / file)
        assert all(torch.equal(expected[key], made[key]) for key in expected)
    states = [torch.load(folder / resume.FILE, weights_only=True) for folder in (left, right)]
    for part in ("algorithm", "random", "priorities"):
        same_tree(states[0][part], states[1][part])
    assert one["losses"] == other["losses"] and one["test"]["last"] == other["test"]["last"]
    return states[0]


@pytest.mark.parametrize("name", [CQL, TD3, "d4rl_style_dt"])
def test_prefetched_batches_change_nothing(name, dataset_file, continuous_file, tmp_path):
    """Interrupted, gone on with and with batches drawn ahead it is the run without all that."""
    data = dataset_file if name == CQL else continuous_file
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert scripts.run(name, data, whole, *SHORT) == 0
    interrupted(lambda: scripts.run(name, data, halves, *SHORT, "--prefetch", "3"), 17)
    assert scripts.run(name, data, halves, *SHORT, "--resume", "--prefetch", "2") == 0
    assert same_runs(whole, halves)["priorities"] is None


def test_priorities_are_resumed_to_the_bit(dataset_file, tmp_path):
    whole, halves, even = (tmp_path / part for part in ("whole", "halves", "even"))
    flags = [*SHORT, "--prioritized", "1", "--priority-beta", "0.5"]
    assert scripts.run(CQL, dataset_file, whole, *flags) == 0
    interrupted(lambda: scripts.run(CQL, dataset_file, halves, *flags), 17)
    assert scripts.run(CQL, dataset_file, halves, *flags, "--resume") == 0
    kept = same_runs(whole, halves)["priorities"]
    assert kept["drawn"] == 36 and len(kept["values"]) == 1200
    assert len(kept["values"].unique()) > 100
    folder, result = scripts.only_result(whole)
    assert result["arguments"]["priority_beta_steps"] == 36
    assert scripts.run(CQL, dataset_file, even, *SHORT) == 0
    other = scripts.weights(scripts.only_result(even)[0] / "last.pth")
    made = scripts.weights(folder / "last.pth")
    assert any(not torch.equal(made[key], other[key]) for key in made)


def test_an_online_memory_is_drawn_from_by_priorities(tmp_path, monkeypatch):
    """Also when it forgets, and when it is gone on with."""
    monkeypatch.setattr(online, "forget", lambda state: None)
    flags = ["--task", "CartPole-v1", "--epoch", "4", "--buffer-size", "100", "--prioritized", "1",
             "--eps-decay-steps", "200"]  # fmt: skip
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert scripts.explore(prioritised.QRDQN, whole, *flags) == 0
    interrupted(lambda: scripts.explore(prioritised.QRDQN, halves, *flags), 34)
    assert scripts.explore(prioritised.QRDQN, halves, *flags, "--resume") == 0
    kept = same_runs(whole, halves)["priorities"]
    assert kept["drawn"] == 60 and kept["filled"] == 100 and len(kept["values"].unique()) > 20
    arguments = scripts.only_result(whole)[1]["arguments"]
    assert arguments["priority_beta_steps"] == 60


def test_a_mapped_dataset_trains_the_same_weights(dataset_file, tmp_path):
    indexed = to_indexed(dataset_file, tmp_path / "indexed.hdf5")
    made = []
    for flags in ([], ["--mmap", "1", "--prefetch", "1"]):
        logdir = tmp_path / str(len(made))
        assert scripts.run(CQL, indexed, logdir, *flags) == 0
        made.append(scripts.weights(scripts.only_result(logdir)[0] / "last.pth"))
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])


@pytest.mark.parametrize("name", prioritised.OTHERS)
def test_methods_without_such_errors_do_not_know_the_flag(name, tmp_path, capsys):
    module = importlib.import_module(f"offline_algos.{name}")
    source = "--task" if name.endswith("sac") else "--load-buffer-name"
    assert module.main([source, "-", "--logdir", str(tmp_path), "--prioritized", "1"]) == 2
    error = capsys.readouterr().err
    assert "--prioritized" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prefetch", "2", "--prioritized", "1"], "before the priorities are known"),
        (["--prefetch", "-1"], "--prefetch: expected a whole number"),
        (["--priority-alpha", "0.6"], "--priority-alpha belongs to --prioritized 1"),
        (["--priority-beta", "1.5"], "--priority-beta: expected a number"),
        (["--data-device", "disk"], "--data-device: expected cpu, cuda"),
        (["--mmap", "1"], "--layout indexed"),
        (["--reward-scale", "0"], "--reward-scale: expected a number above 0, or returns"),
        (["--reward-scale", "range"], "--reward-scale: expected a number above 0, or returns"),
        (["--reward-shift", "nan"], "--reward-shift: expected a number"),
    ],
)
def test_what_cannot_be(flags, message, dataset_file, tmp_path, capsys):
    assert scripts.run(CQL, dataset_file, tmp_path, *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())


def flags_of(*flags):
    parser = importlib.import_module(f"offline_algos.{CQL}").make_parser()
    return parser.parse_args(["--load-buffer-name", "-", "--device", "cpu", *flags])


def test_data_stay_where_networks_are_unless_asked():
    args = flags_of()
    sampling.settle(args, 10)
    assert args.data_device == "cpu" and args.priority_beta_steps is None
    args = flags_of("--data-device", "cpu")
    args.device = "cuda"  # no machine has to have one for this
    sampling.settle(args, 10)
    assert args.data_device == "cpu"
    args.device, args.data_device = "cpu", "cuda"
    with pytest.raises(ValueError, match="Pass one of the two"):
        sampling.settle(args, 10)
    args.device, args.mmap = "cuda", 1
    with pytest.raises(ValueError, match="--mmap 1 leaves the dataset on disk"):
        sampling.settle(args, 10)


def arranged_kinds(**flags):
    """What stands between a trainer and its buffer, and that it is gone afterwards."""
    _, buffer = prioritised.make(CQL)
    trainer = type("Trainer", (), {"_buffer": buffer})()
    given = vars(flags_of()) | {"data_device": "cpu"} | flags
    with sampling.arranged(trainer, given):
        made = trainer._buffer
        rows = made.sample(4)[1]
    assert trainer._buffer is buffer and len(rows) == 4
    return made, buffer


def test_nothing_stands_before_the_buffer_unless_asked():
    made, buffer = arranged_kinds()
    assert made is buffer
    assert isinstance(arranged_kinds(prefetch=2)[0], BatchesAhead)
    assert isinstance(arranged_kinds(device="meta")[0], MovedBatches)
    assert isinstance(arranged_kinds(device="meta", prefetch=1)[0], BatchesAhead)


def test_a_training_is_validated_in_the_environment_s_unit(dataset_file, tmp_path):
    """Rewards that are learned from are other ones; what is shown is not."""
    results = []
    for flags in ([], ["--reward-scale", "returns", "--reward-shift", "-0.5"]):
        logdir = tmp_path / str(len(results))
        assert scripts.run("atari_style_bcq", dataset_file, logdir, "--lr", "1e-9", *flags) == 0
        results.append(scripts.only_result(logdir)[1])
    plain, scaled = results
    assert plain["losses"] != scaled["losses"]
    for key in ("behavior_return", "behavior_return_std", "validation_returns"):
        assert json.dumps(plain[key]) == json.dumps(scaled[key]), key
    assert plain["test"]["baselines"] == scaled["test"]["baselines"]
    assert np.isfinite(scaled["losses"]["loss"])
    assert runner.state_arguments({"arguments": scaled["arguments"]})["reward_scale"] == "returns"
