"""Discrete CRR, ours and Tianshou's, on small networks and batches."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import tianshou.algorithm.imitation.discrete_crr as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.optim import AdamOptimizerFactory

from offline_algos import atari_style_crr
from offline_algos.discrete_crr import DiscreteCRR
from offline_algos.networks import Inputs
from offline_algos.normalisation import Normaliser
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches
from tests.offline_algos.discrete_crr_setups import (
    ACTIONS,
    COLUMNS,
    Network,
    Values,
    build,
    fixed_batch,
    reference,
    strong_opinions,
    update,
    weights,
)


@pytest.mark.parametrize("mode", ["exp", "binary", "all"])
@pytest.mark.parametrize("min_q_weight", [0.0, 0.5])
def test_losses_and_gradients_are_the_papers(mode, min_q_weight):
    flags = {"beta": 0.7, "ratio_upper_bound": 3.0, "min_q_weight": min_q_weight}
    algorithm = build(
        optim=FusedAdam(lr=0.0), policy_improvement_mode=mode, target_update_freq=5, **flags
    )
    strong_opinions(algorithm)
    algorithm._iter = 1  # the target networks are not renewed at this step
    target = Network().double(), Values().double()
    algorithm.actor_old.module.load_state_dict(target[0].state_dict())
    algorithm.critic_old.module.load_state_dict(target[1].state_dict())
    batch = fixed_batch()
    actor_loss, critic_loss, conservative, advantages = reference(
        algorithm, batch, mode, target, beta=0.7, bound=3.0
    )
    ratios = np.exp(np.array(advantages) / 0.7)
    assert (ratios > 3.0).any() and (ratios < 1.0).any()  # the batch has every case
    of_actor, of_critic = weights(algorithm)
    expected = [
        *torch.autograd.grad(actor_loss, of_actor),
        *torch.autograd.grad(critic_loss + min_q_weight * conservative, of_critic),
    ]

    stats = algorithm._update_with_batch(batch)
    assert stats.actor_loss == pytest.approx(actor_loss.item(), abs=1e-12)
    assert stats.critic_loss == pytest.approx(critic_loss.item(), abs=1e-12)
    assert stats.cql_loss == pytest.approx(conservative.item() if min_q_weight else 0.0, abs=1e-12)
    total = actor_loss + critic_loss + min_q_weight * conservative
    assert stats.loss == pytest.approx(total.item(), abs=1e-12)
    for weight, gradient in zip([*of_actor, *of_critic], expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-9, atol=1e-12)


def test_fifty_steps_of_cloning_and_conservative_values_are_those_of_tianshou():
    """In this mode, and where nothing is truncated, Tianshou has the same mathematics."""
    made = []
    for method, optim, critic in (
        (DiscreteCRR, FusedAdam(lr=1e-3), Network),
        (stock.DiscreteCRR, AdamOptimizerFactory(lr=1e-3), Values),
    ):
        algorithm = build(
            method, optim, critic=critic, policy_improvement_mode="all", min_q_weight=2.0,
            gamma=0.9, target_update_freq=7,
        )  # fmt: skip
        before = [value.clone() for value in algorithm.parameters()]
        buffer = batches.short_episodes()
        buffer._meta.truncated[:] = False
        buffer._meta.done[:] = buffer.terminated
        update(algorithm, algorithm.process_buffer(buffer), 50)
        made.append([value.detach() for value in algorithm.parameters()])
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(made[-1], before, strict=True))
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("freq", [0, 4])
def test_a_run_repeats_itself_and_goes_on_from_its_state(freq):
    def start():
        algorithm = build(target_update_freq=freq)
        return algorithm, algorithm.process_buffer(batches.short_episodes())

    ends = []
    for _ in range(2):
        algorithm, buffer = start()
        update(algorithm, buffer, 10)
        state = copy.deepcopy(algorithm.state_dict())
        numbers = {k: v for k, v in vars(algorithm).items() if type(v) in (int, float, bool)}
        random = buffer._random_state.get_state()
        update(algorithm, buffer, 10)
        ends.append([value.clone() for value in algorithm.parameters()])
    algorithm, buffer = start()
    update(algorithm, buffer, 3)  # what it has done before is forgotten
    algorithm.load_state_dict(state)
    vars(algorithm).update(numbers)
    buffer._random_state.set_state(random)
    update(algorithm, buffer, 10)
    ends.append([*algorithm.parameters()])
    for first, second, resumed in zip(*ends, strict=True):
        assert torch.equal(first, second) and torch.equal(first, resumed)


def test_the_conservative_term_is_off_unless_asked_for():
    algorithm = strong_opinions(build())
    stats = algorithm._update_with_batch(fixed_batch())
    assert stats.cql_loss == 0.0
    assert stats.loss == pytest.approx(stats.actor_loss + stats.critic_loss)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'best': choose one of"):
        build(policy_improvement_mode="best")


def test_the_flags_reach_the_algorithm():
    box = spaces.Box(-np.inf, np.inf, (COLUMNS,), np.float32)
    setup = SimpleNamespace(
        inputs=Inputs([("obs", 0, COLUMNS, (COLUMNS,))], hidden_sizes=(8,)),
        normaliser=Normaliser.identity(COLUMNS),
        task=SimpleNamespace(
            action_space=spaces.Discrete(ACTIONS), observation_space=box, action_masks=None
        ),
    )
    parser = atari_style_crr.make_parser()
    flags = ["--load-buffer-name", "x", "--device", "cpu"]
    assert parser.parse_args(flags).min_q_weight == 0.0
    args = parser.parse_args(
        [*flags, "--gamma", "0.7", "--target-update-freq", "9", "--lr", "0.01", "--beta", "0.4",
         "--ratio-upper-bound", "5", "--min-q-weight", "3", "--policy-improvement-mode", "binary"]
    )  # fmt: skip
    algorithm, actor = atari_style_crr.build(args, setup)
    assert (algorithm.gamma, algorithm._freq, algorithm._beta) == (0.7, 9, 0.4)
    assert (algorithm._ratio_upper_bound, algorithm._min_q_weight) == (5.0, 3.0)
    assert algorithm._policy_improvement_mode == "binary"
    assert algorithm.optim._optim.param_groups[0]["lr"] == 0.01
    assert actor.network is algorithm.policy.actor


@pytest.mark.parametrize(
    ("flags", "message"),
    [(("--beta", "0"), "above 0"), (("--ratio-upper-bound", "0"), "above 0"),
     (("--min-q-weight", "-1"), "at least 0"), (("--policy-improvement-mode", "best"), "best")],
)  # fmt: skip
def test_bad_flags_are_errors(flags, message, capsys):
    assert atari_style_crr.main(["--load-buffer-name", "x", *flags]) == 2
    error = capsys.readouterr().err
    assert flags[0] in error and message in error
