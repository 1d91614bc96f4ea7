"""What cannot be relabelled, and the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_tools.relabel import main, relabel
from data_tools.subset import subset
from tests.data_tools.editing import (
    assert_interrupt_leaves_nothing,
    interrupting,
    opened,
    push,
    refused,
    set_provenance,
)
from tests.data_tools.relabelled import SIZE


def change(path: Path, name: str, row: int, value: Any) -> None:
    with h5py.File(path, "r+") as file:
        column = file["_meta"][name] if "_meta" in file else file[name]
        column[row] = value


def test_rows_that_the_environment_does_not_give_are_refused(
    collected: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = tmp_path / "s.hdf5", str(tmp_path / "x.hdf5")
    logged = opened(collected["levels"])
    row = int(np.flatnonzero(~logged.done & (logged.rew != 0.0) & (logged.act != 0))[30])
    account = logged.obs[row].copy()
    account[-4] = np.nextafter(account[-4], np.float32(1))
    window = logged.obs[row].copy()
    window[3] += 1
    ends = int(np.flatnonzero(logged.truncated)[0])
    for name, at, value, message in (
        ("rew", row, np.nextafter(logged.rew[row], 9), f"transition {row} cannot be replayed: rew"),
        ("act", row, 0, f"transition {row} cannot be replayed"),
        ("act", row, 77, f"act of transition {row} is 77. Expected one of Discrete"),
        ("obs", row, account, f"transition {row} cannot be replayed: account of obs is"),
        ("obs", row, window, f"obs of transition {row} shows windows that its market does not"),
        ("terminated", ends, True, f"transition {ends} cannot be replayed: terminated"),
    ):
        path.write_bytes(collected["levels"].read_bytes())
        change(path, name, at, value)
        refused(main, [str(path), target, "--actions", "random"], message, capsys)
    path.write_bytes(collected["indexed"].read_bytes())
    change(path, "decision", row, opened(collected["indexed"]).obs.shape[0] // 2)
    refused(main, [str(path), target, "--reward", "pnl"], "decision instant of obs_next is", capsys)


def test_what_cannot_be_replayed_is_refused(
    collected: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = tmp_path / "s.hdf5", str(tmp_path / "x.hdf5")
    subset(collected["chance"], path, fraction=0.5)
    rest = [target, "--actions", "random"]
    refused(main, [str(path), *rest], "depend on the random numbers of the collection", capsys)
    pole = push(tmp_path, "pole.hdf5", 0)
    refused(main, [str(pole), *rest], "CartPole-v1, which has no market: relabel is for", capsys)
    marked = relabel(collected["levels"], tmp_path / "m.hdf5", actions="random").path
    refused(main, [str(marked), *rest], "has counterfactual transitions already", capsys)
    path.write_bytes(collected["levels"].read_bytes())
    named = {"reward": "callable:os:getcwd"}
    set_provenance(path, lambda known: known["config"].update(named))
    refused(main, [str(path), *rest], "code of its maker's own, reward=", capsys)
    path.write_bytes(collected["levels"].read_bytes())
    set_provenance(path, lambda known: known["config"].update(leverage=24.0))
    refused(main, [str(path), *rest], "transition 0 cannot be replayed", capsys)
    with h5py.File(path, "r+") as file:
        del file.attrs["provenance"]
    refused(main, [str(path), *rest], "has no provenance, which names its market", capsys)


def test_bad_input_is_refused(
    collected: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = str(collected["continuous"]), str(tmp_path / "x.hdf5")
    for words, message in (
        ([], "expected --actions, --reward, or both"),
        (["--actions", "all"], "--actions all: expected a dataset of discrete actions"),
        (["--actions", "nonsense"], "policy 'nonsense' is unknown"),
        (["--actions", "flat", "--epsilon", "2"], "epsilon=2.0: expected a probability"),
        (["--actions", "flat", "--samples", "2"], "--samples needs --actions random"),
        (["--actions", "random", "--epsilon", "0.1"], "--epsilon needs --actions POLICY"),
        (["--actions", "random", "--samples", "0"], "--samples 0: expected a whole number >= 1"),
        (["--reward", "luck"], "--reward luck: expected one of log_return"),
        (["--reward", "pnl", "--counterfactual-only"], "--counterfactual-only needs --actions"),
        (["--reward", "pnl", "--env", "leverage=3"], "--env leverage: the dataset's own value is"),
        (["--reward", "pnl", "--market", "synthetic:martingale"], "its content hash is"),
    ):
        assert main([source, target, *words]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and message in error
    assert list(tmp_path.iterdir()) == []
    flat = relabel(collected["continuous"], tmp_path / "flat.hdf5", actions="flat").path
    assert opened(flat).counterfactual.any()
    for calls in (0, 20, 45):  # while it is replayed, and while it is written

        def act(_: Any, calls: int = calls) -> None:
            relabel(source, target, actions="random", check=interrupting(calls))

        assert_interrupt_leaves_nothing(act, tmp_path)


def test_the_command(
    collected: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.hdf5"
    words = [str(collected["levels"]), str(target), "--actions", "random", "--reward", "pnl"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{2 * SIZE} transitions, ") and lines[-1] == str(target)
    assert main(words) == 2 and "pass --overwrite" in capsys.readouterr().err
