"""The processes that make the files of a suite."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.suite_run import launch

PARENT = """
import sys
from pathlib import Path
from benchmarks.suite_run import launch
folder, *words = sys.argv[1:]
launch(words, Path(folder), Path(folder) / "log").wait()
"""
ROWS = ["--market", "synthetic:mean_reverting", "--episode-steps", "50", "--env", "window_sizes=6"]


def collect(path, *more):
    return ["data_tools.collect", *ROWS, "--save-buffer-name", str(path), *more]


def test_a_command_has_its_flags_its_log_and_its_exit_code(tmp_path):
    made = launch(collect("a.hdf5", "--buffer-size", "100"), tmp_path, tmp_path / "log")
    refused = launch(collect("b.hdf5", "--colour"), tmp_path, tmp_path / "refused")
    assert (made.wait(), refused.wait()) == (0, 2)
    assert (tmp_path / "a.hdf5").exists() and "100 transitions" in (tmp_path / "log").read_text()
    assert "--colour" in (tmp_path / "refused").read_text()


def test_a_command_ends_with_a_parent_that_is_killed(tmp_path):
    words = collect(tmp_path / "a.hdf5", "--buffer-size", "5000000", "--shards", "1")
    root = Path(__file__).parents[2]

    def wait_for(partial):
        deadline = time.monotonic() + 60
        while len(list(tmp_path.rglob(".*.partial"))) != partial:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), *words], cwd=root)
    try:
        wait_for(1)
    finally:
        parent.kill()
        parent.wait()
    # only a process that has noticed removes what it had not finished
    wait_for(0)
    assert not list(tmp_path.rglob("*.hdf5"))
