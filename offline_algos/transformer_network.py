"""The Decision Transformer's network (Chen et al. 2021, arXiv:2106.01345)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from offline_algos.encoders import make_encoder
from offline_algos.networks import Inputs, as_inputs

TIMESTEP_EMBEDDINGS = ("sinusoidal", "learnt", "none")
# Learnt timesteps beyond this one share its embedding: the optimiser visits each at every step.
MOST_LEARNT = 4096
EVERY = slice(None)
STATES = slice(1, None, 3)  # of the tokens return, state, action, return, state, ...
LAST = slice(-1, None)


class Block(nn.Module):
    """Attention, then two layers with GELU between, each after a LayerNorm and beside a bypass.

    Args:
        width: Numbers a token.
        heads: Of the attention; `width` is a multiple of it.
        dropout: Share of attention weights and of outputs that training leaves out.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.projection = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))
        self.feedforward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: torch.Tensor, allowed: torch.Tensor, asked: slice) -> torch.Tensor:
        """The tokens `asked` for, (B, t, width), of all, (B, T, width).

        ``allowed[..., i, j]``, bool (T, T) or (B, 1, T, T), says whether token i may look at j.
        """
        normed = self.attention_norm(tokens)
        query = self.query(normed[:, asked]).unflatten(2, (self.heads, -1)).transpose(1, 2)
        both = self.key_value(normed).unflatten(2, (2, self.heads, -1))
        key, value = both.permute(2, 0, 3, 1, 4).unbind(0)
        seen = nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=allowed[..., asked, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        tokens = tokens[:, asked] + self.projection(seen.transpose(1, 2).flatten(2))
        return tokens + self.feedforward(tokens)


class TransformerNetwork(nn.Module):
    """The Decision Transformer's network (Chen et al. 2021, arXiv:2106.01345, section 3).

    Each timestep is three tokens, (return-to-go, observation, action), and the action is read from
    the observation's token, which sees no later one. Tokens carry the embedding of their timestep:

    * "sinusoidal": sines and cosines of it (Vaswani et al. 2017, arXiv:1706.03762), no weights;
    * "learnt": a vector each, as in the paper, up to `MOST_LEARNT`;
    * "none": none, but a learnt vector for the place in the context, or their order would be lost.

    A timestep after the longest episode of the data is embedded as that one's last: a policy may
    be used in episodes of any length.

    Args:
        inputs: What it sees. With the encoder "mlp" and no hidden sizes an observation is embedded
            by one linear layer, as in the paper.
        actions: Number of discrete actions, or numbers a continuous one.
        continuous: Which kind they are.
        context_length: Timesteps that it sees at most.
        layers: Blocks.
        heads: Of the attention.
        embedding_size: Numbers a token.
        dropout: Of embeddings, attention and blocks.
        timestep_embedding: One of `TIMESTEP_EMBEDDINGS`.
        longest: Timesteps of the data's longest episode.
        return_scale: Returns-to-go are divided by it.

    Raises:
        ValueError: `embedding_size` cannot be shared among the heads, or is odd.
    """

    def __init__(
        self,
        inputs: Inputs | dict[str, Any],
        actions: int,
        *,
        continuous: bool,
        context_length: int = 20,
        layers: int = 3,
        heads: int = 1,
        embedding_size: int = 128,
        dropout: float = 0.1,
        timestep_embedding: str = "sinusoidal",
        longest: int = 1000,
        return_scale: float = 1.0,
    ) -> None:
        super().__init__()
        inputs, width = as_inputs(inputs), embedding_size
        if width % heads or width % 2:
            raise ValueError(
                f"an embedding of {width} numbers for {heads} heads: expected an even multiple. "
                "Change --embedding-size or --num-heads."
            )
        self.arguments = {
            "inputs": inputs.to_dict(), "actions": actions, "continuous": continuous,
            "context_length": context_length, "layers": layers, "heads": heads,
            "embedding_size": width, "dropout": dropout, "timestep_embedding": timestep_embedding,
            "longest": longest, "return_scale": return_scale,
        }  # fmt: skip
        self.continuous, self.context_length = continuous, context_length
        self.return_scale, self.embedding_size = return_scale, width
        self.observation = _embedding(inputs, width)
        self.return_to_go = nn.Linear(1, width)
        self.action = nn.Linear(actions, width) if continuous else nn.Embedding(actions, width)
        self._make_timesteps(timestep_embedding, longest)
        self.embedding_norm = nn.LayerNorm(width)
        self.embedding_dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, actions))
        for module in (*self.blocks.modules(), *self.head):
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        size = 3 * context_length - 1
        self.register_buffer("causal", torch.ones(size, size).tril().bool(), persistent=False)

    def _make_timesteps(self, kind: str, longest: int) -> None:
        self.timestep_embedding, self.last_timestep = kind, longest - 1
        if kind == "sinusoidal":
            exponents = torch.arange(0, self.embedding_size, 2) / self.embedding_size
            frequencies = torch.exp(-math.log(10_000.0) * exponents)
            self.register_buffer("frequencies", frequencies, persistent=False)
            return
        if kind == "learnt":
            self.last_timestep = min(longest, MOST_LEARNT) - 1
        learnt = longest if kind == "learnt" else self.context_length
        self.places = nn.Embedding(min(learnt, MOST_LEARNT), self.embedding_size)
        nn.init.normal_(self.places.weight, std=0.02)

    def _timing(self, timesteps: torch.Tensor) -> torch.Tensor | float:
        """What a timestep's tokens have in common, (B, K, width), for int64 (B, K)."""
        if self.timestep_embedding == "none":
            return 0.0
        timesteps = timesteps.clamp(max=self.last_timestep)
        if self.timestep_embedding == "learnt":
            return self.places(timesteps)  # type: ignore[no-any-return]
        angles = timesteps.unsqueeze(-1) * self.frequencies
        return torch.cat((angles.sin(), angles.cos()), -1)

    def embed_situation(
        self, observations: torch.Tensor, returns: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """The first two tokens of timesteps, (B, K, 2, width); see `forward`."""
        timing = self._timing(timesteps)
        scaled = (returns / self.return_scale).unsqueeze(-1)
        seen = self.observation(observations.flatten(0, 1)).unflatten(0, returns.shape)
        return torch.stack((self.return_to_go(scaled) + timing, seen + timing), 2)

    def embed_action(self, actions: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The third token of timesteps, (B, K, 1, width); see `forward`."""
        return (self.action(actions) + self._timing(timesteps)).unsqueeze(2)  # type: ignore[no-any-return]

    def read(
        self, tokens: torch.Tensor, mask: torch.Tensor | None, asked: slice = STATES
    ) -> torch.Tensor:
        """Logits or actions in [-1, 1], (B, k, actions), for the tokens `asked` for.

        Args:
            tokens: (B, K, 3, width); the very last action's token is not read.
            mask: bool (B, K), False where padded; None: nowhere.
            asked: `STATES`, or `LAST` for the last timestep alone: it takes a third of the time
                that the others would take in the last block.
        """
        steps = tokens.shape[1]
        if self.timestep_embedding == "none":
            tokens = tokens + self.places.weight[-steps:].unsqueeze(1)
        stream = self.embedding_dropout(self.embedding_norm(tokens.flatten(1, 2)[:, :-1]))
        size = 3 * steps - 1
        allowed = self.causal[:size, :size]  # type: ignore[index]
        if mask is not None:
            filled = mask.repeat_interleave(3, 1)[:, None, None, :-1]
            # padding looks at itself, since a softmax over nothing is not a number
            itself = torch.eye(size, dtype=torch.bool, device=mask.device)
            allowed = (allowed & filled) | itself
        for block in self.blocks[:-1]:
            stream = block(stream, allowed, EVERY)
        chosen = self.head(self.blocks[-1](stream, allowed, asked))
        return torch.tanh(chosen) if self.continuous else chosen

    def forward(
        self,
        observations: torch.Tensor,
        actions: torch.Tensor,
        returns: torch.Tensor,
        timesteps: torch.Tensor,
        mask: torch.Tensor | None = None,
        asked: slice = STATES,
    ) -> torch.Tensor:
        """Logits or actions in [-1, 1] of every timestep, (B, K, actions).

        Args:
            observations: Normalised, float32 (B, K, D), K at most the context length.
            actions: int64 (B, K), or float32 (B, K, A) in [-1, 1].
            returns: Returns-to-go in the unit of rewards, float32 (B, K).
            timesteps: Since the episode's beginning, int64 (B, K).
            mask: See `read`.
            asked: See `read`.
        """
        situation = self.embed_situation(observations, returns, timesteps)
        tokens = torch.cat((situation, self.embed_action(actions, timesteps)), 2)
        return self.read(tokens, mask, asked)


def _embedding(inputs: Inputs, width: int) -> nn.Module:
    """From normalised observations (B, D) to their tokens (B, width)."""
    if inputs.encoder == "mlp" and not inputs.hidden_sizes:
        return nn.Linear(inputs.columns, width)
    encoder = make_encoder(replace(inputs, hidden_sizes=inputs.hidden_sizes or (width,)))
    return nn.Sequential(encoder, nn.Linear(encoder.width, width))
