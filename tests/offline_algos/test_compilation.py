"""`--compile`: compiled networks are the same networks."""

from __future__ import annotations

import copy

import pytest
import torch

from offline_algos import compilation
from tests.offline_algos import batches, scripts

# torch's compiler imports its own deprecated parts, and looks at gradients that it is warned of
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
]
needs_compiler = pytest.mark.skipif(not compilation.find_compiler("cpu"), reason="needs g++")


def five_steps(name, *, compiled):
    """The tensors of an algorithm after five steps, and the actor's action."""
    torch._dynamo.reset()
    data = batches.dataset(action_width=int(name.startswith("d4rl")))
    algorithm, actor = scripts.make_algorithm(name)
    keys = list(algorithm.state_dict())
    networks = dict(actor.named_modules())
    if compiled:
        assert compilation.compile_networks(algorithm) > 0
    assert list(algorithm.state_dict()) == keys
    assert dict(actor.named_modules()) == networks
    assert all(module._compiled_call_impl is None for module in networks.values())
    torch.manual_seed(1)
    batches.run_ours(algorithm, data, 5)
    state = algorithm.state_dict()
    observations = torch.ones(1, batches.COLUMNS)
    return {k: v for k, v in state.items() if torch.is_tensor(v)}, actor(observations)


def same_steps(name):
    plain, action = five_steps(name, compiled=False)
    made, other = five_steps(name, compiled=True)
    assert plain.keys() == made.keys()
    for key, value in plain.items():
        torch.testing.assert_close(made[key], value, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(other, action, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in scripts.NAMES if not n.endswith("dt")])
def test_every_algorithm_asks_its_compiled_twins(name, monkeypatch):
    """With a compiler that counts and changes nothing: what is traced is what is run."""
    traced = []

    def count(module, inputs):
        traced.append(module)
        return module.forward

    monkeypatch.setattr(compilation, "OPTIONS", {"dynamic": False, "backend": count})
    same_steps(name)
    assert traced


@needs_compiler
def test_compiled_steps_give_the_same_parameters():
    same_steps("atari_style_il")


def test_twins_share_parameters_and_lists():
    algorithm, actor = scripts.make_algorithm("d4rl_style_bcq")
    before = dict(algorithm.named_parameters())
    lists = copy.copy(dict(actor.vae.named_children()))
    compilation.compile_networks(algorithm)
    after = dict(algorithm.named_parameters())
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert algorithm.policy.vae is not actor.vae
    assert algorithm.policy.vae.decoder is not actor.vae.decoder
    assert dict(actor.vae.named_children()) == lists


def test_defaults_and_missing_compilers(monkeypatch, capsys):
    assert compilation.decide(None, "cpu") == 0
    assert compilation.decide(0, "cuda") == 0
    monkeypatch.setattr(compilation, "find_compiler", lambda device: "/bin/cc")
    assert compilation.decide(1, "cpu") == compilation.decide(None, "cuda:1") == 1
    assert not capsys.readouterr().out
    monkeypatch.setattr(compilation, "find_compiler", lambda device: None)
    assert compilation.decide(None, "cuda") == 0
    assert "no C compiler" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"--compile 1: no C\+\+ compiler .* Install one"):
        compilation.decide(1, "cpu")


def test_compilers_are_what_the_environment_names(monkeypatch):
    for name, device in (("CXX", "cpu"), ("CC", "cuda")):
        monkeypatch.setenv(name, "no-such-compiler")
        assert compilation.find_compiler(device) is None
        monkeypatch.setenv(name, "sh")
        assert compilation.find_compiler(device)


def test_a_run_without_a_compiler_ends_before_it_begins(
    dataset_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert scripts.run("atari_style_il", dataset_file, tmp_path, "--compile", "1") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --compile 1: no C++ compiler") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_compiled_run_is_resumed(dataset_file, tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "OPTIONS", {"dynamic": False, "backend": "eager"})
    monkeypatch.setattr(compilation, "find_compiler", lambda device: "/bin/cc")
    plain, made = tmp_path / "plain", tmp_path / "compiled"
    assert scripts.run("atari_style_cql", dataset_file, plain) == 0
    assert scripts.run("atari_style_cql", dataset_file, made, "--compile", "1") == 0
    (left, one), (right, other) = scripts.only_result(plain), scripts.only_result(made)
    assert (one["arguments"]["compile"], other["arguments"]["compile"]) == (0, 1)
    expected, got = scripts.weights(left / "last.pth"), scripts.weights(right / "last.pth")
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, rtol=0.0, atol=1e-5)
    (right / "result.json").unlink()
    flags = ["--compile", "1", "--resume", "--epoch", "3"]
    assert scripts.run("atari_style_cql", dataset_file, made, *flags) == 0
    assert scripts.only_result(made)[1]["epochs"] == 3
