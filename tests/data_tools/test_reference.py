"""What simple policies earn where data is collected."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from data_tools.episodes import Episodes, join_episodes
from data_tools.reference import EPISODES, ROLLOUTS, reference_returns
from gym_trade import Market, OneStepConfig, SequentialConfig, VectorOneStepEnv, VectorTradeEnv
from tests.data_tools.collecting import quiet, write_market
from tests.data_tools.test_policies import frame

SMALL = {"observation": "flat", "window_sizes": 4}


def sequential(**arguments: object) -> VectorTradeEnv:
    config = SequentialConfig(df=Market(frame()), **(SMALL | {"episode_steps": 20} | arguments))  # type: ignore[arg-type]
    return VectorTradeEnv(config, num_envs=EPISODES, autoreset_mode="SameStep")


def test_they_are_the_returns_of_whole_episodes() -> None:
    found = reference_returns(sequential(leverage=20), seed=3)
    assert list(found) == ["random", "flat", "buy-and-hold"]
    assert found["flat"] == {"mean": 0.0, "std": 0.0, "episodes": EPISODES}
    returns = []
    for lane in range(EPISODES):
        env = gymnasium.make("Trade-Sequential-v0", config=sequential(leverage=20).config)
        env.reset(seed=3 + lane)
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(4)
            total, over = total + reward, terminated or truncated
        returns.append(total)
    held = found["buy-and-hold"]
    assert held["mean"] == pytest.approx(np.mean(returns))
    assert held["std"] == pytest.approx(np.std(returns)) and held["episodes"] >= EPISODES
    assert reference_returns(sequential(leverage=20), seed=3) == found
    assert reference_returns(sequential(leverage=20), seed=4) != found


def test_rollouts_are_many() -> None:
    config = OneStepConfig(df=Market(frame()), rollout_steps=5, include_hold_action=False, **SMALL)
    venv = VectorOneStepEnv(config, num_envs=EPISODES, autoreset_mode="SameStep")
    found = reference_returns(venv, seed=0)
    assert list(found) == ["random"]  # nothing else can be done without an action that holds
    assert found["random"]["episodes"] == ROLLOUTS


def test_very_long_episodes_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reference_returns(sequential(episode_steps=None), seed=0)
    monkeypatch.setattr("data_tools.reference.LONGEST", 100)
    assert reference_returns(sequential(episode_steps=None), seed=0) == {}


def test_the_provenance_has_them(tmp_path: Path) -> None:
    market = write_market(tmp_path / "wild.csv")
    made = quiet(tmp_path / "a.hdf5", market, policy="flat").provenance["reference"]
    assert made["returns"]["flat"]["mean"] == made["behavior_return"] == 0.0
    assert made["returns"]["buy-and-hold"]["mean"] != 0.0


def test_joining_counts_complete_episodes_before_cut_ones() -> None:
    complete = Episodes(2, 1, 1, 3.0, 1.0, 2.0, 4.0, 10.0)
    more = Episodes(6, 0, 0, -1.0, 2.0, -3.0, 9.0, 20.0)
    cut = Episodes(0, 5, 0, 100.0, 0.0, 100.0, 100.0, 1.0)
    joined = join_episodes([complete, cut, more])
    returns = np.array([2.0, 4.0, *np.repeat([-3.0, 1.0], 3)])
    assert (joined.complete, joined.cut, joined.terminated) == (8, 6, 1)
    assert joined.mean_return == pytest.approx(returns.mean())
    assert joined.std_return == pytest.approx(returns.std())
    assert (joined.min_return, joined.max_return, joined.mean_length) == (-3.0, 9.0, 17.5)
    assert join_episodes([cut, cut]).mean_return == 100.0
    assert join_episodes([complete]) == complete
