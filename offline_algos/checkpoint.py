"""Checkpoints: what a trained policy needs to act again, readable without pickle."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data_tools.files import replacing
from offline_algos.networks import NormalisedNet
from offline_algos.normalisation import Normaliser

FORMAT = "offline_algos policy"
FORMAT_VERSION = 1


class CheckpointError(ValueError):
    """A file that is no checkpoint of this package, or a damaged one."""


def save_policy(
    path: str | os.PathLike[str], network: NormalisedNet, about: dict[str, Any]
) -> None:
    """Write a policy's network and what it was trained for, whole or not at all.

    Args:
        path: The file; an older one is replaced.
        network: Weights and normaliser (float64) are saved, with the arguments that rebuild it.
        about: JSON-able facts: method, task, spaces, configuration, layout, arguments.
    """
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "network": {"arguments": network.arguments, "state": network.state_dict()},
        "about": json.dumps(about),
    }
    # Through memory: on a full disk torch.save itself fails with an error that does not say so.
    made = io.BytesIO()
    torch.save(content, made)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(made.getbuffer())


@dataclass(frozen=True)
class DiscretePolicy:
    """A trained policy over discrete actions: the action of the highest value.

    Attributes:
        network: Normaliser and network, in evaluation mode.
        about: What `save_policy` was told: method, task, spaces, configuration and so on.
    """

    network: NormalisedNet
    about: dict[str, Any]

    @torch.no_grad()
    def act(self, observations: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Choose actions.

        Args:
            observations: Flat observations as the environment gives them, float (n, D).

        Returns:
            int64 (n,), indices into the environment's actions.

        Raises:
            ValueError: The shape is not (n, D).
        """
        observations = np.asarray(observations)
        columns = self.network.normaliser.mean.shape[0]
        if observations.ndim != 2 or observations.shape[1] != columns:
            raise ValueError(
                f"observations of shape {observations.shape}: expected (n, {columns}), one row per "
                "lane. Add a leading axis to a single observation."
            )
        values, _ = self.network(observations)
        if values.ndim == 3:  # quantiles: their mean is the value
            values = values.mean(2)
        actions: npt.NDArray[np.int64] = values.argmax(1).cpu().numpy()
        return actions


def load_policy(path: str | os.PathLike[str], device: str = "cpu") -> DiscretePolicy:
    """Open a checkpoint that a training script wrote.

    Args:
        path: ``policy.pth`` or ``last.pth``. It is read with ``weights_only=True``, so a file from
            elsewhere cannot run code.
        device: Where the network is to live.

    Raises:
        CheckpointError: No such file, not one of ours, damaged, or of a newer version.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"no checkpoint at {path}. Training writes policy.pth and last.pth.")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises half a dozen types for what is not a checkpoint
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} was not written by offline_algos. Expected a policy.pth or last.pth."
        )
    if content["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {content['format_version']}, newer than {FORMAT_VERSION}. "
            "Update this package."
        )
    arguments, state = content["network"]["arguments"], content["network"]["state"]
    normaliser = Normaliser.identity(len(state["normaliser.mean"]))
    network = NormalisedNet(normaliser, **arguments)
    network.load_state_dict(state)
    return DiscretePolicy(network.to(device).eval(), json.loads(content["about"]))
