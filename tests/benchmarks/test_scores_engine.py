"""Jobs that end, fail, and die, in processes and on a Ray cluster."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.scores_engine import RETRIES, run_jobs
from data_tools.command_line import CommandLineError
from tests.benchmarks.engine_jobs import Job, work


@pytest.fixture
def jobs(tmp_path):
    return [
        Job("a", tmp_path), Job("dies", tmp_path, deaths=2), Job("fails", tmp_path, code=3),
        Job("b", tmp_path),
    ]  # fmt: skip


def test_what_is_killed_is_run_again_and_what_fails_is_not(jobs):
    told = []
    outcome = run_jobs(work, jobs, workers=2, say=lambda *words: told.append(words))
    assert sorted(outcome.done) == ["a", "b", "dies"]
    assert outcome.failed == {"fails": "exit code 3"}
    assert [job.attempts for job in jobs] == [1, 3, 1, 1]
    assert told.count(("dies", "killed by SIGKILL, run again")) == 2
    assert ("fails", "FAILED: exit code 3") in told


def test_what_always_dies_is_given_up(tmp_path):
    job = Job("dies", tmp_path, deaths=100)
    outcome = run_jobs(work, [job], workers=1)
    assert outcome.done == [] and outcome.failed == {"dies": f"killed {RETRIES + 1} times"}
    assert job.attempts == RETRIES + 1


PARENT = """
import sys
from pathlib import Path
from benchmarks.scores_engine import run_local
from tests.benchmarks.engine_jobs import Job, hang
run_local(hang, [Job("hangs", Path(sys.argv[1]))], 1)
"""


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_free(lock):
    """Whether the process that held the lock has ended."""
    with open(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path):
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], cwd=root)
    try:
        wait_for((tmp_path / "hangs").exists)
        assert not is_free(tmp_path / "lock")
        assert len(list(tmp_path.glob(".result.json.*"))) == 1
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: is_free(tmp_path / "lock"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hangs", "lock"]


def test_nothing_to_do(tmp_path):
    assert run_jobs(work, [], workers=2).done == []


@pytest.mark.parametrize(("more", "message"), [
    ({"engine": "slurm"}, "--engine slurm: expected local or ray"),
    ({"workers": 0}, "--jobs 0: expected"),
])  # fmt: skip
def test_bad_flags(jobs, more, message):
    with pytest.raises(CommandLineError, match=message):
        run_jobs(work, jobs, **more)
    assert [job.attempts for job in jobs] == [0, 0, 0, 0]


def test_a_ray_cluster_of_two_one_of_whom_is_killed(jobs):
    pytest.importorskip("ray")
    outcome = run_jobs(work, jobs, engine="ray", workers=2)
    assert sorted(outcome.done) == ["a", "b", "dies"]
    assert outcome.failed == {"fails": "exit code 3"}
    assert [job.attempts for job in jobs] == [1, 3, 1, 1]
