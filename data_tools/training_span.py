"""The environment that data is collected in: the first part of a market."""

from __future__ import annotations

from typing import Any

from data_tools.command_line import CommandLineError
from data_tools.environment import TASKS
from gym_trade import Market, VectorOneStepEnv, VectorTradeEnv

DEFAULT_TASK = "Trade-Sequential-v0"
DEFAULT_EPISODE_STEPS = 2000
DEFAULT_TRAIN_FRACTION = 0.7

FULL, INDEXED = "full", "indexed"  # what a dataset stores of an observation

# Collecting sets these itself.
_FIXED = {"observation": "flat", "autoreset_mode": "SameStep", "copy": False}
_HAVE_FLAGS = {"num_envs": "--num-envs", "config": "--env-config"}


def check_task(task: str) -> type[VectorTradeEnv]:
    """The batch of a trading task.

    Raises:
        CommandLineError: There is no such task.
    """
    if task not in TASKS:
        raise CommandLineError(f"--task {task}: expected one of {', '.join(sorted(TASKS))}.")
    return TASKS[task]


def takes_one_step(task: str) -> bool:
    """Whether an episode of a task is one step: a rollout, as long as ``rollout_steps`` says."""
    return issubclass(check_task(task), VectorOneStepEnv)


def combine_arguments(
    env: dict[str, Any],
    episode_steps: int | None,
    start: str | None,
    end: str | None,
    *,
    task: str = DEFAULT_TASK,
) -> dict[str, Any]:
    """Combine ``--env`` with the flags that stand for some of its arguments.

    Args:
        env: Arguments of the environment; it may be a dataset's whole ``config``.
        episode_steps: As in `collect.collect`.
        start: As in `collect.collect`.
        end: As in `collect.collect`.
        task: A trading environment's id; episodes of one step have no default length.

    Raises:
        CommandLineError: There is no such task, two of them contradict each other, or collecting
            sets an argument itself.
    """
    for name, value in env.items():
        if name in _HAVE_FLAGS:
            raise CommandLineError(f"--env {name}: this is set with {_HAVE_FLAGS[name]}.")
        if name in _FIXED and value != _FIXED[name]:
            raise CommandLineError(
                f"--env {name}={value}: collecting always uses {_FIXED[name]!r}. Leave it out."
            )
    default = None if takes_one_step(task) else DEFAULT_EPISODE_STEPS
    arguments = {"episode_steps": default, **env}
    for name, value in (("episode_steps", episode_steps), ("start", start), ("end", end)):
        if value is None:
            continue
        if env.get(name) is not None and env[name] != value:
            flag = "--" + name.replace("_", "-")
            raise CommandLineError(
                f"{flag} {value} and {name}={env[name]} of --env contradict. Give one."
            )
        arguments[name] = value
    return arguments


def make_training_env(
    task: str,
    market: Market,
    lanes: int,
    arguments: dict[str, Any],
    fraction: float | None,
    *,
    autoreset_mode: str = "SameStep",
    layout: str = FULL,
) -> VectorTradeEnv:
    """Make the environment on the first part of a market.

    Args:
        task: A trading environment's id.
        market: The market.
        lanes: Number of lanes.
        arguments: From `combine_arguments`. A market named there by its content hash, as a
            dataset's ``config`` does, must be `market`.
        fraction: Share of the usable decision instants; None: 0.7, or up to ``end`` if that is
            among the arguments.
        autoreset_mode: Gymnasium's: which step begins a new episode.
        layout: "full", or "indexed": then the environment is in index mode.

    Raises:
        ValueError: The task, the fraction or an argument is no such thing, or the market is too
            short.
    """
    check_task(task)
    rest = dict(arguments)
    content_hash = rest.pop("df", None)
    if content_hash is not None and content_hash != market.content_hash:
        raise CommandLineError(
            f"--env df={content_hash}: the market's content hash is {market.content_hash}. Name "
            "the market with --market."
        )
    if layout not in (FULL, INDEXED):
        raise CommandLineError(f"--layout {layout}: expected {FULL} or {INDEXED}.")
    modes = {"autoreset_mode": autoreset_mode}
    if layout == INDEXED:
        modes["observation"] = "index"
    return _make(task, market, lanes, _cut_off(task, market, rest, fraction), modes)


def _make(
    task: str,
    market: Market,
    lanes: int,
    arguments: dict[str, Any],
    modes: dict[str, Any] | None = None,
) -> VectorTradeEnv:
    fixed = _FIXED | (modes or {})
    return TASKS[task](num_envs=lanes, df=market, **(arguments | fixed))


def _lengths(task: str) -> str:
    return "--env rollout_steps" if takes_one_step(task) else "--episode-steps"


def _cut_off(
    task: str, market: Market, arguments: dict[str, Any], fraction: float | None
) -> dict[str, Any]:
    """The arguments with an ``end`` that leaves the later part of the market unused."""
    if arguments.get("end") is not None:
        if fraction is not None:
            raise CommandLineError("--train-fraction and --end contradict each other. Give one.")
        return arguments
    share = DEFAULT_TRAIN_FRACTION if fraction is None else fraction
    if not 0.0 < share <= 1.0:
        raise CommandLineError(f"--train-fraction {share}: expected a number in (0, 1].")
    if share == 1.0:
        return arguments
    whole = _make(task, market, 1, arguments | {"episode_steps": None})
    low, high = whole.decision_range
    last = low + int((high - low) * share)
    end = str(whole.decision_times[last].astype("datetime64[s]"))
    whole.close()
    needed = arguments["episode_steps"]
    longest = whole.config.longest_episode
    if longest is not None:  # of a rollout, which `episode_steps` can only shorten
        needed = min(longest, needed) if isinstance(needed, int) else longest
    if isinstance(needed, int) and last - low < max(needed, 1):
        raise CommandLineError(
            f"the first {share:g} of the market's {high - low} usable steps is {last - low}, and "
            f"an episode needs {needed}. Lower {_lengths(task)}, raise --train-fraction, or use a "
            "longer market."
        )
    return arguments | {"end": end}
