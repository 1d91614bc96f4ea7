"""Checkpoints: what a trained policy needs to act again, readable without pickle."""

from __future__ import annotations

import importlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from data_tools.files import replacing
from gym_trade import Market, TradeConfig
from offline_algos import live
from offline_algos.actors import Actor
from offline_algos.normalisation import Normaliser

FORMAT = "offline_algos policy"
FORMAT_VERSION = 3
BEST = "policy.pth"  # of a run's files, what stands for the run
TRAINING_FORMAT = "offline_algos training state"  # what `resume` writes


# An actor's kind -> the module and the class; a module is read when a file needs it.
ACTORS = {
    "greedy": ("actors", "GreedyActor"),
    "deterministic": ("actors", "DeterministicActor"),
    "gaussian": ("actors", "GaussianActor"),
    "constrained": ("discrete_bcq", "ConstrainedActor"),
    "batch_constrained": ("bcq", "BatchConstrainedActor"),
    "squashed_candidates": ("candidates", "SquashedCandidates"),
    "clipped_candidates": ("candidates", "ClippedCandidates"),
    "transformer": ("transformer_actor", "TransformerActor"),
}


def actor_class(kind: str) -> type[Actor]:
    """The class of a kind of actor.

    Raises:
        CheckpointError: There is none.
    """
    if kind not in ACTORS:
        raise CheckpointError(f"unknown kind of actor {kind!r}. Known: {', '.join(ACTORS)}.")
    module, name = ACTORS[kind]
    made: type[Actor] = getattr(importlib.import_module(f"offline_algos.{module}"), name)
    return made


class CheckpointError(ValueError):
    """A file that is no checkpoint of this package, or a damaged one."""


def save_policy(path: str | os.PathLike[str], actor: Actor, about: dict[str, Any]) -> None:
    """Write an actor and what it was trained for, whole or not at all.

    Args:
        path: The file; an older one is replaced.
        actor: Weights and normaliser (float64) are saved, with the arguments that rebuild it.
        about: JSON-able facts: method, task, spaces, configuration, layout, arguments.
    """
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "actor": {
            "kind": actor.kind,
            "arguments": json.dumps(actor.arguments),
            "state": actor.state_dict(),
        },
        "about": json.dumps(about),
    }
    write_tensors(path, content)


def write_tensors(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write what ``torch.load(..., weights_only=True)`` reads, whole or not at all."""
    # Through memory: on a full disk torch.save itself fails with an error that does not say so.
    made = io.BytesIO()
    torch.save(content, made)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(made.getbuffer())


@dataclass(frozen=True)
class TrainedPolicy:
    """A trained policy.

    Attributes:
        actor: Normaliser and networks, in evaluation mode.
        about: What `save_policy` was told: method, task, spaces, configuration and so on.
    """

    actor: Actor
    about: dict[str, Any]

    @torch.no_grad()
    def act(
        self,
        observations: npt.ArrayLike | pd.DataFrame | Market,
        account_state: npt.ArrayLike | None = None,
        *,
        now: object = None,
        config: TradeConfig | None = None,
    ) -> npt.NDArray[Any]:
        """Choose actions for observations, or the action for new bars and an account.

        A policy that remembers its episode, a Decision Transformer, is to be told of it: see
        `actors.Actor.begin` and `observe`.

        Args:
            observations: Flat observations as the environment gives them, float (n, D), or stacks
                of frames as the dataset has them, uint8 (n, frames, height, width); or, of a
                market task, closed bars as `gym_trade.observe` takes them, the last one just now.
            account_state: With bars, the account's six numbers; `gym_trade.account_state` makes
                them.
            now: With bars, see `gym_trade.observe`.
            config: With bars, what to read them with; None: what the checkpoint was trained with.

        Returns:
            int64 (n,), indices into the environment's actions, or float32 (n, A) of its box; for
            bars the one action, int64 () or float32 (A,).

        Raises:
            ValueError: The shape is not (n, D), the policy is of no market, or the bars do not fit
                it, are too few or do not end with a decision.
        """
        if account_state is not None or isinstance(observations, pd.DataFrame | Market):
            seen = live.observation(self.about, observations, account_state, now, config)
            chosen: npt.NDArray[Any] = self.act(seen[None])[0]
            return chosen
        observations = np.asarray(observations)
        columns = self.actor.normaliser.mean.shape[0]
        if observations.ndim > 2 and list(observations.shape[1:]) == self.about["layout"][0][3]:
            observations = observations.reshape(len(observations), -1)
        if observations.ndim != 2 or observations.shape[1] != columns:
            raise ValueError(
                f"observations of shape {observations.shape}: expected (n, {columns}), one row per "
                "lane. Add a leading axis to a single observation."
            )
        device = self.actor.normaliser.mean.device
        actions: torch.Tensor = self.actor(torch.as_tensor(observations, device=device))
        return actions.cpu().numpy()

    def exposure(self, actions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """What actions of a market task ask for: signed notional over equity, after the trade.

        Args:
            actions: As `act` returns them.

        Returns:
            Level times leverage, float64 (n,), or () for a single action; NaN for the action that
            holds a position, whatever it is, between stop and target.

        Raises:
            ValueError: The policy is of no market.
        """
        return live.exposure(self.about, actions)


def checkpoint_file(path: str | os.PathLike[str]) -> Path:
    """The file of a checkpoint that is named by itself or by its run's directory."""
    place = Path(path)
    return place / BEST if place.is_dir() else place


def load_policy(path: str | os.PathLike[str], device: str = "cpu") -> TrainedPolicy:
    """Open a checkpoint that a training script wrote.

    Args:
        path: ``policy.pth`` or ``last.pth``, or the directory of a run: its ``policy.pth``. It is
            read with ``weights_only=True``, so a file from elsewhere cannot run code.
        device: Where the network is to live.

    Raises:
        CheckpointError: No such file, not one of ours, damaged, or of a newer version.
    """
    path = checkpoint_file(path)
    if not os.path.isfile(path):
        raise CheckpointError(f"no checkpoint at {path}. Training writes policy.pth and last.pth.")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises half a dozen types for what is not a checkpoint
        # its own words advise to read the file with pickle, which could run code
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): damaged, or of "
            "another program. Expected a policy.pth or last.pth."
        ) from error
    if isinstance(content, dict) and content.get("format") == TRAINING_FORMAT:
        raise CheckpointError(
            f"{path} is the state that --resume goes on from, which does not act. Expected the "
            "policy.pth or last.pth beside it."
        )
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} was not written by offline_algos. Expected a policy.pth or last.pth."
        )
    if content["format_version"] != FORMAT_VERSION:
        version = content["format_version"]
        known = "newer" if version > FORMAT_VERSION else "older"
        raise CheckpointError(
            f"{path} has format version {version}, {known} than {FORMAT_VERSION}. Use the "
            "release of this package that wrote it, or train again."
        )
    part = content["actor"]
    normaliser = Normaliser.identity(len(part["state"]["normaliser.mean"]))
    actor = actor_class(part["kind"]).build(normaliser, **json.loads(part["arguments"]))
    actor.load_state_dict(part["state"])
    return TrainedPolicy(actor.to(device).eval(), json.loads(content["about"]))
