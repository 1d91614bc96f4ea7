"""The comparison with d3rlpy and CORL: how a peer is asked, and the table. No speed."""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from benchmarks import training, training_peers
from benchmarks.machine import describe_machine, read_result
from benchmarks.machine import write_result as write_to
from benchmarks.peers import side
from benchmarks.training_cases import CASES, LARGE, LITTLE, WITHOUT_STOCK, Size
from benchmarks.training_peers import METHODS, PEER_FOLDER, Peer
from benchmarks.training_tables import peers_table

SMALL = Size(4, (8, 8), 16)
# A peer's script whose every step is counted in what it measures.
FAKE = f"""
import sys
sys.path.insert(0, {str(PEER_FOLDER)!r})
import side

def make_step(method, columns, hidden, batch, rows):
    if method == "bad":
        raise KeyError("no such method")
    print("noise")
    side.rate = lambda step, seconds: columns + batch / 1000 + seconds
    return lambda: None

side.serve({{"d3rlpy": "9.9", "rows": 3}}, make_step)
"""
# CORL's interface, with an arithmetic that needs no checking.
CORL = """
import d4rl, gym, pyrallis, torch, wandb
from dataclasses import dataclass
from typing import Optional
from torch import nn

@dataclass
class TrainConfig:
    device: str = "cuda"

def wrap(env: Optional[gym.Env] = None) -> gym.Env: ...

class ReplayBuffer:
    def __init__(self, state_dim, action_dim, buffer_size, device="cpu"):
        self.shape = (state_dim, action_dim)
    def load_d4rl_dataset(self, data):
        print("Dataset size")
        self.data = [torch.as_tensor(data[key]).float() for key in sorted(data)]
        assert len(self.data) == 5 and data["observations"].shape[1] == self.shape[0]
    def sample(self, batch_size):
        return [part[:batch_size] for part in self.data]

class Actor(nn.Module):
    def __init__(self, *arguments, **sizes):
        super().__init__()
        self.first = nn.Linear(2, 2)

class Trainer:
    def __init__(self, *arguments, **more):
        self.networks = [x for x in arguments if isinstance(x, nn.Module)]
        self.networks[0](torch.zeros(1, 4)) if "net" in dir(self.networks[0]) else None
    def train(self, batch):
        assert [len(part) for part in batch] == [16] * 5

Critic = TanhGaussianPolicy = FullyConnectedQFunction = GaussianPolicy = TwinQ = Actor
ValueFunction = Actor
Actor.forward = lambda self, x: self.net(x)
TD3_BC = ContinuousCQL = ImplicitQLearning = Trainer

@pyrallis.wrap()
def train(config: TrainConfig): ...
"""


@pytest.fixture
def fake(tmp_path):
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    return script


def test_a_peer_answers_until_it_is_told_to_end(fake):
    peer = Peer(sys.executable, fake)
    assert peer.versions["d3rlpy"] == "9.9"
    peer.send(("IL", SMALL))
    assert peer.recv() is True
    peer.send(0.5)
    assert peer.recv() == pytest.approx(4 + 0.016 + 0.5)
    peer.close()
    assert peer._process.returncode == 0


def test_a_peer_that_fails_says_why(fake, tmp_path):
    peer = Peer(sys.executable, fake)
    peer.send(("bad", SMALL))
    with pytest.raises(ValueError, match=r"fake\.py failed: KeyError: 'no such method'"):
        peer.recv()
    peer.close()
    with pytest.raises(ValueError, match=r"No such file or directory\. Name a python"):
        Peer(str(tmp_path / "none"), fake)


@pytest.mark.parametrize(("flags", "message"), [
    (["--d3rlpy", sys.executable], "d3rlpy_training.py failed: ModuleNotFoundError: No module"),
    (["--corl", "no-such-folder"], "no-such-folder/algorithms/offline/td3_bc.py'"),
    ([], "nothing to compare with"),
    (["--corl", "x", "--rounds", "0"], "--rounds >= 1"),
])  # fmt: skip
def test_bad_peers_are_one_clear_error(flags, message, capsys, monkeypatch):
    monkeypatch.setattr(training, "processes", None)  # nothing is measured before
    assert training_peers.main(flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_both_sides_in_rounds(fake, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_peers, "PEER_FOLDER", tmp_path)
    monkeypatch.setattr(training_peers, "write_result", lambda *a: write_to(*a, tmp_path))
    monkeypatch.setattr(training, "processes", lambda side: Fixed(side))
    fake.rename(tmp_path / "d3rlpy_training.py")
    flags = ["--d3rlpy", sys.executable, "--seconds", "0.25", "--methods", "IQL", "BCQ"]
    assert training_peers.main(flags) == 0
    result = read_result("training_peers", tmp_path)
    assert result["peer_versions"] == {"d3rlpy": "9.9"} and list(result["cases"]) == ["IQL", "BCQ"]
    spreads = result["cases"]["IQL"][str(LITTLE)]
    assert spreads["ours"]["median"] == 33.0
    assert spreads["d3rlpy"]["max"] == pytest.approx(16 + 0.064 + 0.25)
    assert "| IQL | 16, [64, 64], 64 | 33.0 (33.0 to 33.0) | 16.3" in capsys.readouterr().out


class Fixed:
    """Our side without a process."""

    def __init__(self, side):
        self.side = side

    def __enter__(self):
        return {self.side: self}

    def __exit__(self, *_):
        pass

    def send(self, asked):
        pass

    def recv(self):
        return 33.0


def test_corl_s_loops_are_built_as_they_are(tmp_path):
    folder = tmp_path / "algorithms" / "offline"
    folder.mkdir(parents=True)
    for name in ("td3_bc", "cql", "iql"):
        (folder / f"{name}.py").write_text(textwrap.dedent(CORL))
    peer = Peer(sys.executable, PEER_FOLDER / "corl_training.py", str(tmp_path), rows=50)
    for method in ("TD3+BC", "CQL", "IQL"):
        peer.send((method, SMALL))
        assert peer.recv() is True
        peer.send(0.001)
        assert peer.recv() > 0
    peer.close()


def test_every_method_is_known_to_its_peers_and_to_us():
    ours = {case.name for case in (*CASES, *WITHOUT_STOCK)}
    for peer in ("d3rlpy", "corl"):
        tree = ast.parse(Path(PEER_FOLDER / f"{peer}_training.py").read_text())
        (table,) = [
            node.value for node in tree.body
            if isinstance(node, ast.Assign) and node.targets[0].id == "METHODS"
        ]  # fmt: skip
        known = {key.value for key in table.keys}
        assert known == {method for method, peers in METHODS.items() if peer in peers}
        assert known <= ours


def test_the_same_seed_draws_the_same_data():
    one, other = (side.draw(3, continuous=True, rows=2000) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert one["obs"].shape == (2000, 3) and np.flatnonzero(one["terminated"]).tolist() == [
        999,
        1999,
    ]
    assert side.draw(3, continuous=False, rows=10)["act"].dtype == np.int64


def test_the_table_has_a_column_for_each_peer():
    def around(value):
        return {"median": value, "min": value, "max": value}

    sides = {"ours": around(100.0), "d3rlpy": around(40.0)}
    result = {
        "machine": describe_machine(), "peer_versions": {"d3rlpy": "2.8.1"}, "rounds": 3,
        "seconds": 2.0, "cases": {
            "IL": {str(LARGE): sides}, "IQL": {str(LARGE): sides | {"corl": around(200.0)}},
        },
    }  # fmt: skip
    text = peers_table(result)
    assert "| d3rlpy | ratio | CORL | ratio |" in text and "d3rlpy 2.8.1" in text
    assert "| 100 (100 to 100) | 40.0 (40.0 to 40.0) | 2.50 | - | - |" in text
    assert "| 40.0 (40.0 to 40.0) | 2.50 | 200 (200 to 200) | 0.50 |" in text
