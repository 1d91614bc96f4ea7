"""The Decision Transformer's network and the actor that remembers for it."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from tianshou.data import Collector, VectorReplayBuffer

from offline_algos.actors import ActorPolicy
from offline_algos.checkpoint import load_policy, save_policy
from offline_algos.gym_task import ListeningVectorEnv
from offline_algos.networks import Inputs
from offline_algos.normalisation import Normaliser, Statistics
from offline_algos.transformer_actor import TransformerActor, with_target
from offline_algos.transformer_network import TIMESTEP_EMBEDDINGS, TransformerNetwork

torch.set_num_threads(1)
COLUMNS, ACTIONS, WIDTH, LENGTH = 7, 3, 2, 5
WINDOWS = [("market_data_1min", 0, 6, (3, 2)), ("account_state", 6, 7, (1,))]
LOW, HIGH = [-1.0, 0.0], [1.0, 10.0]


def make_network(continuous=False, **changes):
    torch.manual_seed(0)
    inputs = Inputs(WINDOWS, changes.pop("encoder", "mlp"), changes.pop("hidden_sizes", ()))
    settings = {
        "context_length": LENGTH, "layers": 2, "heads": 2, "embedding_size": 16, "longest": 50,
        "return_scale": 4.0,
    }  # fmt: skip
    made = TransformerNetwork(
        inputs, WIDTH if continuous else ACTIONS, continuous=continuous, **(settings | changes)
    )
    with torch.no_grad():  # away from what is nearly linear, so that every input matters
        for parameter in made.blocks.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
        made.head[-1].weight.mul_(10.0)
    return made.eval()


def make_actor(continuous=False, target=2.5, **changes):
    rng = np.random.default_rng(0)
    normaliser = Normaliser(Statistics(rng.normal(size=COLUMNS), rng.uniform(0.5, 2, COLUMNS)))
    box = {"low": LOW, "high": HIGH} if continuous else {}
    return TransformerActor(normaliser, make_network(continuous, **changes), target, **box)


def contexts(continuous=False, batch=4, length=LENGTH):
    """Normalised observations, actions, returns, timesteps."""
    torch.manual_seed(1)
    act = torch.randint(ACTIONS, (batch, length))
    if continuous:
        act = torch.rand(batch, length, WIDTH) * 2 - 1
    steps = torch.arange(length) + torch.randint(20, (batch, 1))
    return [torch.randn(batch, length, COLUMNS), act, torch.randn(batch, length), steps]


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


def play(actor, steps, restart=None, lanes=3):
    """Step lanes with random observations and rewards; lane 1 begins anew at step `restart`.

    Returns what each step gave, and the same from `predict` on the lanes' whole contexts.
    """
    rng = np.random.default_rng(5)
    actor.begin(np.arange(lanes))
    memory = [[] for _ in range(lanes)]  # (observation, action, return-to-go, timestep)
    owed = np.full(lanes, actor.target_return)
    stepwise, whole = [], []
    for step in range(steps):
        if step == restart:
            actor.begin(np.array([1]))
            memory[1], owed[1] = [], actor.target_return
        observations = torch.tensor(rng.normal(size=(lanes, COLUMNS)), dtype=torch.float32)
        chosen = actor(observations)
        stepwise.append(chosen)
        whole.append([])
        for lane, past in enumerate(memory):
            past.append([observations[lane], chosen[lane], owed[lane], len(past)])
            whole[-1].append(predicted(actor, past[-LENGTH:]))
        rewards = rng.normal(size=lanes)
        actor.observe(np.arange(lanes), rewards)
        owed -= rewards
    return torch.stack(stepwise), torch.stack([torch.stack(row) for row in whole])


def predicted(actor, past):
    """`predict` for one lane, its own last action replaced: nothing may read it."""
    missing = LENGTH - len(past)
    rows = [past[0]] * missing + past
    obs, act = (torch.stack([row[k] for row in rows])[None] for k in (0, 1))
    act[:, -1] = 0
    owed = torch.tensor([[row[2] for row in rows]], dtype=torch.float32)
    steps = torch.tensor([[row[3] for row in rows]])
    return actor.predict(obs, act, owed, steps, torch.arange(LENGTH)[None] >= missing)[0]


@pytest.mark.parametrize("embedding", TIMESTEP_EMBEDDINGS)
@pytest.mark.parametrize("continuous", [False, True])
def test_step_by_step_is_the_whole_context_at_once(continuous, embedding):
    actor = make_actor(continuous, timestep_embedding=embedding)
    stepwise, whole = play(actor, 14, restart=6)
    if continuous:
        torch.testing.assert_close(stepwise, whole, rtol=0, atol=1e-4)
        assert stepwise[..., 1].min() > 0.0 and stepwise[..., 1].max() > 2.0  # its box
        assert stepwise.std((0, 1)).min() > 0.1
    else:
        assert stepwise.dtype == torch.int64 and torch.equal(stepwise, whole)
        assert len(stepwise.unique()) > 1
    # two episodes of the same observations and rewards are the same: nothing was kept
    again, _ = play(actor, 14, restart=6)
    assert torch.equal(again, stepwise)


def test_windows_are_read_by_an_encoder():
    actor = make_actor(True, encoder="gru")
    stepwise, whole = play(actor, 8)
    torch.testing.assert_close(stepwise, whole, rtol=0, atol=1e-4)


def test_what_is_earned_is_no_longer_to_go():
    asked, changed = make_actor(True), make_actor(True)
    observations = torch.randn(1, COLUMNS)
    for actor in (asked, changed):
        actor.begin(np.array([0]))
        actor(observations)
    changed.observe(np.array([0]), np.array([1.5]))
    assert not torch.allclose(asked(observations), changed(observations), atol=1e-3)


def test_another_target_is_another_policy_with_the_same_network():
    actor = make_actor(True, target=1.0)
    other = with_target(actor, -3.0)
    assert other.network is actor.network and other.target_return == -3.0
    assert other.arguments == actor.arguments | {"target_return": -3.0}
    observations = torch.randn(2, COLUMNS)
    first = actor(observations)
    assert not torch.allclose(other(observations), first, atol=1e-3)
    torch.testing.assert_close(with_target(other, 1.0)(observations), first)


def test_the_checkpoint_acts_as_the_actor_does(tmp_path):
    for continuous in (False, True):
        actor = make_actor(continuous, dropout=0.5, timestep_embedding="learnt")
        expected, _ = play(actor, 8)
        actor.network.train()  # as an interrupted update might leave it
        save_policy(tmp_path / "policy.pth", actor, {})
        loaded = load_policy(tmp_path / "policy.pth").actor
        assert loaded.target_return == 2.5
        assert json.loads(json.dumps(actor.arguments)) == json.loads(json.dumps(loaded.arguments))
        assert torch.equal(play(loaded, 8)[0], expected)


def test_an_actor_has_no_dropout_whoever_sets_its_mode():
    actor = make_actor(True, dropout=0.5)
    policy = ActorPolicy(actor, spaces.Box(np.float32(LOW), np.float32(HIGH)))
    for switch in (lambda: policy.train(), lambda: actor.train(True), lambda: policy.eval()):
        switch()
        assert not any(module.training for module in actor.modules())


class Countdown(gym.Env):
    """Observes its own number and the step; rewards 1; ends after `steps`."""

    observation_space = spaces.Box(-100, 100, (COLUMNS,), np.float32)
    action_space = spaces.Discrete(ACTIONS)

    def __init__(self, number, steps):
        self.number, self.steps = number, steps

    def _seen(self):
        return np.full(COLUMNS, self.number + self.now / 10, np.float32)

    def reset(self, *, seed=None, options=None):
        self.now = 0
        return self._seen(), {}

    def step(self, action):
        self.now += 1
        return self._seen(), 1.0, self.now == self.steps, False, {}


def test_lanes_that_the_collector_needs_no_more_do_not_disturb_the_others():
    """One episode a lane: those that end early are left out from then on."""
    lengths = [6, 2, 9, 2]
    actor = make_actor(target=6.0)
    makers = [lambda n=n, k=k: Countdown(n, k) for n, k in enumerate(lengths)]
    environments = ListeningVectorEnv(makers, actor)
    collector = Collector(
        ActorPolicy(actor, Countdown.action_space), environments, VectorReplayBuffer(40, 4)
    )
    for _ in range(2):
        collector.reset()
        collected = collector.collect(n_episode=4)
        assert sorted(collected.lens) == sorted(lengths)
        for lane, length in enumerate(lengths):
            alone = with_target(actor, 6.0)
            environment = Countdown(0, length)
            environment.number = lane
            seen, _ = environment.reset()
            acted = []
            for _ in range(length):
                acted.append(int(alone(torch.tensor(seen)[None])))
                seen, reward, *_ = environment.step(acted[-1])
                alone.observe(np.array([0]), np.array([reward]))
            own = collector.buffer.buffers[lane]
            assert own.act[: len(own)].tolist() == acted


def test_rows_that_cannot_be_told_apart_are_refused():
    actor = make_actor()
    actor(torch.zeros(3, COLUMNS))
    with pytest.raises(ValueError, match="2 observations, but 3 lanes have begun, 3 of which"):
        actor(torch.zeros(2, COLUMNS))
    actor.begin(np.array([0]))
    assert actor(torch.zeros(2, COLUMNS)).shape == (2,)


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


def test_lanes_may_join_later():
    actor = make_actor(True)
    actor.begin(np.array([0]))
    first = actor(torch.ones(1, COLUMNS))
    actor.begin(np.array([0, 1, 2]))
    torch.testing.assert_close(actor(torch.ones(3, COLUMNS)), first.expand(3, -1))
