"""The Decision Transformer beside the paper's equations, and what it learns."""

from __future__ import annotations

import argparse
import copy
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tianshou.algorithm.optim import TorchOptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from tianshou.trainer import OfflineTrainerParams
from tianshou.utils.torch_utils import policy_within_training_step

from data_tools.buffers import TensorReplayBuffer
from offline_algos.datasets import episode_returns
from offline_algos.decision_transformer import (
    DecisionTransformer,
    SequencePolicy,
    Warmup,
    target_returns,
)
from offline_algos.networks import Inputs
from offline_algos.normalisation import Normaliser
from offline_algos.sequence_buffer import SequenceBuffer
from offline_algos.transformer_actor import TransformerActor, with_target
from offline_algos.transformer_network import TransformerNetwork
from tests.offline_algos import batches, scripts

torch.set_num_threads(1)
ACTIONS, WIDTH, LENGTH, SIZE, HEADS = 3, 2, 4, 8, 2


def make(continuous=False, *, columns=batches.COLUMNS, optim=None, warmup=5, clip=0.25, **changes):
    torch.manual_seed(0)
    settings = {
        "context_length": LENGTH, "layers": 2, "heads": HEADS, "embedding_size": SIZE,
        "longest": 10, "return_scale": 2.0, "dropout": 0.1,
    }  # fmt: skip
    network = TransformerNetwork(
        Inputs([("state", 0, columns, (columns,))], hidden_sizes=()),
        WIDTH if continuous else ACTIONS,
        continuous=continuous,
        **(settings | changes),
    )
    box = spaces.Box(-1.0, 1.0, (WIDTH,))
    space = box if continuous else spaces.Discrete(ACTIONS)
    if optim is None:
        optim = TorchOptimizerFactory(torch.optim.AdamW, lr=1e-2, weight_decay=1e-4, fused=True)
        optim = optim.with_lr_scheduler_factory(Warmup(warmup))
    policy = SequencePolicy(model=network, action_space=space)
    return DecisionTransformer(policy=policy, optim=optim, max_grad_norm=clip)


def gradient_descent():
    """With a rate of 1 a step moves the weights by the gradient."""
    return TorchOptimizerFactory(torch.optim.SGD, lr=1.0)


def data(continuous=False):
    return batches.dataset(60, action_width=WIDTH if continuous else 0, ends=6)


def parameters(algorithm):
    return torch.cat([p.detach().ravel() for p in algorithm.parameters()])


# --- the paper's equations, one token after the other ----------------------------------------


def layer_norm(x, weights, name):
    centred = x - x.mean()
    scale = torch.sqrt((centred**2).mean() + 1e-5)
    return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x, weights, name):
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def reference_block(tokens, w, name):
    """Pre-LayerNorm attention over what stands before, then the feed-forward layers."""
    normed = [layer_norm(x, w, f"{name}.attention_norm") for x in tokens]
    query = [linear(x, w, f"{name}.query") for x in normed]
    both = [linear(x, w, f"{name}.key_value") for x in normed]
    out, part = [], SIZE // HEADS
    for i, x in enumerate(tokens):
        seen = []
        for head in range(HEADS):
            here = slice(head * part, (head + 1) * part)
            logits = torch.stack(
                [query[i][here] @ both[j][:SIZE][here] / math.sqrt(part) for j in range(i + 1)]
            )
            shares = torch.exp(logits) / torch.exp(logits).sum()
            seen.append(sum(shares[j] * both[j][SIZE:][here] for j in range(i + 1)))
        x = x + linear(torch.cat(seen), w, f"{name}.projection.0")
        hidden = linear(layer_norm(x, w, f"{name}.feedforward.0"), w, f"{name}.feedforward.1")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        out.append(x + linear(hidden, w, f"{name}.feedforward.3"))
    return out


def reference_loss(w, batch, continuous):
    """Chen et al. 2021, section 3 and algorithm 1: mean over the timesteps that there are."""
    losses = []
    for row in range(len(batch.mask)):
        tokens = []
        for k in torch.nonzero(batch.mask[row])[:, 0].tolist():
            act, step = batch.act[row, k], int(batch.timesteps[row, k])
            angles = step / 10_000 ** (torch.arange(0, SIZE, 2, dtype=torch.float64) / SIZE)
            timing = torch.cat((torch.sin(angles), torch.cos(angles)))
            embedded = linear(act, w, "action") if continuous else w["action.weight"][act]
            for token in (
                linear(batch.returns[row, k : k + 1] / 2.0, w, "return_to_go"),
                linear(batch.obs[row, k], w, "observation"),
                embedded,
            ):
                tokens.append(layer_norm(token + timing, w, "embedding_norm"))
        for number in range(2):
            tokens = reference_block(tokens, w, f"blocks.{number}")
        for place, k in enumerate(torch.nonzero(batch.mask[row])[:, 0].tolist()):
            head = layer_norm(tokens[3 * place + 1], w, "head.0")
            chosen, act = linear(head, w, "head.1"), batch.act[row, k]
            if continuous:
                losses.append(((torch.tanh(chosen) - act) ** 2).mean())
            else:
                losses.append(torch.log(torch.exp(chosen).sum()) - chosen[act])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("continuous", [False, True])
def test_loss_and_gradient_are_the_paper_s(continuous):
    algorithm = make(continuous, optim=gradient_descent(), clip=None).double()
    model = algorithm.policy.model
    exponents = torch.arange(0, SIZE, 2, dtype=torch.float64) / SIZE
    model.frequencies.copy_(10_000.0**-exponents)
    with torch.no_grad():  # away from the small weights that it begins with
        for parameter in model.blocks.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, dtype=torch.float64)
    batch = algorithm.process_buffer(data(continuous)).windows(np.array([0, 2, 3, 5, 29, 59]))
    assert 0.5 < batch.mask.double().mean() < 1.0
    for name in ("obs", "returns") + ("act",) * continuous:
        batch[name] = batch[name].double()
    before = {k: v.detach().clone().requires_grad_() for k, v in model.named_parameters()}
    loss = reference_loss(before, batch, continuous)
    gradient = torch.autograd.grad(loss, list(before.values()))
    stats = algorithm._update_with_batch(batch)
    assert stats.loss == pytest.approx(loss.item(), rel=1e-9)
    for (name, old), slope in zip(before.items(), gradient, strict=True):
        moved = old - dict(model.named_parameters())[name]
        torch.testing.assert_close(moved, slope, rtol=1e-6, atol=1e-10, msg=name)
        assert slope.abs().max() > 1e-7 or name.endswith("key_value.bias"), name


def test_gradients_are_clipped_to_the_norm():
    free = make(optim=gradient_descent(), clip=None)
    clipped = make(optim=gradient_descent(), clip=0.01)
    batch = free.process_buffer(data()).windows(np.arange(30))
    begin = parameters(free)
    for algorithm in (free, clipped):
        algorithm._update_with_batch(batch)
    whole, short = begin - parameters(free), begin - parameters(clipped)
    assert whole.norm() > 0.1 and short.norm() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(short / short.norm(), whole / whole.norm(), rtol=0, atol=1e-4)


def test_dropout_is_on_in_updates_and_off_everywhere_else():
    algorithm = make(dropout=0.5)
    model, seen = algorithm.policy.model, []
    model.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    windows = algorithm.process_buffer(data())
    batch, _ = windows.sample(8)
    assert not any(part.training for part in model.modules())
    algorithm.update(windows, 8)
    assert seen == [True] and not any(part.training for part in model.modules())
    assert torch.equal(algorithm.policy(batch).logits, algorithm.policy(batch).logits)
    with pytest.raises(TypeError):
        algorithm.update(windows, "many")
    assert not any(part.training for part in model.modules())
    model.train()
    assert not torch.equal(algorithm.policy(batch).logits, algorithm.policy(batch).logits)


def test_the_learning_rate_rises_and_stays():
    algorithm, rates = make(warmup=4), []
    windows = algorithm.process_buffer(data())
    for _ in range(6):
        rates.append(algorithm.optim._optim.param_groups[0]["lr"])
        algorithm.update(windows, 4)
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
    for steps in (0, 1):
        assert make(warmup=steps).optim._optim.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("continuous", [False, True])
def test_the_policy_acts_for_the_last_timestep(continuous):
    algorithm = make(continuous)
    batch, _ = algorithm.process_buffer(data(continuous)).sample(8)
    made = algorithm.policy(batch)
    assert made.logits.shape == (8, LENGTH, WIDTH if continuous else ACTIONS)
    last = made.logits[:, -1]
    assert torch.equal(made.act, last if continuous else last.argmax(1))


def test_a_time_limit_and_a_death_teach_the_same():
    """Returns-to-go stop at either: nothing is bootstrapped."""
    made = []
    for death in (False, True):
        buffer = data()
        buffer._meta.terminated[:] = buffer.done & death
        buffer._meta.truncated[:] = buffer.done & (not death)
        algorithm = make()
        batches.run_ours(algorithm, buffer, 3)
        made.append(parameters(algorithm))
    assert torch.equal(*made)


# --- what it learns ---------------------------------------------------------------------------


def two_ways(continuous, episodes=40, steps=5):
    """Episodes that earn 1 a step with one action, or nothing with another, in turn."""
    rng, buffer = np.random.default_rng(0), ReplayBuffer(episodes * steps, random_seed=0)
    for row in range(episodes * steps):
        good, last = row // steps % 2 == 0, row % steps == steps - 1
        act = np.full(WIDTH, 0.5 if good else -0.5, np.float32) if continuous else 2 * good
        obs = rng.normal(size=(2, 2)).astype(np.float32)
        buffer.add(
            Batch(obs=obs[0], obs_next=obs[1], act=act, rew=float(good), info={},
                  terminated=last, truncated=False, done=last)
        )  # fmt: skip
    return buffer


@pytest.mark.parametrize("embedding", ["sinusoidal", "learnt", "none"])
@pytest.mark.parametrize("continuous", [False, True])
def test_the_target_return_selects_what_is_done(continuous, embedding):
    """Trained by Tianshou's trainer, on episodes that differ in action and return alone."""
    algorithm = make(
        continuous, columns=2, timestep_embedding=embedding, return_scale=5.0, longest=5
    )
    algorithm.create_trainer(
        OfflineTrainerParams(
            buffer=two_ways(continuous), max_epochs=1, epoch_num_steps=120, batch_size=32,
            show_progress=False, verbose=False,
        )
    ).run()  # fmt: skip
    box = {"low": [-1.0] * WIDTH, "high": [1.0] * WIDTH} if continuous else {}
    actor = TransformerActor(Normaliser.identity(2), algorithm.policy.model, 5.0, **box)
    rng = np.random.default_rng(1)
    for target, action, reward in ((5.0, 0.5 if continuous else 2, 1.0), (0.0, None, 0.0)):
        action = (-0.5 if continuous else 0) if action is None else action
        asked = with_target(actor, target)
        asked.begin(np.arange(4))
        for _ in range(5):
            acted = asked(torch.tensor(rng.normal(size=(4, 2)), dtype=torch.float32))
            assert (acted.double() - action).abs().max() < 0.2
            asked.observe(np.arange(4), np.full(4, reward))


# --- runs that are equal, and that go on ------------------------------------------------------


def test_equal_seeds_are_equal_weights():
    made = []
    for _ in range(2):
        algorithm = make()
        batches.run_ours(algorithm, data(), 5)
        made.append(parameters(algorithm))
    assert torch.equal(*made)


@pytest.mark.parametrize("continuous", [False, True])
def test_a_run_goes_on_from_its_state(continuous):
    whole = make(continuous)
    windows = whole.process_buffer(TensorReplayBuffer(data(continuous)))
    other, others = make(continuous), SequenceBuffer(TensorReplayBuffer(data(continuous)), LENGTH)
    with policy_within_training_step(whole.policy):
        for _ in range(3):
            whole.update(windows, 16)
        state = copy.deepcopy(whole.state_dict())
        schedule = copy.deepcopy([s.state_dict() for s in whole.lr_schedulers])
        torch_state, drawn = torch.get_rng_state(), windows._random_state.get_state()
        expected = [whole.update(windows, 16).loss for _ in range(4)]
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        other.load_state_dict(state)
        for scheduler, saved in zip(other.lr_schedulers, schedule, strict=True):
            scheduler.load_state_dict(saved)
        torch.set_rng_state(torch_state)
        others._random_state.set_state(drawn)
        assert [other.update(others, 16).loss for _ in range(4)] == expected
    assert torch.equal(parameters(whole), parameters(other))


# --- the scripts ------------------------------------------------------------------------------


def test_targets_are_those_given_or_come_from_the_dataset():
    buffer = two_ways(False, episodes=5)
    setup = SimpleNamespace(
        dataset=SimpleNamespace(returns=episode_returns(buffer)), buffer=TensorReplayBuffer(buffer)
    )
    assert target_returns(argparse.Namespace(target_return=[3.0, -1.0]), setup) == [3.0, -1.0]
    nothing = argparse.Namespace(target_return=None)
    setup.dataset.returns = np.array([-4.0, 3.0, 1.0])
    assert target_returns(nothing, setup) == [3.0, 2.0, 1.0]
    setup.dataset.returns = np.zeros(0)
    assert target_returns(nothing, setup) == [15.0] * 3


@pytest.mark.parametrize("name", ["atari_style_dt", "d4rl_style_dt"])
def test_a_run_is_tested_at_each_target(name, dataset_file, continuous_file, tmp_path, capsys):
    data_file = continuous_file if name.startswith("d4rl") else dataset_file
    outcomes = []
    for scaled in ("0", "1"):
        folder = tmp_path / scaled
        flags = ["--epoch", "1", "--target-return", "0.3", "-0.2", "--norm-reward", scaled]
        assert scripts.run(name, data_file, folder, *flags) == 0
        directory, result = scripts.only_result(folder)
        written = json.loads((directory / "targets.json").read_text())["targets"]
        assert [x["target_return"] for x in written] == [0.3, -0.2]
        assert {"return", "steps", "terminated", "metrics"} < set(written[0])
        assert written[0]["return"] == result["test"]["best"]["return"]
        actor = scripts.load_policy(directory / "policy.pth").actor
        assert actor.target_return == 0.3 and actor.network.return_scale < 0.3
        outcomes.append((written, actor.network.return_scale, result["validation_returns"]))
        assert "target +0.3" in capsys.readouterr().out
    # targets are in the unit of the environment's rewards, whatever else is normalised
    assert outcomes[0] == outcomes[1]
