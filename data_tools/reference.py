"""What simple policies earn where data is collected, for comparison: a few episodes each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from data_tools.episodes import EpisodeLog
from data_tools.policies import PolicyError, make_policy
from gym_trade import VectorTradeEnv

REFERENCES = ("random", "flat", "buy-and-hold")
EPISODES = 16  # lanes, one episode each
LONGEST = 20_000  # steps of an episode that are still cheap
ROLLOUTS = 256  # where an episode is one step


def reference_returns(
    venv: VectorTradeEnv, seed: int, check: Callable[[], None] = lambda: None
) -> dict[str, dict[str, Any]]:
    """Returns of `REFERENCES` over whole episodes; a rule that cannot act there is left out.

    Args:
        venv: An environment like the one that data is made in, with `EPISODES` lanes; it resets in
            the step that ends an episode, and is stepped here.
        seed: Of its episodes and of the random actions.
        check: Called after each step; may raise.

    Returns:
        Name -> ``mean``, ``std`` (ddof 0) and ``episodes``; nothing where an episode has more than
        `LONGEST` steps.
    """
    low, high = venv.decision_range
    if (venv.config.longest_episode or high - low) > LONGEST:
        return {}
    made = {}
    for name in REFERENCES:
        try:
            policy = make_policy(name, venv, seed=seed)
        except PolicyError:
            continue
        log = EpisodeLog(venv.num_envs)
        wanted = ROLLOUTS if venv.config.rollout else venv.num_envs
        venv.reset(seed=seed)
        every = np.ones(venv.num_envs, np.bool_)
        policy.begin(every)
        running, complete = every, 0
        while complete < wanted:
            _, reward, terminated, truncated, _ = venv.step(policy.act())
            check()
            ended = terminated | truncated
            policy.begin(ended)
            log.add(reward, terminated, ended, ~every, running)
            complete += int((ended & running).sum())
            if not venv.config.rollout:  # a lane that goes bankrupt early counts once, like others
                running = running & ~ended
        episodes = log.episodes()
        made[name] = {
            "mean": episodes.mean_return, "std": episodes.std_return, "episodes": episodes.complete,
        }  # fmt: skip
    return made
