"""Mean reversion and breakout: what they want, computed the slow way, and nothing from later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data_tools.policies import PolicyError, make_policy
from data_tools.signals import breakout_levels, mean_reversion_levels
from gym_trade import Market
from tests.data_tools.test_policies import frame, make


def slow_mean_reversion(
    closes: Any, window: int, entry: float, exit: float, above: float, below: float
) -> list[float]:
    """One instant after the other, with the position as a state."""
    levels, held = [], 0
    for now in range(len(closes)):
        if now >= window - 1:
            seen = closes[now - window + 1 : now + 1]
            score = 0.0 if max(seen) == min(seen) else (seen[-1] - np.mean(seen)) / np.std(seen)
            if (held == 1 and score >= -exit) or (held == -1 and score <= exit):
                held = 0
            if score <= -entry:
                held = 1
            elif score >= entry:
                held = -1
        levels.append({1: above, -1: below, 0: 0.0}[held])
    return levels


def slow_breakout(closes: Any, window: int, above: float, below: float) -> list[float]:
    levels, held = [], 0.0
    for now in range(len(closes)):
        if now >= window:
            before = list(closes[now - window : now])
            if closes[now] > max(before):
                held = above
            elif closes[now] < min(before):
                held = below
        levels.append(held)
    return levels


def walks() -> list[np.ndarray]:
    drawn = np.random.default_rng(3).normal(size=(4, 250)).cumsum(axis=1)
    # moves, a coarse grid with many ties, a constant, and a jump after a constant
    return [
        100 + drawn[0], np.round(50 + drawn[1]), np.full(60, 0.1),
        np.concatenate([np.full(40, 7.0), 7 + drawn[2]]),
    ]  # fmt: skip


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize(("entry", "leave"), [(1.0, 0.0), (1.5, 0.5), (0.3, 0.1)])
def test_mean_reversion_equals_the_slow_way(case: int, entry: float, leave: float) -> None:
    closes = walks()[case]
    made = mean_reversion_levels(closes, 9, entry, leave, 1.0, -1.0)
    wanted = slow_mean_reversion(closes.tolist(), 9, entry, leave, 1.0, -1.0)
    assert made.tolist() == wanted
    assert case == 2 or set(made) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("window", [1, 7])
def test_breakout_equals_the_slow_way(case: int, window: int) -> None:
    closes = walks()[case]
    made = breakout_levels(closes, window, 1.0, -0.5)
    assert made.tolist() == slow_breakout(closes.tolist(), window, 1.0, -0.5)
    assert case == 2 or {-0.5, 1.0} <= set(made)


@pytest.mark.parametrize("name", ["mean-reversion:window=5", "breakout:window=5"])
@pytest.mark.parametrize("cut", [20, 150, 280])
def test_later_bars_change_nothing(name: str, cut: int) -> None:
    original, altered = frame(), frame()
    altered.iloc[cut:] = original.iloc[cut:][::-1].to_numpy()  # backwards from there on
    plans = []
    for df in (original, altered):
        venv = make(df=Market(df))
        policy: Any = make_policy(name, venv)
        plans.append(policy._plan)
        known = venv.decision_times <= np.datetime64(original.index[cut])
    assert known.sum() == cut
    np.testing.assert_array_equal(plans[0][known], plans[1][known])
    assert (plans[0] != plans[1]).any()


@pytest.mark.parametrize("name", ["mean-reversion:window=5,entry=0.8", "breakout:window=5"])
@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_the_environment_holds_the_level_wanted(name: str, kind: str) -> None:
    venv = make(leverage=2, action_type=kind)
    policy = make_policy(name, venv)
    levels = mean_reversion_levels if name.startswith("mean") else breakout_levels
    more = {"entry": 0.8, "exit": 0.0} if name.startswith("mean") else {}
    wanted = levels(venv.decision_closes, window=5, above=1.0, below=-1.0, **more)
    seen = set()
    for _ in range(60):
        actions = policy.act()
        taken = actions[:, 0] if kind == "continuous" else venv.action_levels[actions]
        np.testing.assert_array_equal(taken, wanted[venv.decision_index])
        seen |= set(taken.tolist())
        venv.step(actions)
    assert seen >= {-1.0, 1.0}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("mean-reversion:entry=x", "entry is 'x'. Expected a number"),
        ("mean-reversion:entry=nan", "Expected a number"),
        ("mean-reversion:window=2.5", "Expected a whole number"),
        ("mean-reversion:window=1", "window >= 2 and 0 <= exit < entry"),
        ("mean-reversion:exit=1", "window >= 2 and 0 <= exit < entry"),
        ("breakout:window=0", "window >= 1"),
        ("breakout:fast=2", "Known: window=48"),
    ],
)
def test_refusals(name: str, part: str) -> None:
    with pytest.raises(PolicyError, match=part):
        make_policy(name, make())
