"""A small Decision Transformer, its data, and its loss written out."""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm.optim import TorchOptimizerFactory
from tianshou.data import Batch, ReplayBuffer

from offline_algos.decision_transformer import (
    DecisionTransformer,
    SequencePolicy,
    Warmup,
)
from offline_algos.networks import Inputs
from offline_algos.transformer_network import TransformerNetwork
from tests.offline_algos import batches

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
