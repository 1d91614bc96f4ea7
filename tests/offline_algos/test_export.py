from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline_algos import checkpoint, export
from offline_algos.actors import Actor, DeterministicActor, GaussianActor, GreedyActor
from offline_algos.bcq import VAE, BatchConstrainedActor, Perturbation
from offline_algos.candidates import ClippedCandidates, SquashedCandidates
from offline_algos.checkpoint import TrainedPolicy, load_policy, save_policy
from offline_algos.discrete_bcq import ConstrainedActor
from offline_algos.export import ExportError, export_onnx, export_torchscript, main
from offline_algos.networks import (
    Critic,
    DeterministicNetwork,
    GaussianNetwork,
    Inputs,
    ValueNetwork,
)
from offline_algos.normalisation import Normaliser, Statistics

WINDOWS = (
    ("market_data_1Minute", 0, 20, (4, 5)),
    ("market_data_5Minute", 20, 50, (6, 5)),
    ("account_state", 50, 56, (6,)),
)
IMAGE = (("image", 0, 36 * 36, (1, 36, 36)),)
ABOUT = {"method": "cql", "task": "T", "layout": [["x", 0, 56]], "seed": 3}
BOX = {"low": [-1.0, 0.0], "high": [1.0, 5.0]}
# A price level whose deviation float32 can hardly tell from rounding.
LEVEL, DEVIATION = 30_000.123456789, 0.01


def make(kind: str, encoder: str = "mlp") -> Actor:
    torch.manual_seed(0)
    layout = IMAGE if encoder == "nature" else WINDOWS
    inputs, columns = Inputs(layout, encoder, (16, 16)), layout[-1][2]
    normaliser = Normaliser(
        Statistics(np.linspace(-1.0, LEVEL, columns), np.geomspace(3.0, DEVIATION, columns))
    )
    if kind == "greedy":
        return GreedyActor(normaliser, spread(ValueNetwork(inputs, 3, 4)))
    if kind == "constrained":
        networks = (spread(ValueNetwork(inputs, 3)) for _ in range(2))
        return ConstrainedActor(normaliser, *networks, threshold=0.3)
    if kind == "deterministic":
        return DeterministicActor(normaliser, DeterministicNetwork(inputs, 2), **BOX)
    if kind == "gaussian":
        return GaussianActor(normaliser, GaussianNetwork(inputs, 2), **BOX)
    if kind.endswith("candidates"):
        made = ClippedCandidates if kind.startswith("clipped") else SquashedCandidates
        critics = [Critic(inputs, 2), Critic(inputs, 2)]
        network = made.network_class(inputs, 2)
        return made(normaliser, network, critics, **BOX, candidates=10)
    assert kind == "batch_constrained"
    networks = (VAE(inputs, 2, 4), Perturbation(inputs, 2, 0.05), Critic(inputs, 2))
    return BatchConstrainedActor(normaliser, *networks, **BOX, samples=10)


def spread(network: ValueNetwork) -> ValueNetwork:
    """So that observations decide between the actions."""
    with torch.no_grad():
        network.head.weight.mul_(50.0)
    return network


def observations(actor: Actor, rows: int) -> np.ndarray:
    mean, std = actor.normaliser.mean.numpy(), actor.normaliser.std.numpy()
    noise = np.random.default_rng(7).normal(size=(rows, len(mean)))
    return (mean + std * noise).astype(np.float32)


def policy(actor: Actor, tmp_path: Path) -> TrainedPolicy:
    save_policy(tmp_path / "policy.pth", actor, ABOUT)
    return load_policy(tmp_path / "policy.pth")


@pytest.fixture
def runtime() -> Any:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    return pytest.importorskip("onnxruntime")


def compare(actions: np.ndarray, expected: np.ndarray) -> None:
    assert actions.dtype == expected.dtype and actions.shape == expected.shape
    if expected.dtype == np.int64:
        np.testing.assert_array_equal(actions, expected)
    else:
        np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)


CASES = [
    ("greedy", "gru"),
    ("greedy", "nature"),
    ("constrained", "mlp"),
    ("deterministic", "transformer"),
    ("gaussian", "cnn"),
    ("batch_constrained", "mlp"),
    ("clipped_candidates", "mlp"),
    ("squashed_candidates", "mlp"),
]


@pytest.mark.parametrize(("kind", "encoder"), CASES)
def test_an_onnx_file_acts_as_the_policy(tmp_path: Path, runtime: Any, kind: str, encoder: str):
    trained = policy(make(kind, encoder), tmp_path)
    assert export_onnx(trained, tmp_path / "policy.onnx")
    session = runtime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, made.name) == ("observations", "tensor(float)", "actions")
    for rows in (1, 2, 57):
        raw = observations(trained.actor, rows)
        actions = session.run(None, {"observations": raw})[0]
        compare(actions, trained.act(raw))
    assert len(np.unique(actions)) > 1
    about = json.loads(session.get_modelmeta().custom_metadata_map["about"])
    assert about == {"method": "cql", "task": "T", "layout": [["x", 0, 56]]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.onnx", "policy.pth"]


@pytest.mark.parametrize(
    ("kind", "encoder"), [*CASES, ("greedy", "cnn"), ("greedy", "transformer"), ("gaussian", "gru")]
)
def test_torchscript_acts_as_the_policy(tmp_path: Path, kind: str, encoder: str):
    trained = policy(make(kind, encoder), tmp_path)
    export_torchscript(trained, tmp_path / "policy.pt")
    extra = {"about.json": ""}
    with export._quiet():
        loaded = torch.jit.load(tmp_path / "policy.pt", _extra_files=extra)
    for rows in (1, 2, 57):
        raw = observations(trained.actor, rows)
        compare(loaded(torch.as_tensor(raw)).detach().numpy(), trained.act(raw))
    assert json.loads(extra["about.json"])["method"] == "cql"


def test_all_kinds_of_actors_are_here():
    assert {kind for kind, _ in CASES} | {"transformer"} >= set(checkpoint.ACTORS)


def test_normalisation_stays_float64(tmp_path: Path, runtime: Any):
    trained = policy(make("deterministic"), tmp_path)
    export_onnx(trained, tmp_path / "policy.onnx")
    session = runtime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    raw = observations(trained.actor, 50)
    actions = session.run(None, {"observations": raw})[0]
    compare(actions, trained.act(raw))
    rounded = load_policy(tmp_path / "policy.pth")
    rounded.actor.normaliser.float()
    assert np.abs(rounded.act(raw) - actions).max() > 1e-3


def test_the_policy_is_left_as_it_was(tmp_path: Path):
    trained = policy(make("greedy", "gru"), tmp_path)
    trained.actor.train()
    export_torchscript(trained, tmp_path / "policy.pt")
    assert trained.actor.training
    assert all(weight.requires_grad for weight in trained.actor.parameters())


class Turncoat(GreedyActor):
    """Acts otherwise while it is exported, as one would that draws its actions."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            observations = 2.0 * self.normaliser.mean - observations
        return super().forward(observations)


@pytest.mark.parametrize("write", [export_onnx, export_torchscript])
def test_a_file_that_acts_otherwise_is_not_written(tmp_path: Path, write: Any, request: Any):
    if write is export_onnx:
        request.getfixturevalue("runtime")
    made = make("greedy")
    target = tmp_path / "made"
    target.write_text("old")
    actor = Turncoat(made.normaliser, made.network)
    with pytest.raises(ExportError, match=r"made is not written: for \d+ of 1024 random"):
        write(TrainedPolicy(actor, {}), target)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


class Remembering(GreedyActor):
    kind = "remembering"

    def begin(self, lanes: Any) -> None:
        self.lanes = lanes


@pytest.mark.parametrize("kind", [GreedyActor, Remembering])
def test_an_actor_that_remembers_is_refused(tmp_path: Path, kind: Any):
    made = make("greedy")
    actor = kind(made.normaliser, made.network)
    actor.stateful = kind is GreedyActor
    with pytest.raises(ExportError, match="remembers its episode"):
        export_torchscript(TrainedPolicy(actor, {}), tmp_path / "made")
    assert not list(tmp_path.iterdir())


def test_a_diverged_policy_is_refused(tmp_path: Path):
    made = make("greedy")
    with torch.no_grad():
        made.network.head.weight[0, 0] = float("nan")
    with pytest.raises(ExportError, match="diverged"):
        export_torchscript(TrainedPolicy(made, {}), tmp_path / "made")


def test_command_line(tmp_path: Path, runtime: Any, capsys: pytest.CaptureFixture[str]):
    raw = observations(make("greedy"), 20)
    expected = policy(make("greedy"), tmp_path).act(raw)
    names = [str(tmp_path / name) for name in ("policy.pth", "policy.onnx", "policy.pt")]
    assert main([names[0], "--onnx", names[1], "--torchscript", names[2]]) == 0
    said = capsys.readouterr()
    same = "written, it acts as the policy does\n"
    assert said.out == f"{names[1]} {same}{names[2]} {same}" and said.err == ""
    session = runtime.InferenceSession(names[1], providers=["CPUExecutionProvider"])
    compare(session.run(None, {"observations": raw})[0], expected)
    assert (tmp_path / "policy.pt").stat().st_size > 0


def failure(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("error: ")
    return said.err


def test_each_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    policy(make("greedy"), tmp_path)
    (tmp_path / "text.pth").write_text("hello")
    made, target = tmp_path / "policy.pth", tmp_path / "new.pt"
    assert "no checkpoint at" in failure(capsys, tmp_path / "x.pth", "--torchscript", target)
    said = failure(capsys, tmp_path / "text.pth", "--torchscript", target)
    assert "cannot be read as a checkpoint" in said
    assert "nothing to write: pass --onnx" in failure(capsys, made)
    nowhere = tmp_path / "none" / "new.pt"
    said = failure(capsys, made, "--torchscript", nowhere)
    assert f"{nowhere} cannot be written: No such file" in said
    assert "cannot be written: Is a dir" in failure(capsys, made, "--torchscript", tmp_path)
    before = made.read_bytes()
    again = tmp_path / "." / "policy.pth"
    assert "need different names" in failure(capsys, made, "--torchscript", again)
    assert "need different names" in failure(
        capsys, made, "--onnx", target, "--torchscript", target
    )
    assert made.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.pth", "text.pth"]


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_without_the_packages_it_is_said_how_to_get_them(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, name: str
):
    policy(make("greedy"), tmp_path)
    monkeypatch.setitem(sys.modules, name, None)
    said = failure(capsys, tmp_path / "policy.pth", "--onnx", tmp_path / "policy.onnx")
    assert name in said and "pip install 'gym-trade[export]'" in said


def test_without_the_runtime_a_file_is_written_unchecked(
    tmp_path: Path, runtime: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    policy(make("greedy"), tmp_path)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "onnxruntime", None)
        arguments = [str(tmp_path / "policy.pth"), "--onnx", str(tmp_path / "policy.onnx")]
        assert main(arguments) == 0
    assert "policy.onnx written, not checked, which needs onnxruntime" in capsys.readouterr().out
    assert runtime.InferenceSession(tmp_path / "policy.onnx").get_inputs()[0].shape[1] == 56
