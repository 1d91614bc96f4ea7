"""What every method here does with a batch of tensors, as a mixin of Tianshou's algorithms."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from tianshou.algorithm.algorithm_base import Algorithm
from tianshou.algorithm.optim import OptimizerFactory
from tianshou.data import ReplayBuffer

from data_tools.buffers import TensorReplayBuffer
from offline_algos.legal_actions import LegalActions


class FusedAdam(OptimizerFactory):
    """Tianshou's optimiser factory for torch's fused Adam: one kernel for all parameters.

    The arithmetic is Adam's (Kingma and Ba 2015, arXiv:1412.6980); on networks of some hundred
    units it takes a third of the time of the default one.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
        }  # fmt: skip

    def _create_optimizer_for_params(self, params: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(params, fused=True, **self.options)


class TensorUpdates:
    """Mixin, named before a Tianshou offline algorithm: updates from a `TensorReplayBuffer`.

    * Targets are ``batch.rew + batch.discount * value(batch.obs_next)``, for any ``n_step``: the
      discount is 0 where the episode terminated, and only there. Tianshou masks with ``done`` in
      BCQ, CQL and CRR, so that a time limit is learned as a death.
    * No second look into the buffer, and no walk over all modules to switch their mode at each
      step: the networks here behave alike in both.
    * Target networks are moved by one call for all parameters.
    * Where the task has illegal actions, no target, softmax or log-sum-exp of discrete actions
      contains them; elsewhere nothing is done.

    A subclass has ``gamma``, may have ``n_step``, and implements ``_update_with_batch`` with a
    batch of tensors: obs, act, rew, discount, obs_next, as `TensorReplayBuffer` makes them. A
    prioritised batch has ``weight`` besides: means over it are taken by `batch_mean` and
    `batch_loss`, and `give_back` leaves errors in its place, as Tianshou's algorithms do.

    Attributes:
        legal: Masks illegal actions; None where the task has none. Not saved: it is the task's.
    """

    legal: LegalActions | None = None

    def process_buffer(self, buffer: ReplayBuffer) -> TensorReplayBuffer:
        """The buffer that the trainer samples: this one's tensors, with targets prepared."""
        if not isinstance(buffer, TensorReplayBuffer):
            device = next(self.parameters()).device  # type: ignore[attr-defined]
            buffer = TensorReplayBuffer(buffer, device)
        buffer.set_targets(getattr(self, "gamma", 1.0), getattr(self, "n_step", 1))
        buffer.keys = ("obs", "act", "rew", "discount", "obs_next")
        return buffer

    def update(self, buffer: ReplayBuffer, sample_size: int | None) -> Any:
        """One gradient step, as Tianshou's trainer asks for it.

        Args:
            buffer: What `process_buffer` has returned.
            sample_size: Transitions in the batch.

        Returns:
            The method's losses, with the time that the step took.
        """
        started = time.perf_counter()
        batch, rows = buffer.sample(sample_size)
        stats = self._update_with_batch(batch)  # type: ignore[attr-defined]
        if "weight" in batch.__dict__:  # the errors that `give_back` left there
            buffer.update_weight(rows, batch.weight)
        for scheduler in self.lr_schedulers:  # type: ignore[attr-defined]
            scheduler.step()
        stats.train_time = time.perf_counter() - started
        return stats

    def _legal(
        self, values: torch.Tensor, obs: torch.Tensor, taken: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Values or logits with -inf for illegal actions, see `LegalActions`; or as they are."""
        return values if self.legal is None else self.legal(values, obs, taken)

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        return batch

    @torch.no_grad()
    def _update_lagged_network_weights(self) -> None:
        """Move the target networks: all the way, or by ``tau`` where the method has one."""
        if not hasattr(self, "_lagged_parameters"):
            pairs = self._lagged_networks._lagged_network_pairs  # type: ignore[attr-defined]
            # plain lists of an object, so that torch does not take them for parameters of its own
            self.__dict__["_lagged_parameters"] = tuple(
                [parameter for pair in pairs for parameter in getattr(pair, side).parameters()]
                for side in ("target", "source")
            )
        targets, sources = self.__dict__["_lagged_parameters"]
        if hasattr(self, "tau"):
            torch._foreach_lerp_(targets, sources, self.tau)
        else:
            torch._foreach_copy_(targets, sources)


def descend(optim: Algorithm.Optimizer, loss: torch.Tensor) -> None:
    """A step of an optimiser, without gradients for the networks that the loss only looks through.

    Args:
        optim: What Tianshou's ``_create_optimizer`` returns, without gradient clipping.
        loss: A number that depends on the optimiser's parameters.
    """
    optim._optim.zero_grad()
    loss.backward(inputs=list(optim._module.parameters()))
    optim._optim.step()


# --- prioritised batches ----------------------------------------------------------------------


def batch_mean(values: torch.Tensor, batch: Any = None) -> torch.Tensor:
    """The mean of numbers of a batch's transitions, (B, ...): weighted where the batch is."""
    if batch is None or "weight" not in batch.__dict__:
        return values.mean()
    return (values * batch.weight.view(-1, *[1] * (values.ndim - 1))).mean()


def batch_loss(
    function: Callable[..., torch.Tensor], values: torch.Tensor, targets: torch.Tensor, batch: Any
) -> torch.Tensor:
    """A loss of torch's, such as ``mse_loss``, averaged as `batch_mean` does."""
    if "weight" not in batch.__dict__:
        return function(values, targets)
    return batch_mean(function(values, targets, reduction="none"), batch)


def give_back(batch: Any, target: torch.Tensor | float, *values: torch.Tensor) -> None:
    """Leave in a prioritised batch how wrong its transitions were: their next priorities.

    Args:
        batch: Its weights are replaced, so that nothing can be weighted afterwards.
        target: (B,) or (B, 1).
        *values: What each critic said, of the same shape; their errors are averaged.
    """
    if "weight" in batch.__dict__:
        errors = [(value.detach() - target).abs().flatten() for value in values]
        batch.__dict__["weight"] = torch.stack(errors).mean(0)
