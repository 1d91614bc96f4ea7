"""A Gaussian that a tanh squashes into [-1, 1]: samples and log-densities of its actions.

The density of an action is that of the Gaussian divided by the slope of the tanh, summed over the
action's numbers in the logarithm (Haarnoja et al. 2018, arXiv:1801.01290, equation 21).
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import softplus

LOG_2 = math.log(2.0)
HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)
# An action nearer to an edge than this counts as this near. The density at the edge itself is
# infinite or zero, and float32 knows 1 - tanh(u) to a tenth only from u = 8 on. Recorded actions
# often lie on an edge, such as a full position: at 1e-3 they are 3.8 before the tanh, within reach
# of the Gaussian of the others, and a policy loses next to nothing that plays 0.999 for 1.
EDGE = 1e-3


def log_slope(before: torch.Tensor) -> torch.Tensor:
    """log(1 - tanh(u)^2) of each u, any shape, without loss of digits where tanh(u) is near 1."""
    return 2.0 * (LOG_2 - before - softplus(-2.0 * before))


def sample(
    mean: torch.Tensor, std: torch.Tensor, repeat: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw actions, reparametrised: gradients reach `mean` and `std`.

    Args:
        mean: Of the Gaussian before the tanh, (B, A).
        std: Its deviation, (B, A), > 0.
        repeat: Draw so many for each row; None: one, without an axis for them.

    Returns:
        Actions in [-1, 1], ([repeat,] B, A), and their log-densities, ([repeat,] B).
    """
    shape = mean.shape if repeat is None else (repeat, *mean.shape)
    noise = torch.randn(shape, dtype=mean.dtype, device=mean.device)
    before = mean + std * noise
    density = -0.5 * noise.square() - std.log() - HALF_LOG_2_PI - log_slope(before)
    return before.tanh(), density.sum(-1)


def log_prob(mean: torch.Tensor, std: torch.Tensor, act: torch.Tensor) -> torch.Tensor:
    """Log-densities (B,) of given actions (B, A) in [-1, 1], those on an edge moved in by `EDGE`.

    Args:
        mean: Of the Gaussian before the tanh, (B, A).
        std: Its deviation, (B, A), > 0.
        act: Actions, (B, A).
    """
    before = act.clamp(EDGE - 1.0, 1.0 - EDGE).atanh()
    density = -0.5 * ((before - mean) / std).square() - std.log() - HALF_LOG_2_PI
    return (density - log_slope(before)).sum(-1)
