"""Collecting: every transition is the scalar environment's, and the file says what was done."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest

from data_tools.collect import main
from data_tools.environment import reopen_market
from data_tools.hdf5 import load_buffer, read_provenance
from data_tools.load import load
from gym_trade import Market, SequentialConfig
from tests.data_tools.collecting import COLUMNS, quiet, write_market


@pytest.fixture(scope="module")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_market(tmp_path_factory.mktemp("market") / "wild.csv")


CASES: dict[str, dict[str, Any]] = {
    "spot": {},
    "noisy mixture": {"policy": "ma-cross:fast=3,slow=9+random+buy-and-hold", "epsilon": 0.2},
    "bankrupt": {"env": {"window_sizes": 6, "leverage": 25}},
    "slippage": {
        "env": {"window_sizes": 6, "slippage": 0.01, "slippage_model": "uniform",
                "initial_cash": [100, 5000]},
    },
    "continuous": {"env": {"window_sizes": 6, "action_type": "continuous", "leverage": 3}},
    "whole data": {"episode_steps": 600, "train_fraction": 1.0},
    "one lane": {"num_envs": 1},
    "even": {"buffer_size": 490},
    "as many lanes as rows": {"buffer_size": 5, "num_envs": 64},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_transitions_equal_the_scalar_environment(
    tmp_path: Path, market_file: str, case: str
) -> None:
    """Each lane's rows are those of gym.make with the same configuration, seed + lane, actions."""
    summary = quiet(tmp_path / "a.hdf5", market_file, seed=11, **CASES[case])
    buffer, provenance = load_buffer(summary.path)
    assert provenance == summary.provenance
    size = CASES[case].get("buffer_size", 500)
    lanes = min(CASES[case].get("num_envs", 7), size)
    assert len(buffer) == summary.transitions == size
    config = SequentialConfig.from_json(
        json.dumps(provenance["config"]), df=reopen_market(provenance["market"], echo=None)
    )
    row, ends, terminations = 0, 0, 0
    for lane in range(lanes):
        env = gymnasium.make(provenance["task"], config=config)
        observation, _ = env.reset(seed=11 + lane)
        share = size // lanes + (lane < size % lanes)
        for step in range(share):
            following, reward, terminated, truncated, _ = env.step(buffer.act[row])
            last = step == share - 1
            np.testing.assert_array_equal(buffer.obs[row], observation)
            np.testing.assert_array_equal(buffer.obs_next[row], following)
            assert buffer.rew[row] == reward
            assert buffer.terminated[row] == terminated
            assert buffer.truncated[row] == (truncated or (last and not terminated))
            assert buffer.done[row] == (terminated or truncated or last)
            observation = following
            if terminated or truncated:
                observation, _ = env.reset()
                ends += 1
                terminations += terminated
            row += 1
        env.close()
    assert row == size
    assert (summary.episodes.complete, summary.episodes.terminated) == (ends, terminations)
    if case == "bankrupt":
        assert terminations > 3
        assert ends > terminations


def test_index_arithmetic_over_lanes(tmp_path: Path, market_file: str) -> None:
    buffer, _ = load_buffer(quiet(tmp_path / "a.hdf5", market_file).path)
    rows = np.arange(500)
    inside = ~buffer.done
    np.testing.assert_array_equal(buffer.next(rows), rows + inside)
    np.testing.assert_array_equal(buffer.obs_next[inside], buffer.obs[buffer.next(rows)][inside])
    starts = np.concatenate([[True], buffer.done[:-1]])
    np.testing.assert_array_equal(buffer.prev(rows), rows - ~starts)
    shares = 500 // 7 + (np.arange(7) < 500 % 7)
    assert buffer.done[np.cumsum(shares) - 1].all()
    # the next lane's first row is nobody's successor
    assert starts[np.cumsum(shares)[:-1]].all()


def test_same_seed_same_bytes(tmp_path: Path, market_file: str) -> None:
    options = {"policy": "ma-cross+random", "epsilon": 0.1}
    files = [
        quiet(tmp_path / f"{index}.hdf5", market_file, seed=seed, **options).path.read_bytes()
        for index, seed in enumerate((3, 3, 4))
    ]
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_global_random_state_has_no_part_in_it(tmp_path: Path, market_file: str) -> None:
    first = quiet(tmp_path / "a.hdf5", market_file).path.read_bytes()
    np.random.seed(99)
    before = np.random.get_state()[1].tolist()
    assert quiet(tmp_path / "b.hdf5", market_file).path.read_bytes() == first
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.parametrize(
    ("size", "lanes", "steps"),
    # complete episodes and cut ones; cut ones only; a lane that ends an episode after its share
    [(500, 7, 30), (500, 7, 400), (58, 3, 10)],
)
def test_statistics_are_those_of_the_rows(
    tmp_path: Path, market_file: str, size: int, lanes: int, steps: int
) -> None:
    path = tmp_path / "a.hdf5"
    summary = quiet(path, market_file, episode_steps=steps, buffer_size=size, num_envs=lanes)
    buffer, provenance = load_buffer(path)
    ends = np.flatnonzero(buffer.done)
    returns = np.add.reduceat(buffer.rew, np.concatenate([[0], ends[:-1] + 1]))
    lengths = np.diff(np.concatenate([[-1], ends]))
    shares = size // lanes + (np.arange(lanes) < size % lanes)
    cut = np.isin(ends, np.cumsum(shares) - 1) & (lengths < steps)
    kept = ~cut if (~cut).any() else cut
    found = summary.episodes
    assert (found.complete, found.cut) == ((~cut).sum(), cut.sum())
    assert found.mean_return == pytest.approx(returns[kept].mean(), abs=1e-12)
    assert found.std_return == pytest.approx(returns[kept].std(), abs=1e-12)
    assert found.min_return == pytest.approx(returns[kept].min(), abs=1e-12)
    assert found.max_return == pytest.approx(returns[kept].max(), abs=1e-12)
    assert found.mean_length == lengths[kept].mean()
    assert provenance["reference"]["behavior_return"] == found.mean_return


def test_a_mixture_draws_anew_for_each_episode(tmp_path: Path, market_file: str) -> None:
    path = quiet(
        tmp_path / "a.hdf5", market_file, policy="flat+buy-and-hold", episode_steps=10,
        buffer_size=600, num_envs=6,
    ).path  # fmt: skip
    chosen = load_buffer(path)[0].act.reshape(6, 10, 10)  # lane, episode, step
    assert (chosen == chosen[:, :, :1]).all()
    assert all(set(lane) == {0, 2} for lane in chosen[:, :, 0].tolist())


def test_the_first_part_of_the_market_is_used_and_no_more(tmp_path: Path, market_file: str) -> None:
    """Later bars, altered, change nothing that was collected."""
    lines: list[str] = []
    provenance = quiet(tmp_path / "a.hdf5", market_file, echo=lines.append).provenance
    market = Market(load(market_file, echo=None))
    # a window of 6 whose volume is taken relative to the mean of its last 6 bars
    usable = pd.to_datetime(market.open_times)[10:] + pd.Timedelta("1h")
    first, last = (pd.Timestamp(provenance["span"][name]) for name in ("start", "end"))
    assert first.tz_localize(None) == usable[0]
    share = (last - first) / (usable[-1].tz_localize("UTC") - first)
    assert 0.695 < share <= 0.7
    assert any(f"collecting between {first.isoformat()} and {last.isoformat()}" in x for x in lines)

    frame = market.to_frame()
    later = frame.index >= last.tz_localize(None)
    frame.loc[later, ["open", "high", "low", "close"]] *= 3.0
    frame.to_csv(tmp_path / "altered.csv")
    quiet(tmp_path / "b.hdf5", str(tmp_path / "altered.csv"))
    for name in COLUMNS:
        np.testing.assert_array_equal(
            getattr(load_buffer(tmp_path / "a.hdf5")[0], name),
            getattr(load_buffer(tmp_path / "b.hdf5")[0], name),
        )


def test_start_and_end(tmp_path: Path, market_file: str) -> None:
    asked = {"start": "2022-03-10", "end": "2022-03-20 12:00"}
    span = quiet(tmp_path / "a.hdf5", market_file, **asked).provenance["span"]
    assert span == {"start": "2022-03-10T00:00:00+00:00", "end": "2022-03-20T12:00:00+00:00"}
    env = {"window_sizes": 6, **asked}
    same = quiet(tmp_path / "b.hdf5", market_file, env=env)
    assert same.path.read_bytes() == (tmp_path / "a.hdf5").read_bytes()
    later = quiet(tmp_path / "c.hdf5", market_file, start="2022-03-20")
    end = pd.Timestamp(later.provenance["span"]["end"])
    rest = pd.Timestamp("2022-04-07 12:00", tz="UTC") - pd.Timestamp("2022-03-20", tz="UTC")
    assert (end - pd.Timestamp("2022-03-20", tz="UTC")) / rest == pytest.approx(0.7, abs=0.01)


def test_provenance_says_what_was_done(tmp_path: Path, market_file: str) -> None:
    path = quiet(tmp_path / "a.hdf5", market_file, policy="flat", epsilon=0.5, seed=2).path
    found = read_provenance(path)
    assert found["format_version"] == 1
    assert found["task"] == "Trade-Sequential-v0"
    assert found["config"]["window_sizes"] == [6]
    assert found["config"]["episode_steps"] == found["episode_steps"] == 30
    assert found["config"]["df"] == found["market"]["content_hash"]
    assert found["market"]["path"] == market_file
    assert found["market"]["span"]["start"] == "2022-03-01T00:00:00+00:00"
    assert found["policy"] == {"name": "flat", "epsilon": 0.5}
    assert (found["seed"], found["num_envs"], found["buffer_size"]) == (2, 7, 500)
    assert found["layout"][-1] == {"key": "account_state", "start": 30, "stop": 36, "shape": [6]}
    assert found["action"] == {"type": "discrete", "levels": [0.0, 0.5, 1.0]}
    assert {"gym_trade", "numpy", "python"} <= set(found["versions"])
    assert str(time.gmtime().tm_year) + "-" not in json.dumps(found)


def test_a_datasets_configuration_collects_again(tmp_path: Path, market_file: str) -> None:
    first = quiet(tmp_path / "a.hdf5", market_file)
    (tmp_path / "env.json").write_text(json.dumps(first.provenance["config"]))
    code = main(
        ["--env-config", str(tmp_path / "env.json"), "--market", market_file, "--num-envs", "7",
         "--buffer-size", "500", "--save-buffer-name", str(tmp_path / "b.hdf5")]
    )  # fmt: skip
    assert code == 0
    assert (tmp_path / "b.hdf5").read_bytes() == (tmp_path / "a.hdf5").read_bytes()


def test_existing_files_are_kept_unless_told(tmp_path: Path, market_file: str) -> None:
    path = tmp_path / "a.hdf5"
    first = quiet(path, market_file).path.read_bytes()
    with pytest.raises(ValueError, match="--overwrite"):
        quiet(path, market_file, seed=1)
    assert path.read_bytes() == first
    quiet(path, market_file, seed=1, overwrite=True)
    assert path.read_bytes() != first
    assert [item.name for item in tmp_path.iterdir()] == ["a.hdf5"]


def test_shares_shorter_than_an_episode_are_pointed_out(tmp_path: Path, market_file: str) -> None:
    def notes(**options: Any) -> list[str]:
        lines: list[str] = []
        quiet(tmp_path / "a.hdf5", market_file, echo=lines.append, overwrite=True, **options)
        return [line for line in lines if line.startswith("note:")]

    assert notes() == []
    (note,) = notes(episode_steps=100)
    assert "share of 71 rows is shorter than an episode of 100 steps" in note
    assert "--num-envs 5 gives whole ones" in note
    assert notes(episode_steps=100, num_envs=5) == []
    assert "collect more" in notes(episode_steps=501)[0]


@pytest.mark.parametrize(("size", "steps", "lanes"), [(6400, 50, 64), (500, 100, 5), (90, 100, 1)])
def test_without_a_number_of_lanes_each_gets_a_whole_episode(
    tmp_path: Path, market_file: str, size: int, steps: int, lanes: int
) -> None:
    summary = quiet(
        tmp_path / "a.hdf5", market_file, buffer_size=size, num_envs=None, episode_steps=steps
    )
    assert summary.provenance["num_envs"] == lanes
