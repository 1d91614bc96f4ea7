from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from offline_algos.encoders import ENCODERS
from offline_algos.networks import (
    Critic,
    DeterministicNetwork,
    GaussianNetwork,
    Inputs,
    ValueNetwork,
    as_inputs,
)

WINDOWS = (
    ("market_data_1Minute", 0, 20, (4, 5)),
    ("market_data_5Minute", 20, 50, (6, 5)),
    ("account_state", 50, 56, (6,)),
)
IMAGE = (("image", 0, 36 * 36, (1, 36, 36)),)
NETWORKS = {
    "values": lambda inputs: ValueNetwork(inputs, 3),
    "quantiles": lambda inputs: ValueNetwork(inputs, 3, 8),
    "deterministic": lambda inputs: DeterministicNetwork(inputs, 2),
    "gaussian": lambda inputs: GaussianNetwork(inputs, 2),
    "critic": lambda inputs: Critic(inputs, 2),
}

each_encoder = pytest.mark.parametrize("encoder", ENCODERS)
each_network = pytest.mark.parametrize("name", NETWORKS)


def inputs(encoder: str) -> Inputs:
    torch.manual_seed(0)
    return Inputs(IMAGE if encoder == "nature" else WINDOWS, encoder, (16, 8))


def observations(encoder: str, rows: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, inputs(encoder).columns, generator=generator)


def outputs(network: nn.Module, obs: torch.Tensor) -> list[torch.Tensor]:
    if isinstance(network, Critic):
        return [network(obs, torch.linspace(-1.0, 1.0, 2 * len(obs)).view(-1, 2))]
    made = network(obs)[0]
    return list(made) if isinstance(made, tuple) else [made]


@each_encoder
@pytest.mark.parametrize("rows", [1, 5])
def test_shapes(encoder: str, rows: int):
    obs = observations(encoder, rows)
    shapes = {
        name: [tuple(out.shape) for out in outputs(make(inputs(encoder)), obs)]
        for name, make in NETWORKS.items()
    }
    assert shapes == {
        "values": [(rows, 3)],
        "quantiles": [(rows, 3, 8)],
        "deterministic": [(rows, 2)],
        "gaussian": [(rows, 2), (rows, 2)],
        "critic": [(rows, 1)],
    }


@each_encoder
def test_a_critic_s_two_parts_are_the_whole(encoder: str):
    critic, obs = Critic(inputs(encoder), 2).double(), observations(encoder, 6).double()
    actions = torch.randn(6, 4, 2, dtype=torch.float64)
    one = critic.value(critic.read(obs), actions[:, 0])
    torch.testing.assert_close(one, critic(obs, actions[:, 0]))
    many = critic.value(critic.read(obs).unsqueeze(1), actions)
    assert many.shape == (6, 4, 1)
    apart = torch.stack([critic(obs, actions[:, n]) for n in range(4)], dim=1)
    torch.testing.assert_close(many, apart)
    assert bool((apart[:, 0] != apart[:, 1]).all()) and bool((apart[0] != apart[1]).all())


@torch.no_grad()
def test_an_action_is_heard_among_hundreds_of_columns():
    """As much of what a new critic says is about one action as about all columns together."""
    torch.manual_seed(0)
    heard = []
    for columns in (4, 400):
        critic = Critic(Inputs([("all", 0, columns, (columns,))]), 1)
        obs, act = torch.randn(500, columns), torch.rand(500, 1) * 2 - 1
        about_actions = critic(obs[:1].expand(500, -1), act).std()
        heard.append(float(about_actions / critic(obs, act[:1].expand(500, -1)).std()))
    assert heard[1] > 0.5 * heard[0] > 0.1


@each_encoder
def test_a_critic_values_observations_alone(encoder: str):
    critic, obs = Critic(inputs(encoder), 0), observations(encoder)
    assert critic(obs).shape == (32, 1) and len(critic(obs).unique()) > 1


@each_encoder
@each_network
def test_the_gradient_reaches_all_weights(encoder: str, name: str):
    network = NETWORKS[name](inputs(encoder)).double()
    made = outputs(network, observations(encoder, 64).double())
    sum((out * torch.randn_like(out)).sum() for out in made).backward()
    largest = {key: weight.grad.abs().amax() for key, weight in network.named_parameters()}
    missed = [key for key, slope in largest.items() if slope < 1e-9]  # beyond rounding
    assert not missed


@each_encoder
@each_network
def test_arguments_make_it_again(encoder: str, name: str):
    made, obs = NETWORKS[name](inputs(encoder)), observations(encoder)
    again = type(made)(**json.loads(json.dumps(made.arguments)))
    assert list(again.state_dict()) == list(made.state_dict())
    again.load_state_dict(made.state_dict())
    assert json.dumps(again.arguments) == json.dumps(made.arguments)
    for left, right in zip(outputs(made, obs), outputs(again, obs), strict=True):
        assert torch.equal(left, right)


@each_encoder
def test_inputs_survive_json(encoder: str):
    given = inputs(encoder)
    text = json.dumps(given.to_dict())
    again = as_inputs(json.loads(text))
    assert json.dumps(again.to_dict()) == text
    assert [tuple(part[:3]) for part in again.layout] == [part[:3] for part in given.layout]
    assert (again.encoder, again.columns) == (given.encoder, given.layout[-1][2])
    assert as_inputs(given) is given


def test_actions_and_deviations_stay_in_their_range():
    far = observations("mlp") * 1e6
    (actions,) = outputs(DeterministicNetwork(inputs("mlp"), 2), far)
    assert actions.abs().max().item() == 1.0
    mean, deviation = outputs(GaussianNetwork(inputs("mlp"), 2), far)
    assert mean.abs().max().item() > 1.0
    assert deviation.min().item() == pytest.approx(2.0611536e-9)
    assert deviation.max().item() == pytest.approx(7.3890561)


@pytest.mark.parametrize("name", ["values", "deterministic", "gaussian"])
def test_a_state_passes_through(name: str):
    state = object()
    assert NETWORKS[name](inputs("mlp"))(observations("mlp"), state)[1] is state
