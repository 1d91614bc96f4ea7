"""A trained policy as the one that makes data, and as the one that a dataset says made it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from data_tools.driving import Behaviour
from data_tools.files import sha256
from data_tools.noise import EpsilonNoise, Mask, log_of, same_actions
from offline_algos.checkpoint import CheckpointError, TrainedPolicy, load_policy
from offline_algos.transformer_actor import TransformerActor, with_target

CHECKPOINT = "checkpoint"  # the name of such a policy in a provenance


def behaviour_of(
    policy: TrainedPolicy,
    space: gym.Space[Any],
    *,
    epsilon: float = 0.0,
    seed: int = 0,
    description: dict[str, Any] | None = None,
    mask: Callable[[], Mask | None] = lambda: None,
) -> Behaviour:
    """A policy that acts on all lanes at once, some of its actions replaced by random ones.

    Args:
        policy: The policy.
        space: A single lane's actions.
        epsilon: Probability that an action is replaced.
        seed: Of what is replaced and by what; not drawn from where `epsilon` is 0.
        description: For the provenance, see `describe_checkpoint`.
        mask: What each lane may do now, (lanes, actions); None: everything.
    """
    noise = EpsilonNoise(space, epsilon, np.random.default_rng(seed), mask)
    own: list[npt.NDArray[Any]] = []

    def act(observations: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        own[:] = [policy.act(observations)]
        return noise(own[0])

    def log_probability(taken: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        alone = same_actions(taken, own[0]).astype(np.float64)
        return log_of(noise.probability(taken, alone))

    return Behaviour(
        act,
        begin=lambda mask: policy.actor.begin(np.flatnonzero(mask)),
        observe=lambda rewards: policy.actor.observe(np.arange(len(rewards)), rewards),
        log_probability=log_probability,
        description=description or {},
    )


def describe_checkpoint(
    policy: TrainedPolicy, path: str, epsilon: float, dataset: str | os.PathLike[str]
) -> dict[str, Any]:
    """What a provenance says of a checkpoint, from which `recorded_checkpoint` finds it again.

    Args:
        policy: What is in it.
        path: Its file. One that is named from the current folder is noted as seen from the
            dataset's, so that both can be moved together.
        epsilon: Share of its actions that are random.
        dataset: The dataset that is recorded.
    """
    about = {
        "name": CHECKPOINT,
        "method": policy.about["method"],
        "path": path if os.path.isabs(path) else os.path.relpath(path, Path(dataset).parent),
        "content_hash": sha256(path),
        "epsilon": float(epsilon),
    }
    if isinstance(policy.actor, TransformerActor):
        about["target_return"] = float(policy.actor.target_return)
    return about


def recorded_checkpoint(description: dict[str, Any], folder: Path) -> TrainedPolicy:
    """The checkpoint that made a dataset.

    Args:
        description: A provenance's ``policy``, from `describe_checkpoint`.
        folder: Where the dataset lies.

    Raises:
        CheckpointError: It is gone, or another one by now.
    """
    path = os.path.normpath(folder / str(description.get("path")))
    if not os.path.isfile(path):
        raise CheckpointError(f"its checkpoint {path} is not there any more.")
    if sha256(path) != description.get("content_hash"):
        raise CheckpointError(f"{path} is another checkpoint than the one that made the dataset.")
    policy = load_policy(path)
    return at_target(policy, description.get("target_return"))


def at_target(policy: TrainedPolicy, target_return: float | None) -> TrainedPolicy:
    """The same policy, asked for another return; None, or one that cannot be asked: itself."""
    if target_return is None or not isinstance(policy.actor, TransformerActor):
        return policy
    return TrainedPolicy(with_target(policy.actor, target_return), policy.about)
