"""What the online scripts share before the first step: the environment, its memory, its task."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from tianshou.env import BaseVectorEnv, DummyVectorEnv

from data_tools.command_line import CommandLineError
from data_tools.environment import (
    SYNTHETIC_PREFIX,
    market_arguments,
    open_market,
    parse_env_arguments,
)
from data_tools.gym_environments import recorded_shape
from data_tools.provenance import usable_span
from data_tools.training_span import (
    DEFAULT_EPISODE_STEPS,
    combine_arguments,
    make_training_env,
    takes_one_step,
)
from gym_trade import VectorTradeEnv
from offline_algos import compilation, sampling
from offline_algos.arguments import cut_into_epochs
from offline_algos.exploring import Explorer
from offline_algos.gym_task import Flat, GymTask, open_gym_task
from offline_algos.legal_actions import LegalActions
from offline_algos.networks import Inputs
from offline_algos.normalisation import Normaliser
from offline_algos.online_arguments import settle
from offline_algos.periods import TRAINING_WORDS, read_time
from offline_algos.preparation import Learning, keep_memory, seed_everything
from offline_algos.prioritised_memory import PrioritisedMemory
from offline_algos.replay_memory import ReplayMemory
from offline_algos.tasks import TASKS, Task, place
from offline_algos.vector_env import TradeVectorEnv


@dataclass(frozen=True)
class OnlineSetup(Learning):
    """What an online script trains in.

    Attributes:
        explorer: Steps the environments and fills the memory.
        training: What is known of the environments: JSON-able.
    """

    explorer: Explorer
    training: dict[str, Any]

    def facts(self) -> dict[str, Any]:
        """See `Learning.facts`."""
        return super().facts() | {"training": self.training}

    def describe(self) -> str:
        """See `Learning.describe`."""
        lanes = self.training["num_train_envs"]
        if "span" not in self.training:
            return f"{lanes} environments"
        span, market = self.training["span"], self.training["market"]
        where = market.get("path") or market.get("name")
        return f"{lanes} environments in {where}, {span['start']} to {span['end']}"


def prepare(args: argparse.Namespace, *, continuous: bool = False, n_step: int = 1) -> OnlineSetup:
    """Seed everything, open the task, and make what explores it.

    Args:
        args: Parsed flags, see `online_arguments.online_parser`; what follows from others is
            filled in.
        continuous: Which kind of actions the script learns.
        n_step: Rewards in a target.

    Raises:
        ValueError: Task or flags do not fit each other; each message says what to do.
    """
    cut_into_epochs(args, "step_per_epoch")
    settle(args)
    sampling.settle(args, round(args.epoch * args.step_per_epoch * args.update_per_step))
    args.compile = compilation.decide(args.compile, args.device)
    args.encoder = args.encoder or "mlp"
    seed_everything(args.seed, args.threads)
    keep_memory()
    opening = _open_market if args.task in TASKS else _open_gym
    environment, task, training = opening(args)
    _check_actions(task, continuous)
    prioritised = bool(getattr(args, "prioritized", 0))
    memory = (PrioritisedMemory if prioritised else ReplayMemory)(
        args.buffer_size,
        args.num_train_envs,
        task.layout[-1][2],
        task.action_space.shape[0] if continuous else None,
        seed=args.seed,
        gamma=args.gamma,
        n_step=n_step,
        device=args.device,
    )
    if isinstance(memory, PrioritisedMemory):
        memory.priorities = sampling.make_priorities(vars(args), memory.capacity, filled=0)
    normaliser = Normaliser.identity(task.layout[-1][2]).to(args.device)
    inputs = Inputs([tuple(part) for part in task.layout], args.encoder, tuple(args.hidden_sizes))
    legal = LegalActions.of(task.action_masks, normaliser)
    explorer = Explorer(environment, memory, normaliser, args.seed, legal)
    training = {"num_train_envs": args.num_train_envs} | training
    return OnlineSetup(None, task, normaliser, inputs, explorer, training)


def _open_gym(args: argparse.Namespace) -> tuple[BaseVectorEnv, GymTask, dict[str, Any]]:
    task = open_gym_task(args.task, args.num_test_envs)
    if recorded_shape(args.task, 1) is not None:
        raise CommandLineError(
            f"--task {args.task} shows images, which the online scripts do not remember. Train on "
            "a dataset of it: data_tools.rollouts.record makes one."
        )
    spec = gym.spec(args.task)
    _note_cut_episodes(args, spec.max_episode_steps)
    makers: list[Callable[[], Any]] = [
        lambda: Flat(gym.make(args.task, disable_env_checker=True))
    ] * args.num_train_envs
    return DummyVectorEnv(makers), task, {}


def _open_market(args: argparse.Namespace) -> tuple[BaseVectorEnv, Task, dict[str, Any]]:
    given = parse_env_arguments(args.env, args.env_config)
    steps, longest = args.episode_steps, args.step_per_epoch // args.num_train_envs
    if steps is None and "episode_steps" not in given and not takes_one_step(args.task):
        steps = min(DEFAULT_EPISODE_STEPS, longest)
    arguments = combine_arguments(given, steps, args.start, args.end, task=args.task)
    market, facts = open_market(args.market, market_arguments=market_arguments(arguments))
    environment = make_training_env(
        args.task, market, args.num_train_envs, arguments, args.train_fraction,
        autoreset_mode="Disabled",
    )  # fmt: skip
    _note_cut_episodes(args, environment.config.episode_steps)
    start, end = usable_span(environment)
    task = _place_market(args, environment, facts, (start, end))
    training = {
        "task": args.task,
        "config": json.loads(environment.config.to_json()),
        "market": facts,
        "span": {"start": start, "end": end},
    }
    return TradeVectorEnv(environment), task, training


def _place_market(
    args: argparse.Namespace,
    environment: VectorTradeEnv,
    facts: dict[str, Any],
    span: tuple[str, str],
) -> Task:
    """The task as it is judged: after the training span, or in another market."""
    # its period is that of training
    config = environment.config.replace(start=None, end=None)
    market = environment.markets[0]
    if args.test_market is not None:
        stamps = {"stamp": config.stamp, "offset": config.offset}
        if args.test_market.startswith(SYNTHETIC_PREFIX):
            stamps = {"stamp": "open", "offset": None}
        market, facts = open_market(args.test_market, market_arguments=market_arguments(stamps))
        config = config.replace(df=market, **stamps)
    return place(
        args, args.task, config, facts, (read_time(span[0]), read_time(span[1])),
        same_market=market.content_hash == environment.markets[0].content_hash,
        words=TRAINING_WORDS,
    )  # fmt: skip


def _note_cut_episodes(args: argparse.Namespace, steps: int | None) -> None:
    longest = args.step_per_epoch // args.num_train_envs
    if steps is not None and steps > longest:
        print(
            f"note: an epoch has {longest} steps of each environment and an episode {steps}: the "
            "later ones are never met. Raise --step-per-epoch, or lower --num-train-envs."
        )


def _check_actions(task: Task | GymTask, continuous: bool) -> None:
    found = isinstance(task.action_space, gym.spaces.Box)
    if found == continuous:
        return
    kinds, scripts = ("discrete", "continuous"), ("atari_style_qrdqn.py", "d4rl_style_sac.py")
    remedy = f"Take {scripts[found]}"
    if task.name in TASKS:
        remedy += f", or pass --env action_type={kinds[continuous]}"
    raise CommandLineError(
        f"--task {task.name} has {kinds[found]} actions: this script learns {kinds[continuous]} "
        f"ones. {remedy}."
    )
