"""Shards after a kill, an interrupt and a full disk: the same command goes on."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_tools.collect import main
from tests.data_tools.collecting import REPOSITORY
from tests.data_tools.killing import content
from tests.data_tools.sharding import KILL, command, interrupt_at, shard_files


def test_after_a_kill_the_same_command_goes_on(
    tmp_path: Path, market_file: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shard has 18 steps: the kill in the third leaves two whole, which are not made again."""
    done = subprocess.run(
        [sys.executable, "-c", KILL, *command(tmp_path, market_file)],
        cwd=REPOSITORY, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.hdf5").exists()
    kept = shard_files(tmp_path)
    assert [path.name for path in kept] == ["00000.hdf5", "00001.hdf5"]
    assert list(tmp_path.glob("*/.*.partial"))
    times = [path.stat().st_mtime_ns for path in kept]
    assert main(command(tmp_path, market_file)) == 0
    assert "2 of 4 shards are whole: going on with the others" in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert content(tmp_path) == content(whole)


@pytest.mark.parametrize("call", [3, 25, 70, 100])
def test_after_an_interrupt_as_well(
    tmp_path: Path, market_file: str, whole: Path, call: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the first shard, in the second, in the last, and while they are joined."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, call)
        assert main(command(tmp_path, market_file)) == 130
    error = capsys.readouterr().err.splitlines()[-1]
    if call == 3:
        assert list(tmp_path.iterdir()) == []
        assert error == "interrupted. No shard was whole, so that nothing was left behind."
    else:
        assert (
            f"{min(call // 18, 4)} of 4 shards are whole" in error and "same command again" in error
        )
        assert not (tmp_path / "a.hdf5").exists()
        assert not list(tmp_path.glob("*/.*"))
    assert main(command(tmp_path, market_file)) == 0
    assert content(tmp_path) == content(whole)


def test_a_full_disk_loses_nothing_that_was_whole(
    tmp_path: Path, market_file: str, whole: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from data_tools.target_file import TargetFile

    real = TargetFile.write_at

    def full(self: TargetFile, *arguments: Any) -> None:
        if self.path.name == "00002.hdf5":
            raise OSError(28, "No space left on device")
        real(self, *arguments)

    monkeypatch.setattr(TargetFile, "write_at", full)
    assert main(command(tmp_path, market_file)) == 2
    (error,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert "No space left on device" in error and "2 of 4 shards are whole" in error
    assert len(shard_files(tmp_path)) == 2 and not list(tmp_path.glob("*/.*"))
    monkeypatch.undo()
    assert main(command(tmp_path, market_file)) == 0
    assert content(tmp_path) == content(whole)


LIMITED = """
import resource, sys
from data_tools.collect import main
from data_tools.convert import main as convert_main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(main(sys.argv[1:]))
"""


def test_a_limit_on_the_size_of_files_is_one_line(tmp_path: Path, market_file: str) -> None:
    """What a quota does to the system's own calls."""
    assert resource.RLIM_INFINITY in resource.getrlimit(resource.RLIMIT_FSIZE)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *command(tmp_path, market_file)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be written: File too large" in done.stderr.splitlines()[-1]
    assert "No shard was whole" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
