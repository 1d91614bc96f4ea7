"""Which actions a state leaves, for methods that learn from normalised observations.

A bracket that an open position would ignore, and a close without a position, are *illegal*: see
`gym_trade.VectorTradeEnv.direction_masks`. Whoever masks them takes none, so that no data trains
their values: in a maximum, a softmax or a log-sum-exp they are noise, and a target that contains
them bootstraps from it. Actors mask what they see raw (`actors.ActionMasks`); this is for batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from offline_algos.actors import DIRECTION_COLUMN
from offline_algos.normalisation import Normaliser

DIRECTIONS = (-1.0, 0.0, 1.0)  # short, flat, long: ascending, as their normalised values are


class LegalActions:
    """Masks the values of actions that are illegal in normalised observations.

    The direction of the position is one of their columns. It is found by what the normaliser makes
    of each direction, now: an online method fills it after its first steps. Where two become the
    same, since both are further from the mean than the normaliser's limit, what is legal in either
    of them is legal.

    Args:
        rows: 0 for what is not allowed, for a flat, a long and a short position.
        normaliser: What the observations have gone through; already on their device.
    """

    def __init__(self, rows: Sequence[Sequence[int]], normaliser: Normaliser) -> None:
        device = normaliser.mean.device
        flat, long, short = rows
        self._rows = torch.tensor([short, flat, long], device=device) != 0
        self._directions = torch.tensor(DIRECTIONS, dtype=torch.float64, device=device)
        self._normaliser = normaliser

    @classmethod
    def of(
        cls, rows: Sequence[Sequence[int]] | None, normaliser: Normaliser
    ) -> LegalActions | None:
        """Of what a task says about its actions; None where all of them are legal, always."""
        if rows is None or all(all(row) for row in rows):
            return None
        return cls(rows, normaliser)

    def mask(self, observations: torch.Tensor) -> torch.Tensor:
        """Whether each action is legal, bool (..., actions), in observations (..., D)."""
        codes = self._normaliser.column(self._directions, DIRECTION_COLUMN)
        alike = codes.unsqueeze(1) == codes
        rows = (alike.unsqueeze(2) & self._rows).any(1)
        between = (codes[:-1] + codes[1:]) / 2
        seen = observations[..., DIRECTION_COLUMN].contiguous()
        return rows[torch.bucketize(seen, between.to(seen.dtype))]

    def __call__(
        self, values: torch.Tensor, observations: torch.Tensor, taken: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Values or logits with -inf for what is illegal.

        Args:
            values: Of the actions, (..., actions).
            observations: Normalised, (..., D).
            taken: Recorded actions, int64 (...): legal whatever the rule says, since data of others
                may contain what the environment ignored.
        """
        mask = self.mask(observations)
        if taken is not None:
            mask.scatter_(-1, taken.unsqueeze(-1), True)
        return values.masked_fill(~mask, -math.inf)
