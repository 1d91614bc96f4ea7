"""Networks: Tianshou's own, with the observation normaliser as their first layer."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from tianshou.utils.net.common import Net

from offline_algos.normalisation import Normaliser


class NormalisedNet(Net):
    """Tianshou's `Net` behind a `Normaliser`: raw observations in, action values out.

    With ``num_atoms=1`` the output is (B, actions), with more it is (B, actions, num_atoms). There
    is no softmax at the end: the outputs are Q-values, their quantiles, or logits.

    Args:
        normaliser: Applied to every observation, in training and afterwards.
        arguments: `Net`'s keywords: ``state_shape``, ``action_shape``, ``hidden_sizes`` and
            ``num_atoms``. They are kept, so that a checkpoint can rebuild the network.
    """

    def __init__(self, normaliser: Normaliser, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.normaliser = normaliser
        self.arguments = arguments

    def forward(
        self, obs: npt.ArrayLike | torch.Tensor, state: Any = None, info: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Values of every action for observations (B, D); `state` is returned as it is."""
        return super().forward(self.normaliser(obs), state, info)
