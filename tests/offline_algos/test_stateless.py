"""A Decision Transformer as a file: told its context, it acts as the actor that remembers it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from gym_trade import SequentialEnv
from gym_trade.types import ACCOUNT_STATE_WIDTH
from offline_algos import export, transformer_actor
from offline_algos.checkpoint import TrainedPolicy, load_policy
from offline_algos.export import export_onnx, export_torchscript
from offline_algos.stateless import StatelessTransformer, stateless
from offline_algos.transformer_network import TIMESTEP_EMBEDDINGS
from tests.offline_algos import samples, trained
from tests.offline_algos.transformer_setups import ACTIONS, COLUMNS, LENGTH, WIDTH, make_actor, play

PAGE = Path(__file__).parents[2] / "docs/methods/dt.md"
SHAPES = {
    "observations": ["n", LENGTH, COLUMNS], "actions": ["n", LENGTH],
    "returns_to_go": ["n", LENGTH], "timesteps": ["n", LENGTH], "mask": ["n", LENGTH],
}  # fmt: skip
MASKS = [[1, 1, 0], [0, 1, 1], [1, 0, 1]]  # of a flat, a long and a short position


def runtime() -> Any:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    return pytest.importorskip("onnxruntime")


def compare(stepwise: Any, whole: Any) -> None:
    if stepwise.dtype == torch.int64:
        assert torch.equal(stepwise, whole) and len(stepwise.unique()) > 1
    else:
        torch.testing.assert_close(stepwise, whole, rtol=0, atol=1e-4)
        assert stepwise.std((0, 1)).min() > 0.1


@pytest.mark.parametrize("embedding", TIMESTEP_EMBEDDINGS)
@pytest.mark.parametrize("continuous", [False, True])
def test_torchscript_acts_step_by_step_as_the_actor(tmp_path, monkeypatch, continuous, embedding):
    actor = make_actor(continuous, timestep_embedding=embedding)
    export_torchscript(TrainedPolicy(actor, {"task": "T"}), tmp_path / "policy.pt")
    extra = {"about.json": ""}
    with export._quiet():
        loaded = torch.jit.load(tmp_path / "policy.pt", _extra_files=extra)
    assert json.loads(extra["about.json"]) == {
        "task": "T", "context_length": LENGTH, "target_return": 2.5,
        "target_steps": None,
    }  # fmt: skip
    monkeypatch.setattr(
        transformer_actor.TransformerActor, "predict", lambda _, *inputs: loaded(*inputs)
    )
    compare(*play(actor, 14, restart=6))


@pytest.mark.parametrize("continuous", [False, True])
def test_an_onnx_file_acts_step_by_step_as_the_actor(tmp_path, monkeypatch, continuous):
    # without timesteps: an input that nothing depends on stays one
    actor = make_actor(continuous, timestep_embedding="none")
    assert runtime() and export_onnx(TrainedPolicy(actor, {"task": "T"}), tmp_path / "policy.onnx")
    session = runtime().InferenceSession(
        tmp_path / "policy.onnx", providers=["CPUExecutionProvider"]
    )
    shapes = SHAPES | ({"actions": ["n", LENGTH, WIDTH]} if continuous else {})
    assert {given.name: given.shape for given in session.get_inputs()} == shapes
    (made,) = session.get_outputs()
    assert (made.name, made.shape[0]) == ("action", "n")

    def predict(_, *inputs):
        named = {name: x.numpy() for name, x in zip(SHAPES, inputs, strict=True)}
        return torch.as_tensor(session.run(None, named)[0])

    monkeypatch.setattr(transformer_actor.TransformerActor, "predict", predict)
    compare(*play(actor, 14, restart=6))


def test_what_the_environment_ignores_is_not_chosen(tmp_path):
    """With masks, as of brackets: the newest observation's position says what is allowed."""
    made = make_actor()
    actor = transformer_actor.TransformerActor(made.normaliser, made.network, 2.5, masks=MASKS)
    export_torchscript(TrainedPolicy(actor, {}), tmp_path / "policy.pt")
    with export._quiet():
        loaded = torch.jit.load(tmp_path / "policy.pt")
    inputs = StatelessTransformer(actor).examples(300)
    directions = torch.randint(-1, 2, (300, LENGTH), generator=torch.Generator().manual_seed(3))
    inputs["observations"][..., 1 - ACCOUNT_STATE_WIDTH] = directions.float()
    chosen = loaded(*inputs.values())
    assert torch.equal(chosen, actor.predict(*inputs.values()))
    assert torch.tensor(MASKS)[directions[:, -1], chosen].all()
    free = made.predict(*inputs.values())
    assert not torch.tensor(MASKS)[directions[:, -1], free].all()


def test_padding_and_the_unknown_action_are_not_read():
    module = stateless(make_actor())
    inputs = module.examples(200)
    assert set(inputs["mask"].sum(1).tolist()) == {*range(1, LENGTH + 1)}
    expected, other = module(*inputs.values()), dict(inputs)
    padded = ~inputs["mask"]
    other["observations"] = inputs["observations"].masked_fill(padded[..., None], 1e6)
    for name in ("returns_to_go", "timesteps"):
        other[name] = inputs[name].masked_fill(padded, 77)
    other["actions"] = inputs["actions"].masked_fill(padded, 0)
    other["actions"][:, -1] = (inputs["actions"][:, -1] + 1) % ACTIONS
    assert torch.equal(module(*other.values()), expected)


class Noted(gym.Wrapper):
    """Notes the actions of an episode, and what the policy itself would have done."""

    def __init__(self, environment: gym.Env, policy: TrainedPolicy) -> None:
        super().__init__(environment)
        self.policy, self.actions, self.own = policy, [], []

    def _ask(self, observation: Any) -> None:
        self.own.append(self.policy.act(observation[None])[0])

    def reset(self, **arguments: Any) -> Any:
        self.policy.actor.begin(np.array([0]))
        observation, info = self.env.reset(**arguments)
        self._ask(observation)
        return observation, info

    def step(self, action: Any) -> Any:
        self.actions.append(action)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.policy.actor.observe(np.array([0]), np.array([reward]))
        if not (terminated or truncated):
            self._ask(observation)
        return observation, reward, terminated, truncated, info


def roll_as_the_page_says(folder: Path, environment: gym.Env) -> Noted:
    """Run the program of docs/methods/dt.md with the file that the export command writes."""
    checkpoint, file = folder / "policy.pth", folder / "policy.onnx"
    assert export.main([str(checkpoint), "--onnx", str(file)]) == 0
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    noted = Noted(environment, load_policy(checkpoint))
    exec(program.replace('"policy.onnx"', repr(str(file))), {"environment": noted})
    return noted


def test_an_episode_of_discrete_actions(tmp_path):
    runtime()
    data = trained.cart_data(tmp_path / "cart.hdf5")
    flags = ("--num-test-envs", "1", "--epoch", "1", "--warmup-steps", "5", "--target-return", "9")
    folder = trained.train("atari_style_dt", data, tmp_path, "--lr", "1e-2", *flags)
    noted = roll_as_the_page_says(folder, gym.make("CartPole-v1"))
    np.testing.assert_array_equal(noted.actions, noted.own)
    assert len(noted.actions) > 8 and set(noted.actions) == {0, 1}


def test_an_episode_of_continuous_actions(transformer_run):
    runtime()
    config = samples.config(action_type="continuous", end="2020-01-02")
    noted = roll_as_the_page_says(transformer_run, SequentialEnv(config))
    assert len(noted.actions) > 100 and np.std(noted.actions) > 1e-4
    np.testing.assert_allclose(noted.actions, noted.own, rtol=0, atol=1e-5)


def test_the_page_names_every_input():
    page = PAGE.read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert documented == list(stateless(make_actor()).examples(1))
