"""Runs of the Decision Transformer: what it learns, repeats, goes on with and is tested at."""

from __future__ import annotations

import argparse
import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tianshou.trainer import OfflineTrainerParams
from tianshou.utils.torch_utils import policy_within_training_step

from data_tools.buffers import TensorReplayBuffer
from offline_algos.datasets import episode_returns
from offline_algos.decision_transformer import (
    target_returns,
)
from offline_algos.normalisation import Normaliser
from offline_algos.sequence_buffer import SequenceBuffer
from offline_algos.transformer_actor import TransformerActor, with_target
from tests.offline_algos import batches, scripts
from tests.offline_algos.decision_transformer_setups import (
    LENGTH,
    WIDTH,
    data,
    make,
    parameters,
    two_ways,
)


@pytest.mark.parametrize("embedding", ["sinusoidal", "learnt", "none"])
@pytest.mark.parametrize("continuous", [False, True])
def test_the_target_return_selects_what_is_done(continuous, embedding):
    """Trained by Tianshou's trainer, on episodes that differ in action and return alone."""
    algorithm = make(
        continuous, columns=2, timestep_embedding=embedding, return_scale=5.0, longest=5
    )
    algorithm.create_trainer(
        OfflineTrainerParams(
            buffer=two_ways(continuous), max_epochs=1, epoch_num_steps=120, batch_size=32,
            show_progress=False, verbose=False,
        )
    ).run()  # fmt: skip
    box = {"low": [-1.0] * WIDTH, "high": [1.0] * WIDTH} if continuous else {}
    actor = TransformerActor(Normaliser.identity(2), algorithm.policy.model, 5.0, **box)
    rng = np.random.default_rng(1)
    for target, action, reward in ((5.0, 0.5 if continuous else 2, 1.0), (0.0, None, 0.0)):
        action = (-0.5 if continuous else 0) if action is None else action
        asked = with_target(actor, target)
        asked.begin(np.arange(4))
        for _ in range(5):
            acted = asked(torch.tensor(rng.normal(size=(4, 2)), dtype=torch.float32))
            assert (acted.double() - action).abs().max() < 0.2
            asked.observe(np.arange(4), np.full(4, reward))


# --- runs that are equal, and that go on ------------------------------------------------------


def test_equal_seeds_are_equal_weights():
    made = []
    for _ in range(2):
        algorithm = make()
        batches.run_ours(algorithm, data(), 5)
        made.append(parameters(algorithm))
    assert torch.equal(*made)


@pytest.mark.parametrize("continuous", [False, True])
def test_a_run_goes_on_from_its_state(continuous):
    whole = make(continuous)
    windows = whole.process_buffer(TensorReplayBuffer(data(continuous)))
    other, others = make(continuous), SequenceBuffer(TensorReplayBuffer(data(continuous)), LENGTH)
    with policy_within_training_step(whole.policy):
        for _ in range(3):
            whole.update(windows, 16)
        state = copy.deepcopy(whole.state_dict())
        schedule = copy.deepcopy([s.state_dict() for s in whole.lr_schedulers])
        torch_state, drawn = torch.get_rng_state(), windows._random_state.get_state()
        expected = [whole.update(windows, 16).loss for _ in range(4)]
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        other.load_state_dict(state)
        for scheduler, saved in zip(other.lr_schedulers, schedule, strict=True):
            scheduler.load_state_dict(saved)
        torch.set_rng_state(torch_state)
        others._random_state.set_state(drawn)
        assert [other.update(others, 16).loss for _ in range(4)] == expected
    assert torch.equal(parameters(whole), parameters(other))


# --- the scripts ------------------------------------------------------------------------------


def test_targets_are_those_given_or_come_from_the_dataset():
    buffer = two_ways(False, episodes=5)
    setup = SimpleNamespace(
        dataset=SimpleNamespace(returns=episode_returns(buffer)), buffer=TensorReplayBuffer(buffer)
    )
    assert target_returns(argparse.Namespace(target_return=[3.0, -1.0]), setup) == [3.0, -1.0]
    nothing = argparse.Namespace(target_return=None)
    setup.dataset.returns = np.array([-4.0, 3.0, 1.0])
    assert target_returns(nothing, setup) == [3.0, 2.0, 1.0]
    words = argparse.Namespace(target_return=["median", 7.0, "best"])
    assert target_returns(words, setup) == [1.0, 7.0, 3.0]
    setup.dataset.returns = np.zeros(0)
    assert target_returns(nothing, setup) == [15.0] * 3


@pytest.mark.parametrize("name", ["atari_style_dt", "d4rl_style_dt"])
def test_a_run_is_tested_at_each_target(name, dataset_file, continuous_file, tmp_path, capsys):
    data_file = continuous_file if name.startswith("d4rl") else dataset_file
    flags = ["--epoch", "1", "--target-return", "0.3", "-0.2"]
    assert scripts.run(name, data_file, tmp_path, *flags) == 0
    directory, result = scripts.only_result(tmp_path)
    written = json.loads((directory / "targets.json").read_text())["targets"]
    assert result["targets"] == written
    assert [x["target_return"] for x in written] == [0.3, -0.2]
    assert {"return", "steps", "terminated", "metrics"} < set(written[0])
    assert written[0]["return"] == result["test"]["best"]["return"]
    actor = scripts.load_policy(directory / "policy.pth").actor
    # returns-to-go are in the unit of the environment's rewards: the dataset's are all below 0.3
    assert actor.target_return == 0.3 and actor.network.return_scale < 0.3
    # a market is one pass, in which the return is asked for anew
    assert actor.target_steps == actor.network.arguments["longest"]
    assert "target +0.3" in capsys.readouterr().out
    assert scripts.run(name, data_file, tmp_path, *flags, "--norm-reward", "1") == 2
    assert "--norm-reward" in capsys.readouterr().err
