from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.data import Batch

from data_tools.files import replacing
from gym_trade import VectorTradeEnv
from offline_algos.checkpoint import CheckpointError, load_policy, save_policy
from offline_algos.networks import NormalisedNet
from offline_algos.normalisation import Normaliser, Statistics

MEAN, STD = np.array([30_000.123456789, -2.0, 0.1]), np.array([1.0, 1e-5, 3.0])


def network(num_atoms: int) -> NormalisedNet:
    torch.manual_seed(0)
    made = NormalisedNet(
        Normaliser(Statistics(MEAN, STD)),
        state_shape=(3,), action_shape=5, hidden_sizes=[8, 8], num_atoms=num_atoms,
    )  # fmt: skip
    with torch.no_grad():  # spread the values, so that observations decide between the actions
        made.model.model[-1].weight.mul_(50.0)
    return made


@pytest.mark.parametrize("num_atoms", [1, 16])
def test_round_trip_gives_identical_actions(tmp_path: Path, num_atoms: int):
    made = network(num_atoms)
    save_policy(tmp_path / "policy.pth", made, {"task": "T", "layout": [["account_state", 0, 3]]})
    loaded = load_policy(tmp_path / "policy.pth")
    assert loaded.about == {"task": "T", "layout": [["account_state", 0, 3]]}
    assert not loaded.network.training
    assert loaded.network.normaliser.mean.dtype == torch.float64
    np.testing.assert_array_equal(loaded.network.normaliser.mean, MEAN)
    for left, right in zip(made.parameters(), loaded.network.parameters(), strict=True):
        assert torch.equal(left, right)
    rng = np.random.default_rng(0)
    observations = (MEAN + STD * rng.normal(size=(500, 3))).astype(np.float32)
    actions = loaded.act(observations)
    assert actions.dtype == np.int64 and len(set(actions.tolist())) > 1
    values = made(observations)[0].detach()
    expected = (values.mean(2) if num_atoms > 1 else values).argmax(1)
    np.testing.assert_array_equal(actions, expected)


def test_acts_as_tianshou_s_policy_does(tmp_path: Path):
    made = network(16)
    save_policy(tmp_path / "policy.pth", made, {})
    observations = (MEAN + STD * np.random.default_rng(1).normal(size=(100, 3))).astype(np.float32)
    space = VectorTradeEnv(action_levels=(0.0, 0.25, 0.5, 0.75, 1.0)).single_action_space
    policy = QRDQNPolicy(model=made, action_space=space)
    expected = policy(Batch(obs=observations, info=Batch())).act
    np.testing.assert_array_equal(load_policy(tmp_path / "policy.pth").act(observations), expected)


def test_checkpoint_is_read_without_pickle(tmp_path: Path):
    save_policy(tmp_path / "policy.pth", network(1), {"seed": 3})
    assert set(torch.load(tmp_path / "policy.pth", weights_only=True)) == {
        "format", "format_version", "network", "about",
    }  # fmt: skip


def test_what_is_no_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_policy(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Path("x")))
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pth")
    save_policy(tmp_path / "cut.pth", network(1), {})
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:500])
    for name in ("text", "pickle", "cut"):
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            load_policy(tmp_path / f"{name}.pth")
    with pytest.raises(CheckpointError, match="not written by offline_algos"):
        load_policy(tmp_path / "other.pth")


def test_observations_of_another_shape_are_refused(tmp_path: Path):
    save_policy(tmp_path / "policy.pth", network(1), {})
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
