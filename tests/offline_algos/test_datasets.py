from __future__ import annotations

import hashlib

import numpy as np
import pytest

from data_tools.hdf5 import load_buffer
from data_tools.relabel import relabel
from offline_algos.datasets import behaviour_reference, load_dataset, make_dataset
from tests.offline_algos import samples, scripts


def test_a_file_and_its_buffer_say_the_same(dataset_file):
    dataset = load_dataset(str(dataset_file), seed=1)
    assert dataset.content_hash == hashlib.sha256(dataset_file.read_bytes()).hexdigest()
    start, end = dataset.origin.collection
    assert str(start.tzinfo) == "UTC" and start < end
    ends = np.flatnonzero(dataset.buffer.done)
    parts = np.split(dataset.buffer.rew, ends + 1)[:-1]
    np.testing.assert_allclose(dataset.returns, [part.sum() for part in parts], atol=1e-12)
    assert behaviour_reference(dataset)["behavior_episodes"] == 8

    buffer, _ = load_buffer(dataset_file)
    plain = make_dataset(buffer, None, seed=1)
    assert plain.origin.collection is None and plain.content_hash is None
    reference = behaviour_reference(plain)
    assert reference["behavior_return"] == pytest.approx(dataset.returns.mean())
    assert reference["behavior_episodes"] == 16


def test_sampling_is_seeded():
    observations = np.zeros((100, 2), np.float32)
    draws = [
        make_dataset(samples.buffer(observations), None, seed=seed).buffer.sample_indices(50)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_returns_of_a_buffer_that_wrapped_and_has_an_unfinished_episode():
    buffer = samples.buffer(np.zeros((230, 2), np.float32), size=120)
    buffer.done[buffer.last_index] = False
    returns = make_dataset(buffer, None, seed=0).returns
    rewards = buffer.rew[buffer.sample_indices(0)]  # rows 110 to 229, episodes end every 50
    np.testing.assert_allclose(returns, [rewards[:40].sum(), rewards[40:90].sum()])


@pytest.mark.parametrize("name", ["atari_style_il", "atari_style_dt"])
def test_what_nobody_did_is_not_imitated(name, dataset_file, tmp_path, capsys):
    path = tmp_path / "more.hdf5"
    relabel(dataset_file, path, actions="all", progress=False)
    logged, more = (load_dataset(str(each), seed=0) for each in (dataset_file, path))
    assert len(more.buffer) > len(logged.buffer)
    np.testing.assert_array_equal(more.returns, logged.returns)  # of episodes, not of branches
    assert scripts.run(name, path, tmp_path / "log") == 2
    error = capsys.readouterr().err
    assert "counterfactual transitions" in error and error.count("\n") == 1


@pytest.fixture(scope="module")
def branched(dataset_file, continuous_file, tmp_path_factory):
    """A dataset with counterfactual transitions for each kind of script."""
    folder = tmp_path_factory.mktemp("branched")
    made = {"atari": folder / "discrete.hdf5", "d4rl": folder / "continuous.hdf5"}
    for source, path, actions in (
        (dataset_file, made["atari"], "all"), (continuous_file, made["d4rl"], "random"),
    ):  # fmt: skip
        relabel(source, path, actions=actions, progress=False)
    return made


@pytest.mark.parametrize(
    ("name", "flags", "imitator"),
    [
        ("atari_style_bcq", [], "the model of which actions are likely imitates"),
        ("d4rl_style_bcq", [], "the autoencoder that proposes actions imitates"),
        ("d4rl_style_td3_bc", [], "the term that stays near the data's actions imitates"),
        ("d4rl_style_cql", ["--cloning-steps", "5"], "--cloning-steps 5 imitates"),
        ("d4rl_style_cql", [], None),
        ("atari_style_cql", [], None),
        *((f"{kind}_style_{method}", [], "the policy, weighted by advantage, imitates")
          for kind in ("atari", "d4rl") for method in ("crr", "iql")),
    ],
)  # fmt: skip
def test_what_imitates_beside_values_says_so(name, flags, imitator, branched, tmp_path, capsys):
    path = branched[name.split("_")[0]]
    # what is refused next keeps this short: the note comes before the market is opened
    assert scripts.run(name, path, tmp_path, *flags, "--test-market", "nowhere.csv") == 2
    *notes, error = capsys.readouterr().err.splitlines()
    assert "nowhere.csv" in error
    if imitator is None:
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith("note: ") and imitator in note and str(path) in note


def test_the_note_counts_and_training_goes_on(branched, dataset_file, tmp_path, capsys):
    assert scripts.run("atari_style_bcq", branched["atari"], tmp_path, "--logger", "none") == 0
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "note: " in line]
    assert f"note: 2400 of 3600 transitions of {branched['atari']} are" in note
    flags = ("--logger", "none", "--test-market", "nowhere.csv")
    assert scripts.run("atari_style_bcq", dataset_file, tmp_path, *flags) == 2
    assert "note: " not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("d4rl_style_td3_bc", ["--alpha", "0"]),
        ("d4rl_style_crr", ["--policy-improvement-mode", "all"]),
        ("atari_style_crr", ["--policy-improvement-mode", "all"]),
    ],
)
def test_flags_that_leave_imitation_alone_are_refused(name, flags, branched, tmp_path, capsys):
    assert scripts.run(name, branched[name.split("_")[0]], tmp_path / "log", *flags) == 2
    error = capsys.readouterr().err
    assert "imitation would copy actions that nobody took" in error and error.count("\n") == 1
