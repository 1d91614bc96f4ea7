"""The quantile Huber loss of QR-DQN (Dabney et al. 2017, arXiv:1710.10044, equation 10).

Written with tensors it makes several temporaries of (batch, quantiles, quantiles) numbers: at 256
and 200 each is 41 MB, and nearly all of a DiscreteCQL step goes into filling them. On the CPU the
loss and its gradient are summed here in one compiled pass that keeps nothing; on other devices the
tensors do it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch

Float32 = npt.NDArray[np.float32]


# Sums may be taken in any order: that is what lets the inner loop run eight numbers at a time.
@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})  # type: ignore[untyped-decorator]
def _sum_pairs(
    quantiles: Float32, targets: Float32, levels: Float32, losses: Float32, slopes: Float32
) -> None:
    """Write each sample's loss and its slopes in the quantiles; see `quantile_huber_loss`."""
    one, half = np.float32(1.0), np.float32(0.5)
    zero = np.float32(0.0)
    count = targets.shape[1]
    for sample in range(quantiles.shape[0]):
        row, total = targets[sample], 0.0
        for number in range(quantiles.shape[1]):
            quantile = quantiles[sample, number]
            above = below = above_slope = below_slope = zero
            for other in range(count):
                error = row[other] - quantile
                up, down = max(error, zero), max(-error, zero)
                up_slope, down_slope = min(up, one), min(down, one)
                above += up_slope * (up - half * up_slope)
                below += down_slope * (down - half * down_slope)
                above_slope += up_slope
                below_slope += down_slope
            level = levels[number]
            total += level * above + (one - level) * below
            slopes[sample, number] = (one - level) * below_slope - level * above_slope
        losses[sample] = total


class _QuantileHuberLoss(torch.autograd.Function):
    """The CPU's pass as a function that torch differentiates."""

    @staticmethod
    def forward(
        context: Any, quantiles: torch.Tensor, targets: torch.Tensor, levels: torch.Tensor
    ) -> torch.Tensor:
        losses = torch.empty(len(quantiles))
        slopes = torch.empty(quantiles.shape)
        _sum_pairs(
            quantiles.detach().contiguous().numpy(), targets.contiguous().numpy(), levels.numpy(),
            losses.numpy(), slopes.numpy(),
        )  # fmt: skip
        context.save_for_backward(slopes)
        return losses

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (slopes,) = context.saved_tensors
        return slopes * gradients[0].unsqueeze(1), None, None


def quantile_levels(count: int) -> torch.Tensor:
    """The midpoints that `count` quantiles estimate, float32 (count,)."""
    edges = torch.linspace(0.0, 1.0, count + 1)
    return (edges[:-1] + edges[1:]) / 2


def quantile_huber_loss(
    quantiles: torch.Tensor, targets: torch.Tensor, levels: torch.Tensor
) -> torch.Tensor:
    """The loss of each sample: summed over targets, averaged over quantiles, threshold 1.

    Args:
        quantiles: Estimates, float32 (B, N); the gradient flows to them.
        targets: Samples of the target distribution, float32 (B, M), without a gradient.
        levels: What the quantiles estimate, float32 (N,); see `quantile_levels`.

    Returns:
        float32 (B,).
    """
    if quantiles.device.type == "cpu" and quantiles.dtype == torch.float32:
        summed: torch.Tensor = _QuantileHuberLoss.apply(quantiles, targets, levels)
        return summed / quantiles.shape[1]
    errors = targets.unsqueeze(1) - quantiles.unsqueeze(2)
    size = errors.abs()
    huber = torch.where(size < 1.0, 0.5 * errors**2, size - 0.5)
    weights = (levels.view(1, -1, 1) - (errors.detach() <= 0.0).to(levels.dtype)).abs()
    return (weights * huber).sum(2).mean(1)
