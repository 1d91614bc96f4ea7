"""The command line of collecting: flags, refusals in one line, full disks, interrupts."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data_tools import command_line
from data_tools.collect import main
from data_tools.command_line import terminate_cleanly
from gym_trade import VectorTradeEnv
from tests.data_tools.collecting import REPOSITORY, quiet, write_market
from tests.real_data import GOOGLE, needs


@pytest.fixture(scope="module")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_market(tmp_path_factory.mktemp("market") / "wild.csv")


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

    monkeypatch.setattr("data_tools.target_file.TargetFile.write_at", full)
    assert main(command(tmp_path / "a.hdf5", market_file)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "No space left on device" in error
    assert list(tmp_path.iterdir()) == []


def test_a_defect_keeps_its_traceback(
    tmp_path: Path, market_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("data_tools.parts.drive", broken)
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


@pytest.mark.parametrize(
    ("number", "code", "flags", "says"),
    [
        (signal.SIGINT, 130, ["--shards", "1"], "interrupted: nothing was written."),
        (signal.SIGINT, 130, [], "interrupted. No shard was whole, so that nothing was left"),
        (signal.SIGTERM, 143, ["--shards", "2"], ""),
    ],
)
def test_a_real_signal_leaves_nothing(
    tmp_path: Path, market_file: str, number: int, code: int, flags: list[str], says: str
) -> None:
    """Ctrl-C ends with one line and 130; SIGTERM with its own code; neither leaves a file."""
    arguments = [*command(tmp_path / "a.hdf5", market_file), *flags]
    arguments[arguments.index("300")] = "100000000"
    process = subprocess.Popen(
        [sys.executable, "-m", "data_tools.collect", *arguments],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob(".*.partial")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)
        assert len(list(tmp_path.rglob(".*.partial"))) == 1
        assert not (tmp_path / "a.hdf5").exists()
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    # CPython itself ends by the signal where the interrupt met code that was given as a string
    assert process.returncode in (code, -number), error
    assert "Traceback" not in error
    if number == signal.SIGINT:
        assert error.splitlines()[-1].startswith(says)
    assert list(tmp_path.iterdir()) == []


@needs(GOOGLE)
def test_real_market(tmp_path: Path) -> None:
    path = str(GOOGLE)
    summary = quiet(tmp_path / "a.hdf5", path, policy="buy-and-hold", episode_steps=250, env={})
    assert summary.episodes.mean_return > 0  # it rose over those years
    with pytest.raises(ValueError, match="Lower --episode-steps"):
        quiet(tmp_path / "b.hdf5", path, episode_steps=2000, env={})


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

    def forbidden() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "a/b.pth")

    assert command_line.run(forbidden) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: a/b.pth: Permission denied. Change its permissions")
    assert error.count("\n") == 1

    def broken() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        command_line.run(broken)
