"""A conversion that is interrupted, or finds no room, leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from data_tools import convert as module
from data_tools.convert import convert
from data_tools.formats.carried import CarriedWriter
from tests.data_tools.formats.comparing import NAMES, there
from tests.data_tools.transitions import REPOSITORY, Transitions


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch, capsys):
    source = Transitions(200, 2).write(tmp_path / "made.hdf5")
    before = sorted(tmp_path.iterdir())

    def interrupted(self, block):
        raise KeyboardInterrupt

    monkeypatch.setattr(CarriedWriter, "add", interrupted)
    for target in list(NAMES):
        place = tmp_path / NAMES[target]
        assert module.main([str(source), str(place), "--to", target]) == 130
        assert "nothing was written" in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == before


INTERRUPTED = """
import os, signal, sys
from data_tools import command_line, convert
from data_tools.formats import places, trajectories
command_line.terminate_cleanly()
trajectories.BLOCK_BYTES = 1000
write = places.Spillway.write
def interrupted(self, content):
    os.kill(os.getpid(), getattr(signal, sys.argv[4]))
    return write(self, content)
places.Spillway.write = interrupted
raise SystemExit(convert.main([sys.argv[1], sys.argv[2], "--to", sys.argv[3]]))
"""


@pytest.mark.parametrize("target", ["minari", "d4rl"])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_hdf5_writes_is_no_crash(name, code, target, tmp_path):
    source = Transitions(200, 2).write(tmp_path / "made.hdf5")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, source, tmp_path / NAMES[target], target, name],
        capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["made.hdf5"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    source = Transitions(200, 2).write(tmp_path / "made.hdf5")
    foreign = there(source, "d4rl", tmp_path)
    before = sorted(tmp_path.iterdir())
    from data_tools.formats import places

    real = places.Spillway.write
    written = []

    def write(self, content):
        written.append(len(memoryview(content).cast("B")))
        if sum(written) > 5000:
            self._error = self._error or OSError(28, "No space left on device")
        return real(self, content)

    monkeypatch.setattr(places.Spillway, "write", write)
    with pytest.raises(OSError, match="No space left"):
        convert(foreign, tmp_path / "x.hdf5")
    with pytest.raises(OSError, match="No space left"):
        convert(source, tmp_path / "x-v0", target_format="minari")
    assert sorted(tmp_path.iterdir()) == before
