"""Encoders of an observation: one vector of features from windows, account state or pixels.

A flat observation consists of parts. One whose key begins with "market_data_" and whose shape is
(window, features) is a time frame's window of bars, the oldest first. "mlp" reads all columns
alike; "cnn", "gru" and "transformer" read each window with an encoder of its own, put what they
make beside all other parts, such as the account state, and let hidden layers read that. "nature"
reads images.

None has dropout or statistics of a batch: training and acting are the same arithmetic, and an actor
that is exported acts as it did in training.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from offline_algos.networks import Inputs

WINDOW_PREFIX = "market_data_"
# Features of a time frame. A window has 40 to 120 numbers; wider ones cost more than they add.
FRAME_WIDTH = 32
KERNEL, STRIDE = 3, 2
HEADS, FEED_FORWARD, BLOCKS = 2, 64, 2


class Encoder(nn.Module):
    """What all encoders are: normalised observations, float32 (B, D), to features (B, width)."""

    width: int


class MLPEncoder(Encoder):
    """Hidden layers over all columns at once.

    Args:
        columns: Columns of a flat observation.
        hidden_sizes: Widths of the layers; the last one is the width of the features. Without any
            the features are the columns.
    """

    def __init__(self, columns: int, hidden_sizes: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((columns, *hidden_sizes)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.width = (columns, *hidden_sizes)[-1]

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Features (B, width) of normalised observations (B, D)."""
        return self.layers(obs)  # type: ignore[no-any-return]


class FrameEncoder(Encoder):
    """What reads one time frame: windows (B, window, features) to features (B, width).

    Args:
        window: Bars.
        features: Numbers a bar.
    """

    width = FRAME_WIDTH


class Convolutions(FrameEncoder):
    """Causal convolutions over time, each of which halves the window, until one instant is left.

    Kernels of 3 with stride 2; what lies before the window counts as 0. The instant that is left is
    the newest bar, and it has seen the whole window, however long: 24 bars take 5 layers. It is a
    temporal convolutional network (Bai et al. 2018, arXiv:1803.01271) with strides in the place of
    dilations, which leaves out what its last output would not read.
    """

    def __init__(self, window: int, features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while not layers or window > 1:
            halved = math.ceil(window / STRIDE)
            older = nn.ConstantPad1d((STRIDE * (halved - 1) + KERNEL - window, 0), 0.0)
            layers += [older, nn.Conv1d(features, FRAME_WIDTH, KERNEL, STRIDE), nn.ReLU()]
            window, features = halved, FRAME_WIDTH
        self.layers = nn.Sequential(*layers)

    def forward(self, bars: torch.Tensor) -> torch.Tensor:
        """See `FrameEncoder`."""
        return self.layers(bars.transpose(1, 2)).squeeze(2)  # type: ignore[no-any-return]


class GatedRecurrence(FrameEncoder):
    """The last hidden state of a gated recurrent unit (Cho et al. 2014, arXiv:1406.1078)."""

    def __init__(self, window: int, features: int) -> None:
        super().__init__()
        self.cells = nn.GRU(features, FRAME_WIDTH, batch_first=True)

    def forward(self, bars: torch.Tensor) -> torch.Tensor:
        """See `FrameEncoder`."""
        return self.cells(bars)[1].squeeze(0)  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Self-attention and a feed-forward layer, each added to what it has read, normalised before.

    Args:
        newest_only: Make the newest bar's output alone: it asks, all bars answer.
    """

    def __init__(self, newest_only: bool) -> None:
        super().__init__()
        self.newest_only = newest_only
        self.before_attention = nn.LayerNorm(FRAME_WIDTH)
        # apart, since slices of one matrix's output cost more on the way back
        self.query, self.value, self.attended = (
            nn.Linear(FRAME_WIDTH, FRAME_WIDTH) for _ in range(3)
        )
        # a bias would move all bars' scores alike, which the softmax does not see
        self.key = nn.Linear(FRAME_WIDTH, FRAME_WIDTH, bias=False)
        inside, outside = nn.Linear(FRAME_WIDTH, FEED_FORWARD), nn.Linear(FEED_FORWARD, FRAME_WIDTH)
        self.feed_forward = nn.Sequential(nn.LayerNorm(FRAME_WIDTH), inside, nn.ReLU(), outside)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, window, width), or (B, 1, width), of tokens (B, window, width)."""
        read = self.before_attention(tokens)
        key, value = _heads(self.key(read)), _heads(self.value(read))
        if self.newest_only:
            read, tokens = read[:, -1:], tokens[:, -1:]
        attended = nn.functional.scaled_dot_product_attention(_heads(self.query(read)), key, value)
        tokens = tokens + self.attended(attended.transpose(1, 2).flatten(2))
        return tokens + self.feed_forward(tokens)  # type: ignore[no-any-return]


def _heads(tokens: torch.Tensor) -> torch.Tensor:
    """(B, heads, window, width of a head) of (B, window, width)."""
    return tokens.unflatten(2, (HEADS, FRAME_WIDTH // HEADS)).transpose(1, 2)


class Attention(FrameEncoder):
    """A small transformer (Vaswani et al. 2017, arXiv:1706.03762), normalised before each layer.

    Two blocks of two heads, 64 units between, learnt positions; the newest bar's token is what is
    read. All bars of a window are known when it is read, so nothing is masked.
    """

    def __init__(self, window: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, FRAME_WIDTH)
        self.positions = nn.Parameter(torch.randn(window, FRAME_WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(AttentionBlock(n == BLOCKS - 1) for n in range(BLOCKS)))
        self.last = nn.LayerNorm(FRAME_WIDTH)

    def forward(self, bars: torch.Tensor) -> torch.Tensor:
        """See `FrameEncoder`."""
        tokens = self.blocks(self.embedding(bars) + self.positions)
        return self.last(tokens.squeeze(1))  # type: ignore[no-any-return]


FRAME_ENCODERS = {"cnn": Convolutions, "gru": GatedRecurrence, "transformer": Attention}
ENCODERS = ("mlp", *FRAME_ENCODERS, "nature")


class WindowEncoder(Encoder):
    """An encoder for each time frame's window, and hidden layers over those and the other parts.

    Args:
        layout: The flat observation's parts: (key, first column, column after the last, shape).
        encoder: One of `FRAME_ENCODERS`.
        hidden_sizes: Widths of the hidden layers; the last one is the width of the features.

    Raises:
        ValueError: No part is a window.
    """

    def __init__(
        self, layout: Sequence[Sequence[Any]], encoder: str, hidden_sizes: tuple[int, ...]
    ) -> None:
        super().__init__()
        windows = [part for part in layout if _is_window(part)]
        if not windows:
            raise ValueError(
                f"--encoder {encoder} reads windows of bars, parts named {WINDOW_PREFIX}... of "
                f"shape (window, features), but the observation has {_names(layout)}. Use "
                "--encoder mlp."
            )
        self.windows = [(part[1], part[2], tuple(part[3])) for part in windows]
        self.others = [(part[1], part[2]) for part in layout if not _is_window(part)]
        self.frames = nn.ModuleList(FRAME_ENCODERS[encoder](*part[3]) for part in windows)
        joined = FRAME_WIDTH * len(windows) + sum(stop - start for start, stop in self.others)
        self.hidden = MLPEncoder(joined, hidden_sizes)
        self.width = self.hidden.width

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Features (B, width) of normalised observations (B, D)."""
        parts = [obs[:, start:stop] for start, stop in self.others]
        for frame, (start, stop, shape) in zip(self.frames, self.windows, strict=True):
            parts.append(frame(obs[:, start:stop].reshape(-1, *shape)))
        return self.hidden(torch.cat(parts, dim=1))  # type: ignore[no-any-return]


def _is_window(part: Sequence[Any]) -> bool:
    return str(part[0]).startswith(WINDOW_PREFIX) and len(part[3]) == 2


def _names(layout: Sequence[Sequence[Any]]) -> str:
    return ", ".join(f"{part[0]} {list(part[3])}" for part in layout)


def is_nature_image(layout: Sequence[Sequence[Any]]) -> bool:
    """Whether a layout is one that `NatureEncoder` reads."""
    return len(layout) == 1 and len(layout[0][3]) == 3 and min(layout[0][3][1:]) >= 36


class NatureEncoder(Encoder):
    """The network of Mnih et al. 2015 (doi:10.1038/nature14236) for stacked frames of 84 x 84.

    Three convolutions and a layer of 512 units, as published, whatever the hidden sizes are.

    Args:
        layout: One part, of shape (channels, height, width), at least 36 pixels each way.

    Raises:
        ValueError: The layout is another.
    """

    width = 512

    def __init__(self, layout: Sequence[Sequence[Any]]) -> None:
        super().__init__()
        if not is_nature_image(layout):
            raise ValueError(
                "--encoder nature reads one image of shape (channels, 84, 84), but the observation "
                f"has {_names(layout)}. Use --encoder mlp."
            )
        self.shape = tuple(layout[0][3])
        channels, *sides = self.shape
        layers: list[nn.Module] = []
        for filters, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
            layers += [nn.Conv2d(channels, filters, kernel, stride), nn.ReLU()]
            channels, sides = filters, [(side - kernel) // stride + 1 for side in sides]
        flat = channels * math.prod(sides)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, self.width), nn.ReLU())

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Features (B, 512) of float32 images, (B, channels, height, width) or flat (B, D)."""
        return self.layers(obs.reshape(-1, *self.shape))  # type: ignore[no-any-return]


def make_encoder(inputs: Inputs) -> Encoder:
    """The encoder that `inputs` names, one of `ENCODERS`.

    Returns:
        A module from normalised observations, float32 (B, D), to features (B, width).

    Raises:
        ValueError: There is no such encoder, or it cannot read this layout.
    """
    hidden_sizes = tuple(inputs.hidden_sizes)
    if inputs.encoder == "mlp":
        return MLPEncoder(inputs.columns, hidden_sizes)
    if inputs.encoder in FRAME_ENCODERS:
        return WindowEncoder(inputs.layout, inputs.encoder, hidden_sizes)
    if inputs.encoder == "nature":
        return NatureEncoder(inputs.layout)
    raise ValueError(f"--encoder {inputs.encoder}: expected one of {', '.join(ENCODERS)}.")
