"""The Decision Transformer's network and the actor that remembers for it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tianshou.data import Collector, VectorReplayBuffer

from offline_algos.actors import ActorPolicy
from offline_algos.checkpoint import load_policy, save_policy
from offline_algos.gym_task import ListeningVectorEnv
from offline_algos.transformer_actor import with_target
from offline_algos.transformer_network import TIMESTEP_EMBEDDINGS
from tests.offline_algos.transformer_setups import (
    COLUMNS,
    HIGH,
    LOW,
    Countdown,
    make_actor,
    play,
)


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


def test_a_return_is_asked_for_anew_after_so_many_steps(tmp_path):
    """An actor that asks anew every four steps acts as one whose episodes have four."""
    anew, told = make_actor(), make_actor()
    anew.target_steps = 4
    torch.manual_seed(3)
    seen = torch.randn(11, 2, COLUMNS)
    both = np.arange(2)
    for step, row in enumerate(seen):
        if step % 4 == 0:
            told.begin(both)
        assert anew(row).tolist() == told(row).tolist()
        for actor in (anew, told):
            actor.observe(both, np.array([0.5, -1.0]))
    assert anew._remaining.tolist() == [2.5 - 3 * 0.5, 2.5 + 3.0]
    assert with_target(anew, 1.0).target_steps == 4
    assert with_target(anew, 1.0, once=True).target_steps is None


def test_lanes_that_just_asked_anew_are_not_idle():
    actor = make_actor()
    actor.target_steps = 1
    actor(torch.zeros(3, COLUMNS))
    actor.observe(np.arange(3), np.zeros(3))
    with pytest.raises(ValueError, match="3 lanes have begun, 3 of which"):
        actor(torch.zeros(2, COLUMNS))


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


def test_lanes_may_join_later():
    actor = make_actor(True)
    actor.begin(np.array([0]))
    first = actor(torch.ones(1, COLUMNS))
    actor.begin(np.array([0, 1, 2]))
    torch.testing.assert_close(actor(torch.ones(3, COLUMNS)), first.expand(3, -1))
