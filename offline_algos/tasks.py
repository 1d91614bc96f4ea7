"""The task that a dataset was made in, rebuilt, and where a policy may be judged in it."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from tianshou.data import Collector

from data_tools.environment import (
    SYNTHETIC_PREFIX,
    TASKS,
    open_market,
    parse_env_arguments,
    reopen_market,
)
from data_tools.hdf5 import DatasetError
from data_tools.provenance import describe_brackets
from data_tools.training_span import DEFAULT_TASK
from gym_trade import Market, SequentialConfig, TradeConfig, VectorTradeEnv
from gym_trade.arguments import CALLABLE_PREFIX
from gym_trade.info import action_masks
from offline_algos.actors import Actor
from offline_algos.evaluation import evaluation_config, evaluation_environment
from offline_algos.fitting import check_box, check_fit
from offline_algos.gym_task import ActionBounds, GymTask, open_gym_task
from offline_algos.judging import made_in, tested_period, training_periods
from offline_algos.origin import Origin
from offline_algos.periods import DATASET_WORDS, Period, Span, Words, period_between
from offline_algos.validation import PassCollector

# Flags that other tasks have no use for.
OF_MARKETS = ("test_market", "test_start", "test_end", "allow_overlap", "env", "env_config")
# What the evaluation decides itself.
RESERVED = ("df", "start", "end", "episode_steps", "random_start", "observation", "render_mode")


@dataclass(frozen=True)
class Task(ActionBounds):
    """What is to be learned and where it is judged.

    Attributes:
        name: Environment id.
        config: The evaluation environment, without a period.
        market: Which market it trades: kind, path or name, content hash.
        validation: Chooses the checkpoint; None where there is none to be chosen.
        test: Touched once, at the end.
        action_space: Discrete actions, or the box of continuous ones.
        observation_space: Flat observations.
        layout: The flat observation's parts.
    """

    name: str
    config: TradeConfig
    market: dict[str, Any]
    validation: Period | None
    test: Period
    action_space: gym.spaces.Discrete | gym.spaces.Box
    observation_space: gym.spaces.Box
    layout: tuple[Any, ...]

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says about the task: JSON-able."""
        return {
            "action_space": self._actions(),
            "configuration": json.loads(self.config.to_json()),
            "evaluation": {
                "market": self.market,
                "validation": None if self.validation is None else self.validation.to_dict(),
                "test": self.test.to_dict(),
            },
        }

    def _actions(self) -> dict[str, Any]:
        if isinstance(self.action_space, gym.spaces.Box):
            return self.bounds
        count = {"n": int(self.action_space.n)}
        if isinstance(self.config, SequentialConfig):
            return count | {"levels": list(self.config.levels)}
        return count | {"brackets": describe_brackets(self.config)}

    @property
    def action_masks(self) -> list[list[int]] | None:
        """See `ActionBounds.action_masks`."""
        masks = action_masks(self.config)
        return None if masks is None else masks.tolist()

    def describe(self) -> str:
        """Lines about where policies are judged."""
        validation = "" if self.validation is None else f"validation {self.validation}\n"
        return f"{validation}test       {self.test}"

    @property
    def validation_episodes(self) -> int:
        """Episodes that a validation collects: one deterministic pass."""
        return 1

    def validation_collector(self, actor: Actor) -> Collector:
        """Tianshou's Collector for one deterministic pass over the validation period."""
        assert self.validation is not None  # nothing is trained without
        period = (self.validation.start, self.validation.end)
        environment = evaluation_environment(self.config, *period)
        return PassCollector(actor, self.action_space, environment)


def open_task(args: argparse.Namespace, origin: Origin) -> Task | GymTask:
    """Build a task anew and find where a policy may be evaluated in it.

    Args:
        args: Parsed flags, see `arguments.training_parser`.
        origin: What the policy is learned from. A checkpoint's is judged where it was judged before
            unless a flag names another market or period.

    Raises:
        ValueError: The task is unknown, the market is not there, environment and data do not fit
            each other, or no honest period is left.
    """
    name = args.task or origin.task
    if name is None:
        raise DatasetError(
            f"{origin.path} has no provenance that names its task. Pass --task {DEFAULT_TASK}, "
            "--test-market FILE and, if they are not the defaults, the environment's arguments "
            "with --env."
        )
    learned_in = origin.task or name
    if (name in TASKS) != (learned_in in TASKS) or (name not in TASKS and name != learned_in):
        raise ValueError(
            f"--task {name}, but {origin.noun} was made in {learned_in}. Leave --task out."
        )
    if name in TASKS and TASKS[name].config_class is not TASKS[learned_in].config_class:
        raise ValueError(
            f"--task {name}, but {origin.noun} was made in {learned_in}, whose actions are "
            "others. Leave --task out."
        )
    if name not in TASKS:
        return _open_gym_task(args, name, origin)
    overrides = parse_env_arguments(args.env, args.env_config)
    for key in RESERVED:
        if key in overrides:
            raise ValueError(
                f"--env {key}={overrides[key]!r}: the evaluation sets this itself; the period is "
                "chosen with --test-market, --test-start and --test-end."
            )
    recorded = {k: v for k, v in origin.config.items() if k not in RESERVED}
    if (args.test_market or "").startswith(SYNTHETIC_PREFIX):
        # how the dataset's file was stamped says nothing about a simulated market
        recorded = {k: v for k, v in recorded.items() if k not in ("stamp", "offset")}
    market, market_facts = _open_evaluation_market(args, origin, recorded | overrides)
    refuse_foreign_code(origin.noun, recorded, overrides)
    kept = {key: value for key, value in recorded.items() if key not in overrides}
    made = TASKS[name].config_class
    config = made.from_json(json.dumps(kept)).replace(df=market)
    config = made.from_arguments(config, overrides)
    environment = evaluation_environment(config)
    check_fit(environment, origin)
    asked = (args.test_market, args.test_start, args.test_end)
    if origin.evaluation is not None and asked == (None, None, None):
        judged = (origin.evaluation[part] for part in ("validation", "test"))
        first, second = (period_between(environment, x["start"], x["end"]) for x in judged)
        return _on_market(name, config, market_facts, environment, (first, second))
    if origin.collection is None:
        print("the dataset's collection span is not known: overlap with it cannot be checked")
    if origin.evaluation is not None:
        tested = tested_period(args, environment, origin)
        return _on_market(name, config, market_facts, environment, (None, tested))
    return place(
        args, name, config, market_facts, origin.collection,
        same_market=market.content_hash == made_in(origin), words=origin.words,
    )  # fmt: skip


def place(
    args: argparse.Namespace,
    name: str,
    config: TradeConfig,
    market: dict[str, Any],
    seen: Span | None,
    *,
    same_market: bool,
    words: Words = DATASET_WORDS,
) -> Task:
    """Find where a market's task may be evaluated: in what is left after the dates seen.

    Args:
        args: Parsed flags: those of `arguments.add_evaluation`.
        name: Environment id.
        config: The evaluation environment with its market; its period does not count.
        market: What is known of that market; see `Task`.
        seen: First decision and last mark of what is learned from; None where it is not known.
        same_market: Whether that was this very market.
        words: How messages call what is learned from.

    Raises:
        ValueError: No honest period is left.
    """
    environment = evaluation_environment(config)
    periods = training_periods(args, environment, seen, same_market=same_market, words=words)
    return _on_market(name, config, market, environment, periods)


def _on_market(
    name: str,
    config: TradeConfig,
    market: dict[str, Any],
    environment: VectorTradeEnv,
    periods: tuple[Period | None, Period],
) -> Task:
    actions, observations = environment.single_action_space, environment.single_observation_space
    assert isinstance(actions, gym.spaces.Discrete | gym.spaces.Box)
    assert isinstance(observations, gym.spaces.Box)
    return Task(
        name=name,
        config=evaluation_config(config),
        market=market,
        validation=periods[0],
        test=periods[1],
        action_space=actions,
        observation_space=observations,
        layout=environment.layout,
    )


def _open_gym_task(args: argparse.Namespace, name: str, origin: Origin) -> GymTask:
    """Another Gymnasium task, after a look at whether the policy can be of it."""
    for flag in OF_MARKETS:
        if getattr(args, flag, None):
            raise ValueError(
                f"--{flag.replace('_', '-')} is for markets, and {name} is none. Leave it out."
            )
    task = open_gym_task(name, args.num_test_envs, origin.image_shape)
    columns = int(np.prod(origin.observation_shape))
    if columns != task.observation_space.shape[0]:
        raise ValueError(
            f"{origin.noun}'s observations have {columns} numbers, those of {name} "
            f"{task.observation_space.shape[0]}."
        )
    low, high = origin.action_range
    if isinstance(task.action_space, gym.spaces.Box):
        if origin.action_shape == ():
            raise ValueError(f"{origin.noun}'s actions are discrete, those of {name} continuous.")
        check_box(task.action_space, origin)
    elif origin.action_shape != () or low < 0 or high >= task.action_space.n:
        raise ValueError(
            f"{origin.noun}'s actions do not fit {name}, which has 0 to {task.action_space.n - 1}."
        )
    return task


def refuse_foreign_code(noun: str, recorded: dict[str, Any], overrides: dict[str, Any]) -> None:
    """A file may come from anyone: the functions that it names run only if the user names them.

    Raises:
        ValueError: The recorded configuration has a callable that the flags do not repeat.
    """
    for key, value in recorded.items():
        if CALLABLE_PREFIX in json.dumps(value) and key not in overrides:
            text = json.dumps(value)
            raise ValueError(
                f"{noun} was made with code of its maker's own, {key}={text}, which would be "
                f"imported and run. If you trust it, repeat it: --env '{key}={text}'"
            )


def _open_evaluation_market(
    args: argparse.Namespace, origin: Origin, fields: dict[str, Any]
) -> tuple[Market, dict[str, Any]]:
    """The market to evaluate on, and a JSON-able description of it."""
    if args.test_market is not None:
        wanted = {"stamp": fields.get("stamp", "open"), "offset": fields.get("offset")}
        wanted = {key: value for key, value in wanted.items() if value not in (None, "open")}
        return open_market(args.test_market, market_arguments=wanted)
    facts = origin.market
    if facts is None:
        raise DatasetError(
            f"{origin.path} has no provenance that names its market. Pass --test-market."
        )
    try:
        return reopen_market(facts), facts
    except ValueError as error:
        raise ValueError(
            f"{origin.noun}'s market cannot be used for evaluation: {error} Or evaluate on another "
            "one: --test-market FILE."
        ) from error
