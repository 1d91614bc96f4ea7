"""Jobs that end, fail, and die, in processes and on a Ray cluster."""

from __future__ import annotations

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
