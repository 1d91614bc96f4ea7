"""Fitted Q evaluation (Le et al. 2019, arXiv:1903.08738): a policy's worth, from data alone.

A network is fitted to the value that *one* policy has,

    Q(s, a) <- r + gamma * Q'(s', pi(s'))

by gradient steps on the squared difference, with Q' a slowly moving copy, where the paper solves
one regression after the other. The policy does not change, so its actions in all next states are
computed once. The estimate is the mean of Q(s, pi(s)) over the states in which the data's episodes
begin. It is made several times, from other weights and with other batches: what these estimates
differ by is the fit's own error, which the states where episodes begin say nothing about.

It is a diagnostic: where the data do not show what the policy would do, the network guesses, and
all fits may guess alike.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import mse_loss

from data_tools.buffers import TensorReplayBuffer
from offline_algos.actors import Actor, BoxActor
from offline_algos.datasets import Dataset, counterfactual
from offline_algos.networks import Critic, Inputs, ValueNetwork
from offline_algos.normalisation import bound_of, scale_rewards

ROWS_A_PASS = 4096
SLOWEST = 0.005
NEXT_ACTION = "next_act"


@dataclass(frozen=True)
class Settings:
    """How the network is fitted.

    Attributes:
        gamma: Discount, 0 to 1, both of the estimate and of the fit.
        updates: Gradient steps.
        batch_size: Transitions in each.
        lr: Adam's learning rate.
        tau: Share of the way that the copy moves at each step; None: see `pace`.
        hidden_sizes: Widths of the hidden layers.
        seed: Of weights and batches.
        fits: How often to fit.
    """

    gamma: float = 0.99
    updates: int = 20_000
    batch_size: int = 256
    lr: float = 3e-4
    tau: float | None = None
    hidden_sizes: tuple[int, ...] = (64, 64)
    seed: int = 0
    fits: int = 3

    @property
    def pace(self) -> float:
        """`tau`, or what lets the copy arrive.

        Values begin near zero, and what they lack shrinks by ``exp(-tau (1 - gamma))`` a step: with
        0.005 and a discount of 0.99 a third of it is left after 20,000. Here at most a hundredth.
        """
        if self.tau is not None:
            return self.tau
        return min(1.0, max(SLOWEST, 5.0 / max(self.updates * (1.0 - self.gamma), 5.0)))


@dataclass(frozen=True)
class Estimate:
    """What a policy is worth by the data.

    Attributes:
        value: Mean discounted return from where episodes begin, in the data's rewards; of all fits.
        error: Its standard error over these states; None where there is one.
        fit_error: Its standard error over the fits; None where there is one.
        starts: How many states that are.
        reward: ``(1 - gamma) * value``: the mean reward a step, weighted by the discount.
        loss: Mean squared error of the last hundredth of the steps, over the variance of rewards.
    """

    value: float
    error: float | None
    fit_error: float | None
    starts: int
    reward: float
    loss: float


def evaluate_policy(
    actor: Actor,
    dataset: Dataset,
    layout: list[Any],
    settings: Settings,
    progress: Callable[[float], object] = lambda loss: None,
) -> Estimate:
    """Estimate a policy's discounted return.

    Args:
        actor: The policy; its action must depend on the observation alone.
        dataset: The data, freshly loaded: its rewards and observations are normalised in place.
        layout: The flat observation's parts: (key, first column, column after the last, shape).
        settings: See `Settings`.
        progress: Told the loss after each step of each fit.

    Raises:
        ValueError: The policy remembers its episode, the observations are images, no episode
            begins in the data, or the fit diverged.
    """
    refuse_memory(actor)
    buffer = dataset.buffer
    if buffer.is_image:
        raise ValueError("observations are images: fitted Q evaluation reads flat observations.")
    starts = first_rows(buffer)
    if not len(starts):
        raise ValueError(
            "no episode begins in the dataset: all of it is counterfactual. Take one with the "
            "logged transitions."
        )
    if settings.gamma == 1.0 and not buffer.terminated[buffer.sample_indices(0)].any():
        raise ValueError(
            "--gamma 1: no episode of the dataset terminates, so its undiscounted value has no "
            "end. Pass a discount below 1."
        )
    buffer.add_column(NEXT_ACTION, _actions(actor, buffer.obs_next))
    begun = torch.as_tensor(_actions(actor, buffer.obs[starts]))
    scale = scale_rewards(buffer)
    actions = 1 + int(max(buffer.act.max(), buffer.column(NEXT_ACTION).max(), begun.max()))
    if isinstance(actor, BoxActor):
        buffer.replace("act", _unit(actor, buffer.act))
        actions = 0
    buffer.normalise(buffer.statistics()._replace(bound=bound_of(layout)))
    buffer.set_targets(settings.gamma)
    buffer.keys = ("obs", "act", "rew", "discount", "obs_next", NEXT_ACTION)
    inputs = Inputs([tuple(part) for part in layout], "mlp", settings.hidden_sizes)
    seen, found, losses = buffer.rows(starts).obs, [], []
    for fit in range(settings.fits):
        torch.manual_seed(settings.seed + fit)
        value = _Value(inputs, actions, buffer.act.shape[1:])
        losses.append(_fit(value, buffer, settings, progress))
        with torch.no_grad():
            found.append(value(seen, begun).double().numpy() * scale)
    return _summary(np.array(found), losses, settings.gamma)


def _summary(found: npt.NDArray[np.float64], losses: list[float], gamma: float) -> Estimate:
    """Of the values (fits, starts).

    Raises:
        ValueError: One is not finite.
    """
    if not (np.isfinite(found).all() and np.isfinite(losses).all()):
        raise ValueError(
            "the fit diverged: its values are not finite. Lower --lr, or look at the dataset's "
            "rewards and observations: python -m data_tools.describe."
        )
    value = float(found.mean())
    return Estimate(
        value=value,
        error=_standard_error(found.mean(0)),
        fit_error=_standard_error(found.mean(1)),
        starts=found.shape[1],
        reward=(1.0 - gamma) * value,
        loss=float(np.mean(losses)),
    )


def _standard_error(values: npt.NDArray[np.float64]) -> float | None:
    """Of the mean of independent numbers; None of a single one."""
    count = len(values)
    return float(values.std(ddof=1) / count**0.5) if count > 1 else None


def refuse_memory(actor: Actor) -> None:
    """Refuse a policy whose action is not a function of the observation.

    Raises:
        ValueError: It remembers its episode.
    """
    if type(actor).begin is not Actor.begin:
        raise ValueError(
            f"a policy of the kind {actor.kind!r} acts by what it remembers of its episode, which "
            "a transition alone does not show: fitted Q evaluation is for the other methods."
        )


def first_rows(buffer: TensorReplayBuffer) -> npt.NDArray[np.int64]:
    """The rows that begin an episode, int64 (k,).

    A counterfactual transition, which `data_tools.relabel` adds as an episode of its own, begins in
    the middle of one.
    """
    rows = buffer.sample_indices(0)
    first = (buffer.prev(rows) == rows) & ~counterfactual(buffer)[rows]
    found: npt.NDArray[np.int64] = rows[first]
    return found


class _Value(torch.nn.Module):
    """Q(s, a), (B,), of normalised observations and of `actions` actions, or of numbers."""

    def __init__(self, inputs: Inputs, actions: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.continuous = bool(shape)
        network: torch.nn.Module
        network = Critic(inputs, shape[0]) if shape else ValueNetwork(inputs, actions)
        self.network = network

    def forward(self, obs: torch.Tensor, act: torch.Tensor) -> torch.Tensor:
        if self.continuous:
            return self.network(obs, act)[:, 0]  # type: ignore[no-any-return]
        values, _ = self.network(obs)
        return values.gather(1, act[:, None])[:, 0]  # type: ignore[no-any-return]


def _fit(
    value: _Value,
    buffer: TensorReplayBuffer,
    settings: Settings,
    progress: Callable[[float], object],
) -> float:
    """Fit, and return the mean loss of the end, in variances of the reward."""
    target = copy.deepcopy(value).requires_grad_(False)
    optimiser = torch.optim.Adam(value.parameters(), lr=settings.lr, fused=True)
    pairs = [list(module.parameters()) for module in (target, value)]
    losses, last = [], max(settings.updates // 100, 1)
    for step in range(settings.updates):
        batch, _ = buffer.sample(settings.batch_size)
        with torch.no_grad():
            ahead = target(batch.obs_next, batch.__dict__[NEXT_ACTION])
            wanted = batch.rew + batch.discount * ahead
        loss = mse_loss(value(batch.obs, batch.act), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(*pairs, settings.pace)
        progress(loss.item())
        if step >= settings.updates - last:
            losses.append(loss.item())
    return float(np.mean(losses))


def _actions(actor: Actor, observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What the policy does in raw observations: int64 (n,), or float32 (n, A) in [-1, 1]."""
    device = actor.normaliser.mean.device
    with torch.no_grad():
        made = [
            actor(torch.as_tensor(observations[i : i + ROWS_A_PASS], device=device)).cpu().numpy()
            for i in range(0, len(observations), ROWS_A_PASS)
        ]
    actions = np.concatenate(made)
    return _unit(actor, actions) if isinstance(actor, BoxActor) else actions


def _unit(actor: Actor, actions: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Actions of the box in [-1, 1]."""
    assert isinstance(actor, BoxActor)
    middle, half = (getattr(actor, name).cpu().numpy() for name in ("middle", "half_width"))
    return np.asarray((actions - middle) / half, np.float32)
