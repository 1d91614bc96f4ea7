"""One deterministic pass of a policy over a period."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from data_tools.policies import make_policy
from gym_trade import OneStepConfig, SLTPConfig, TradeConfig, VectorSLTPEnv, VectorTradeEnv
from offline_algos.actors import Actor
from offline_algos.rollout_walk import RolloutWalk

# Slippage and starting cash may be drawn: every policy meets the same draws.
EVALUATION_SEED = 0
ONE_LANE = np.zeros(1, np.int64)

# A configuration's environment; of one-step rollouts all that fit into the period.
ENVIRONMENTS: dict[type[TradeConfig], type[VectorTradeEnv]] = {
    SLTPConfig: VectorSLTPEnv,
    OneStepConfig: RolloutWalk,
}
ConfigType = TypeVar("ConfigType", bound=TradeConfig)

Act = Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]


def evaluation_config(config: ConfigType) -> ConfigType:
    """A configuration for whole-period evaluation: flat, from the first instant to the last."""
    return config.replace(observation="flat", episode_steps=None, random_start=False)


def evaluation_environment(
    config: TradeConfig, start: Any = None, end: Any = None, *, recorded: bool = False
) -> VectorTradeEnv:
    """One lane over a period, with autoreset disabled.

    Args:
        config: Market, costs and so on.
        start: First decision instant; None: the market's first usable one.
        end: Last mark; None: the market's last.
        recorded: Keep the episode's history, for ``render_history``.
    """
    config = evaluation_config(config).replace(start=start, end=end)
    lane = 0 if recorded else None
    made = ENVIRONMENTS.get(type(config), VectorTradeEnv)
    return made(config, num_envs=1, autoreset_mode="Disabled", record_lane=lane)


def evaluate(
    act: Act,
    config: TradeConfig,
    start: Any = None,
    end: Any = None,
    *,
    name: str = "policy",
    show_progress: bool = False,
    listener: Actor | None = None,
) -> dict[str, Any]:
    """Walk a policy once over a period.

    Args:
        act: Flat observations, float32 (1, D), to actions (1,) or (1, 1).
        config: Market, costs and so on; its period and episode length are replaced.
        start: First decision instant; None: the market's first usable one.
        end: Last mark; None: the market's last.
        name: For the progress bar.
        show_progress: Show a progress bar where stderr is a terminal.
        listener: The actor behind `act`, if it remembers an episode; see `actors.Actor`.

    Returns:
        ``return`` (sum of rewards), ``steps``, ``decisions`` (decision instants passed),
        ``terminated`` (bankrupt), ``metrics`` (name to float, of this one episode), ``equity``
        (float64 (steps + 1,), in quote currency) and ``times`` (datetime64[ns] (steps + 1,), UTC).
        A step of one-step rollouts is a whole rollout, of one decision or more, see
        `rollout_walk`; all others are a decision each.
    """
    environment = evaluation_environment(config, start, end)
    return walk(environment, act, name, show_progress, listener)


def evaluate_rule(
    rule: str,
    config: TradeConfig,
    start: Any = None,
    end: Any = None,
    *,
    epsilon: float = 0.0,
    seed: int = 0,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Walk one of `data_tools.policies` once over a period; see `evaluate`.

    Args:
        rule: Its name, with parameters if any, such as "random" or "ma-cross:fast=6,slow=36".
        config: As for `evaluate`.
        start: As for `evaluate`.
        end: As for `evaluate`.
        epsilon: Share of decisions that are random instead.
        seed: Of its random decisions.
        show_progress: As for `evaluate`.
    """
    environment = evaluation_environment(config, start, end)
    policy = make_policy(rule, environment, epsilon=epsilon, seed=seed)
    policy.begin(np.ones(1, np.bool_))
    return walk(environment, lambda observations: policy.act(), rule, show_progress)


def walk(
    environment: VectorTradeEnv,
    act: Act,
    name: str = "policy",
    show_progress: bool = False,
    listener: Actor | None = None,
) -> dict[str, Any]:
    """As `evaluate`, in an environment of `evaluation_environment`."""
    observations, _ = environment.reset(seed=EVALUATION_SEED)
    if listener is not None:
        listener.begin(ONE_LANE)
    first = int(environment.decision_index[0])
    equity = np.empty(environment.decision_range[1] - first + 1)
    instants = np.full(len(equity), first)
    equity[0] = environment.portfolio_value[0]
    total, steps, ended = 0.0, 0, False
    forgets = isinstance(environment, RolloutWalk)  # a rollout is an episode of the data
    # disable=None: a bar on a terminal only
    with tqdm(
        total=len(equity) - 1,
        desc=name,
        unit="step",
        leave=False,
        disable=None if show_progress else True,
    ) as bar:
        while not ended:
            observations, rewards, terminated, truncated, info = environment.step(act(observations))
            steps += 1
            total += float(rewards[0])
            if listener is not None:
                listener.observe(ONE_LANE, rewards)
                if forgets:
                    listener.begin(ONE_LANE)
            equity[steps] = environment.portfolio_value[0]
            instants[steps] = environment.decision_index[0]
            ended = bool(terminated[0] or truncated[0])
            bar.update(int(instants[steps] - instants[steps - 1]))
    return {
        "return": total,
        "steps": steps,
        "decisions": int(instants[steps] - first),
        "terminated": bool(terminated[0]),
        "metrics": {key: float(values[0]) for key, values in info["metrics"].items()},
        "equity": equity[: steps + 1],
        "times": environment.decision_times[instants[: steps + 1]],
    }


def behaviour_rules(description: dict[str, Any]) -> list[str]:
    """The rules of a behaviour policy, as `evaluate_rule` takes them.

    Args:
        description: A provenance's ``policy``. A mixture that draws a rule an episode has several.
    """
    rules = []
    for member in description.get("members", [description]):
        parameters = [f"{k}={v}" for k, v in member.items() if k not in ("name", "epsilon")]
        rules.append(member["name"] + (":" + ",".join(parameters) if parameters else ""))
    return rules
