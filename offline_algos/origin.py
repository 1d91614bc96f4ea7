"""What a policy is, or was, learned from: enough to build its task again, without the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from offline_algos.periods import DATASET_WORDS, TRAINING_WORDS, Span, Words, read_time


@dataclass(frozen=True)
class Origin:
    """Where a policy comes from, told by a dataset or by a checkpoint.

    Attributes:
        noun: "the dataset" or "the checkpoint", for messages.
        path: The file; None for a buffer made in memory.
        provenance: What `data_tools.collect` says about the dataset, or an online script about
            its environments; empty where nothing is known.
        task: Environment id; None where it is not known.
        config: Arguments of the environment to judge in, as JSON has them.
        market: The market to judge on, as `data_tools.environment.open_market` describes it.
        evaluation: Where a checkpoint was judged; None for a dataset.
        observation_shape: Of one flat observation.
        image_shape: Frames, height and width of an observation that is an image; else None.
        parts: The flat observation's parts, "key [shape]"; None where they are not known.
        action_shape: Of one action, () for discrete ones.
        action_range: The lowest and the highest number in an action.
        behavior_return: What the behaviour policy earned an episode, if that is known.
        words: How messages call what was learned from.
        data_path: The dataset's file, as the run was given it; None where there was none.
    """

    noun: str
    path: str | None
    provenance: dict[str, Any]
    task: str | None
    config: dict[str, Any]
    market: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    observation_shape: tuple[int, ...]
    image_shape: tuple[int, ...] | None
    parts: list[str] | None
    action_shape: tuple[int, ...]
    action_range: tuple[float, float]
    behavior_return: float | None
    words: Words = DATASET_WORDS
    data_path: str | None = None

    @property
    def collection(self) -> Span | None:
        """First decision and last mark that the collection could use, or None."""
        if "span" not in self.provenance:
            return None
        span = self.provenance["span"]
        return read_time(span["start"]), read_time(span["end"])


def checkpoint_origin(about: dict[str, Any], path: str) -> Origin:
    """What a checkpoint tells.

    Args:
        about: What it carries: see `runner.start_run`.
        path: The file.

    Raises:
        KeyError: `about` is not that of a training script.
    """
    online = about.get("training")  # what an online script trained in
    provenance = online or (about.get("dataset") or {}).get("provenance") or {}
    layout, actions = about["layout"], about["action_space"]
    discrete = "n" in actions
    low, high = (0, actions["n"] - 1) if discrete else (min(actions["low"]), max(actions["high"]))
    evaluation = about["evaluation"]
    return Origin(
        noun="the checkpoint",
        path=path,
        provenance=provenance,
        task=about["task"],
        config=about["configuration"],
        market=evaluation.get("market"),
        evaluation=evaluation,
        observation_shape=(sum(math.prod(shape) for *_, shape in layout),),
        image_shape=next((tuple(shape) for *_, shape in layout if len(shape) == 3), None),
        parts=[f"{key} {list(shape)}" for key, _, _, shape in layout],
        action_shape=() if discrete else (len(actions["low"]),),
        action_range=(low, high),
        behavior_return=provenance.get("reference", {}).get("behavior_return"),
        words=TRAINING_WORDS if online else DATASET_WORDS,
        data_path=(about.get("dataset") or {}).get("path"),
    )
