"""The task that a dataset was made in, rebuilt, and where a policy may be judged in it."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from data_tools.environment import SYNTHETIC_PREFIX, open_market, parse_env_arguments, reopen_market
from data_tools.hdf5 import DatasetError
from gym_trade import Market, SequentialConfig, VectorTradeEnv
from gym_trade.arguments import CALLABLE_PREFIX
from offline_algos.datasets import Dataset
from offline_algos.evaluation import evaluation_config, evaluation_environment
from offline_algos.periods import Period, evaluation_range, split

TASKS = ("Trade-Sequential-v0", "Trade-VectorSequential-v0")
# What the evaluation decides itself.
RESERVED = ("df", "start", "end", "episode_steps", "random_start", "observation", "render_mode")


@dataclass(frozen=True)
class Task:
    """What is to be learned and where it is judged.

    Attributes:
        name: Environment id.
        config: The evaluation environment, without a period.
        market: Which market it trades: kind, path or name, content hash.
        validation: Chooses the checkpoint.
        test: Touched once, at the end.
        action_space: Discrete actions.
        observation_space: Flat observations.
        layout: The flat observation's parts.
    """

    name: str
    config: SequentialConfig
    market: dict[str, Any]
    validation: Period
    test: Period
    action_space: gym.spaces.Discrete
    observation_space: gym.spaces.Box
    layout: tuple[Any, ...]


def open_task(args: argparse.Namespace, dataset: Dataset) -> Task:
    """Build the dataset's task anew and find where it may be evaluated.

    Args:
        args: Parsed flags, see `arguments.training_parser`.
        dataset: The data.

    Raises:
        ValueError: The task is unknown, the market is not there, environment and data do not fit
            each other, or no honest period is left.
    """
    provenance = dataset.provenance or {}
    name = args.task or provenance.get("task")
    if name is None:
        raise DatasetError(
            f"{dataset.path} has no provenance that names its task. Pass --task {TASKS[0]}, "
            "--test-market FILE and, if they are not the defaults, the environment's arguments "
            "with --env."
        )
    if name not in TASKS or provenance.get("task", name) not in TASKS:
        raise ValueError(
            f"--task {name}, dataset made in {provenance.get('task', 'an unknown task')}: expected "
            f"{' or '.join(TASKS)}."
        )
    overrides = parse_env_arguments(args.env, args.env_config)
    for key in RESERVED:
        if key in overrides:
            raise ValueError(
                f"--env {key}={overrides[key]!r}: the evaluation sets this itself; the period is "
                "chosen with --test-market, --test-start and --test-end."
            )
    recorded = {k: v for k, v in provenance.get("config", {}).items() if k not in RESERVED}
    if (args.test_market or "").startswith(SYNTHETIC_PREFIX):
        # how the dataset's file was stamped says nothing about a simulated market
        recorded = {k: v for k, v in recorded.items() if k not in ("stamp", "offset")}
    market, market_facts = _open_evaluation_market(args, provenance, recorded | overrides)
    _refuse_foreign_code(recorded, overrides)
    kept = {key: value for key, value in recorded.items() if key not in overrides}
    config = SequentialConfig.from_json(json.dumps(kept)).replace(df=market)
    config = SequentialConfig.from_arguments(config, overrides)
    environment = evaluation_environment(config)
    _check_fit(environment, dataset)
    if dataset.collection is None:
        print("the dataset's collection span is not known: overlap with it cannot be checked")
    first, last = evaluation_range(
        environment,
        dataset.collection,
        same_market=market.content_hash == provenance.get("market", {}).get("content_hash"),
        start=args.test_start,
        end=args.test_end,
        allow_overlap=args.allow_overlap,
    )
    validation, test = split(environment, first, last)
    actions, observations = environment.single_action_space, environment.single_observation_space
    assert isinstance(actions, gym.spaces.Discrete) and isinstance(observations, gym.spaces.Box)
    return Task(
        name=name,
        config=evaluation_config(config),
        market=market_facts,
        validation=validation,
        test=test,
        action_space=actions,
        observation_space=observations,
        layout=environment.layout,
    )


def _refuse_foreign_code(recorded: dict[str, Any], overrides: dict[str, Any]) -> None:
    """A dataset may come from anyone: the functions that it names run only if the user names them.

    Raises:
        ValueError: The recorded configuration has a callable that the flags do not repeat.
    """
    for key, value in recorded.items():
        if CALLABLE_PREFIX in json.dumps(value) and key not in overrides:
            text = json.dumps(value)
            raise ValueError(
                f"the dataset was made with code of its maker's own, {key}={text}, which would be "
                f"imported and run. If you trust it, repeat it: --env '{key}={text}'"
            )


def _open_evaluation_market(
    args: argparse.Namespace, provenance: dict[str, Any], fields: dict[str, Any]
) -> tuple[Market, dict[str, Any]]:
    """The market to evaluate on, and a JSON-able description of it."""
    if args.test_market is not None:
        wanted = {"stamp": fields.get("stamp", "open"), "offset": fields.get("offset")}
        wanted = {key: value for key, value in wanted.items() if value not in (None, "open")}
        return open_market(args.test_market, market_arguments=wanted)
    facts = provenance.get("market")
    if facts is None:
        raise DatasetError(
            f"{args.load_buffer_name} has no provenance that names its market. Pass --test-market."
        )
    try:
        return reopen_market(facts), facts
    except ValueError as error:
        raise ValueError(
            f"the dataset's market cannot be used for evaluation: {error} Or evaluate on another "
            "one: --test-market FILE."
        ) from error


def _check_fit(environment: VectorTradeEnv, dataset: Dataset) -> None:
    """Refuse to evaluate a policy on observations or actions that mean something else."""
    provenance = dataset.provenance or {}
    columns, wanted = dataset.buffer.obs.shape[1:], environment.single_observation_space.shape
    here = [f"{part.key} {list(part.shape)}" for part in environment.layout]
    made = (
        [f"{part['key']} {part['shape']}" for part in provenance["layout"]] if provenance else here
    )
    if columns != wanted or made != here:
        raise ValueError(
            f"the dataset's observations {columns} ({', '.join(made)}) are not the evaluation "
            f"environment's {wanted} ({', '.join(here)}). Leave its time frames, windows and "
            "features as they were."
        )
    levels = environment.action_levels
    if levels is None:
        raise ValueError("the evaluation environment has continuous actions, the dataset discrete.")
    recorded = provenance.get("action", {}).get("levels")
    if recorded is not None and list(recorded) != list(levels):
        raise ValueError(
            f"the dataset's action levels are {list(recorded)}, the evaluation environment's "
            f"{levels.tolist()}. Leave action_levels, leverage and allow_short as they were."
        )
    actions = dataset.buffer.act[dataset.buffer.sample_indices(0)]
    if actions.min() < 0 or actions.max() >= len(levels):
        raise ValueError(
            f"the dataset's actions run from {actions.min()} to {actions.max()}, but the "
            f"environment has 0 to {len(levels) - 1}."
        )
