"""The Decision Transformer (Chen et al. 2021, arXiv:2106.01345), which Tianshou lacks."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tianshou.algorithm.algorithm_base import OfflineAlgorithm, Policy
from tianshou.algorithm.imitation.imitation_base import ImitationTrainingStats
from tianshou.algorithm.optim import LRSchedulerFactory, OptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from torch.optim.lr_scheduler import LambdaLR

from data_tools.buffers import TensorReplayBuffer
from data_tools.files import replacing
from offline_algos import report
from offline_algos.actors import ActorPolicy
from offline_algos.arguments import number, whole
from offline_algos.checkpoint import load_policy
from offline_algos.evaluation import evaluate
from offline_algos.gym_task import GymTask
from offline_algos.preparation import Setup
from offline_algos.runner import Run
from offline_algos.sequence_buffer import SequenceBuffer
from offline_algos.transformer_actor import TransformerActor, with_target
from offline_algos.transformer_network import TIMESTEP_EMBEDDINGS, TransformerNetwork
from offline_algos.updates import TensorUpdates

TARGETS = "targets.json"
# returns of the episodes, the second halfway from the last to the first
OF_THE_DATA = ("best", "better", "median")


class SequencePolicy(Policy):
    """A Decision Transformer as a Tianshou policy: it acts on whole contexts.

    A `transformer_actor.TransformerActor` remembers them for an environment's steps.

    Args:
        model: The network.
        action_space: The environment's.
        observation_space: The environment's.
    """

    def __init__(
        self,
        *,
        model: TransformerNetwork,
        action_space: gym.Space[Any],
        observation_space: gym.Space[Any] | None = None,
    ) -> None:
        super().__init__(action_space, observation_space, False, None)
        self.model = model

    def forward(self, batch: Any, state: Any = None, **keywords: Any) -> Any:
        """``logits``, (B, K, actions), and ``act`` for the last timestep of each context.

        Args:
            batch: Contexts, as `SequenceBuffer.windows` returns them.
            state: Passed through.
            **keywords: Not used.
        """
        logits = self.model(batch.obs, batch.act, batch.returns, batch.timesteps, batch.mask)
        last = logits[:, -1]
        return Batch(
            logits=logits, act=last if self.model.continuous else last.argmax(1), state=state
        )


class Warmup(LRSchedulerFactory):
    """The learning rate rises from its `steps`-th part in equal parts, and then stays.

    Args:
        steps: Gradient steps until the full rate; 0 or 1: it is full from the start.
    """

    def __init__(self, steps: int) -> None:
        self.steps = max(steps, 1)

    def create_scheduler(self, optim: torch.optim.Optimizer) -> LambdaLR:
        """See Tianshou's `LRSchedulerFactory`; a step of it is a gradient step."""
        steps = self.steps
        return LambdaLR(optim, lambda done: min((done + 1) / steps, 1.0))


class DecisionTransformer(TensorUpdates, OfflineAlgorithm[SequencePolicy]):
    """Supervised learning of actions, given the return that followed and what went before.

    The action of every timestep of a context is predicted from its observation, its return-to-go
    and the timesteps before (section 3 of the paper): cross-entropy for discrete actions, squared
    error of a tanh for continuous ones, averaged over the timesteps that are not padding.

    Dropout needs the network's training mode: it is on in `update` and off everywhere else.

    Args:
        policy: What is trained.
        optim: The paper's is AdamW with `Warmup`.
        max_grad_norm: Gradients are scaled down to this norm; None: never.
    """

    def __init__(
        self,
        *,
        policy: SequencePolicy,
        optim: OptimizerFactory,
        max_grad_norm: float | None = 0.25,
    ) -> None:
        super().__init__(policy=policy)
        self.optim = self._create_optimizer(policy, optim, max_grad_norm=max_grad_norm)
        policy.model.eval()

    def process_buffer(self, buffer: ReplayBuffer) -> SequenceBuffer:  # type: ignore[override]
        """What the trainer samples: contexts of this buffer."""
        if not isinstance(buffer, TensorReplayBuffer):
            buffer = TensorReplayBuffer(buffer, next(self.parameters()).device)
        return SequenceBuffer(buffer, self.policy.model.context_length)

    def update(self, buffer: Any, sample_size: int | None) -> Any:
        """One gradient step with dropout; see `TensorUpdates.update`."""
        self.policy.model.train()
        try:
            return super().update(buffer, sample_size)
        finally:
            self.policy.model.eval()

    def _update_with_batch(self, batch: Any) -> ImitationTrainingStats:
        model = self.policy.model
        predicted = model(batch.obs, batch.act, batch.returns, batch.timesteps, batch.mask)
        if model.continuous:
            errors = (predicted - batch.act).square().mean(2)
        else:
            legal = self._legal(predicted, batch.obs, batch.act)
            errors = torch.nn.functional.cross_entropy(
                legal.transpose(1, 2), batch.act, reduction="none"
            )
        loss = (errors * batch.mask).sum() / batch.mask.sum()
        self.optim.step(loss)
        return ImitationTrainingStats(loss=loss.item())


# --- what both scripts share ------------------------------------------------------------------


def a_return(text: str) -> float | str:
    """A word of `OF_THE_DATA`, or a number."""
    return text if text in OF_THE_DATA else number(-math.inf)(text)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the method."""
    parser.set_defaults(batch_size=64, hidden_sizes=[], update_per_epoch=500)
    group = parser.add_argument_group(
        "Decision Transformer",
        "An observation is embedded by one linear layer, and by hidden layers before it where\n"
        "--hidden-sizes are given. Rewards keep their unit, that of --target-return.",
    )

    def add(flag: str, kind: Any, default: Any, text: str, **more: Any) -> None:
        text += " (default %(default)s)" if default is not None else ""
        group.add_argument(flag, type=kind, default=default, help=text, **more)

    add("--context-length", whole(1), 20, "timesteps that an action is chosen from")
    add("--num-layers", whole(1), 2, "transformer blocks")
    add("--num-heads", whole(1), 1, "of the attention")
    add("--embedding-size", whole(2), 64, "numbers a token")
    add("--dropout", number(0.0, 0.99), 0.1, "of embeddings, attention and blocks")
    add(
        "--timestep-embedding", str, "sinusoidal",
        "what tokens know of their time: the episode's timestep, up to the longest episode of the "
        "data, or none, but their place in the context", choices=TIMESTEP_EMBEDDINGS,
    )  # fmt: skip
    add("--weight-decay", number(0.0), 1e-4, "of AdamW")
    add("--warmup-steps", whole(0), 1000, "gradient steps in which the learning rate rises")
    add("--max-grad-norm", number(0.0, positive=True), 0.25, "gradients are scaled down to it")
    add(
        "--return-scale", number(0.0, positive=True), None,
        "returns-to-go are divided by it (default: the dataset's largest, so that they lie in "
        "[-1, 1])",
    )  # fmt: skip
    add(
        "--target-return", a_return, None,
        "what an episode is to earn, in the unit of the environment's rewards, or one of "
        f"{', '.join(OF_THE_DATA)}: of the dataset's episodes; the first chooses the checkpoint, "
        "which is then tested at each (default: all three)", nargs="+", metavar="V",
    )  # fmt: skip
    add(
        "--target-steps", whole(0), None,
        "after so many steps ask for the return anew, 0: never (default: the longest episode of "
        "the dataset on a market, which is evaluated in one pass, and never elsewhere)",
        metavar="N",
    )  # fmt: skip


def target_steps(args: argparse.Namespace, setup: Setup, longest: int) -> int | None:
    """Steps after which a return is asked for anew, None for never; see ``--target-steps``.

    Args:
        args: Parsed flags.
        setup: Says whether the task is a market.
        longest: Steps of the dataset's longest episode.
    """
    if args.target_steps is None:
        return None if isinstance(setup.task, GymTask) else longest
    return args.target_steps or None


def target_returns(args: argparse.Namespace, setup: Setup) -> list[float]:
    """The returns to ask for, see ``--target-return``.

    A dataset without a whole episode counts as one.
    """
    returns = setup.dataset.returns
    if not len(returns):
        returns = np.array([setup.buffer.rew[: len(setup.buffer)].sum()])
    best, median = float(returns.max()), float(np.median(returns))
    known = dict(zip(OF_THE_DATA, (best, (best + median) / 2, median), strict=True))
    return [known.get(given, given) for given in args.target_return or OF_THE_DATA]


def compare_targets(run: Run, setup: Setup, targets: Sequence[float]) -> dict[str, Any]:
    """Test the best checkpoint at several target returns: print a table, write `TARGETS`.

    Returns:
        What the file holds: ``targets``, a list of what each ``target_return`` came to: ``return``
        (sum of rewards, averaged over episodes), ``steps``, ``terminated`` and ``metrics`` on a
        market, ``returns`` of the episodes in another task.
    """
    policy, task = load_policy(run.directory / report.CHECKPOINTS["best"]), setup.task
    assert isinstance(policy.actor, TransformerActor)
    tested: list[dict[str, Any]] = []
    for target in targets:
        actor = with_target(policy.actor, target)
        if isinstance(task, GymTask):
            returns = task.returns(ActorPolicy(actor, task.action_space), actor)
            outcome = {"return": float(returns.mean()), "returns": returns.tolist()}
        else:
            outcome = evaluate(
                type(policy)(actor, policy.about).act, task.config, task.test.start, task.test.end,
                name=f"target {target:g}", show_progress=True, listener=actor,
            )  # fmt: skip
        tested.append({"target_return": target, **outcome})
    print("\ntest of the best checkpoint at several target returns")
    if isinstance(task, GymTask):
        print(f"{'target':>12}{'return':>12}")
        print("\n".join(f"{x['target_return']:>12.2f}{x['return']:>12.2f}" for x in tested))
    else:
        print(report.table({f"target {x['target_return']:+.5g}": x for x in tested}))
    kept = ("target_return", "return", "returns", "steps", "terminated", "metrics")
    made = {"targets": [{key: x[key] for key in kept if key in x} for x in tested]}
    with replacing(run.directory / TARGETS) as temporary:
        text = json.dumps(report.finite(made), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return made
