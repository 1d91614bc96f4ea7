"""Collecting: every transition is the scalar environment's, and every refusal."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest

from data_tools import collect as collect_module
from data_tools import command_line
from data_tools.collect import collect, main
from data_tools.command_line import terminate_cleanly
from data_tools.environment import reopen_market
from data_tools.hdf5 import load_buffer, read_provenance
from data_tools.load import load
from gym_trade import Market, SequentialConfig, VectorTradeEnv

REPOSITORY = Path(__file__).resolve().parents[2]
COLUMNS = ("obs", "act", "rew", "terminated", "truncated", "done", "obs_next")


@pytest.fixture(scope="module")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """900 hourly bars with a gap between each close and the next open, and wild moves."""
    random = np.random.default_rng(7)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.03, 900)))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(random.normal(0, 0.01, 900))
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": random.uniform(1, 2, 900),
        },
        index=pd.date_range("2022-03-01", periods=900, freq="h", name="timestamp"),
    )
    path = tmp_path_factory.mktemp("market") / "wild.csv"
    frame.to_csv(path)
    return str(path)


def quiet(path: Path, market: str | None, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "buffer_size": 500, "num_envs": 7, "episode_steps": 30, "progress": False, "echo": None,
        "env": {"window_sizes": 6},
    }  # fmt: skip
    return collect(path, market=market, **(defaults | options))


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


# --- the command line


def command(path: Path, market: str, *more: str) -> list[str]:
    return [
        "--save-buffer-name", str(path), "--market", market, "--buffer-size", "300",
        "--num-envs", "7", "--episode-steps", "30", "--env", "window_sizes=6", *more,
    ]  # fmt: skip


def test_command_line(tmp_path: Path, market_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.hdf5"
    assert main(command(path, market_file, "--policy", "ma-cross+random", "--epsilon", "0.1")) == 0
    captured = capsys.readouterr()
    assert "collecting between 2022-03-01" in captured.out
    assert "300 transitions, 7 complete episodes (0 terminated) and 7 cut" in captured.out
    assert "return of complete episodes: mean " in captured.out
    assert captured.out.splitlines()[-1] == str(path)
    assert "300/300" in captured.err
    assert "transitions/s" in captured.err


def test_underscores_are_a_synonym(tmp_path: Path, market_file: str) -> None:
    hyphens = command(tmp_path / "a.hdf5", market_file, "--train-fraction=0.5")
    assert main(hyphens) == 0
    other = command(tmp_path / "b.hdf5", market_file, "--train_fraction=0.5")
    spelled = [x[:2] + x[2:].replace("-", "_") if x.startswith("--") else x for x in other]
    assert "--save_buffer_name" in spelled
    assert main(spelled) == 0
    assert (tmp_path / "a.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()


def test_runs_as_a_module_and_helps() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "data_tools.collect", "--help"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for flag in ("--save-buffer-name", "--buffer-size", "--policy", "--env KEY=VALUE", "--seed",
                 "--train-fraction", "--overwrite", "ma-cross"):  # fmt: skip
        assert flag in done.stdout


REFUSALS: dict[str, tuple[list[str], list[str]]] = {
    "unknown flag": (["--polcy", "random"], ["unrecognized arguments: --polcy", "--help"]),
    "abbreviation": (["--over"], ["unrecognized arguments: --over"]),
    "no number": (["--seed", "x"], ["--seed", "invalid int value: 'x'"]),
    "size": (["--buffer-size", "0"], ["--buffer-size 0", ">= 1"]),
    "lanes": (["--num-envs", "0"], ["--num-envs 0", ">= 1"]),
    "seed": (["--seed", "-1"], ["--seed -1", ">= 0"]),
    "episode": (["--episode-steps", "0"], ["episode_steps=0", "whole number >= 1"]),
    "task": (["--task", "CartPole-v1"], ["--task CartPole-v1", "Trade-Sequential-v0"]),
    "missing task": (["--task", "Trade-Nothing-v0"], ["--task Trade-Nothing-v0", "expected one"]),
    "policy": (["--policy", "hodl"], ["'hodl' is unknown", "buy-and-hold"]),
    "epsilon": (["--epsilon", "2"], ["epsilon=2.0", "0 to 1"]),
    "fraction": (["--train-fraction", "0"], ["--train-fraction 0.0", "(0, 1]"]),
    "fraction and end": (
        ["--train-fraction", "0.5", "--end", "2022-03-20"], ["contradict each other"],
    ),
    "env key": (["--env", "levrage=3"], ["levrage", "leverage"]),
    "env value": (["--env", "leverage=300"], ["leverage=300", "125"]),
    "env no pair": (["--env", "leverage"], ["KEY=VALUE"]),
    "env fixed": (["--env", "observation=dict"], ["always uses 'flat'"]),
    "env own flag": (["--env", "num_envs=3"], ["--num-envs"]),
    "env contradicts": (["--env", "episode_steps=31"], ["--episode-steps 30", "contradict"]),
    "env other market": (["--env", "df=abc"], ["df=abc", "content hash", "--market"]),
    "env file": (["--env-config", "/none.json"], ["/none.json cannot be read"]),
    "market missing": (["--market", "/none.csv"], ["/none.csv does not exist"]),
    "market kind": (["--market", "synthetic:up"], ["synthetic:mean_reverting"]),
    "short market": (
        ["--episode-steps", "800"],
        ["the first 0.7 of", "an episode needs 800", "Lower --episode-steps", "longer market"],
    ),
    "short span": (
        ["--start", "2022-03-10", "--end", "2022-03-10 05:00"], ["5 steps", "30 are needed"],
    ),
    "late start": (["--start", "2030-01-01"], ["2030-01-01"]),
    "no time": (["--start", "soon"], ["start='soon'"]),
    "folder": (["--save-buffer-name", "/none/a.hdf5"], ["there is no folder /none"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses_in_one_line(
    tmp_path: Path, market_file: str, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    more, parts = REFUSALS[case]
    assert main(command(tmp_path / "a.hdf5", market_file, *more)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    for part in parts:
        assert part in captured.err
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_market_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(
        "timestamp,open,high,low,close,volume\n2022-01-01,1,0.5,1,1,0\n2022-01-02,1,1,1,1,0\n"
    )
    assert main(command(tmp_path / "a.hdf5", str(bad))) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "high 0.5 is below open 1.0" in error


def test_needs_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "--save-buffer-name" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, market_file: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_tools.flat_writer.FlatBufferWriter._write_at", full)
    assert main(command(tmp_path / "a.hdf5", market_file)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "No space left on device" in error
    assert list(tmp_path.iterdir()) == []


def test_a_defect_keeps_its_traceback(
    tmp_path: Path, market_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(collect_module, "_drive", broken)
    with pytest.raises(ZeroDivisionError):
        main(command(tmp_path / "a.hdf5", market_file))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt),
                                              (signal.SIGTERM, SystemExit)])  # fmt: skip
def test_an_interrupt_that_compiled_code_discards_still_ends_it(
    tmp_path: Path, market_file: str, monkeypatch: pytest.MonkeyPatch, number: int,
    kind: type[BaseException],
) -> None:  # fmt: skip
    """Numba drops an exception raised while it looks at arguments; so does this step."""
    handlers = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]
    real, calls = VectorTradeEnv.step, 0

    def step(self: VectorTradeEnv, actions: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            with contextlib.suppress(kind):
                signal.raise_signal(number)
        return real(self, actions)

    monkeypatch.setattr(VectorTradeEnv, "step", step)
    try:
        terminate_cleanly()
        before = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]
        with pytest.raises(kind):
            quiet(tmp_path / "a.hdf5", market_file)
        assert before == [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    assert calls == 5
    assert list(tmp_path.iterdir()) == []


def test_an_error_after_a_discarded_interrupt_is_the_interrupt(
    tmp_path: Path, market_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Ctrl-C falls into a callback of the compiler, which then fails for want of it."""

    def reset(self: VectorTradeEnv, **_: Any) -> Any:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("the compiler lost its way")

    monkeypatch.setattr(VectorTradeEnv, "reset", reset)
    with pytest.raises(KeyboardInterrupt):
        quiet(tmp_path / "a.hdf5", market_file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_signal_leaves_nothing(
    tmp_path: Path, market_file: str, number: int, code: int
) -> None:
    """Ctrl-C ends with one line and 130; SIGTERM with its own code; neither leaves a file."""
    arguments = command(tmp_path / "a.hdf5", market_file)
    arguments[arguments.index("300")] = "100000000"
    process = subprocess.Popen(
        [sys.executable, "-m", "data_tools.collect", *arguments],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)
        assert [item.name.endswith(".partial") for item in tmp_path.iterdir()] == [True]
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    # CPython itself ends by the signal where the interrupt met code that was given as a string
    assert process.returncode in (code, -number), error
    assert "Traceback" not in error
    if number == signal.SIGINT:
        assert error.splitlines()[-1] == "interrupted: nothing was written."
    assert list(tmp_path.iterdir()) == []


def test_real_market(tmp_path: Path) -> None:
    path = REPOSITORY / ".." / "shared" / "data" / "STOCKS_GOOGL.csv"
    if not path.exists():
        pytest.skip("the real market files are not beside this checkout")
    summary = quiet(
        tmp_path / "a.hdf5", str(path), policy="buy-and-hold", episode_steps=250, env={}
    )
    assert summary.episodes.mean_return > 0  # it rose over those years
    with pytest.raises(ValueError, match="Lower --episode-steps"):
        quiet(tmp_path / "b.hdf5", str(path), episode_steps=2000, env={})


@pytest.mark.parametrize(("size", "steps", "lanes"), [(6400, 50, 64), (500, 100, 5), (90, 100, 1)])
def test_without_a_number_of_lanes_each_gets_a_whole_episode(
    tmp_path: Path, market_file: str, size: int, steps: int, lanes: int
) -> None:
    summary = quiet(
        tmp_path / "a.hdf5", market_file, buffer_size=size, num_envs=None, episode_steps=steps
    )
    assert summary.provenance["num_envs"] == lanes


def test_the_help_lists_the_environments_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "leverage                1.0" in out
    assert "maintenance_margin_rate" in out


def test_a_hangup_is_a_termination() -> None:
    assert signal.SIGHUP in command_line.TERMINATIONS
    before = {number: signal.getsignal(number) for number in command_line.TERMINATIONS}
    try:
        terminate_cleanly()
        with pytest.raises(SystemExit, match=str(128 + signal.SIGHUP)):
            signal.raise_signal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
        terminate_cleanly()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "a/b.pth")

    assert command_line.run(full) == 2
    assert capsys.readouterr().err.startswith("error: a/b.pth: No space left on device.")

    def broken() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        command_line.run(broken)
