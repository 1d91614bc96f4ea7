"""The throughput benchmark, made tiny: what is counted, and how a peer is asked. No speed."""

from __future__ import annotations

import sys

import gymnasium as gym
import numpy as np
import pytest

import gym_trade
from benchmarks import scaling, speed, startup, throughput
from benchmarks.machine import read_result
from benchmarks.machine import write_result as write_to
from benchmarks.speed_cases import CASES, COMPARISONS, PEERS, Case, Peer

SECONDS = 0.001
# A peer's script that answers what it was asked: its speeds are lanes, its version is its bars.
FAKE = """
import json, sys
request = json.load(sys.stdin)
rows = len(open(request["bars"]).readlines()) - 1
speeds = {case["name"]: 100.0 + case["lanes"] for case in request["cases"]}
json.dump({"versions": {request["peer"]: f"{rows} bars"}, "speeds": speeds}, sys.stdout)
"""


@pytest.fixture(scope="module")
def market():
    return gym_trade.Market(gym_trade.synthetic.make_frame(n_bars=13_000))


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A command line whose every part takes a moment, with fake peers and no fresh process."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    fakes = {name: peer._replace(script=script) for name, peer in PEERS.items()}
    monkeypatch.setattr(throughput, "PEERS", fakes)
    monkeypatch.setattr(speed, "PEERS", fakes)
    lanes = {0: 0, 64: 3}
    tiny = tuple(case._replace(lanes=lanes.get(case.lanes, 5)) for case in CASES)
    monkeypatch.setattr(throughput, "CASES", tiny)
    monkeypatch.setattr(throughput, "LANE_COUNTS", (1, 4))
    monkeypatch.setattr(scaling.machine_round, "__defaults__", (6,))  # lanes
    monkeypatch.setattr(scaling.bars_sweep, "__defaults__", (6,))
    answers = {"first_step": {"seconds": 1.5}, "construction": dict.fromkeys(
        ("market_seconds", "environment_seconds", "total_seconds", "peak_bytes"), 2.0)}  # fmt: skip
    monkeypatch.setattr(startup, "fresh", lambda module, *_, **__: answers[module])
    write = lambda name, result: write_to(name, result, tmp_path)  # noqa: E731
    monkeypatch.setattr(throughput, "write_result", write)
    return tmp_path


FLAGS = ["--seconds", str(SECONDS), "--rounds", "2", "--repeats", "2", "--bars", "20000",
         "--market-bars", "8000"]  # fmt: skip


def all_spreads(node):
    """Every {median, min, max} in a result."""
    if isinstance(node, dict):
        if set(node) == {"median", "min", "max"}:
            yield node
        else:
            for child in node.values():
                yield from all_spreads(child)


def test_a_run_measures_every_case_and_writes_one_result(small, capsys):
    flags = [f"--{name.replace('_', '-')}-python={sys.executable}" for name in PEERS]
    assert throughput.main([*FLAGS, *flags]) == 0
    out = capsys.readouterr().out
    result = read_result("throughput", small)
    assert list(result["ours"]) == [case.name for case in CASES]
    assert {row.ours for row in COMPARISONS} == set(result["ours"])
    assert set(result["peers"]) == set(PEERS)
    assert result["peers"]["gym_anytrading"] == {
        "scalar": {"median": 100.0, "min": 100.0, "max": 100.0},
        "64 copies": {"median": 164.0, "min": 164.0, "max": 164.0},
    }
    assert result["peer_versions"] == dict.fromkeys(PEERS, "20000 bars")
    assert set(result["lanes"]) == {"1", "4"} and set(result["market_bars"]) == {"8000"}
    spreads = list(all_spreads(result))
    assert len(spreads) > 30
    assert all(0.0 < each["min"] <= each["median"] <= each["max"] for each in spreads)
    for row in COMPARISONS:
        assert f"| {row.ours} | " in out
    assert "| TorchTrade, scalar |" in out  # what 1024 one-step lanes stand beside


def test_without_peers_their_columns_are_empty(small, capsys):
    assert throughput.main([*FLAGS, "--no-write"]) == 0
    out = capsys.readouterr().out
    assert not (small / "throughput.json").exists()
    line = next(line for line in out.splitlines() if line.startswith("| 64 lanes |"))
    assert line.endswith("| TorchTrade | - | - | 40 |")


def test_a_scalar_step_is_a_decision(market):
    env = gym.make("Trade-Sequential-v0", df=market, episode_steps=3)
    measured = speed.scalar_speed(env, SECONDS, 0)
    assert measured.decisions % speed.SCALAR_BLOCK == 0 < measured.decisions
    assert measured.seconds >= SECONDS
    assert measured.per_second == measured.decisions / measured.seconds
    assert measured.nanoseconds * measured.per_second == pytest.approx(1e9)


class Counting(gym.vector.VectorWrapper):
    """Counts the steps of its environment that were no reset, lane by lane."""

    def reset(self, **arguments):
        self.began = np.ones(self.num_envs, bool)
        self.calls, self.taken = 0, []
        return super().reset(**arguments)

    def step(self, actions):
        before = self.env.account()["episode"]
        result = super().step(actions)
        self.calls += 1
        self.taken.append(int((self.env.account()["episode"] == before).sum()))
        return result

    def account(self):
        return self.env.account()


@pytest.mark.parametrize("episode_steps", [1, 2, 7, 1000])
def test_the_step_that_resets_a_lane_is_no_decision(market, episode_steps):
    env = Counting(
        gym.make_vec("Trade-Sequential-v0", num_envs=5, df=market, episode_steps=episode_steps)
    )
    measured = speed.vector_speed(env, SECONDS, 0)
    taken = env.taken[speed.WARM_STEPS :]
    assert len(taken) % speed.BLOCK == 0
    assert measured.decisions == sum(taken)
    # every (episode_steps + 1)th step of a lane begins its next episode
    expected = len(taken) * 5 * episode_steps / (episode_steps + 1)
    assert abs(measured.decisions - expected) <= 5


@pytest.mark.parametrize("case", [c for c in CASES if c.lanes and "OneStep" in c.task])
def test_half_of_the_steps_of_one_step_lanes_are_decisions(market, case):
    env = Counting(gym.make_vec(case.task, num_envs=5, df=market, **case.options))
    measured = speed.vector_speed(env, SECONDS, 0)
    assert 2 * measured.decisions == 5 * (env.calls - speed.WARM_STEPS)


@pytest.mark.parametrize("lanes", [0, 4])
def test_a_case_is_measured_and_closed(market, lanes):
    case = Case("any", lanes, options={"episode_steps": 20})
    measured = speed.case_speed(market, case, SECONDS, 0)
    assert measured.decisions > 0 and measured.per_second > 0


def test_rows_are_copied_and_the_last_is_followed_by_the_first():
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    positions, out = np.array([0, 3]), np.zeros((2, 3), np.float32)
    scaling.copy_rows(rows, positions, out)
    np.testing.assert_array_equal(out, rows[[0, 3]])
    scaling.copy_rows(rows, positions, out)
    np.testing.assert_array_equal(out, rows[[1, 0]])
    assert positions.tolist() == [2, 1]


def test_the_copy_has_the_shape_of_an_observation(market):
    decisions, width = scaling.observation_shape(market)
    assert (decisions, width) == (2600, 266)
    measured = scaling.copy_speed(decisions, width, 4, SECONDS, 0)
    assert measured.decisions % (4 * speed.BLOCK) == 0 < measured.decisions


def test_ratios_are_of_the_same_round(market):
    values = scaling.machine_round(market, SECONDS, 0, lanes=4)
    assert values["ratio"] == values["step_ns"] / values["copy_ns"]
    assert values["index"] > 0


def test_a_fresh_process_makes_its_first_step_and_a_market():
    assert startup.fresh("first_step", 0)["seconds"] > 0
    made = startup.construction(8_000, 1, seed=0)
    assert made["total_seconds"]["median"] >= made["market_seconds"]["median"] > 0
    assert made["peak_bytes"]["median"] > 0


def test_a_fresh_process_that_fails_is_named():
    with pytest.raises(RuntimeError, match=r"(?s)benchmarks\.construction failed:.*no-such-file"):
        startup.fresh("construction", "no-such-file.npy", 4)


def test_cold_comes_before_warm_in_the_same_cache(monkeypatch):
    calls = []

    def fresh(module, lanes, cache):
        calls.append((lanes, cache))
        return {"seconds": float(len(calls))}

    monkeypatch.setattr(startup, "fresh", fresh)
    made = startup.first_steps(1)
    assert {name: spread["median"] for name, spread in made.items()} == {
        "cold: scalar": 1.0, "warm: scalar": 2.0, "cold: 64 lanes": 3.0, "warm: 64 lanes": 4.0,
    }  # fmt: skip
    assert calls[0] == calls[1] and calls[2] == calls[3] and calls[0][1] != calls[2][1]


@pytest.mark.parametrize("peer", PEERS)
def test_a_python_without_the_peer_is_one_clear_error(peer, capsys):
    flag = f"--{peer.replace('_', '-')}-python"
    assert throughput.main([*FLAGS, "--no-write", flag, sys.executable]) == 2
    err = capsys.readouterr().err
    assert "error: " in err and "_speed.py failed: ModuleNotFoundError" in err
    assert peer in err or "torchtrade" in err


def test_a_python_that_is_not_there_is_one_clear_error(capsys):
    assert throughput.main([*FLAGS, "--torchtrade-python", "/no/python"]) == 2
    assert "/no/python: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--seconds", "0"], ["--rounds", "0"], ["--repeats", "0"], ["--bars", "7"],
              ["--market-bars", "7"], ["--bar", "20000"]]
)  # fmt: skip
def test_bad_flags_are_refused(flags, capsys):
    assert throughput.main(flags) == 2
    assert "error:" in capsys.readouterr().err


def test_cases_and_comparisons_name_each_other():
    names = {case.name for case in CASES}
    assert len(names) == len(CASES)
    for row in COMPARISONS:
        assert row.ours in names
        assert row.theirs in {case.name for case in PEERS[row.peer].cases}
    for name, peer in PEERS.items():
        assert isinstance(peer, Peer) and peer.script.exists(), name
    threads = {case.name: case.threads for case in CASES}
    for case in PEERS["torchtrade"].cases:
        assert threads[case.name] == case.threads
