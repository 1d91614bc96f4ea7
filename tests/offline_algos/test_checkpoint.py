from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tianshou.data import Batch

from data_tools.files import replacing
from gym_trade import VectorTradeEnv
from offline_algos.actors import ActorPolicy, DeterministicActor, GaussianActor, GreedyActor
from offline_algos.checkpoint import CheckpointError, load_policy, save_policy
from offline_algos.networks import DeterministicNetwork, GaussianNetwork, Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser, Statistics

MEAN, STD = np.array([30_000.123456789, -2.0, 0.1]), np.array([1.0, 1e-5, 3.0])


INPUTS = Inputs([("account_state", 0, 3, (3,))], hidden_sizes=(8, 8))


def greedy(num_atoms: int) -> GreedyActor:
    torch.manual_seed(0)
    network = ValueNetwork(INPUTS, 5, num_atoms)
    with torch.no_grad():  # spread the values, so that observations decide between the actions
        network.head.weight.mul_(50.0)
    return GreedyActor(Normaliser(Statistics(MEAN, STD)), network)


@pytest.mark.parametrize("num_atoms", [1, 16])
def test_round_trip_gives_identical_actions(tmp_path: Path, num_atoms: int):
    made = greedy(num_atoms)
    save_policy(tmp_path / "policy.pth", made, {"task": "T", "layout": [["account_state", 0, 3]]})
    loaded = load_policy(tmp_path / "policy.pth")
    assert loaded.about == {"task": "T", "layout": [["account_state", 0, 3]]}
    assert not loaded.actor.training
    assert loaded.actor.normaliser.mean.dtype == torch.float64
    np.testing.assert_array_equal(loaded.actor.normaliser.mean, MEAN)
    for left, right in zip(made.parameters(), loaded.actor.parameters(), strict=True):
        assert torch.equal(left, right)
    rng = np.random.default_rng(0)
    observations = (MEAN + STD * rng.normal(size=(500, 3))).astype(np.float32)
    actions = loaded.act(observations)
    assert actions.dtype == np.int64 and len(set(actions.tolist())) > 1
    normal = torch.as_tensor(((observations - MEAN) / STD).astype(np.float32))
    values = made.network(normal)[0].detach()
    expected = (values.mean(2) if num_atoms > 1 else values).argmax(1)
    np.testing.assert_array_equal(actions, expected)


@pytest.mark.parametrize(
    ("kind", "network"),
    [(DeterministicActor, DeterministicNetwork), (GaussianActor, GaussianNetwork)],
)
def test_continuous_actions_are_those_of_the_box(tmp_path: Path, kind, network):
    torch.manual_seed(0)
    inner = network(INPUTS, 2)
    made = kind(Normaliser(Statistics(MEAN, STD)), inner, low=[0.0, -3.0], high=[1.0, 5.0])
    save_policy(tmp_path / "policy.pth", made, {})
    observations = (MEAN + STD * np.random.default_rng(0).normal(size=(50, 3))).astype(np.float32)
    actions = load_policy(tmp_path / "policy.pth").act(observations)
    assert actions.dtype == np.float32 and actions.shape == (50, 2)
    normal = torch.as_tensor(((observations.astype(float) - MEAN) / STD).astype(np.float32))
    with torch.no_grad():
        out = inner(normal)[0]
    plain = (torch.tanh(out[0]) if kind is GaussianActor else out).numpy()
    np.testing.assert_allclose(actions, (plain + 1) / 2 * [1.0, 8.0] + [0.0, -3.0], atol=1e-6)


def test_acts_for_tianshou_s_collector_as_it_acts_alone(tmp_path: Path):
    made = greedy(16)
    save_policy(tmp_path / "policy.pth", made, {})
    observations = (MEAN + STD * np.random.default_rng(1).normal(size=(100, 3))).astype(np.float32)
    space = VectorTradeEnv(action_levels=(0.0, 0.25, 0.5, 0.75, 1.0)).single_action_space
    expected = ActorPolicy(made, space)(Batch(obs=observations, info=Batch())).act
    np.testing.assert_array_equal(load_policy(tmp_path / "policy.pth").act(observations), expected)


def test_checkpoint_is_read_without_pickle(tmp_path: Path):
    save_policy(tmp_path / "policy.pth", greedy(1), {"seed": 3})
    assert set(torch.load(tmp_path / "policy.pth", weights_only=True)) == {
        "format", "format_version", "actor", "about",
    }  # fmt: skip


def test_a_run_s_directory_stands_for_its_best_checkpoint(tmp_path: Path):
    for name, seed in (("policy.pth", 3), ("last.pth", 4)):
        save_policy(tmp_path / name, greedy(1), {"seed": seed})
    assert load_policy(tmp_path).about["seed"] == 3
    (tmp_path / "policy.pth").unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*policy\.pth"):
        load_policy(tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_policy(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Path("x")))
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pth")
    save_policy(tmp_path / "cut.pth", greedy(1), {})
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:500])
    for name in ("text", "pickle", "cut"):
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            load_policy(tmp_path / f"{name}.pth")
    with pytest.raises(CheckpointError, match="not written by offline_algos"):
        load_policy(tmp_path / "other.pth")


def test_observations_of_another_shape_are_refused(tmp_path: Path):
    save_policy(tmp_path / "policy.pth", greedy(1), {})
    policy = load_policy(tmp_path / "policy.pth")
    for shape in ((3,), (2, 4)):
        with pytest.raises(ValueError, match=r"expected \(n, 3\)"):
            policy.act(np.zeros(shape, np.float32))


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, error: type[BaseException]):
    target = tmp_path / "policy.pth"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as temporary:
        temporary.write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["policy.pth"]
    assert target.read_text() == "old"
