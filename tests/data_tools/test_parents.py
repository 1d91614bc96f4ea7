"""Workers whose parent is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_tools.parents import end_with_parent
from tests.data_tools.collecting import write_market

REPOSITORY = Path(__file__).parents[2]


def test_collecting_workers_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    market = write_market(tmp_path / "wild.csv")
    rows = ["--buffer-size", "5000000", "--episode-steps", "30", "--env", "window_sizes=6"]
    command = ["--market", market, *rows, "--shards", "2", "--jobs", "2"]

    def wait_for(partial: int) -> None:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.rglob(".*.partial"))) != partial:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with subprocess.Popen(
        [sys.executable, "-m", "data_tools.collect", *command, "--save-buffer-name",
         str(tmp_path / "a.hdf5")],
        cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            wait_for(2)
        finally:
            process.kill()
    # only workers that have noticed remove what they had not finished
    wait_for(0)
    assert not list(tmp_path.rglob("*.hdf5"))


def test_a_process_that_nobody_of_ours_began_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.Thread.start", None)
    end_with_parent()
