"""Episodes in words ("long", "hold", "flat"), the same for every environment, scalar or vector.

Bars are minutes from midnight that stand at 100 unless a test moves them. The first decision is at
00:30, so that with a decision every minute the order of step n fills at the open of bar 30 + n.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import pytest

from tests import markets
from tests.rollouts import scalar, vector

FIRST = 30  # the bar in which the first order fills
LEVELS = {"short": 0, "flat": 1, "long": 2}
BRACKETS = {"hold": 0, "flat": 1, "long": 2, "short": 3}

KINDS = ("Sequential", "SLTP", "OneStep")
every = pytest.mark.parametrize(
    ("kind", "batched"), [(kind, batched) for kind in KINDS for batched in (False, True)]
)
stepwise = pytest.mark.parametrize(  # where there is a second decision
    ("kind", "batched"), [(kind, batched) for kind in KINDS[:2] for batched in (False, True)]
)
bracketed = pytest.mark.parametrize(
    ("kind", "batched"), [(kind, batched) for kind in KINDS[1:] for batched in (False, True)]
)
both_sides = pytest.mark.parametrize("word", ["long", "short"])


class Episode(NamedTuple):
    """What an episode did: its rows, its fills, its last flags, the environment steps it took."""

    history: pd.DataFrame
    fills: pd.DataFrame
    rewards: list[float]
    terminated: bool
    truncated: bool
    env: object

    @property
    def last(self):
        """The last row of the history."""
        return self.history.iloc[-1]


def flat(count=60, price=100.0, **moves):
    """Flat bars; ``at_30=94.0`` moves them all from bar 30 on, ``low_30=94.0`` one low only."""
    frame = markets.flat_bars(count, price)
    for name, value in moves.items():
        what, number = name.split("_")
        column = {"high": 1, "low": 2}.get(what)
        if what == "at":
            frame.iloc[int(number) :, :4] = value
        else:
            frame.iloc[int(number), column] = value
    return frame


def mirrored(frame, word, about=100.0):
    """The frame for a long; for a short its mirror image."""
    if word == "long":
        return frame
    other = 2.0 * about - frame
    turned = pd.DataFrame({"open": other["open"], "high": other["low"], "low": other["high"],
                           "close": other["close"], "volume": frame["volume"]})  # fmt: skip
    return turned


def make(kind, batched, frame, *, stop=-0.5, target=0.9, **arguments):
    """A scalar environment, or three lanes of which the middle one is looked at."""
    chosen = {"execute_on": "1min", "random_start": False, "start": "2023-01-02 00:30",
              "transaction_fee": 0.0, "allow_short": True}  # fmt: skip
    if kind == "Sequential":
        chosen["action_levels"] = [-1.0, 0.0, 1.0]
    else:
        chosen |= {"stoploss_levels": [stop], "takeprofit_levels": [target],
                   "include_close_action": True}  # fmt: skip
    if batched:
        chosen |= {"num_envs": 3, "record_lane": 1}
    return (vector if batched else scalar)(frame, kind, **(chosen | arguments))


def tell(kind, batched, frame, words, seed=0, **arguments):
    """Play one episode as far as the words go; a rollout is as long as they are."""
    if kind == "OneStep":
        assert set(words[1:]) <= {"hold"}
        arguments = {"rollout_steps": len(words), "close_at_end": False} | arguments
        words = words[:1]
    env = make(kind, batched, frame, **arguments)
    env.reset(seed=[seed + 7, seed, seed + 9] if batched else seed)
    rewards, terminated, truncated, action = [], False, False, LEVELS["flat"]
    for word in words:
        if kind != "Sequential":
            action = BRACKETS[word]
        elif word != "hold":
            action = LEVELS[word]
        # the other lanes do something else
        _, reward, terminated, truncated, _ = env.step([1, action, 0] if batched else action)
        if batched:
            reward, terminated, truncated = reward[1], terminated[1], truncated[1]
        rewards.append(float(reward))
        if terminated or truncated:
            break
    return Episode(env.history(), env.all_fills(), rewards, bool(terminated), bool(truncated), env)
