"""What a dataset and the checkpoint learned from it say of the task is the same."""

from __future__ import annotations

import json

import pytest

from offline_algos.checkpoint import load_policy, save_policy
from offline_algos.datasets import load_dataset
from offline_algos.origin import checkpoint_origin
from tests.offline_algos import trained
from tests.offline_algos.test_recording import recorded


def test_a_checkpoint_says_what_its_dataset_says(
    il_run, continuous_run, dataset_file, continuous_file
):
    for run, data in ((il_run, dataset_file), (continuous_run, continuous_file)):
        before = load_dataset(str(data), 0, continuous=data is continuous_file).origin
        after = checkpoint_origin(load_policy(run / "policy.pth").about, "policy.pth")
        for name in ("provenance", "task", "collection", "observation_shape", "parts",
                     "action_shape", "behavior_return"):  # fmt: skip
            assert getattr(after, name) == getattr(before, name)
        assert {k: after.market[k] for k in before.market} == before.market
        assert after.action_range == ((0, 2) if run is il_run else (0.0, 1.0))
        assert (before.evaluation, before.noun) == (None, "the dataset")
        assert set(after.evaluation) == {"market", "validation", "test"}


def test_a_policy_trained_in_the_environment_itself(il_run, tmp_path, capsys):
    """It has no dataset, but a market and a span: overlap is refused, a recording stays inside."""
    policy = load_policy(il_run / "policy.pth")
    about = json.loads(json.dumps(policy.about))
    provenance = about.pop("dataset")["provenance"]
    about |= {"dataset": None}
    told = ("task", "config", "market", "span")  # as online_setup tells it
    about["training"] = {name: provenance[name] for name in told}
    path = tmp_path / "policy.pth"
    save_policy(path, policy.actor, about)
    flags = ("--eval-only", "--resume-path", path, "--logdir", tmp_path)
    error = trained.refusal(capsys, "atari_style_il", *flags, "--test-start", "2020-01-02")
    assert "overlaps" in error
    assert trained.use("atari_style_il", *flags) == 0
    made = trained.last_json(capsys.readouterr().out)
    result = json.loads((il_run / "result.json").read_text())
    assert made["test"]["policy"] == result["test"]["best"]
    assert list(made["test"]["baselines"]) == ["flat", "buy-and-hold", "random"]
    _, again = recorded("atari_style_il", path, tmp_path / "a.hdf5")
    for name in ("span", "market", "layout", "action", "episode_steps"):
        assert again[name] == provenance[name]
    assert again["config"]["random_start"] is True


@pytest.mark.parametrize("missing", ["layout", "action_space", "evaluation", "task"])
def test_a_checkpoint_that_lacks_something(missing, il_run):
    about = {k: v for k, v in load_policy(il_run / "policy.pth").about.items() if k != missing}
    with pytest.raises(KeyError, match=missing):
        checkpoint_origin(about, "policy.pth")
