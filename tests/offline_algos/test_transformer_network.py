"""The network of the Decision Transformer: what it may look at, and what it knows of time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offline_algos.transformer_network import TIMESTEP_EMBEDDINGS
from tests.offline_algos.transformer_setups import (
    ACTIONS,
    COLUMNS,
    LENGTH,
    contexts,
    make_actor,
    make_network,
)


@pytest.mark.parametrize("embedding", TIMESTEP_EMBEDDINGS)
@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_later_token_changes_no_earlier_prediction(continuous, embedding, masked):
    network = make_network(continuous, timestep_embedding=embedding)
    given = contexts(continuous)
    mask = torch.ones(4, LENGTH, dtype=torch.bool) if masked else None
    before = network(*given, mask)
    for kind in range(3):
        for place in range(LENGTH):
            changed = [part.clone() for part in given]
            kept = changed[kind][:, place]
            changed[kind][:, place] = (kept + 1) % ACTIONS if kept.dtype == torch.int64 else -kept
            moved = (network(*changed, mask) - before).abs().amax((0, 2))
            # an action is predicted before it is seen; return and observation are seen first
            first = place + (kind == 1)
            assert (moved[:first] < 1e-6).all(), (kind, place)
            assert (moved[first:] > 1e-5).all(), (kind, place)


@pytest.mark.parametrize("embedding", TIMESTEP_EMBEDDINGS)
@pytest.mark.parametrize("continuous", [False, True])
def test_padding_does_not_matter(continuous, embedding):
    network = make_network(continuous, timestep_embedding=embedding)
    given = contexts(continuous)
    for missing in range(1, LENGTH):
        mask = torch.arange(LENGTH).expand(4, -1) >= missing
        short = network(*(part[:, missing:] for part in given))
        padded = network(*given, mask)
        torch.testing.assert_close(padded[:, missing:], short, rtol=0, atol=2e-5)
        other = [part.clone() for part in given]
        for part in other:
            part[:, :missing] = part[:, :missing].flip(0)
        torch.testing.assert_close(network(*other, mask)[:, missing:], padded[:, missing:])
        assert not torch.allclose(network(*given)[:, missing:], short, atol=1e-3)


def test_padding_has_something_to_look_at(monkeypatch):
    """A softmax over nothing is not a number in some of the releases of torch that are allowed."""
    attention, seen = torch.nn.functional.scaled_dot_product_attention, []

    def watch(*arguments, attn_mask, **keywords):
        seen.append(bool(attn_mask.any(-1).all()))
        return attention(*arguments, attn_mask=attn_mask, **keywords)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watch)
    make_network()(*contexts(), torch.arange(LENGTH).expand(4, -1) >= 3)
    assert seen == [True, True]


def test_the_last_timestep_alone_is_what_all_of_them_give():
    network = make_network(True)
    given = contexts(True)
    torch.testing.assert_close(network(*given, None, slice(-1, None)), network(*given)[:, -1:])


def test_timesteps_after_the_longest_episode_are_its_last():
    for embedding, changes in (("sinusoidal", True), ("learnt", True), ("none", False)):
        network = make_network(timestep_embedding=embedding)
        obs, act, returns, _ = contexts()
        at = [network(obs, act, returns, torch.full((4, LENGTH), t)) for t in (48, 49, 50, 10**6)]
        assert torch.equal(at[1], at[2]) and torch.equal(at[1], at[3])
        assert torch.equal(at[0], at[1]) != changes


def test_sines_and_cosines_are_vaswani_s():
    network = make_network(longest=10_000)
    made = network._timing(torch.tensor([[0, 1, 77, 9000]]))[0].double()
    for row, step in enumerate((0, 1, 77, 9000)):
        angles = [step / 10_000 ** (2 * k / 16) for k in range(8)]
        wanted = torch.tensor([*np.sin(angles), *np.cos(angles)])
        torch.testing.assert_close(made[row], wanted, rtol=0, atol=2e-3)


@pytest.mark.parametrize("continuous", [False, True])
def test_the_core_can_be_exported(continuous):
    actor = make_actor(continuous)

    class Core(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.actor = actor

        def forward(self, *parts):
            return self.actor.predict(*parts)

    def parts(batch):
        obs, act, *rest = contexts(continuous, batch)
        return (obs, act, *rest, torch.arange(LENGTH).expand(batch, -1) >= 2)

    lanes = torch.export.Dim("lanes", min=1, max=64)
    dynamic = (tuple({0: lanes} for _ in range(5)),)
    exported = torch.export.export(Core(), parts(4), dynamic_shapes=dynamic, strict=False)
    for batch in (1, 9):
        torch.testing.assert_close(exported.module()(*parts(batch)), actor.predict(*parts(batch)))


def test_heads_that_cannot_share_an_embedding_are_refused():
    with pytest.raises(ValueError, match="16 numbers for 3 heads"):
        make_network(heads=3)
    with pytest.raises(ValueError, match="--embedding-size"):
        make_network(heads=1, embedding_size=15)


def test_hidden_layers_stand_before_the_embedding():
    plain, deep = make_network(), make_network(hidden_sizes=(8,))
    assert isinstance(plain.observation, torch.nn.Linear)
    assert plain.observation.weight.shape == (16, COLUMNS)
    assert [tuple(p.shape) for p in deep.observation.parameters()] == [
        (8, COLUMNS), (8,), (16, 8), (16,)
    ]  # fmt: skip
    assert torch.isfinite(deep(*contexts())).all()
